"""Engines that change one thing about another engine."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from threading import Event

from phi2demo.engine.engine import Engine, GenerationOptions, ModelInfo, Output, Prompt, Score, Snapshot, Tokens


class ForwardingEngine:
    """Base class that passes every call on to `engine`; a subclass overrides what it changes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def info(self) -> ModelInfo:
        """See `Engine.info`."""
        return self._engine.info

    def count_tokens(self, text: str) -> int:
        """See `Engine.count_tokens`."""
        return self._engine.count_tokens(text)

    def tokens(self, text: str | Sequence[int]) -> Tokens:
        """See `Engine.tokens`."""
        return self._engine.tokens(text)

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: Event | None = None
    ) -> Iterator[Snapshot]:
        """See `Engine.stream`."""
        return self._engine.stream(prompts, options, cancel=cancel)

    def score(
        self,
        prompts: Sequence[Prompt],
        outputs: Sequence[Output],
        *,
        adapter_strength: float = 1.0,
        cancel: Event | None = None,
    ) -> list[Score]:
        """See `Engine.score`."""
        return self._engine.score(prompts, outputs, adapter_strength=adapter_strength, cancel=cancel)

    def forget(self) -> None:
        """See `Engine.forget`."""
        self._engine.forget()


class MeteredEngine(ForwardingEngine):
    """An engine that enters the context manager `computing()` while it generates or scores."""

    def __init__(self, engine: Engine, computing: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__(engine)
        self._computing = computing

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: Event | None = None
    ) -> Iterator[Snapshot]:
        """Generate inside `computing()`, from the first snapshot until the last one or until the iterator is closed."""
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
        """Score inside `computing()`."""
        with self._computing():
            return super().score(prompts, outputs, adapter_strength=adapter_strength, cancel=cancel)
