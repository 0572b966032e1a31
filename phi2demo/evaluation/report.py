"""A report read back as values, every field checked: it may be a file that somebody uploaded. Knows no model."""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from phi2demo.data.contamination import CONTAMINATION_LABELS, IN_TRAINING, IN_VALIDATION
from phi2demo.engine.engine import ModelInfo
from phi2demo.engine.revisions import same_adapter
from phi2demo.errors import DataError
from phi2demo.evaluation.figures import BASES
from phi2demo.evaluation.metrics import metric_title
from phi2demo.evaluation.slices import DIMENSIONS, Dimension
from phi2demo.evaluation.systems import SYSTEMS, SystemName

SYSTEM_TITLES = {
    "finetuned": "finetuned",
    "base_template": "base, template",
    "base_plain": "base, plain form",
}
TOO_FEW = "too few to rank"
BASELINE_TITLES = {
    "first_sentence": "first sentence",
}


def read_report(path: Path) -> dict[str, Any]:
    """What `evaluate` wrote; DataError where it cannot be read."""
    try:
        report: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _no_report(path, (error.strerror or "it cannot be read").lower()) from error
    except ValueError as error:
        raise _no_report(path, "it is not JSON") from error
    if not isinstance(report, dict) or not isinstance(report.get("test_sets"), list):
        raise _no_report(path, "it has no list of measures")
    return report


def _no_report(path: Path, why: str) -> DataError:
    """Without the folders of a machine: the page shows it."""
    return DataError(
        f"{path.name} is no report of an evaluation: {why}. Give a report.json of python -m phi2demo evaluate."
    )


def to_markdown(report: dict[str, Any], *, slices: bool = False) -> str:
    """One row for each measure and metric: n, every form with its 95 % interval, peers, and the difference with its p.

    With `slices` a second table says the same of each slice, where the report has any.
    """
    systems = [f for f in SYSTEM_TITLES if any(f in g["scores"] for m in report["test_sets"] for g in m["figures"])]
    titles = [SYSTEM_TITLES[system] for system in systems]
    rows = []
    for test_set in report["test_sets"]:
        for figure in test_set["figures"]:
            baselines = (
                f"{BASELINE_TITLES.get(p, p)} {_estimate(e, figure['digits'])}" for p, e in figure["baselines"].items()
            )
            cells = [test_set["name"], _title(figure), f"{test_set['n']:,}", *_scores(figure, systems)]
            rows.append([*cells, "; ".join(baselines), *_difference(figure)])
    table = to_table(["test set", "metric", "n", *titles, "baselines", "difference", "p"], rows)
    sliced = _slice_rows(report, systems) if slices else []
    if not sliced:
        return table
    head = ["test set", "slice", "metric", "n", *titles, "difference", "p"]
    return f"{table}\n\n{to_table(head, sliced)}"


def contamination_to_markdown(test_sets: Sequence[dict[str, Any]]) -> str:
    """A row for each measure of which items stand in training or validation files, and a line on the others.

    Empty where nothing was looked up.
    """
    told = {test_set["name"]: test_set["contamination"] for test_set in test_sets if test_set.get("contamination")}
    if not told:
        return ""
    found = [name for name, each in told.items() if each[IN_TRAINING] or each[IN_VALIDATION]]
    clean, left = len(told) - len(found), [test_set["name"] for test_set in test_sets if test_set["name"] not in told]
    says = f"Of {clean} of the {len(told)} measures that were looked up no item stands there."
    if left:
        says += f" Not looked up: {', '.join(left)}."
    head = ["test set", *CONTAMINATION_LABELS, "held by"]
    rows = [
        [name, *(f"{told[name][standing]:,}" for standing in CONTAMINATION_LABELS), _holders(told[name]["files"])]
        for name in found
    ]
    return f"{to_table(head, rows)}\n\n{says}" if rows else says


def _holders(files: dict[str, int]) -> str:
    return "; ".join(f"{name} {count:,}" for name, count in files.items())


def _slice_rows(report: dict[str, Any], systems: list[str]) -> list[list[str]]:
    """Of every measure that was sliced; what has too few items is not compared."""
    return [
        [test_set["name"], f"{each['by']}: {each['name']}", _title(figure), f"{each['n']:,}"]
        + _scores(figure, systems)
        + (_difference(figure) if each["enough"] else [TOO_FEW, ""])
        for test_set in report["test_sets"]
        for each in test_set.get("slices", ())
        for figure in each["figures"]
    ]


def _title(figure: dict[str, Any]) -> str:
    return metric_title(str(figure["title"]), higher_is_better=figure["higher_is_better"])


def _scores(figure: dict[str, Any], systems: list[str]) -> list[str]:
    return [_estimate(figure["scores"].get(system), figure["digits"]) for system in systems]


def _estimate(estimate: dict[str, Any] | None, digits: int) -> str:
    if estimate is None:
        return ""
    score = f"{estimate['score']:.{digits}f}"
    if estimate["low"] is None:
        return score
    return f"{score} ({estimate['low']:.{digits}f} to {estimate['high']:.{digits}f})"


