"""Repetition is held down in the output, never against the person's own text."""

import torch

from phi2demo.engine.engine import GenerationOptions
from phi2demo.engine.sampling import Vocabulary, make_logits_processors

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
