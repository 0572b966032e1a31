""""""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from phi2demo.data.own_pairs import pairs_of
from phi2demo.data.test_sets import TestSet
from phi2demo.engine.engine import Prompt
from phi2demo.errors import SettingsError, StoppedError
from phi2demo.evaluation.live import DurationEstimator, LiveProgress, LiveRun, LiveSettings
from phi2demo.evaluation.live_samples import ItemSample, draw
from phi2demo.evaluation.outputs import SYSTEMS
from phi2demo.evaluation.reports import parse_report
from phi2demo.evaluation.systems import make_system
from tests.tasks.scripted import BARE, ScriptedEngine

WORDS = ["apple", "bread", "carrot", "date", "egg", "fish", "grape", "honey"]


def planted(prompt: Prompt) -> str:
    """The finetuned model translates into capitals, as is wanted; the base has the first word right and no other."""
    asked = next(word for word in WORDS if word in prompt.text)
    return f" {asked.upper()} IS HERE NOW" if prompt.variant == "finetuned" else f" {asked.upper()} was there then"


def pairs(count: int, task: str = "translation") -> TestSet:
    if task == "sentiment":
        return pairs_of([{"text": f"a pos thing {index}", "label": 1} for index in range(count)], task=task)
    rows = [
        {
            "source": f"{WORDS[index % len(WORDS)]} is here now",
            "target": f"{WORDS[index % len(WORDS)].upper()} IS HERE NOW",
        }
        for index in range(count)
    ]
    return pairs_of(rows, task=task)


def run_of(engine: ScriptedEngine, count: int = 8, **settings: Any) -> LiveRun:
    test_set = pairs(count)
    return LiveRun(engine, [ItemSample(test_set, test_set.items)], LiveSettings(**({"resamples": 100} | settings)))


def last(steps: Sequence[LiveProgress]) -> LiveProgress:
    assert [step.result is not None for step in steps].index(True) == len(steps) - 1
    return steps[-1]


def test_figures_that_must_come_out() -> None:
    end = last(list(run_of(ScriptedEngine(planted)).steps()))
    assert end.result is not None
    assert not end.stopped
    assert (end.done, end.total) == (16, 16)
    report = parse_report(end.result.report.as_dict())
    assert report == end.result.report
    (test_set,) = report.test_sets
    bleu, chrf = test_set.figures
    assert bleu.scores["finetuned"].score == pytest.approx(100)
    assert bleu.base == "base_plain"
    assert bleu.scores["base_plain"].score < 20
    assert chrf.difference is not None
    assert chrf.difference.value == pytest.approx(100 - chrf.scores["base_plain"].score)
    assert [row.output for row in end.result.rows if row.system == "finetuned"][2] == "CARROT IS HERE NOW"
    assert [example.scores["finetuned"] for example in end.result.examples] == [pytest.approx(100)] * 8
    assert {each.by for each in test_set.slices} == {"length", "complexity"}
    assert report.settings.complete


def test_figures_equal_those_of_the_same_outputs_in_evaluate() -> None:
    from phi2demo.evaluation.figures import Scored
    from phi2demo.evaluation.statistics import SEED, Resamples

    end = last(list(run_of(ScriptedEngine(planted)).steps()))
    assert end.result is not None
    outputs = {
        system: [row.output for row in end.result.rows if row.system == system]
        for system in ("finetuned", "base_plain")
    }
    resamples = Resamples.draw(8, resamples=100, seed=SEED)
    figures = Scored.of(pairs(8), outputs).figures(resamples, baselines={})  # type: ignore[arg-type]
    assert end.result.report.test_sets[0].figures == figures


def test_partial_figures_and_time_left_come_on_the_way() -> None:
    steps = list(run_of(ScriptedEngine(planted), batch_size=2).steps())
    partial = [step for step in steps if step.partial and step.result is None]
    assert partial[0].partial[0].n == 2
    assert partial[0].partial[0].figures[0].scores["finetuned"].score == pytest.approx(100)
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert all(step.seconds_left is not None for step in partial)
    assert steps[0].rows == () or len(steps[0].rows) == 2


def test_stop_ends_within_a_second_and_keeps_what_was_done() -> None:
    engine, cancel = ScriptedEngine(planted), threading.Event()
    engine.seconds_per_token = 0.05
    run = run_of(engine, batch_size=1)
    stopped_at, steps = 0.0, []
    for step in run.steps(cancel=cancel):
        steps.append(step)
        if step.done >= 5 and not cancel.is_set():
            cancel.set()
            stopped_at = time.monotonic()
    assert time.monotonic() - stopped_at < 1.0
    end = last(steps)
    assert end.stopped
    assert end.result is not None
    assert end.result.report.test_sets[0].n == 2
    assert not end.result.report.settings.complete
    assert len(end.result.rows) == 5
    assert engine.running == 0


def test_stopped_before_anything_is_said() -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(StoppedError, match="before anything was answered"):
        list(run_of(ScriptedEngine(planted)).steps(cancel=cancel))


def test_a_reader_that_leaves_ends_the_computing() -> None:
    engine = ScriptedEngine(planted)
    engine.seconds_per_token = 0.1
    steps = run_of(engine).steps()
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert engine.running == 0
    asked = engine.snapshots
    time.sleep(0.3)
    assert engine.snapshots == asked


