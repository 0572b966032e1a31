"""A receipt: everything needed to get the same output again. Knows nothing of torch or of the page."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from phi2demo import __version__
from phi2demo.data.checks import first_problem
from phi2demo.engine.engine import ModelInfo, Variant, visible
from phi2demo.errors import InputError, quoted, shortened
from phi2demo.tasks.request import PromptStyle, Request
from phi2demo.tasks.templates import Template

FORMAT = 2
_NAMES_OF_FORMAT_1 = {"use": "variant", "form": "prompt_style"}
"""Fields that had another name in receipts of format 1."""


@dataclass(frozen=True)
class Receipt:
    """What was asked, what answered, and what it cost. All fields are JSON values."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")

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
    template: str = "phi"
    """Name or text of the prompt template; early receipts did not say it, when it was always Phi-2's."""
    system: str = ""
    """The system text of the template."""
    prompt: str = ""
    """What the model was given for the first piece of the text, with the template and its special tokens."""
    engine: str = "transformers"
    """The library that generated, with its version; early receipts did not say it, when there was only this one."""
    format: int = FORMAT

    def to_json(self) -> str:
        """Indented JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Receipt":
        """Read a receipt back; InputError where it is none."""
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise _no_receipt(f"a JSON {type(values).__name__}, not an object")
            if values.get("format") == 1 and "use" in values:
                values = {_NAMES_OF_FORMAT_1.get(name, name): value for name, value in values.items()} | {"format": 2}
            if values.get("format") != FORMAT:
                raise InputError(
                    f"The receipt has format {quoted(values.get('format'))}; this version reads format {FORMAT}."
                )
            return TypeAdapter(cls).validate_json(json.dumps(values))
        except ValidationError as error:
            raise _no_receipt(first_problem(error)) from error
        except (ValueError, RecursionError) as error:
            raise _no_receipt(str(error)) from error


def make_receipt(
    info: ModelInfo,
    request: Request,
    *,
    variant: Variant,
    template: Template,
    prompt: str,
    seconds: float,
    new_tokens: int,
    **measured: Any,
) -> Receipt:
    """A receipt of what was asked, with the loaded model's own description; `measured` are its other fields."""
    adapter, adapter_revision = info.adapter_of(variant)
    assert request.seed is not None
    return Receipt(
        variant=variant,
        template=template.given,
        system=template.system,
        prompt=visible(prompt),
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
        engine=info.engine,
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
    versions = [("phi2demo", __version__)]
    for name in ("torch", "transformers", "peft"):
        with suppress(PackageNotFoundError):
            versions.append((name, version(name)))
    return tuple(versions)


def _no_receipt(why: str) -> InputError:
    return InputError(
        f"This is not a receipt of phi2demo: {shortened(why, 200)}. Give the JSON that came with an output."
    )