def _difference(figure: dict[str, Any]) -> list[str]:
    """Finetuned less the base's better form, which has a name where there are two."""
    if "difference" not in figure:
        return ["", ""]
    difference, digits = figure["difference"], figure["digits"]
    return [f"{difference['value']:+.{digits}f} to {SYSTEM_TITLES[figure['base']]}", f"{difference['p']:.3f}"]


def to_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines: tuple[Sequence[str], ...] = (head, ["---"] * len(head), *rows)
    return "\n".join(f"| {' | '.join(map(in_cell, cells))} |" for cells in lines)


def in_cell(text: str) -> str:
    """As it may stand in a table: one line, without bars."""
    return " ".join(text.split()).replace("|", "\\|")


MAX_TEXT = 300
"""Characters of a name."""

_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""Control characters but tabs and line breaks, and halves of surrogate pairs."""

T = TypeVar("T")


class _WrongFieldError(Exception):
    """A field is not what it should be."""


class Fields:
    """An object of JSON, or what is said to be one; `where` names it in errors."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise _WrongFieldError(f"{where} is no object")
        self._value, self.where = value, where

    def __contains__(self, name: object) -> bool:
        return name in self._value

    def text(self, name: str) -> str:
        """A name, or another short text, of characters that can be written anywhere."""
        return str(self._of(name, str, lambda found: len(found) <= MAX_TEXT and not _UNWRITABLE.search(found)))

    def count(self, name: str, *, at_most: int = 10**9) -> int:
        """A whole number from 0 on."""
        return int(self._of(name, int, lambda found: 0 <= found <= at_most))

    def flag(self, name: str) -> bool:
        """True or false."""
        return bool(self._of(name, bool))

    def number(self, name: str) -> float:
        """Whole or not, neither infinite nor NaN."""
        return float(self._of(name, (int, float), lambda found: abs(found) <= sys.float_info.max))

    def inner(self, name: str) -> "Fields":
        """An object within."""
        return Fields(self._of(name, Mapping), f"{self.where}.{name}")

    def several(self, name: str, *, at_most: int = 100) -> "list[Fields]":
        """A list of objects within."""
        found = self._of(name, list, lambda each: len(each) <= at_most)
        return [Fields(each, f"{self.where}.{name}[{at}]") for at, each in enumerate(found)]

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        """What `read` gives of the field; None where it is missing or null."""
        return None if self._value.get(name) is None else read(name)

    def _of(self, name: str, kind: Any, fits: Callable[[Any], bool] = lambda _: True) -> Any:
        found = self._value.get(name)
        right = isinstance(found, kind) and (kind is bool or not isinstance(found, bool))
        if found is None:
            raise _WrongFieldError(f"{self.where}.{name} is missing")
        if not right or not fits(found):
            shown = repr(found)
            raise _WrongFieldError(f"{self.where}.{name} is {shown[:40]}{'…' if len(shown) > 40 else ''}")
        return found


MAX_TEST_SETS = 1000


@dataclass(frozen=True)
class ScoreValue:
    """A score and its 95 % interval; None where it was not drawn."""

    score: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class DifferenceValue:
    """Finetuned less base."""

    value: float
    low: float
    high: float
    p: float

    @property
    def is_clear(self) -> bool:
        """Whether chance alone would seldom give it: p below 0.05."""
        return self.p < 0.05


def gain_of(difference: DifferenceValue, *, higher_is_better: bool) -> float:
    """The difference, positive where finetuning made it better."""
    return difference.value if higher_is_better else -difference.value


@dataclass(frozen=True)
class FigureValue:
    """One metric of one measure or slice."""

    metric: str
    title: str
    higher_is_better: bool
    digits: int
    scores: dict[SystemName, ScoreValue]
    base: SystemName | None
    """The form of the base that the difference is to."""
    difference: DifferenceValue | None

    @property
    def gain(self) -> float | None:
        """The difference, positive where finetuning made it better."""
        return None if self.difference is None else gain_of(self.difference, higher_is_better=self.higher_is_better)


@dataclass(frozen=True)
class SliceValue:
    """A part of a measure."""

    by: Dimension
    name: str
    n: int
    enough: bool
    figures: tuple[FigureValue, ...]
    bounds: tuple[float, float] | None = None
    """Of the confidence in its answers, where it is of those."""


@dataclass(frozen=True)
class ContaminationValue:
    """How many items stand in training or validation files beside the measured one."""

    in_training: int
    in_validation: int
    """And in no training file."""


@dataclass(frozen=True)
class TestSetResult:
    """What was measured on one set."""

    name: str
    task: str
    n: int
    figures: tuple[FigureValue, ...]
    """The first is the one that the measure is told by."""
    slices: tuple[SliceValue, ...]
    data_sha256: str
    contamination: ContaminationValue | None = None
    """None where it was not looked up."""
    adapter_strength: float = 1.0
    """That was asked with; reports did not say it at first."""


