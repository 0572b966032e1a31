"""A receipt: everything needed to get the same output again. Knows nothing of torch or of the page."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from phi2demo import __version__
from phi2demo.engine.engine import ModelInfo, Variant
from phi2demo.errors import InputError
from phi2demo.tasks.request import PromptStyle, Request

FORMAT = 2
_NAMES_OF_FORMAT_1 = {"use": "variant", "form": "prompt_style"}
"""Fields that had another name in receipts of format 1."""


@dataclass(frozen=True)
class Receipt:
    """What was asked, what answered, and what it cost. All fields are JSON values."""

    task: str
    text: str
    """The person's own text."""
    options: dict[str, Any]
    """Of the task."""
    generation: dict[str, Any]
    """Of the decoding."""
    variant: Variant
    seed: int
    """The seed really used."""
    output: str
    base: str
    base_revision: str
    adapter: str | None
    adapter_revision: str | None
    """With a part for its settings; receipts of adapters in folders did not have that part at first."""
    device: str
    dtype: str
    versions: dict[str, str]
    batch_size: int
    """Rows that were generated together; it can change the last bits of a sum, hence a greedy choice between equals."""
    prompt_tokens: int
    new_tokens: int
    first_token_s: float | None
    seconds: float
    tokens_per_s: float
    stop_reason: str
    """Of the piece that ended worst, where a text was cut into pieces."""
    pieces: int
    made_at: str
    """UTC, ISO 8601."""
    prompt_style: PromptStyle = "template"
    """How the model was asked; receipts did not say it at first, when it was always the template."""
    format: int = FORMAT

    def to_json(self) -> str:
        """Indented JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Receipt":
        """Read a receipt back; InputError where it is none."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _no_receipt(str(error)) from error
        if not isinstance(values, dict):
            raise _no_receipt(f"a JSON {type(values).__name__}, not an object")
        if values.get("format") == 1 and "use" in values:
            values = {_NAMES_OF_FORMAT_1.get(name, name): value for name, value in values.items()} | {"format": 2}
        if values.get("format") != FORMAT:
            raise InputError(f"The receipt has format {values.get('format')!r}; this version reads format {FORMAT}.")
        hints = get_type_hints(cls)
        values.setdefault("prompt_style", cls.prompt_style)
        if astray := sorted(values.keys() ^ hints.keys()):
            raise _no_receipt(f"the field {astray[0]} is {'unknown' if astray[0] in values else 'missing'}")
        for name, hint in hints.items():
            if not _fits(values[name], hint):
                raise _no_receipt(f"{name} is {values[name]!r}")
        return cls(**values)


def make_receipt(
    info: ModelInfo, request: Request, *, variant: Variant, seconds: float, new_tokens: int, **measured: Any
) -> Receipt:
    """A receipt of what was asked, with the loaded model's own description; `measured` are its other fields."""
    adapter, adapter_revision = info.adapter_of(variant)
    assert request.seed is not None
    return Receipt(
        variant=variant,
        seed=request.seed,
        task=request.task,
        text=request.text,
        options=asdict(request.options),
        generation=asdict(request.generation) | {"stop": list(request.generation.stop)},
        base=info.base,
        base_revision=info.base_revision,
        adapter=adapter,
        adapter_revision=adapter_revision,
        device=info.device,
        dtype=info.dtype,
        versions=dict(_versions()),
        new_tokens=new_tokens,
        seconds=round(seconds, 3),
        tokens_per_s=round(new_tokens / seconds, 1) if seconds > 0 else 0.0,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        **measured,
    )


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    """Of the packages that an output depends on, as far as they are installed."""
    found = [("phi2demo", __version__)]
    for name in ("torch", "transformers", "peft"):
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)


def _fits(value: object, hint: Any) -> bool:
    """Whether a JSON value is of a field's type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin is UnionType:
        return any(_fits(value, argument) for argument in arguments)
    if origin is dict:
        return isinstance(value, dict) and (arguments[1] is Any or all(_fits(v, arguments[1]) for v in value.values()))
    if hint is NoneType:
        return value is None
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float if hint is float else hint)


def _no_receipt(why: str) -> InputError:
    return InputError(f"This is not a receipt of phi2demo: {why[:200]}. Give the JSON that came with an output.")
