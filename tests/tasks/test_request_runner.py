""""""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from threading import Event
from typing import Any

import pytest

from phi2demo.engine.engine import Completion, GenerationOptions, Prompt, Snapshot, StopReason, Tokens, Variant
from phi2demo.errors import InputError
from phi2demo.tasks import TASKS
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.request import Request, TaskOptions
from phi2demo.tasks.request_runner import BATCH_PIECES, GenerationState, Pass, row_seed
from phi2demo.tasks.result import Progress
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.task import Pieces
from phi2demo.tasks.translation import TranslationOptions
from tests.tasks.scripted import ScriptedEngine, body

GREEDY = GenerationOptions(max_new_tokens=60)
LINES = [
    "" if n % 7 == 3 else f"{'  ' * (n % 3)}Line number {n} is here. It has two sentences!" if n % 5 else f"{n} * {n}"
    for n in range(200)
]


def translation(text: str, **changes: object) -> Request:
    request = Request("translation", text, TranslationOptions("en", "de"), GREEDY, seed=5)
    return replace(request, **changes)  # type: ignore[arg-type]


def summary(text: str, **changes: object) -> Request:
    request = Request("summarization", text, SummaryOptions(), GREEDY, seed=5)
    return replace(request, **changes)  # type: ignore[arg-type]


