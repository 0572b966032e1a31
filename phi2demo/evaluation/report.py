"""An evaluation report: the one model that a run builds and writes, and that the page, cards and commands read back.

A report may be a file that a stranger uploaded, so every field is checked and every size is bounded when it is read.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from phi2demo.data.test_sets import EvaluationSplit
from phi2demo.engine.engine import ModelInfo, Variant
from phi2demo.engine.revisions import same_adapter
from phi2demo.evaluation.outputs import BASE_SYSTEMS, SYSTEMS, SystemName
from phi2demo.evaluation.slices import LEAST_TO_RANK, Dimension

FORMAT: Literal[2] = 2
MAX_TEST_SETS = 1000
MAX_ENTRIES = 200
"""Of every other list and object: figures, slices, settings, files."""

_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""Control characters except tabs and line feeds, and halves of surrogate pairs."""


def _check_writable(text: str) -> str:
    if _UNWRITABLE.search(text):
        raise ValueError("control characters")
    return text


def _check_setting(value: Any) -> Any:
    """A setting of a generation: a number, a flag, a short text or a list of short texts."""
    texts = value if isinstance(value, list | tuple) else [value] if isinstance(value, str) else []
    is_number = isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1e15
    if value is not None and not is_number and not isinstance(value, list | tuple | str):
        raise ValueError("no setting")
    if len(texts) > MAX_ENTRIES or any(not isinstance(text, str) or len(text) > 300 for text in texts):
        raise ValueError("no short texts")
    for text in texts:
        _check_writable(text)
    return value