@dataclass(frozen=True)
class ReportValue:
    """A whole report."""

    made_at: str
    base: str
    base_revision: str
    adapter: str | None
    adapter_revision: str | None
    device: str
    dtype: str
    limit: int | None
    """Rows of each set, where not all were asked."""
    test_sets: tuple[TestSetResult, ...]
    note: str = ""
    """How it was made, where that takes more words."""

    @property
    def systems(self) -> tuple[SystemName, ...]:
        """Those that any figure has, in their order."""
        seen = {system for test_set in self.test_sets for figure in test_set.figures for system in figure.scores}
        return tuple(system for system in SYSTEMS if system in seen)

    @property
    def items(self) -> int:
        """Over all measures."""
        return sum(test_set.n for test_set in self.test_sets)

    def is_of(self, info: ModelInfo) -> bool:
        """Whether it was made of these very weights, with these settings where it says which."""
        same = same_adapter(info.adapter_revision, self.adapter_revision) is not False
        return same and self.base_revision == info.base_revision


def load_report(path: Path) -> ReportValue:
    """The report in a file; DataError where it is none."""
    try:
        return as_report(read_report(path), name=path.name)
    except RecursionError as error:
        raise DataError(
            f"{path.name} is nested too deeply to be a report of an evaluation. Give another file."
        ) from error


def as_report(report: object, *, name: str = "The file") -> ReportValue:
    """A report as `evaluate` gives it, checked; DataError says which field is missing or wrong."""
    try:
        found = Fields(report, "report")
        model, settings = found.inner("model"), found.inner("settings")
        environment = found.optional("environment", found.inner)
        return ReportValue(
            made_at=found.text("made_at"),
            base=model.text("base"),
            base_revision=model.text("base_revision"),
            adapter=model.optional("adapter", model.text),
            adapter_revision=model.optional("adapter_revision", model.text),
            device=model.text("device"),
            dtype=model.text("dtype"),
            limit=settings.optional("limit", settings.count),
            test_sets=tuple(_test_set(each) for each in found.several("test_sets", at_most=MAX_TEST_SETS)),
            note=(environment and environment.optional("note", environment.text)) or "",
        )
    except _WrongFieldError as error:
        raise DataError(
            f"{name} is no report of an evaluation: {error}. Give a report.json of python -m phi2demo evaluate."
        ) from error


def as_test_sets(test_sets: Sequence[object], *, name: str = "The file") -> tuple[TestSetResult, ...]:
    """The measures of one or several reports, checked; DataError says which field is missing or wrong."""
    try:
        return tuple(_test_set(Fields(each, f"test_sets[{at}]")) for at, each in enumerate(test_sets))
    except _WrongFieldError as error:
        raise DataError(f"{name} has a measure that is none of an evaluation: {error}.") from error


def _test_set(found: Fields) -> TestSetResult:
    data, decoding = found.inner("data"), found.optional("generation", found.inner)
    strength = decoding.optional("adapter_strength", decoding.number) if decoding else None
    return TestSetResult(
        name=found.text("name"),
        task=found.text("task"),
        n=found.count("n"),
        figures=tuple(_figure(each) for each in found.several("figures")),
        slices=tuple(_slice(each) for each in found.optional("slices", found.several) or ()),
        data_sha256=data.text("sha256"),
        contamination=_contamination(standing) if (standing := found.optional("contamination", found.inner)) else None,
        adapter_strength=1.0 if strength is None else strength,
    )


def _contamination(found: Fields) -> ContaminationValue:
    return ContaminationValue(found.count(IN_TRAINING), found.count(IN_VALIDATION))


def _slice(found: Fields) -> SliceValue:
    by = found.text("by")
    if by not in DIMENSIONS:
        raise _WrongFieldError(f"{found.where}.by is {by!r}")
    figures = tuple(_figure(each) for each in found.several("figures"))
    bounds = found.optional("bounds", found.inner)
    return SliceValue(
        by,
        found.text("name"),
        found.count("n"),
        found.flag("enough"),
        figures,
        (bounds.number("low"), bounds.number("high")) if bounds else None,
    )


def _figure(found: Fields) -> FigureValue:
    scores = found.inner("scores")
    base = found.optional("base", found.text)
    difference = found.optional("difference", found.inner)
    values = {system: _score(scores.inner(system)) for system in SYSTEMS if system in scores}
    if base is not None and (base not in BASES or base not in values):
        raise _WrongFieldError(f"{found.where}.base is {base!r}")
    return FigureValue(
        metric=found.text("metric"),
        title=found.text("title"),
        higher_is_better=found.flag("higher_is_better"),
        digits=min(found.count("digits"), 6),
        scores=values,
        base=base,
        difference=_difference_value(difference) if difference and base and "finetuned" in values else None,
    )


def _score(found: Fields) -> ScoreValue:
    return ScoreValue(found.number("score"), found.optional("low", found.number), found.optional("high", found.number))


def _difference_value(found: Fields) -> DifferenceValue:
    return DifferenceValue(found.number("value"), found.number("low"), found.number("high"), found.number("p"))


assert set(SYSTEM_TITLES) == set(get_args(SystemName))
