"""What an explanation is: how much each unit of the text did for each output token, and how sure that is."""

import csv
import io
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from phi2demo.data.files import csv_text
from phi2demo.engine.engine import ModelInfo
from phi2demo.explain.request import ExplainRequest
from phi2demo.explain.units import Unit, UnitKind

Values = NDArray[np.float64]


@dataclass(frozen=True)
class OutputToken:
    """A token of the output, as generated."""

    id: int
    text: str
    """The characters it is of; tokens that share a character have the same."""
    start: int
    """In the text of its piece."""
    end: int
    piece: int = 0
    side: Literal["this", "that"] = "this"
    """That: of the text typed after "instead of"; its values count against."""


@dataclass(frozen=True)
class Curve:
    """How the explained value changes as units are taken away or put back, the strongest supporters first.

    Petsiuk et al., "RISE", 2018. Areas are means over the curve, in shares of the way from the empty to the whole text.
    """

    share: tuple[float, ...]
    """Of the units that are gone (deletion) or there (insertion), from 0 to 1."""
    values: tuple[float, ...]
    random: tuple[float, ...]
    """Mean of random orderings."""
    area: float
    random_area: float
    """Mean over random orderings: lower than theirs is better for deletion, higher for insertion."""


@dataclass(frozen=True)
class Trust:
    """What tells how far an explanation can be believed."""

    calls: int
    """Prompts that the model scored, for this explanation and its trust figures."""
    seconds: float
    seed: int
    remainder: float
    """What the values lack to add up to the explained value less the base value, as a share of that."""
    opened: float | None = None
    """Partition: share of the tree's inner nodes whose credit was measured down to their children."""
    split_evenly: float | None = None
    """Partition: share of the credit that was only split evenly below a node that was not opened."""
    standard_error: tuple[float, ...] | None = None
    """Of each unit's total, where the method samples."""
    fit: float | None = None
    """LIME: share of the variance of the masked texts' values that the linear model explains (weighted R²)."""
    deletion: Curve | None = None
    insertion: Curve | None = None
    agreement: float | None = None
    """Spearman's rank correlation of SHAP's and LIME's values of the units."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """An explanation. Rows of `values` are units, columns output tokens, in nats of log-probability or of log-odds."""

    request: ExplainRequest
    model: ModelInfo
    units: tuple[Unit, ...]
    kind: UnitKind
    tokens: tuple[OutputToken, ...]
    """Of the target, and of what was typed after "instead of"."""
    values: Values
    """(units, tokens). Of "that" and of the base in a difference with the opposite sign, so that all add up."""
    base_values: Values
    """(tokens,): with every unit hidden."""
    full_values: Values
    """(tokens,): with the text as typed."""
    trust: Trust
    notes: tuple[str, ...] = field(default=())
    """What a person should know about this explanation."""

    @property
    def totals(self) -> Values:
        """(units,): what each unit did for the whole target."""
        return np.asarray(self.values.sum(1), dtype=np.float64)

    @property
    def ranked(self) -> list[int]:
        """Indices of the units, the strongest first, whatever their sign."""
        return [int(at) for at in np.argsort(-np.abs(self.totals), kind="stable")]

    @property
    def output(self) -> str:
        """The text of the target."""
        return "".join(_distinct(token for token in self.tokens if token.side == "this"))

    def as_dict(self) -> dict[str, Any]:
        """JSON values: everything but the weights."""
        request, model = self.request, self.model
        adapter, adapter_revision = model.adapter_of("second" if request.of == "second" else "finetuned")
        return {
            "task": request.task,
            "text": request.text,
            "options": asdict(request.options),
            "output": self.output,
            "of": request.of,
            "base_prompt_style": request.base_prompt_style,
            "adapter_strength": request.adapter_strength,
            "sentence_case": request.sentence_case,
            "target": list(request.target) if request.target else None,
            "instead": request.instead,
            "method": request.method,
            "value": request.value,
            "mask": request.mask,
            "max_evals": request.max_evals,
            "units": {
                "kind": self.kind,
                "items": [
                    asdict(unit) | {"value": float(value)} for unit, value in zip(self.units, self.totals, strict=True)
                ],
            },
            "tokens": [asdict(token) for token in self.tokens],
            "values": self.values.tolist(),
            "base_value": float(self.base_values.sum()),
            "base_values": self.base_values.tolist(),
            "full_value": float(self.full_values.sum()),
            "full_values": self.full_values.tolist(),
            "trust": asdict(self.trust),
            "notes": list(self.notes),
            "model": {
                "base": model.base,
                "base_revision": model.base_revision,
                "adapter": adapter,
                "adapter_revision": adapter_revision,
                "device": model.device,
                "dtype": model.dtype,
            },
        }

    def to_csv(self) -> str:
        """A row a unit: rank, unit, start, end, value, and a column for each output token."""
        rank = {at: place for place, at in enumerate(self.ranked, 1)}
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        names = [f"{'not ' if token.side == 'that' else ''}{at}: {token.text}" for at, token in enumerate(self.tokens)]
        writer.writerow(["rank", "unit", "start", "end", "value", *map(csv_text, names)])
        for at, (unit, total, row) in enumerate(zip(self.units, self.totals, self.values, strict=True)):
            writer.writerow([rank[at], csv_text(unit.text), unit.start, unit.end, *(f"{v:.6g}" for v in (total, *row))])
        return buffer.getvalue()


def _distinct(tokens: Any) -> list[str]:
    """Texts of tokens, once where several are of the same characters."""
    texts, seen = [], set()
    for token in tokens:
        where = (token.piece, token.start, token.end)
        if where not in seen:
            texts.append(token.text)
        seen.add(where)
    return texts