Text = Annotated[str, Field(strict=True, max_length=300), AfterValidator(_check_writable)]
LongText = Annotated[str, Field(strict=True, max_length=5000), AfterValidator(_check_writable)]
Count = Annotated[int, Field(strict=True, ge=0, le=10**18)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
Setting = Annotated[Any, AfterValidator(_check_setting)]
Few = Field(max_length=MAX_ENTRIES)


class Part(BaseModel):
    """A part of a report. Unknown fields of a file are ignored; fields that were not set are not written."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True)


SIGNIFICANT = 0.05
"""A difference whose p is below is clear."""
Verdict = Literal["better", "worse", "unclear", "too few"]
"""What a difference says about the finetuned model."""


class Score(Part):
    """A score with its bootstrap 95 % interval; None where no interval was computed."""

    score: Number
    low: Number | None = None
    high: Number | None = None


class Difference(Part):
    """The finetuned model's score minus the base's, with its 95 % interval."""

    value: Number
    low: Number
    high: Number
    p: Number
    """Of the paired, two-sided test."""

    @property
    def is_clear(self) -> bool:
        """Whether chance alone would seldom give such a difference: p is below SIGNIFICANT."""
        return self.p < SIGNIFICANT


class Figure(Part):
    """One metric on one test set or slice: a score of each system, and the finetuned model against the better base."""

    metric: Text
    title: Text
    higher_is_better: Flag
    digits: Annotated[int, Field(strict=True, ge=0, le=6)]
    """After the decimal point, in tables."""
    scores: dict[SystemName, Score]
    base: SystemName | None = None
    """The base system that the difference is to."""
    difference: Difference | None = None
    signature: LongText = ""
    """Settings and version of the metric; empty in slices."""
    baselines: Annotated[dict[Text, Score], Few] = Field(default_factory=dict)

    @field_validator("base")
    @classmethod
    def _check_base(cls, base: SystemName | None, info: ValidationInfo) -> SystemName | None:
        if base is not None and (base not in BASE_SYSTEMS or base not in info.data.get("scores", {})):
            raise ValueError("no base system with a score")
        return base

    @field_validator("difference")
    @classmethod
    def _check_difference(cls, difference: Difference | None, info: ValidationInfo) -> Difference | None:
        if difference and (info.data.get("base") is None or "finetuned" not in info.data.get("scores", {})):
            raise ValueError("nothing to compare")
        return difference

    @property
    def main_score(self) -> Score | None:
        """The score of the finetuned model, or of the first base system where only bases were asked."""
        return next((self.scores[system] for system in SYSTEMS if system in self.scores), None)

    @property
    def better_base(self) -> SystemName | None:
        """The base system with the better score; None where no base was asked."""
        scores = {system: score.score for system, score in self.scores.items()}
        return better_base(scores, higher_is_better=self.higher_is_better)

    @property
    def gain(self) -> float | None:
        """The difference, positive where finetuning improved the score."""
        if self.difference is None:
            return None
        return self.difference.value if self.higher_is_better else -self.difference.value

    def verdict(self, n: int) -> Verdict | None:
        """What the difference on `n` items says: a resample of a few items proves nothing. None without a difference."""
        if self.difference is None or self.gain is None:
            return None
        if n < LEAST_TO_RANK:
            return "too few"
        if not self.difference.is_clear or self.gain == 0:
            return "unclear"
        return "better" if self.gain > 0 else "worse"


def better_base(scores: Mapping[SystemName, float], *, higher_is_better: bool) -> SystemName | None:
    """The base system with the better score; None where no base was asked."""
    asked = [system for system in BASE_SYSTEMS if system in scores]
    sign = 1 if higher_is_better else -1
    return max(asked, key=lambda system: sign * scores[system], default=None)


class Bounds(Part):
    """The lowest and the highest confidence in the answers of a slice."""

    low: Number
    high: Number


class Slice(Part):
    """Items of a test set that share a label."""

    by: Dimension
    name: Text
    n: Count
    enough: Flag
    """Whether there are enough items to rank models by."""
    bounds: Bounds | None = None
    """Of slices by confidence."""
    figures: Annotated[tuple[Figure, ...], Few]


class ContaminationCounts(Part):
    """How many items stand in training or validation files beside the test file."""

    in_training: Count = Field(alias="in training")
    in_validation: Count = Field(alias="in validation")
    """And in no training file."""
    in_neither: Count = Field(alias="in neither")
    files: dict[LongText, Count]
    """How many items each file holds."""

    @property
    def is_clean(self) -> bool:
        """Whether no item stands in such a file."""
        return not (self.in_training or self.in_validation)

    @property
    def counts(self) -> tuple[int, ...]:
        """In the order of CONTAMINATION_LABELS."""
        return self.in_training, self.in_validation, self.in_neither


class SourceFile(Part):
    """The file that the items of a test set are from."""

    name: LongText
    """Path below the data folder."""
    sha256: Text
    split: Text
    note: LongText = ""


class TestSetResult(Part):
    """All that was measured on one test set."""

    name: Text
    task: Text
    data: SourceFile
    n: Count
    indexes: tuple[Count, ...] = ()
    """Of the items, where a live run drew some."""
    generation: Annotated[dict[Text, Setting], Few] | None = None
    unanswered: dict[SystemName, Count] = Field(default_factory=dict)
    contamination: ContaminationCounts | None = None
    """None where it was not looked up."""
    figures: Annotated[tuple[Figure, ...], Few]
    """The first one stands for the test set."""
    slices: Annotated[tuple[Slice, ...], Few] = ()
    seconds: dict[SystemName, Number] = Field(default_factory=dict)
    items_per_s: dict[SystemName, Number | None] = Field(default_factory=dict)

    @property
    def adapter_strength(self) -> Any:
        """The strength that the adapter was used with: 1 where the report does not say."""
        return (self.generation or {}).get("adapter_strength", 1.0)

    def without_adapter(self) -> "TestSetResult":
        """The results of the base alone."""
        slices = [part.model_copy(update={"figures": _of_base(part.figures)}) for part in self.slices]
        return self.model_copy(update={"figures": _of_base(self.figures), "slices": tuple(slices)})


def _of_base(figures: tuple[Figure, ...]) -> tuple[Figure, ...]:
    bare = []
    for figure in figures:
        if scores := {system: score for system, score in figure.scores.items() if system != "finetuned"}:
            bare.append(figure.model_copy(update={"scores": scores, "base": None, "difference": None}))
    return tuple(bare)


class SkippedSet(Part):
    """A data set that was not measured, and why."""

    name: LongText
    why: LongText


class ModelDescription(Part):
    """The model that was measured, as loaded."""

    base: Text
    base_revision: Text
    adapter: Text | None = None
    adapter_revision: Text | None = None
    parameters: Count | None = None
    layers: Count | None = None
    hidden_size: Count | None = None
    context: Count | None = None
    device: Text
    dtype: Text
    engine: Text = "transformers"
    lora_rank: Count | None = None
    adapter_kind: Text | None = None
    template: LongText | None = None
    """Name or text of the prompt template; reports that do not say it used Phi-2's."""
    system: LongText | None = None
    warnings: Annotated[tuple[LongText, ...], Few] = ()
    training: dict[Text, Count] | None = None
    """Tokens that it was trained on; only earlier reports say it."""
    weights_sha256: Annotated[dict[LongText, Text], Few] = Field(default_factory=dict)


class Environment(Part):
    """The machine and the versions that figures depend on."""

    python: Text
    system: Text
    processors: Count | None = None
    threads: Count
    versions: Annotated[dict[Text, Text], Few]
    processes: Count | None = None
    note: LongText = ""
    """How the report was made, where that needs words."""


class HubSource(Part):
    """The data set of the hub that was measured; see `hub_data.HubData`."""

    id: Text
    split: Text
    config: Text | None = None
    columns: Annotated[dict[Text, Text], Few] = Field(default_factory=dict)
    limit: Count | None = None
    revision: Text | None = None


class RunSettings(Part):
    """What a run was asked to do."""

    hub: HubSource | None = None
    split: EvaluationSplit = "test"
    limit: Count | None = None
    """Rows of each data set, where not all were used."""
    test_sets: Annotated[tuple[Text, ...], Field(max_length=MAX_TEST_SETS)] = ()
    tasks: Annotated[tuple[Text, ...], Few] = ()
    systems: Annotated[tuple[SystemName, ...], Few]
    batch_size: Count
    seed: Annotated[int, Field(strict=True, ge=0)]
    resamples: Count
    baselines: Flag = True
    contamination: Flag = True
    live: Flag = False
    """Whether somebody watched the run, on the page."""
    complete: Flag = True
    """Whether all items were answered."""


class Speed(Part):
    """Tokens per second of one row with greedy decoding."""

    variant: Variant
    new_tokens: Annotated[tuple[Count, ...], Few]
    tokens_per_s: Annotated[tuple[Number, ...], Few]
    median_tokens_per_s: Number


class SliceRule(Part):
    """How the labels of one dimension were given."""

    rule: LongText
    names: Annotated[tuple[Text, ...], Few]
    up_to: dict[Text, tuple[Count, ...]] = Field(default_factory=dict)
    sentences: tuple[Text, ...] = ()
    """Kinds of rows to which the bounds for sentences apply."""
    lower_bounds: tuple[Number, ...] = Field(default=(), alias="from")
    """Of each label but the first."""
    formula: LongText = ""


class Slicing(Part):
    """How slices were made."""

    length: SliceRule | None = None
    genre: SliceRule | None = None
    complexity: SliceRule | None = None
    contamination: SliceRule | None = None
    confidence: SliceRule | None = None
    least_to_rank: Count


class Report(Part):
    """A whole evaluation report."""

    format: Literal[2] = FORMAT
    made_at: Text
    """ISO 8601."""
    settings: RunSettings
    slicing: Slicing | None = None
    test_sets: Annotated[tuple[TestSetResult, ...], Field(max_length=MAX_TEST_SETS)]
    skipped: Annotated[tuple[SkippedSet, ...], Field(max_length=MAX_TEST_SETS)] = ()
    model: ModelDescription
    environment: Environment
    speed: Speed | None = None

    @property
    def systems(self) -> tuple[SystemName, ...]:
        """The systems that any figure has."""
        return systems_in(self.test_sets)

    @property
    def items(self) -> int:
        """The number of items over all test sets."""
        return sum(test_set.n for test_set in self.test_sets)

    def is_of(self, info: ModelInfo) -> bool:
        """Whether these weights were measured, with the same adapter settings where the report says which."""
        same = same_adapter(info.adapter_revision, self.model.adapter_revision) is not False
        return same and self.model.base_revision == info.base_revision

    def as_dict(self) -> dict[str, Any]:
        """JSON values of what was set, as in the file."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=1) + "\n"


def systems_in(test_sets: Sequence[TestSetResult]) -> tuple[SystemName, ...]:
    """The systems that any figure of the test sets has, in their fixed order."""
    present = {system for test_set in test_sets for figure in test_set.figures for system in figure.scores}
    return tuple(system for system in SYSTEMS if system in present)