def words(count: int) -> str:
    return " ".join(f"Sentence {n} tells of thing {n}." for n in range(count // 6))


def test_a_text_of_200_lines_keeps_its_lines(engine: ScriptedEngine) -> None:
    (result,) = Assistant(engine).answer(check(translation("\n".join(LINES))))
    assert result.text == "\n".join(line.upper() for line in LINES)
    assert result.receipt.pieces == sum(len(batch) for batch in engine.batches)


@pytest.mark.parametrize(("ending", "kept"), [("", ""), ("\n", "\n"), ("\r\n\n\n", "\n\n\n"), ("  \n ", "\n")])
def test_the_line_breaks_at_the_end_of_a_text_are_kept(engine: ScriptedEngine, ending: str, kept: str) -> None:
    (result,) = Assistant(engine).answer(check(translation(f"One.\r\n\r\nTwo.{ending}")))
    assert result.text == f"ONE.\n\nTWO.{kept}"


def test_rows_of_a_batch_get_the_answers_of_their_own_prompts(engine: ScriptedEngine) -> None:
    text = "\n".join(f"Row {n} of many" for n in range(3 * BATCH_PIECES + 1))
    finetuned, base = Assistant(engine).answer(check(translation(text, variants=("finetuned", "base"))))
    assert finetuned.text == text.upper()
    assert base.text == "\n".join(f"{line.upper()}!" for line in text.splitlines())
    assert max(map(len, engine.batches)) == 2 * BATCH_PIECES == finetuned.receipt.batch_size


@pytest.mark.parametrize("task", list(TASKS))
def test_a_pair_says_what_two_single_requests_say(engine: ScriptedEngine, task: str) -> None:
    options = TASKS[task].options_type()
    if task == "question_answering":
        options = replace(options, question="What is it?")  # type: ignore[call-arg]
    text = "Good things are seldom bad. " * 20
    both = Request(task, text, options, GREEDY, variants=("finetuned", "base"), seed=3)
    alone = [Assistant(engine).answer(check(replace(both, variants=(variant,))))[0] for variant in both.variants]
    for paired, single in zip(Assistant(engine).answer(check(both)), alone, strict=True):
        assert (paired.variant, paired.text, paired.raw) == (single.variant, single.text, single.raw)
        assert paired.token_ids == single.token_ids
        assert len(paired.token_ids) == (len(paired.raw) if single.receipt.new_tokens else 0)
        assert paired.probabilities == single.probabilities
        measured = {"batch_size", "seconds", "tokens_per_s", "first_token_s", "made_at"}
        ours, theirs = (json.loads(result.receipt.to_json()) for result in (paired, single))
        assert {k: v for k, v in ours.items() if k not in measured} == {
            k: v for k, v in theirs.items() if k not in measured
        }


def summarizer(prompt: Prompt) -> str:
    """The first three words of the text; the base says more."""
    return " " + " ".join(body(prompt.text).replace(".", "").split()[: 3 if prompt.variant == "finetuned" else 40])


def steps_of(engine: ScriptedEngine, request: Request) -> list[Progress]:
    steps = list(Assistant(engine).run(check(request)))
    assert steps[-1].results is not None
    assert all(step.results is None for step in steps[:-1])
    assert engine.running == 0
    return steps


def test_a_long_document_is_summarized_in_passes_with_progress() -> None:
    engine = ScriptedEngine(summarizer)
    steps = steps_of(engine, summary(words(20_000)))
    shares = [step.done / step.total for step in steps]
    assert shares == sorted(shares)
    assert 0 == shares[0] < shares[len(shares) // 2] < shares[-1] == 1
    assert len({step.stage for step in steps}) > 5
    assert steps[0].stage.startswith("Summarize: parts 1 to 8 of ")
    assert any(step.stage.startswith("Merge") for step in steps)
    assert [step.new_tokens for step in steps] == sorted(step.new_tokens for step in steps)
    (result,) = steps[-1].results or ()
    assert result.text == "Sentence 0 tells"
    assert result.facts[0] == "19,998 words in, 3 words out"


def test_the_merge_is_shown_only_once_it_says_something() -> None:
    engine = ScriptedEngine(summarizer)
    steps = steps_of(engine, summary(words(3000)))
    texts = [step.texts["finetuned"] for step in steps]
    first = next(at for at, text in enumerate(texts) if text)
    assert all(texts[first:])


def test_variants_may_need_different_numbers_of_passes() -> None:
    request = summary(words(3000), variants=("finetuned", "base"))
    engine = ScriptedEngine(summarizer)
    finetuned, base = steps_of(engine, request)[-1].results or ()
    assert any({prompt.variant for prompt in batch} == {"base"} for batch in engine.batches)
    for result in (finetuned, base):
        (alone,) = Assistant(ScriptedEngine(summarizer)).answer(check(replace(request, variants=(result.variant,))))
        assert alone.text == result.text


ADVERSARIES = {
    "longer": lambda prompt: f" {body(prompt.text)} {body(prompt.text)}",
    "empty": lambda prompt: "",
    "newlines": lambda prompt: "\n\n\n",
    "spaces": lambda prompt: "   ",
    "one word": lambda prompt: " word",
    "no spaces": lambda prompt: "x" * 5000,
    "template": lambda prompt: prompt.text * 2,
}


@pytest.mark.parametrize("by_parts", [False, True])
@pytest.mark.parametrize("length", ["sentence", "short", "medium"])
@pytest.mark.parametrize("adversary", ADVERSARIES)
def test_passes_end_whatever_the_engine_says(adversary: str, length: str, by_parts: bool) -> None:
    engine = ScriptedEngine(ADVERSARIES[adversary])
    request = summary(words(3000), options=SummaryOptions(length, by_parts), variants=("finetuned", "base"))
    steps = steps_of(engine, request)
    assert len(engine.batches) < 40
    assert all(body(prompt.text).strip() for batch in engine.batches for prompt in batch)
    for result in steps[-1].results or ():
        assert result.text == result.receipt.output


def test_empty_answers_are_pointed_out() -> None:
    engine = ScriptedEngine(lambda prompt: "" if "drop" in prompt.text else " ok")
    (some,) = Assistant(engine).answer(check(translation("Keep this.\ndrop this.\nKeep that.")))
    assert some.text == "ok\n\nok"
    assert some.notes == ("The model gave an empty answer to 1 of 3 sentences.",)
    (one,) = Assistant(engine).answer(check(translation("drop this.")))
    assert one.notes == ("The model gave an empty answer.",)


@pytest.mark.parametrize("variants", [("finetuned",), ("finetuned", "base")])
def test_cancelling_midway_gives_what_there_is(variants: tuple[str, ...]) -> None:
    engine, cancel = ScriptedEngine(), Event()
    engine.on_snapshot = lambda: cancel.set() if engine.snapshots >= 12 else None
    text = "\n".join(f"Row {n} of many rows" for n in range(40))
    *_, last = Assistant(engine).run(check(translation(text, variants=variants)), cancel=cancel)
    for result in last.results or ():
        assert result.receipt.stop_reason == "stopped"
        assert "Stopped before it was complete." in result.notes
        assert 0 < len(result.text) < len(text)
        assert result.text.startswith("ROW 0 OF MANY ROWS")
    assert engine.snapshots == 12


def test_a_cancelled_request_asks_nothing(engine: ScriptedEngine) -> None:
    cancel = Event()
    cancel.set()
    (last,) = Assistant(engine).run(check(translation("Hello there.")), cancel=cancel)
    (result,) = last.results or ()
    assert (result.text, result.receipt.stop_reason, engine.batches) == ("", "stopped", [])


def test_a_merge_that_is_cut_short_leaves_the_summaries_it_had() -> None:
    cancel = Event()

    def script(prompt: Prompt) -> str:
        if body(prompt.text).startswith("Part."):
            cancel.set()
            return " All of it in a sentence."
        return " Part."

    (whole,) = Assistant(ScriptedEngine(script)).answer(check(summary(words(3000))))
    assert whole.text == "All of it in a sentence."
    cancel.clear()
    *_, last = Assistant(ScriptedEngine(script)).run(check(summary(words(3000))), cancel=cancel)
    (result,) = last.results or ()
    assert result.text == " ".join(["Part."] * (whole.receipt.pieces - 1))
    assert result.raw == (" Part.",) * (whole.receipt.pieces - 1)
    assert result.receipt.stop_reason == "stopped"


def test_the_time_limit_holds_for_all_pieces_together() -> None:
    engine = ScriptedEngine()
    engine.seconds_per_token = 0.05
    options = replace(GREEDY, time_limit_s=1.0)
    (result,) = Assistant(engine).answer(
        check(translation("\n".join(f"Row {n} of many rows" for n in range(80)), generation=options))
    )
    assert result.receipt.stop_reason == "time"
    assert "It ends where the time limit was reached." in result.notes
    assert result.receipt.seconds < 2.2
    assert len(engine.batches) > 1


def test_closing_midway_closes_the_stream_of_the_engine(engine: ScriptedEngine) -> None:
    steps = Assistant(engine).run(check(translation("\n".join(f"Row {n} of many" for n in range(40)))))
    for _ in range(8):
        next(steps)
    assert engine.running == 1
    steps.close()
    assert engine.running == 0
    assert engine.snapshots < 10


def test_an_error_in_the_stream_reaches_the_caller_and_leaves_nothing_running(engine: ScriptedEngine) -> None:
    def fail() -> None:
        raise RuntimeError("out of memory")

    engine.on_snapshot = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        Assistant(engine).answer(check(translation("Hello there.")))
    assert engine.running == 0


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "One two three.",
            "It ends where the limit of new tokens was reached; raise it (Options, or --max-new-tokens).",
        ),
        (
            "One two three.\nOne.",
            "At least one sentence ends where the limit of new tokens was reached; raise it (Options, or --max-new-tokens).",
        ),
    ],
)
def test_an_output_that_was_cut_says_so(engine: ScriptedEngine, text: str, note: str) -> None:
    (result,) = Assistant(engine).answer(check(translation(text, generation=GenerationOptions(max_new_tokens=2))))
    assert result.receipt.stop_reason == "length"
    assert result.notes == (note,)


