"""What is shown of tokens on their way: no half characters, and an end where they only repeat themselves."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from phi2demo.engine.engine import Completion, GenerationOptions, Prompt, Snapshot
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.planning import plan
from phi2demo.engine.watch import Watch, find_loop_end
from phi2demo.settings import EMBEDDED_MODEL, ModelSettings

TOKENIZER = AutoTokenizer.from_pretrained(EMBEDDED_MODEL)
END = TOKENIZER.eos_token_id


def ids_of(text: str) -> list[int]:
    encoded_ids: list[int] = TOKENIZER.encode(text)
    return encoded_ids


def watch_of(ids: Sequence[int], *, beams: int = 1, limit: int | None = None) -> tuple[Watch, list[Snapshot]]:
    reports: list[Snapshot] = []
    watch = Watch(
        TOKENIZER,
        GenerationOptions(max_new_tokens=limit or len(ids), num_beams=beams),
        prompt_tokens=[1],
        stops=[()],
        max_new_tokens=limit or len(ids),
        end_ids=frozenset([END]),
        halted=lambda: False,
        report=reports.append,
    )
    return watch, reports


def written(ids: Sequence[int], *, limit: int | None = None) -> tuple[Completion, list[str]]:
    """What becomes of a row that writes these tokens until it is done, and all that was streamed."""
    watch, _ = watch_of(ids, limit=limit)
    streamed = []
    for token in ids:
        done = watch(torch.tensor([[token]]), torch.zeros(1, 1))  # type: ignore[arg-type]
        streamed.append(watch.snapshot().texts[0])
        if bool(done[0]):
            break
    last = watch.finish(None)
    assert last.completions is not None
    return last.completions[0], streamed


def chosen(ids: Sequence[int]) -> Completion:
    """The same of the output of a beam search."""
    watch, _ = watch_of(ids, beams=2)
    last = watch.finish([[list(ids), list(ids)]])
    assert last.completions is not None
    return last.completions[0]


@pytest.mark.parametrize("character", ["🙂", "𝄞", "日", "é", "👩‍🚀"])
def test_an_output_cut_inside_a_character_ends_before_it(character: str) -> None:
    ids = ids_of(f"Yes {character}")
    for limit in range(1, len(ids) + 1):
        completion, streamed = written(ids, limit=limit)
        beam = chosen(ids[:limit])
        assert not any("\ufffd" in text for text in (completion.text, beam.text, *streamed))
        assert f"Yes {character}".startswith(completion.text)
        assert beam.text == completion.text
        assert completion.token_ids == tuple(ids[:limit]), "the tokens stay as generated"
    assert completion.text == f"Yes {character}"


def test_an_output_that_repeats_itself_ends_early() -> None:
    ids = [*ids_of("It was late." + " He went home and he went home and" * 30), END]
    completion, _ = written(ids)
    assert completion.stop_reason == "loop"
    assert len(completion.token_ids) < len(ids) / 3
    beam = chosen(ids)
    assert beam.stop_reason == "loop"
    assert len(beam.token_ids) <= len(completion.token_ids)
    assert completion.text.startswith(beam.text)


def test_an_output_that_does_not_is_left_alone() -> None:
    text = "Row, row, row your boat, gently down the stream, merrily, merrily, merrily, merrily, life is but a dream."
    ids = [*ids_of(text), END]
    assert (written(ids)[0].text, written(ids)[0].stop_reason) == (text, "end")
    assert (chosen(ids).text, chosen(ids).stop_reason) == (text, "end")


def test_the_best_of_beams_is_one_that_does_not_repeat_itself() -> None:
    from phi2demo.tasks import TASKS
    from phi2demo.tasks.candidates import Answered, preferred
    from phi2demo.tasks.templates import PHI
    from phi2demo.tasks.translation import TranslationOptions

    loop, fine = [*ids_of(" Konzon" + "zon" * 30), END], [*ids_of(" Das Wetter ist gut."), END]
    watch, _ = watch_of(loop, beams=2)
    last = watch.finish([[loop, fine]])
    assert last.completions is not None
    completion = last.completions[0]
    assert [candidate.stop_reason for candidate in completion.candidates] == ["loop", "end"]
    row = Answered("今日は", TranslationOptions("en", "de"), PHI, Prompt("any"), completion)
    best = preferred(TASKS["translation"], row)
    assert best.text.strip() == "Das Wetter ist gut."


def test_nor_does_one_that_is_cut_before_a_stop_string() -> None:
    watch, _ = watch_of([1])
    watch._stops = [("END",)]
    half = ids_of("Yes 🙂")[:-1]
    assert watch._display_text(0, [*half, *ids_of("END")]) == "Yes "


@pytest.mark.parametrize(
    "text",
    [
        "„Konzonzonzonzonzonzonzonzonzonzonzonzonzonzon",
        "a" * 40,
        "He said: no, no, no, no, no, no, no, no, no, no, no, no",
        "very very very very very very very very",
        "It was a good day. It was a good day. It was a good day. It was a good day. It was a good day. It",
        "The man went into the house and sat down at the table. " * 3,
        "ha\n" * 12,
        "今日は" * 12,
    ],
)
def test_an_endless_repetition_is_a_loop(text: str) -> None:
    end = find_loop_end(text)
    assert end is not None
    assert end <= len(text)
    assert find_loop_end(text[:end]) == end, "it is told as soon as it is one"
    assert find_loop_end(text[: end - 1]) is None


@pytest.mark.parametrize(
    "text",
    [
        "Ha ha ha ha!",
        "No, no, no, no, said the king.",
        "Row, row, row your boat, gently down the stream.",
        "10000000 and 1,000,000,000",
        "-" * 200,
        ". . . . . . . . . . . . . . . . . . . .",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "He ran and he ran and he ran, and then he slept.",
        "Bla bla bla.",
        "The man went into the house and sat down at the table. " * 2,
    ],
)
def test_texts_by_people_are_no_loops(text: str) -> None:
    assert find_loop_end(text) is None


TEXTS = ["The train", " two  spaces ", "日本 schläft", "e\u0301 👩\u200d👩\u200d👧!", "a\n\n b\t", "\ufffd�x"]


@pytest.fixture(scope="module")
def engine(tiny_base: Path) -> LocalEngine:
    return LocalEngine.load(plan(ModelSettings(model=str(tiny_base), device="cpu")))


def covers(spans: Sequence[tuple[int, int]], length: int) -> bool:
    """No gap, no step back, from 0 to the end."""
    reached = 0
    for start, end in spans:
        if start > reached or end < reached:
            return False
        reached = end
    return reached == length


@given(st.text(min_size=1))
@settings(deadline=None, max_examples=60)
@example(TEXTS[3])
@example(TEXTS[2])
def test_spans_of_a_text_cover_it(engine: LocalEngine, text: str) -> None:
    tokens = engine.tokens(text)
    assert tokens.text == text
    assert len(tokens.ids) == len(tokens.spans) == engine.count_tokens(text)
    assert covers(tokens.spans, len(text))


@pytest.mark.parametrize("text", TEXTS)
def test_ids_stand_for_the_same_text_and_spans(engine: LocalEngine, text: str) -> None:
    forward = engine.tokens(text)
    back = engine.tokens(forward.ids)
    assert (back.text, back.ids) == (text, forward.ids)
    assert covers(back.spans, len(text))
    if "\ufffd" not in text:  # which a decoder also writes for half a character
        assert [text[slice(*span)] for span in back.spans] == [text[slice(*span)] for span in forward.spans]


def test_a_special_token_has_an_empty_span(engine: LocalEngine) -> None:
    end = max(engine._end_ids)
    tokens = engine.tokens((*engine.tokens("The train").ids, end))
    assert tokens.text == "The train"
    assert tokens.spans[-1] == (9, 9)
