"""Over the scripted engine: what is timed, and that nothing of it is lost."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from phi2demo.engine.engine import GenerationOptions, Prompt
from phi2demo.engine.forwarding import MeteredEngine
from tests.ui.scripted import ScriptedEngine


class Watch:
    """How often it was entered, and whether someone is inside."""

    def __init__(self) -> None:
        self.entered = self.inside = 0

    @contextmanager
    def computing(self) -> Iterator[None]:
        self.entered += 1
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1


def test_answers_pass_through_and_are_timed() -> None:
    watch, inner = Watch(), ScriptedEngine()
    engine = MeteredEngine(inner, watch.computing)
    prompts = [Prompt("Instruct: a\nb c\nOutput:")]
    assert (engine.info, engine.count_tokens("a b"), engine.tokens("a b")) == (inner.info, 2, inner.tokens("a b"))
    assert watch.entered == 0
    *_, last = engine.stream(prompts, GenerationOptions())
    assert last.completions is not None
    assert last.completions[0].text == "finetuned 0: b c"
    assert engine.score(prompts, [" positive"]) == inner.score(prompts, [" positive"])
    assert (watch.entered, watch.inside) == (2, 0)


def test_a_client_that_leaves_ends_the_timing_and_the_computing() -> None:
    watch, inner = Watch(), ScriptedEngine()
    steps = MeteredEngine(inner, watch.computing).stream([Prompt("a\nb c d")], GenerationOptions())
    next(steps)
    assert watch.inside == 1
    steps.close()  # type: ignore[attr-defined]
    assert watch.inside == 0
    assert inner.ended == ["closed"]


def test_an_error_passes_through() -> None:
    watch = Watch()
    engine = MeteredEngine(ScriptedEngine(), watch.computing)
    with pytest.raises(RuntimeError, match="scripted failure"):
        list(engine.stream([Prompt("explode")], GenerationOptions()))
    assert watch.inside == 0
