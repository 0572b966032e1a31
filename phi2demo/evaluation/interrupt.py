"""An engine that can be interrupted whoever asks it: what it is asked ends within a second once an event is set."""

from collections.abc import Iterator, Sequence
from threading import Event

from phi2demo.engine.engine import Engine, GenerationOptions, ModelInfo, Output, Prompt, Score, Snapshot, Tokens
from phi2demo.errors import StoppedError


class Interruptible:
    """Passes everything on to an engine, with the event; a stream that was cut short is a StoppedError, no answer."""

    def __init__(self, engine: Engine, cancel: Event) -> None:
        self._engine, self._cancel = engine, cancel

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
        """Of the engine; the stream ends by itself before the error is raised, as PEFT's hooks need it."""
        self._check()
        yield from self._engine.stream(prompts, options, cancel=self._cancel)
        self._check()

    def score(
        self, prompts: Sequence[Prompt], outputs: Sequence[Output], *, fast: bool = False, cancel: Event | None = None
    ) -> list[Score]:
        """Of the engine."""
        self._check()
        return self._engine.score(prompts, outputs, fast=fast, cancel=self._cancel)

    def forget(self) -> None:
        """Of the engine."""
        self._engine.forget()

    def _check(self) -> None:
        if self._cancel.is_set():
            raise StoppedError("Stopped.")
