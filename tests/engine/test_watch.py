"""What is shown of tokens on their way: no half characters, and an end where they only repeat themselves."""

from collections.abc import Sequence

import pytest
import torch
from transformers import AutoTokenizer

from phi2demo.engine.engine import Completion, GenerationOptions, Snapshot
from phi2demo.engine.watch import Watch
from phi2demo.settings import EMBEDDED_MODEL

TOKENIZER = AutoTokenizer.from_pretrained(EMBEDDED_MODEL)
END = TOKENIZER.eos_token_id


def ids_of(text: str) -> list[int]:
    found: list[int] = TOKENIZER.encode(text)
    return found


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
    from phi2demo.tasks.reranking import preferred
    from phi2demo.tasks.translation import TranslationOptions

    loop, fine = [*ids_of(" Konzon" + "zon" * 30), END], [*ids_of(" Das Wetter ist gut."), END]
    watch, _ = watch_of(loop, beams=2)
    last = watch.finish([[loop, fine]])
    assert last.completions is not None
    completion = last.completions[0]
    assert [each.stop_reason for each in completion.candidates] == ["loop", "end"]
    taken = preferred(TASKS["translation"], "今日は", TranslationOptions("en", "de"), completion)
    assert taken.text.strip() == "Das Wetter ist gut."


def test_nor_does_one_that_is_cut_before_a_stop_string() -> None:
    watch, _ = watch_of([1])
    watch._stops = [("END",)]
    half = ids_of("Yes 🙂")[:-1]
    assert watch._shown(0, [*half, *ids_of("END")]) == "Yes "
