from dataclasses import replace

import pytest

from phi2demo.engine.engine import GenerationOptions
from phi2demo.errors import InputError
from phi2demo.tasks.run import answer, run
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.task import Request
from tests.tasks.scripted import INFO, ScriptedEngine

REQUEST = Request("sentiment", "Positively pos, not negative.", SentimentOptions(), GenerationOptions(max_new_tokens=4))


@pytest.mark.parametrize(
    ("text", "label"),
    [("pos pos", "positive"), ("neg neg", "negative"), ("nothing", "positive"), ("pos neg neg", "negative")],
)
def test_the_likelier_label_is_chosen(engine: ScriptedEngine, text: str, label: str) -> None:
    (result,) = answer(engine, replace(REQUEST, text=text))
    assert result.text == result.receipt.output == label
    assert sum(result.probabilities.values()) == pytest.approx(1)
    assert max(result.probabilities, key=result.probabilities.__getitem__) == label
    assert result.raw == (f" {label}",)
    assert result.facts == (", ".join(f"{name} {share:.1%}" for name, share in result.probabilities.items()),)


def test_both_models_in_one_batch(engine: ScriptedEngine) -> None:
    results = answer(engine, replace(REQUEST, uses=("base", "finetuned")))
    assert [result.use for result in results] == ["base", "finetuned"]
    ((*prompts,),) = engine.scorings
    assert [prompt.use for prompt in prompts] == ["base", "base", "finetuned", "finetuned"]
    assert all(result.receipt.batch_size == 4 for result in results)


def test_very_unlikely_labels_do_not_underflow(engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    score = engine.score
    monkeypatch.setattr(
        engine,
        "score",
        lambda *given, **more: [replace(s, log_probabilities=(-1e6 + s.total,)) for s in score(*given, **more)],
    )
    (result,) = answer(engine, REQUEST)
    assert sum(result.probabilities.values()) == pytest.approx(1)


def test_the_number_of_new_tokens_takes_no_room() -> None:
    engine = ScriptedEngine(info=replace(INFO, context=64))
    (result,) = answer(engine, replace(REQUEST, generation=GenerationOptions(max_new_tokens=2048)))
    assert result.text == "positive"
    with pytest.raises(InputError, match="this model reads at most"):
        answer(engine, replace(REQUEST, text="word " * 64))


def test_progress_begins_at_once_and_ends_with_the_results(engine: ScriptedEngine) -> None:
    first, last = run(engine, REQUEST)
    assert (first.done, first.total, first.results) == (0, 1, None)
    assert (last.done, last.total) == (1, 1)
    assert last.texts == {"finetuned": "positive"}
