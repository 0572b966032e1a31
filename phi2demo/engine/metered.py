"""An engine whose computing is timed. Knows not what for: it is told what to enter while the model computes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from threading import Event

from phi2demo.engine.engine import Engine, GenerationOptions, ModelInfo, Output, Prompt, Score, Snapshot, Tokens


class MeteredEngine:
    """Passes everything on to `engine`, and is inside `computing()` while that generates or scores."""

    def __init__(self, engine: Engine, computing: Callable[[], AbstractContextManager[None]]) -> None:
        self._engine, self._computing = engine, computing

    @property
    def info(self) -> ModelInfo:
        """As the engine's own; so too the next two."""
        return self._engine.info

    def count_tokens(self, text: str) -> int:
        """Not timed: no model is asked."""
        return self._engine.count_tokens(text)

    def tokens(self, text: str | Sequence[int]) -> Tokens:
        """Not timed."""
        return self._engine.tokens(text)

    def forget(self) -> None:
        """Not timed: nothing is computed."""
        self._engine.forget()

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: Event | None = None
    ) -> Iterator[Snapshot]:
        """Timed from the first snapshot that is asked for until the end, or until it is closed."""
        with self._computing():
            yield from self._engine.stream(prompts, options, cancel=cancel)

    def score(
        self, prompts: Sequence[Prompt], outputs: Sequence[Output], *, fast: bool = False, cancel: Event | None = None
    ) -> list[Score]:
        """Timed."""
        with self._computing():
            return self._engine.score(prompts, outputs, fast=fast, cancel=cancel)
