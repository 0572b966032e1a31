"""An engine whose computing is timed. Knows not what for: it is told what to enter while the model computes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from threading import Event

from phi2demo.engine.engine import Engine, GenerationOptions, Output, Prompt, Score, Snapshot
from phi2demo.engine.forwarding import ForwardingEngine


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
