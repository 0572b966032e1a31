from collections.abc import Sequence
from dataclasses import replace
from threading import Event

import pytest

from phi2demo.engine.engine import Candidate, Completion, GenerationOptions, Output, Prompt, Score
from phi2demo.errors import InputError, SettingsError, StoppedError
from phi2demo.tasks import TASKS
from phi2demo.tasks.candidates import COPY_COST, LENGTH_SHARE, Answered, Chosen, Ranked, choose_both_ways, preferred
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.request import Request
from phi2demo.tasks.result import Result
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.templates import PHI, PLAIN, Template
from phi2demo.tasks.translation import TranslationOptions
from tests.tasks.beams import BeamEngine, candidate

TEXT = "The dog sleeps."
TASK = TASKS["translation"]
OPTIONS = TranslationOptions("en", "de")
PROMPT = Prompt(TASK.prompt(TEXT, OPTIONS), "finetuned")
LIKELY, FAITHFUL, COPIED = candidate("Er schläft."), candidate("Der Hund schläft."), candidate("Der dog schläft.")
LIKES = {
    "Er schläft.": -1.0,
    "Der Hund schläft.": -2.0,
    "Der dog schläft.": -2.0,
    ("Er schläft.", TEXT): -20.0,
    ("Der Hund schläft.", TEXT): -3.0,
    ("Der dog schläft.", TEXT): -0.5,
}
BEAMS = GenerationOptions(max_new_tokens=20, num_beams=2, reverse_weight=0.3)


def asked(*candidates: Candidate, template: Template = PHI, prompt: Prompt = PROMPT) -> Answered:
    completion = Completion(LIKELY.text, LIKELY.token_ids, 5, "end", candidates=candidates)
    return Answered(TEXT, OPTIONS, template, prompt, completion)