@pytest.mark.parametrize(
    ("task", "options", "variant", "without"),
    [
        (
            "summarization",
            SummaryOptions(),
            "finetuned",
            "Instruct: Summarize the following text in one sentence.\n\nOutput:",
        ),
        ("summarization", SummaryOptions(), "base", "<|endoftext|>\n\nIn short:"),
        ("question_answering", QuestionOptions("Who?"), "base", "<|endoftext|>\n\nQuestion: Who?\nAnswer:"),
        ("generation", GenerationTaskOptions("instruct"), "finetuned", "Instruct: \nOutput:"),
        ("generation", GenerationTaskOptions(), "base", "<|endoftext|>"),
    ],
)
def test_guided_rows_come_with_their_prompt_without_the_text(
    engine: ScriptedEngine, task: str, options: TaskOptions, variant: Variant, without: str
) -> None:
    guided = Request(
        task, "Tom came.", options, replace(GREEDY, guidance_scale=1.5), (variant,), 5, base_prompt_style="plain"
    )
    Assistant(engine).answer(check(guided))
    Assistant(engine).answer(check(replace(guided, generation=GREEDY)))
    assert [[prompt.without for prompt in batch] for batch in engine.batches] == [[without], [""]]
    assert engine.options[0].guidance_scale == 1.5


@pytest.mark.parametrize(("option", "given", "before"), [("guidance_scale", 1.5, 1.0), ("copy_bias", 2.0, 0.0)])
def test_a_receipt_from_before_an_option_is_replayed_without(
    engine: ScriptedEngine, option: str, given: float, before: float
) -> None:
    chosen: dict[str, Any] = {option: given}
    (made,) = Assistant(engine).answer(check(summary("Tom came.", generation=replace(GREEDY, **chosen))))
    assert made.receipt.generation[option] == given
    del made.receipt.generation[option]
    list(Assistant(engine).replay(Receipt.from_json(made.receipt.to_json())))
    assert [getattr(options, option) for options in engine.options] == [given, before]


@pytest.mark.parametrize("task", ["summarization", "translation"])
def test_a_text_that_leaves_no_room_for_the_output_is_cut(engine: ScriptedEngine, task: str) -> None:
    """Planted: it fits the context of 256 tokens, not what is left of it beside 60 of the output."""
    text = "\n".join(["word " * 39] * 5) if task == "summarization" else "word " * 220
    Assistant(engine).answer(check(Request(task, text, TASKS[task].options_type(), GREEDY, seed=1)))
    prompts = [prompt.text for batch in engine.batches for prompt in batch]
    assert len(prompts) > 1
    assert max(map(engine.count_tokens, prompts)) <= engine.info.context - GREEDY.max_new_tokens