def test_turns_give_what_one_go_gives() -> None:
    whole = last(list(run_of(ScriptedEngine(planted), batch_size=2).steps()))
    run, turns, end = run_of(ScriptedEngine(planted), batch_size=2), 0, None
    while end is None or end.paused:
        *_, end = run.steps(at_most_s=0.01 if turns else 0.0)
        turns += 1
    assert turns > 1
    assert end.result is not None
    assert whole.result is not None
    assert end.result.report.test_sets[0].figures == whole.result.report.test_sets[0].figures


def test_an_error_of_the_engine_reaches_the_reader() -> None:
    def fails(prompt: Prompt) -> str:
        raise RuntimeError("scripted failure")

    with pytest.raises(RuntimeError, match="scripted failure"):
        list(run_of(ScriptedEngine(fails)).steps())


def test_what_is_done_just_as_the_wait_is_over_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: whenever a wait for answers is over, they come before anything else is asked."""
    result = Future.result

    def late(future: Future[Any], timeout: float | None = None) -> Any:
        try:
            return result(future, timeout)
        except TimeoutError:
            result(future)
            raise

    monkeypatch.setattr(Future, "result", late)
    engine = ScriptedEngine(planted)
    engine.seconds_per_token = 0.05
    assert last(list(run_of(engine, 2).steps())).done == 4


def test_a_time_out_of_the_engine_reaches_the_reader() -> None:
    def fails(prompt: Prompt) -> str:
        raise TimeoutError("scripted")

    with pytest.raises(TimeoutError, match="scripted"):
        list(run_of(ScriptedEngine(fails)).steps())


def test_an_estimate_tries_once_and_is_learned_from() -> None:
    engine, durations = ScriptedEngine(planted), DurationEstimator()
    engine.seconds_per_token = 0.01
    test_set = pairs(8)
    run = LiveRun(engine, [ItemSample(test_set, test_set.items)], LiveSettings(resamples=100), durations=durations)
    *_, seconds = run.estimate()
    assert seconds is not None
    asked = len(engine.batches)
    assert asked == 2
    *_, again = LiveRun(engine, [ItemSample(test_set, test_set.items)], LiveSettings(), durations=durations).estimate()
    assert again == pytest.approx(seconds)
    assert len(engine.batches) == asked
    list(run.steps())
    *_, learned = LiveRun(
        engine, [ItemSample(test_set, test_set.items)], LiveSettings(), durations=durations
    ).estimate()
    assert learned is not None
    assert learned < seconds


def test_systems_are_timed_apart() -> None:
    durations, engine, test_set = DurationEstimator(), ScriptedEngine(planted), pairs(8)
    systems = {name: make_system(name, engine, test_set, seed=0) for name in SYSTEMS}
    finetuned, base, plain = systems.values()
    assert finetuned is not None
    assert base is not None
    durations.add(finetuned, test_set.items, 2.0)
    assert durations.knows(finetuned)
    assert not durations.knows(base)
    assert not durations.knows(plain)
    assert durations.work(base, test_set.items) > durations.work(finetuned, test_set.items), "a base runs to the limit"


def test_a_bare_base_is_asked_alone() -> None:
    end = last(list(run_of(ScriptedEngine(planted, info=BARE), systems=("finetuned", "base_plain")).steps()))
    assert end.result is not None
    (figure, _) = end.result.report.test_sets[0].figures
    assert figure.scores.keys() == {"base_plain"}
    assert figure.difference is None
    with pytest.raises(SettingsError, match="No adapter is loaded"):
        run_of(ScriptedEngine(planted, info=BARE), systems=("finetuned",))


def test_items_are_drawn_evenly_and_the_same_for_a_seed() -> None:
    test_sets = [pairs(8), pairs(3, "sentiment")]
    for count, sizes in ((2, [1, 1]), (5, [3, 2]), (10, [7, 3]), (100, [8, 3])):
        drawn = draw(test_sets, count, seed=1)
        assert [len(each.items) for each in drawn] == sizes
        assert drawn == draw(test_sets, count, seed=1)
        for each in drawn:
            assert len({item.index for item in each.items}) == len(each.items)
    assert draw(test_sets, 4, seed=1) != draw(test_sets, 4, seed=2)
    assert [each.test_set.task for each in draw(test_sets, 1)] == ["translation"]
    with pytest.raises(SettingsError, match="1 to 100"):
        draw(test_sets, 0)


def test_every_test_set_has_its_turn() -> None:
    test_sets = [pairs(8), pairs(8, "sentiment")]
    run = LiveRun(ScriptedEngine(planted), draw(test_sets, 16), LiveSettings(resamples=100, batch_size=4))
    seen = [step.partial for step in run.steps() if len(step.partial) == 2]
    assert [figure.n for figure in seen[0]] == [4, 4]


@pytest.mark.parametrize(
    "wrong", [{"systems": ()}, {"systems": ("x",)}, {"seed": -1}, {"resamples": 5}, {"batch_size": 0}]
)
def test_settings_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        LiveSettings(**wrong)
    with pytest.raises(SettingsError, match="no items"):
        LiveRun(ScriptedEngine(), [], LiveSettings())
