"""Shapes and budgets: `nano` for two CPU cores, `mini` for one GPU, `tiny` for tests."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PhiConfig


@dataclass(frozen=True)
class Phase:
    """A stretch of pretraining at one sequence length."""

    share: float
    """Of all tokens."""
    length: int
    """Tokens in a row."""
    rows: int
    """Rows in a step."""


@dataclass(frozen=True)
class Preset:
    """A Phi shape with the budget it is trained on."""

    layers: int
    hidden: int
    heads: int
    vocab_size: int
    context: int
    """Tokens the model reads at most."""
    tokens: int
    """Tokens seen in pretraining."""
    learning_rate: float
    phases: tuple[Phase, ...]

    def config(self, *, vocab_size: int, end_id: int, pad_id: int) -> "PhiConfig":
        """The `transformers` config: Phi's architecture with tied embeddings."""
        from transformers import PhiConfig

        return PhiConfig(
            vocab_size=vocab_size,
            hidden_size=self.hidden,
            intermediate_size=4 * self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            max_position_embeddings=self.context,
            partial_rotary_factor=0.5,
            tie_word_embeddings=True,
            bos_token_id=end_id,
            eos_token_id=end_id,
            pad_token_id=pad_id,
        )


PRESETS = {
    "tiny": Preset(
        layers=2,
        hidden=64,
        heads=2,
        vocab_size=512,
        context=256,
        tokens=40_000,
        learning_rate=3e-3,
        phases=(Phase(0.8, 64, 8), Phase(0.2, 256, 2)),
    ),
    "nano": Preset(
        layers=6,
        hidden=256,
        heads=4,
        vocab_size=8192,
        context=1024,
        tokens=24_000_000,
        learning_rate=3e-3,
        phases=(Phase(0.75, 256, 12), Phase(0.25, 1024, 3)),
    ),
    "mini": Preset(
        layers=12,
        hidden=384,
        heads=6,
        vocab_size=16384,
        context=1024,
        tokens=380_000_000,
        learning_rate=2.5e-3,
        phases=(Phase(1.0, 1024, 96),),
    ),
}
