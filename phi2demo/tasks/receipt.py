"""A receipt: everything needed to get the same output again. Knows nothing of torch or of the page."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from phi2demo.engine.engine import Use
from phi2demo.errors import InputError

FORMAT = 1


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
    use: Use
    seed: int
    """The seed really used."""
    output: str
    base: str
    base_revision: str
    adapter: str | None
    adapter_revision: str | None
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
    format: int = FORMAT

    def to_json(self) -> str:
        """Indented JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Receipt":
        """Read a receipt back; InputError where it is none."""
        try:
            values = json.loads(text)
            receipt = cls(**values)
        except (json.JSONDecodeError, TypeError) as error:
            raise InputError(
                f"This is not a receipt of phi2demo: {error}. Give the JSON that came with an output."
            ) from error
        if receipt.format != FORMAT:
            raise InputError(f"The receipt has format {receipt.format!r}; this version reads format {FORMAT}.")
        return receipt