def ranked_of(engine: BeamEngine, *rows: Answered, cancel: Event | None = None) -> list[tuple[Ranked, ...]]:
    """The ranking of the candidates of each row."""
    return [choice.alternatives for choice in choose_both_ways(engine, TASK, rows, BEAMS, cancel=cancel)]  # type: ignore[misc]


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row chooses for itself."""
    monkeypatch.setattr("phi2demo.tasks.request_runner.CHOSEN_TOGETHER", 1)


def request(text: str = TEXT, **changes: object) -> Request:
    return replace(Request("translation", text, OPTIONS, BEAMS, seed=1), **changes)  # type: ignore[arg-type]


def test_the_score_weighs_both_ways_length_and_copies() -> None:
    engine = BeamEngine({TEXT: [LIKELY, FAITHFUL, COPIED]}, LIKES)
    (ranked,) = ranked_of(engine, asked(LIKELY, FAITHFUL, COPIED))
    assert [item.text for item in ranked] == ["Der Hund schläft.", "Der dog schläft.", "Er schläft."]
    bonus = 2 * LENGTH_SHARE * 0.5  # the surest ends with 1 nat in 2 tokens
    assert [item.score for item in ranked] == pytest.approx(
        [-2 - 0.3 * 3 + bonus, -2 - 0.3 * 0.5 + bonus - COPY_COST, -1 - 0.3 * 20 + bonus]
    )
    assert (ranked[2].log_probability, ranked[2].reverse_log_probability) == (-1.0, -20.0)
    assert ranked[0].as_dict()["text"] == "Der Hund schläft."


def test_a_longer_output_may_cost_its_tokens() -> None:
    short, long = candidate("Ja.", tokens=2), candidate("Ja, gewiss.", tokens=6)
    likes: dict[str | tuple[str, str], float] = {"Ja.": -1.0, "Ja, gewiss.": -1.6}
    likes |= {("Ja.", TEXT): -5.0, ("Ja, gewiss.", TEXT): -5.0}
    (ranked,) = ranked_of(BeamEngine({TEXT: [short, long]}, likes), asked(short, long))
    assert ranked[0].candidate == long


@pytest.mark.parametrize(
    ("template", "back"),
    [
        (PHI, "Instruct: Translate the following text from German to English.\nDer Hund schläft.\nOutput:"),
        (PLAIN, "<|endoftext|>German: Der Hund schläft.\nEnglish:"),
    ],
)
def test_the_reverse_is_asked_of_the_same_weights_by_the_same_template(template: Template, back: str) -> None:
    prompt = Prompt(TASK.prompt(TEXT, OPTIONS, template), "base", seed=7, stop=("\n",))
    engine = BeamEngine({TEXT: [LIKELY, FAITHFUL]}, LIKES)
    ranked_of(engine, asked(LIKELY, FAITHFUL, template=template, prompt=prompt))
    assert (prompt, FAITHFUL.token_ids) in engine.scored
    assert (Prompt(back, "base"), f" {TEXT}") in engine.scored
    assert len(engine.scored) == 4


@pytest.mark.parametrize(
    "candidates",
    [
        [],
        [FAITHFUL],
        [FAITHFUL, replace(FAITHFUL, text="  Der Hund\n schläft. ", token_ids=(1, 2))],
        [FAITHFUL, replace(FAITHFUL, text="  ", token_ids=(3,))],
        [FAITHFUL, replace(LIKELY, stop_reason="length")],
        [replace(FAITHFUL, stop_reason="context"), LIKELY],
    ],
)
def test_what_leaves_no_choice_is_not_scored(candidates: list[Candidate]) -> None:
    engine = BeamEngine({}, LIKES)
    assert ranked_of(engine, asked(*candidates)) == [()]
    assert engine.scored == []


def test_of_outputs_that_are_the_same_once_cleaned_the_likeliest_stands() -> None:
    twin = replace(FAITHFUL, text="Der  Hund schläft.", token_ids=(9, 9, 9))
    engine = BeamEngine({TEXT: [FAITHFUL, twin, LIKELY]}, LIKES)
    (ranked,) = ranked_of(engine, asked(FAITHFUL, twin, LIKELY))
    assert [item.candidate for item in ranked] == [FAITHFUL, LIKELY]


def test_what_does_not_fit_the_context_stays_as_it_was() -> None:
    class Full(BeamEngine):
        def score(self, *_: object, **__: object) -> list[object]:  # type: ignore[override]
            raise InputError("Text and output have 300 tokens together.")

    row = asked(LIKELY, FAITHFUL)
    assert choose_both_ways(Full({}), TASK, [row] * 2, BEAMS) == [Chosen(row.completion)] * 2


def test_many_texts_are_ranked_together_as_each_alone() -> None:
    calls = []

    class Counts(BeamEngine):
        def score(self, prompts: Sequence[Prompt], *rest: object, **more: object) -> list[Score]:  # type: ignore[override]
            calls.append(len(prompts))
            return super().score(prompts, *rest, **more)  # type: ignore[arg-type]

    engine = Counts({TEXT: [LIKELY, FAITHFUL, COPIED]}, LIKES)
    given = [asked(LIKELY, FAITHFUL), asked(LIKELY), asked(COPIED, LIKELY, FAITHFUL), asked()]
    together = ranked_of(engine, *given)
    assert calls == [10]
    assert together == [ranked for row in given for ranked in ranked_of(engine, row)]
    assert [len(ranked) for ranked in together] == [2, 0, 3, 0]


def test_a_text_that_does_not_fit_the_context_keeps_no_other_from_being_ranked() -> None:
    long = asked(LIKELY, FAITHFUL, prompt=replace(PROMPT, text="long"))

    class Small(BeamEngine):
        def score(self, prompts: Sequence[Prompt], *rest: object, **more: object) -> list[Score]:  # type: ignore[override]
            if any(prompt.text == "long" for prompt in prompts):
                raise InputError("Text and output have 300 tokens together.")
            return super().score(prompts, *rest, **more)  # type: ignore[arg-type]

    engine = Small({TEXT: [LIKELY, FAITHFUL]}, LIKES)
    ranked = ranked_of(engine, asked(LIKELY, FAITHFUL), long, asked(LIKELY, FAITHFUL))
    assert [len(item) for item in ranked] == [2, 0, 2]


def test_other_tasks_have_no_way_back() -> None:
    task = TASKS["summarization"]
    wrong = Request("summarization", TEXT, SummaryOptions(), BEAMS)
    with pytest.raises(SettingsError, match="summarization cannot be asked the other way round"):
        task.check(wrong)
    assert TASK.check(request()).request.generation.reverse_weight == 0.3
    assert [name for name, task in TASKS.items() if task.reversible] == ["translation"]


def test_an_answer_is_the_chosen_one_with_all_that_was_weighed() -> None:
    (result,) = Assistant(BeamEngine({TEXT: [LIKELY, FAITHFUL, COPIED]}, LIKES)).answer(check(request()))
    assert result.text == "Der Hund schläft."
    assert (result.raw, result.token_ids) == ((FAITHFUL.text,), (FAITHFUL.token_ids,))
    assert result.receipt.output == "Der Hund schläft."
    assert result.receipt.new_tokens == len(FAITHFUL.token_ids)
    assert result.receipt.generation["reverse_weight"] == 0.3
    assert [item.text for item in result.alternatives[0]] == ["Der Hund schläft.", "Der dog schläft.", "Er schläft."]
    told = result.as_dict()["alternatives"]
    assert [item["text"] for item in told[0]] == [item.text for item in result.alternatives[0]]
    assert told[0][0]["score"] > told[0][1]["score"]


@pytest.mark.parametrize("changes", [{"reverse_weight": 0.0}, {"num_beams": 1}])
def test_without_a_weight_or_beams_nothing_is_weighed(changes: dict[str, object]) -> None:
    engine = BeamEngine({TEXT: [LIKELY, FAITHFUL]}, LIKES)
    (result,) = Assistant(engine).answer(check(request(generation=replace(BEAMS, **changes))))
    assert result.text == ("Er schläft." if "reverse_weight" in changes else TEXT.upper())
    assert not any(isinstance(item, Ranked) for piece in result.alternatives for item in piece)
    told = [item.text for piece in result.alternatives for item in piece]
    assert told == (["Er schläft.", "Der Hund schläft."] if "reverse_weight" in changes else []), "listed all the same"


def test_a_greedy_answer_that_was_complete_when_it_was_stopped_is_complete() -> None:
    """It is not weighed, so nothing is missed."""
    engine, cancel = BeamEngine({}), Event()
    engine.on_snapshot = lambda: cancel.set() if engine.snapshots == len(TEXT.split()) else None
    *_, last = Assistant(engine).run(check(request(generation=replace(BEAMS, num_beams=1))), cancel=cancel)
    (result,) = last.results or ()
    assert cancel.is_set()
    assert (result.text, result.receipt.stop_reason) == (TEXT.upper(), "end")


def test_every_sentence_of_every_model_chooses_for_itself() -> None:
    other = "It rains."
    endings = {TEXT: [LIKELY, FAITHFUL], other: [candidate("Regen."), candidate("Es regnet.")]}
    likes = LIKES | {"Regen.": -1.0, "Es regnet.": -1.5, ("Regen.", other): -9.0, ("Es regnet.", other): -1.0}
    engine = BeamEngine(endings, likes)
    for result in Assistant(engine).answer(
        check(request(f"{TEXT} {other}\n\n{other}", variants=("finetuned", "base")))
    ):
        assert result.text == "Der Hund schläft. Es regnet.\n\nEs regnet."
        assert [piece[0].text for piece in result.alternatives] == ["Der Hund schläft.", "Es regnet.", "Es regnet."]
    variants = [prompt.variant for prompt, output in engine.scored if isinstance(output, str)]
    assert variants.count("finetuned") == variants.count("base") == 6


def results_of(engine: BeamEngine, cancel: Event, **changes: object) -> Result:
    *_, last = Assistant(engine).run(check(request(f"{TEXT}\n{TEXT}", **changes)), cancel=cancel)
    (result,) = last.results or ()
    return result


@pytest.mark.usefixtures("one_by_one")
def test_stopping_while_it_chooses_keeps_what_there_is() -> None:
    engine, cancel = BeamEngine({TEXT: [LIKELY, FAITHFUL]}, LIKES), Event()
    engine.on_score = lambda: cancel.set() if engine.scored else None
    result = results_of(engine, cancel)
    assert result.text == "Der Hund schläft.\nEr schläft."
    assert result.receipt.stop_reason == "stopped"
    assert [len(piece) for piece in result.alternatives] == [2, 0]


@pytest.mark.usefixtures("one_by_one")
def test_time_that_is_over_while_it_chooses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = BeamEngine({TEXT: [LIKELY, FAITHFUL]}, LIKES)
    now = [0.0]
    monkeypatch.setattr("phi2demo.tasks.request_runner.time.monotonic", lambda: now[0])
    engine.on_score = lambda: now.__setitem__(0, now[0] + 2.0)
    result = results_of(engine, Event(), generation=replace(BEAMS, time_limit_s=1.0))
    assert result.text == "Der Hund schläft.\nEr schläft."
    assert result.receipt.stop_reason == "time"
    assert result.receipt.seconds == 2.0


@pytest.mark.usefixtures("one_by_one")
def test_progress_is_shown_and_the_text_stays_while_candidates_are_scored() -> None:
    engine = BeamEngine({TEXT: [LIKELY, FAITHFUL]}, LIKES)
    steps = Assistant(engine).run(check(request(f"{TEXT}\n{TEXT}")))
    seen = [len(engine.scored) for progress in steps if progress.results is None]
    assert {4, 8} <= set(seen)
    closed = Assistant(engine).run(check(request(f"{TEXT}\n{TEXT}")))
    engine.scored.clear()
    while not engine.scored:
        next(closed)
    closed.close()
    assert (engine.running, len(engine.scored)) == (0, 4)


def test_a_receipt_from_before_there_was_a_way_back_replays_without_it() -> None:
    engine = BeamEngine({TEXT: [LIKELY, FAITHFUL]}, LIKES)
    old = Assistant(engine).answer(check(request(generation=replace(BEAMS, reverse_weight=0.0))))[0].receipt
    del old.generation["reverse_weight"]
    *_, last = Assistant(engine).replay(Receipt.from_json(old.to_json()))
    assert (last.results or ())[0].text == old.output == "Er schläft."
    new = Assistant(engine).answer(check(request()))[0].receipt
    *_, last = Assistant(engine).replay(Receipt.from_json(new.to_json()))
    assert (last.results or ())[0].text == new.output == "Der Hund schläft."


def test_stopping_reaches_the_engine() -> None:
    cancel = Event()
    cancel.set()
    with pytest.raises(StoppedError):
        ranked_of(BeamEngine({TEXT: [LIKELY, FAITHFUL]}), asked(LIKELY, FAITHFUL), cancel=cancel)


def test_equal_scores_keep_the_order_of_the_beams() -> None:
    first, second = candidate("Eins."), candidate("Zwei.")
    outputs: list[Output] = [first.token_ids, second.token_ids]
    engine = BeamEngine({TEXT: [first, second]})
    (ranked,) = ranked_of(engine, asked(first, second))
    assert [item.candidate.token_ids for item in ranked] == outputs


def test_free_text_that_was_cut_stays() -> None:
    cut = replace(candidate("Once there was"), stop_reason="length")
    task = TASKS["generation"]
    likeliest = Completion(cut.text, cut.token_ids, 1, "length", candidates=(cut, candidate("The end.")))
    row = Answered("Once", task.options_type(), PHI, Prompt("any"), likeliest)
    assert preferred(task, row) == likeliest
    summary = TASKS["summarization"]
    assert preferred(summary, replace(row, options=summary.options_type())).text == " The end."