def test_a_text_that_leaves_no_room_for_the_output_is_refused_where_it_is_not_cut(engine: ScriptedEngine) -> None:
    request = Request("generation", "word " * 220, GenerationTaskOptions(), GREEDY, seed=1)
    with pytest.raises(InputError, match="tokens with its instruction"):
        Assistant(engine).answer(check(request))
    assert engine.batches == []


def test_row_seeds_differ() -> None:
    seeds = {row_seed(seed, number, index) for seed in (0, 1, 2) for number in range(5) for index in range(500)}
    assert len(seeds) == 3 * 5 * 500
    assert row_seed(7, 0, 0) == 7


def test_a_continuation_is_one_prompt_with_the_seed_itself(engine: ScriptedEngine) -> None:
    request = Request("generation", "Once upon a time", GenerationTaskOptions(), GREEDY, seed=11)
    Assistant(engine).answer(check(request))
    (prompts,) = engine.batches
    assert prompts == [Prompt("<|endoftext|>Once upon a time", "finetuned", 11, ("\nInstruct:", "\nOutput:"))]


def test_each_model_of_a_pair_takes_its_own_time(engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: every finetuned row ended after 0.01 s, every base row after 0.02 s of its batch."""
    stream = engine.stream

    def timed(prompts: list[Prompt], *rest: object, **options: object) -> Iterator[Snapshot]:
        for snapshot in stream(prompts, *rest, **options):  # type: ignore[arg-type]
            ended = snapshot.completions and tuple(
                replace(item, seconds=0.01 if prompt.variant == "finetuned" else 0.02)
                for item, prompt in zip(snapshot.completions, prompts, strict=True)
            )
            yield replace(snapshot, completions=ended)

    monkeypatch.setattr(engine, "stream", timed)
    finetuned, base = Assistant(engine).answer(check(translation("One. Two.", variants=("finetuned", "base"))))
    assert base.receipt.seconds - finetuned.receipt.seconds == pytest.approx(0.01, abs=1.1e-3)


def test_what_runs_on_after_one_sentence_is_dropped_with_its_tokens() -> None:
    words = (" A", " bridge.", " It", " is", " old.")

    class Spans(ScriptedEngine):
        def tokens(self, text: str | Sequence[int]) -> Tokens:
            assert text == tuple(range(len(words)))
            ends = list(accumulate(map(len, words)))
            return Tokens("".join(words), tuple(text), tuple(zip([0, *ends], ends, strict=False)))

        def _completion(self, prompt: Prompt, output: list[str], made: int, reason: Any) -> Completion:
            made_so_far = super()._completion(prompt, output, made, reason)
            return replace(made_so_far, token_ids=tuple(range(len(words))))

    engine = Spans(lambda prompt: "".join(words), stop_reason="length")
    request = Request("summarization", "A text.", SummaryOptions("sentence"), GREEDY, seed=1)
    seen = [progress.texts["finetuned"] for progress in Assistant(engine).run(check(request))]
    (result,) = Assistant(engine).answer(check(request))
    assert (result.text, result.raw, result.token_ids) == ("A bridge.", (" A bridge.",), ((0, 1),))
    assert (result.receipt.new_tokens, result.receipt.stop_reason) == (2, "end")
    assert max(seen, key=len) == "A bridge."
    (longer,) = Assistant(engine).answer(check(replace(request, options=SummaryOptions("short"))))
    assert longer.text == "A bridge. It is old."


REQUEST = Request("summarization", "A b.", SummaryOptions(), GenerationOptions())


def summaries(*outputs: str, of: int, reason: StopReason = "end") -> Pass:
    """The round over `of` pieces of which some are answered, the last for `reason`."""
    pieces = Pieces(tuple("ab"[:of]), " ".join)
    reasons: list[StopReason] = ["end"] * (len(outputs) - 1) + [reason]
    completions = [Completion(text, (1,), 1, item) for text, item in zip(outputs, reasons, strict=False)]
    return Pass(pieces, list(outputs), completions)


def test_a_pass_is_complete_once_every_piece_was_answered_to_its_end() -> None:
    assert summaries("one", "two", of=2).complete
    assert not summaries("one", of=2).complete
    assert not summaries("one", "two", of=2, reason="stopped").complete
    assert summaries("one", "two", of=2, reason="length").complete


def test_a_merge_is_shown_once_it_says_something_and_counts_once_it_is_whole() -> None:
    state = GenerationState(check(REQUEST), "finetuned", [summaries("one", "two", of=2), summaries(of=1)])
    assert (state.text, state.final.text) == ("one two", "one two")
    state.current.partial = ["bo"]
    assert (state.text, state.final.text) == ("bo", "one two")
    state.passes[-1] = summaries("both", of=1, reason="time")
    assert (state.text, state.final.text) == ("both", "one two")
    state.passes[-1] = summaries("both", of=1)
    assert state.final.text == "both"
