"""An engine that passes everything on to another: the base of those that change one thing about it."""

from collections.abc import Iterator, Sequence
from threading import Event

from phi2demo.engine.engine import Engine, GenerationOptions, ModelInfo, Output, Prompt, Score, Snapshot, Tokens


class ForwardingEngine:
    """Answers as `engine` does; see `Engine` for what each method gives."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def info(self) -> ModelInfo:
        """Of the engine."""
        return self._engine.info

    def count_tokens(self, text: str) -> int:
        """Of the engine."""
        return self._engine.count_tokens(text)

    def tokens(self, text: str | Sequence[int]) -> Tokens:
        """Of the engine."""
        return self._engine.tokens(text)

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: Event | None = None
    ) -> Iterator[Snapshot]:
        """Of the engine."""
        return self._engine.stream(prompts, options, cancel=cancel)

    def score(
        self,
        prompts: Sequence[Prompt],
        outputs: Sequence[Output],
        *,
        adapter_strength: float = 1.0,
        cancel: Event | None = None,
    ) -> list[Score]:
        """Of the engine."""
        return self._engine.score(prompts, outputs, adapter_strength=adapter_strength, cancel=cancel)

    def forget(self) -> None:
        """Of the engine."""
        self._engine.forget()
