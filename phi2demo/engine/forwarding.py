"""An engine that passes everything on to another: the base of those that change one thing about it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
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


class MeteredEngine(ForwardingEngine):
    """Is inside `computing()` while `engine` generates or scores."""

    def __init__(self, engine: Engine, computing: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__(engine)
        self._computing = computing

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: Event | None = None
    ) -> Iterator[Snapshot]:
        """Timed from the first snapshot that is asked for until the end, or until it is closed."""
        with self._computing():
            yield from super().stream(prompts, options, cancel=cancel)

    def score(
        self,
        prompts: Sequence[Prompt],
        outputs: Sequence[Output],
        *,
        adapter_strength: float = 1.0,
        cancel: Event | None = None,
    ) -> list[Score]:
        """Timed."""
        with self._computing():
            return super().score(prompts, outputs, adapter_strength=adapter_strength, cancel=cancel)
