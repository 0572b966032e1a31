"""The result of an explanation: how much each unit of the text did for each output token, and how reliable that is."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from phi2demo.engine.engine import ModelInfo
from phi2demo.explain.request import ExplainRequest
from phi2demo.explain.units import Unit, UnitKind, Values


@dataclass(frozen=True)
class OutputToken:
    """A token of the output, as generated."""

    id: int
    text: str
    """Its characters; tokens that share a character have the same text."""
    start: int
    """The first character in the text of the output of its piece."""
    end: int
    piece: int = 0
    side: Literal["output", "contrast"] = "output"
    """Contrast: a token of the text typed after "instead of", whose values count against the output."""

    @property
    def place(self) -> tuple[int, str, int, int]:
        """The characters that it stands for: tokens with the same place share a character and are shown once."""
        return self.piece, self.side, self.start, self.end


@dataclass(frozen=True)
class Curve:
    """How the explained value changes as units are removed or added, the strongest supporters first.

    Petsiuk et al., "RISE", 2018. An area is the mean over the curve; 0 is the value of the empty text, 1 that of the whole.
    """

    share: tuple[float, ...]
    """The share of the units that are removed (deletion) or present (insertion), from 0 to 1."""
    values: tuple[float, ...]
    random: tuple[float, ...]
    """The mean of random orderings."""
    area: float
    """Better than random: lower for deletion, higher for insertion."""
    random_area: float
    """The mean over random orderings."""


@dataclass(frozen=True)
class Trust:
    """Figures on how reliable an explanation is."""

    calls: int
    """Prompts that the model scored, those for these figures included."""
    seconds: float
    seed: int
    remainder: float
    """The part of the text's effect that is missing from the sum of the values, as a share of the effect."""
    opened: float | None = None
    """Partition: the share of the tree's inner nodes whose credit was measured down to their children."""
    split_evenly: float | None = None
    """Partition: the share of the credit that was only split evenly below a node that was not opened."""
    standard_error: tuple[float, ...] | None = None
    """The standard error of each unit's total, where the method samples."""
    fit: float | None = None
    """LIME: the share of the variance of the masked texts' values that the linear model explains (weighted R²)."""
    deletion: Curve | None = None
    insertion: Curve | None = None
    agreement: float | None = None
    """Spearman's rank correlation of the units' values by SHAP and by LIME."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """An explanation. Values are in nats of log-probability or of log-odds."""

    request: ExplainRequest
    model: ModelInfo
    units: tuple[Unit, ...]
    kind: UnitKind
    tokens: tuple[OutputToken, ...]
    """The tokens of the target, and of the contrast."""
    values: Values
    """(units, tokens). Those of a contrast, and of the base in a difference, have the opposite sign: all values add up."""
    base_values: Values
    """(tokens,): values with every unit hidden."""
    full_values: Values
    """(tokens,): values with the text as typed."""
    trust: Trust
    notes: tuple[str, ...] = ()
    """Remarks for the person who reads this explanation."""

    @property
    def totals(self) -> Values:
        """(units,): the value of each unit for the whole target."""
        return np.asarray(self.values.sum(1), dtype=np.float64)

    @property
    def ranked(self) -> list[int]:
        """Indices of the units by the size of their total, the largest first."""
        return [int(index) for index in np.argsort(-np.abs(self.totals), kind="stable")]

    @property
    def output(self) -> str:
        """The text of the target."""
        texts = {token.place: token.text for token in self.tokens if token.side == "output"}
        return "".join(texts.values())

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        request, model = self.request, self.model
        adapter, adapter_revision = model.adapter_of(request.of)
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
