"""Repetition is held down in the output, never against the person's own text."""

from pathlib import Path
from typing import Any

import pytest
import torch

from phi2demo.engine.engine import GenerationOptions, Prompt
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.sampling import Guidance, Vocabulary, WatchWithoutGuides, make_logits_processors
from tests.engine.engines import KINDS, made_for, torch_model
from tests.engine.test_local import TEXTS, last, texts

PROMPT = [5, 6, 7, 5, 6]
VOCABULARY = 10


def vocabulary() -> Vocabulary:
    raise AssertionError("only a bias has to know it")


def scores_after(output: list[int], options: GenerationOptions) -> list[float]:
    processors = make_logits_processors(options, [0], prompt_length=len(PROMPT), vocabulary=vocabulary)
    return processors(torch.tensor([PROMPT + output]), torch.ones(1, VOCABULARY))[0].tolist()


def test_a_run_of_tokens_is_not_repeated() -> None:
    scores = scores_after([1, 2, 3, 1, 2], GenerationOptions(no_repeat_ngram_size=3))
    assert scores[3] == -torch.inf
    assert scores.count(1.0) == VOCABULARY - 1


def test_an_ngram_of_the_prompt_alone_may_be_generated() -> None:
    scores = scores_after([5, 6], GenerationOptions(no_repeat_ngram_size=3))
    assert scores == [1.0] * VOCABULARY


def test_only_tokens_of_the_output_are_penalized() -> None:
    scores = scores_after([1], GenerationOptions(repetition_penalty=2.0))
    assert [token for token, score in enumerate(scores) if score != 1.0] == [1]


def test_default_options_need_no_processors() -> None:
    assert len(make_logits_processors(GenerationOptions(), [0], prompt_length=5, vocabulary=vocabulary)) == 0


GUIDED = GenerationOptions(max_new_tokens=12, guidance_scale=2.0)
ROWS = [
    Prompt("The train leaves the station and", "finetuned", without="The"),
    Prompt("A small model", "base", without="A very long prompt without the text"),
    Prompt("It rained", "finetuned", without="It"),
]


@pytest.fixture(scope="module", params=KINDS)
def engine(request: pytest.FixtureRequest, tiny_adapter: Path) -> LocalEngine:
    return made_for(request.param, tiny_adapter)


def by_hand(engine: LocalEngine, prompt: Prompt, options: GenerationOptions) -> list[int]:
    """Two runs of the model itself, token by token, without padding or stored keys."""
    model: Any = torch_model(engine)
    given, guide = (engine._tokenizer.encode(text) for text in (prompt.text, prompt.without or prompt.text))
    penalties = GenerationOptions(repetition_penalty=options.repetition_penalty)
    process = make_logits_processors(
        penalties, [prompt.seed], prompt_length=len(given), vocabulary=engine._model._vocabulary
    )
    made: list[int] = []
    with torch.inference_mode():
        for _ in range(options.max_new_tokens):
            told, untold = (
                model(
                    input_ids=torch.tensor([[*ids, *made]]),
                    adapter_names=["default" if prompt.variant == "finetuned" else "__base__"],
                ).logits[0, -1:]
                for ids in (given, guide)
            )
            told, untold = told.log_softmax(-1), untold.log_softmax(-1)
            scores = untold + options.guidance_scale * (told - untold)
            ids: Any = torch.tensor([[*given, *made]])
            made.append(int(process(ids, scores).argmax()))
            if made[-1] in engine._end_ids:
                break
    return made


@pytest.mark.parametrize("penalty", [1.0, 1.5])
def test_rows_write_what_two_runs_of_the_model_make_of_them(engine: LocalEngine, penalty: float) -> None:
    options = GenerationOptions(max_new_tokens=12, guidance_scale=2.0, repetition_penalty=penalty)
    completions = last(engine.stream(ROWS, options)).completions or ()
    assert [list(each.token_ids) for each in completions] == [by_hand(engine, row, options) for row in ROWS]
    assert [each.prompt_tokens for each in completions] == [engine.count_tokens(row.text) for row in ROWS]
    assert texts(engine, ROWS, GUIDED) != texts(engine, ROWS, GenerationOptions(max_new_tokens=12))


def test_a_row_writes_the_same_alone_and_among_others(engine: LocalEngine) -> None:
    assert texts(engine, ROWS, GUIDED) == [texts(engine, [row], GUIDED)[0] for row in ROWS]
    sampled = GenerationOptions(max_new_tokens=12, guidance_scale=1.5, temperature=1.0)
    rows = [Prompt(row.text, row.variant, seed, without=row.without) for seed, row in enumerate(ROWS)]
    together = texts(engine, rows, sampled)
    assert together == [texts(engine, [row], sampled)[0] for row in rows]
    assert together == texts(engine, rows, sampled)


def test_without_a_guide_a_row_is_written_as_ever(engine: LocalEngine) -> None:
    rows = [Prompt(text) for text in TEXTS]
    plain = GenerationOptions(max_new_tokens=12)
    assert texts(engine, rows, GUIDED) == texts(engine, rows, plain)


def test_beams_are_guided(engine: LocalEngine) -> None:
    options = GenerationOptions(max_new_tokens=8, guidance_scale=2.0, num_beams=3)
    completions = last(engine.stream(ROWS, options)).completions or ()
    assert len(completions) == len(ROWS)
    for row, completion in zip(ROWS, completions, strict=True):
        assert len(completion.candidates) == 3
        alone = (last(engine.stream([row], options)).completions or ())[0]
        assert [each.token_ids for each in completion.candidates] == [each.token_ids for each in alone.candidates]
    unguided = last(engine.stream(ROWS, GenerationOptions(max_new_tokens=8, num_beams=3))).completions or ()
    assert [each.text for each in completions] != [each.text for each in unguided]


def test_text_streams_and_only_that_of_the_rows(engine: LocalEngine) -> None:
    snapshots = list(engine.stream(ROWS, GUIDED))
    assert {len(snapshot.texts) for snapshot in snapshots} == {len(ROWS)}
    final = snapshots[-1]
    assert final.new_tokens == sum(len(each.token_ids) for each in final.completions or ())


def test_the_guided_scores_are_log_probabilities_of_both_halves() -> None:
    scores: Any = torch.tensor([[2.0, 0.0, -1.0], [0.0, 2.0, 0.0]])
    guided = Guidance(2.0)(torch.zeros(2, 1, dtype=torch.long), scores)  # type: ignore[arg-type]
    assert torch.equal(guided[0], guided[1])
    assert guided.exp().sum(-1) == pytest.approx(1.0)
    told, untold = scores.log_softmax(-1)
    assert guided[0].argmax() == 0
    difference = (guided[0] - (2 * told - untold)).tolist()
    assert difference == pytest.approx([difference[0]] * 3, abs=1e-6)


def test_the_watch_is_told_of_rows_alone() -> None:
    class Seen:
        def __init__(self) -> None:
            self.marked: list[int] = []

        def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            self.ids = ids
            return ids[:, -1] == 3

        def mark_ended(self, rows: Any) -> None:
            self.marked += rows

    seen = Seen()
    watch = WatchWithoutGuides(seen, 2)  # type: ignore[arg-type]
    ids: Any = torch.tensor([[1, 3], [1, 2], [9, 3], [9, 2]])
    assert watch(ids, ids.float()).tolist() == [True, False, True, False]
    assert seen.ids.tolist() == [[1, 3], [1, 2]]
    watch.mark_ended([0, 2, 1, 3])
    assert seen.marked == [0, 1]
