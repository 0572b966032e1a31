"""An engine that can be interrupted whoever asks it: what it is asked ends within a second once an event is set."""

from collections.abc import Iterator, Sequence
from threading import Event

from phi2demo.engine.engine import Engine, GenerationOptions, Output, Prompt, Score, Snapshot
from phi2demo.engine.forwarding import ForwardingEngine
from phi2demo.errors import StoppedError


class Interruptible(ForwardingEngine):
    """Gives the event to `engine` with all it is asked; a stream that was cut short is a StoppedError, no answer."""

    def __init__(self, engine: Engine, cancel: Event) -> None:
        super().__init__(engine)
        self._cancel = cancel

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: Event | None = None
    ) -> Iterator[Snapshot]:
        """The stream ends by itself before the error is raised, as PEFT's hooks need it."""
        self._check()
        yield from super().stream(prompts, options, cancel=self._cancel)
        self._check()

    def score(
        self,
        prompts: Sequence[Prompt],
        outputs: Sequence[Output],
        *,
        adapter_strength: float = 1.0,
        cancel: Event | None = None,
    ) -> list[Score]:
        """Broken off by the event, too."""
        self._check()
        return super().score(prompts, outputs, adapter_strength=adapter_strength, cancel=self._cancel)

    def _check(self) -> None:
        if self._cancel.is_set():
            raise StoppedError("Stopped.")
