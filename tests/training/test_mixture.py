import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from tokenizers.processors import TemplateProcessing

from phi2demo.data.corpus import Source, read_corpus
from phi2demo.engine.engine import END_OF_TEXT
from phi2demo.errors import DataError, SettingsError
from phi2demo.training.instructions import EMPHASIS, REPLAY, TASK_WEIGHTS, task_weights
from phi2demo.training.mixture import Mixture, TokenizedExample, collate, source_weight
from phi2demo.training.token_streams import train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@pytest.fixture(scope="module")
def tokenizer() -> "PreTrainedTokenizerFast":
    return train_tokenizer(["The cat sees the dog. Instruct: Output: positive negative"], vocab_size=320, context=512)


@pytest.fixture(scope="module")
def mixture(corpus: Path, tokenizer: "PreTrainedTokenizerFast") -> Mixture:
    sources = [source for source in read_corpus(corpus)[0] if source.kind != "simplification"]
    return Mixture(sources, task_weights({}), tokenizer, max_length=512, batch_size=8, seed=0)


def test_a_batch_depends_on_seed_and_step_alone(mixture: Mixture) -> None:
    again = replace(mixture, sources=list(mixture.sources))
    for step in (0, 5):
        first, second = mixture.batch(step), again.batch(step)
        assert torch.equal(first.input_ids, second.input_ids)
        assert torch.equal(first.labels, second.labels)
    assert mixture.batch(0).input_ids.shape != mixture.batch(1).input_ids.shape
    assert replace(mixture, seed=1).batch(0).input_ids.shape != mixture.batch(0).input_ids.shape


def test_targets_are_the_output_and_its_end(mixture: Mixture, tokenizer: "PreTrainedTokenizerFast") -> None:
    batch = replace(mixture, weights=task_weights({REPLAY: 0, "generation": 0})).batch(0)
    assert batch.attention_mask is not None
    for ids, labels, mask in zip(batch.input_ids, batch.labels, batch.attention_mask, strict=True):
        prompt, _, output = tokenizer.decode(ids[: int(mask.sum())]).rpartition("Output:")
        assert prompt.startswith("Instruct: ")
        assert tokenizer.decode(labels[labels != -100]) == f"{output}<|endoftext|>"
        assert output.startswith(" ")
        first = int((labels != -100).nonzero()[0])
        assert tokenizer.decode(ids[: first + 1]).endswith("Output:")


def test_a_prompt_begins_as_the_app_begins_it(mixture: Mixture, tokenizer: "PreTrainedTokenizerFast") -> None:
    """A Llama's tokenizer sets a token before each text; the limit of an example counts it."""
    llama: PreTrainedTokenizerFast = copy.deepcopy(tokenizer)
    llama.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 7)])
    limited = replace(mixture, tokenizer=llama, max_length=150, weights=task_weights({"summarization": 30.0}))
    for ids in limited.batch(0).input_ids.tolist():
        assert (ids[0], ids.count(7)) == (7, 1)
    assert "summarization" not in limited.tasks_without_examples


def test_tasks_are_drawn_by_weight(mixture: Mixture, tokenizer: "PreTrainedTokenizerFast") -> None:
    drawn = replace(mixture, batch_size=600).batch(0)
    prompts = [tokenizer.decode(ids) for ids in drawn.input_ids]
    for start, share in (
        ("Instruct: Translate", TASK_WEIGHTS["translation"]),
        ("Instruct: Is the sentiment", TASK_WEIGHTS["sentiment"]),
        (END_OF_TEXT, TASK_WEIGHTS["generation"] + TASK_WEIGHTS[REPLAY]),
    ):
        assert sum(prompt.startswith(start) for prompt in prompts) / len(prompts) == pytest.approx(share, abs=0.06)


def test_a_text_to_go_on_with_begins_with_the_end_of_another(
    mixture: Mixture, tokenizer: "PreTrainedTokenizerFast"
) -> None:
    batch = replace(mixture, weights=task_weights(dict.fromkeys(TASK_WEIGHTS, 0.0) | {"generation": 1.0})).batch(0)
    for ids, labels in zip(batch.input_ids, batch.labels, strict=True):
        first = int((labels != -100).nonzero()[0])
        read, written = tokenizer.decode(ids[: first + 1]), tokenizer.decode(labels[labels != -100])
        assert read.startswith(END_OF_TEXT)
        assert read[-1] in ".!?\"'"
        assert written[0].isspace()
        assert written.endswith(END_OF_TEXT)


def test_a_task_has_the_same_share_of_the_loss_as_of_the_rows() -> None:
    def example(task: str, output_tokens: int) -> TokenizedExample:
        return TokenizedExample(task, list(range(4 + output_tokens)), 4)

    batch = collate([example("generation", 90), example("translation", 5), example("translation", 15)], pad_id=0)
    assert batch.weights is not None
    assert batch.weights.sum(1).tolist() == pytest.approx([EMPHASIS["generation"], 0.5, 1.5])
    assert torch.equal(batch.weights > 0, batch.labels != -100)
    assert batch.total_weight == pytest.approx(EMPHASIS["generation"] + 2)


def test_replayed_prose_begins_at_an_end_token_and_is_learned_whole(
    mixture: Mixture, tokenizer: "PreTrainedTokenizerFast"
) -> None:
    batch = mixture.sample(REPLAY, 4)
    assert batch is not None
    assert batch.attention_mask is not None
    for ids, labels, mask in zip(batch.input_ids, batch.labels, batch.attention_mask, strict=True):
        read = int(mask.sum())
        assert ids[0] == tokenizer.eos_token_id
        assert torch.equal(ids[1:read], labels[: read - 1])
        assert "Instruct:" not in tokenizer.decode(ids)


def test_padding_is_on_the_right_and_masked() -> None:
    batch = collate(
        [TokenizedExample("sentiment", [5, 6, 7], 2), TokenizedExample("sentiment", [5, 6, 8, 9, 7], 2)], pad_id=1
    )
    assert batch.input_ids.tolist() == [[5, 6, 1, 1], [5, 6, 8, 9]]
    assert batch.labels.tolist() == [[-100, 7, -100, -100], [-100, 8, 9, 7]]
    assert batch.attention_mask is not None
    assert batch.attention_mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]


def test_tasks_and_languages(mixture: Mixture) -> None:
    assert mixture.tasks == tuple(TASK_WEIGHTS)
    assert mixture.languages == ("en", "de")
    assert replace(mixture, weights=task_weights({"translation": 0})).tasks == tuple(TASK_WEIGHTS)[1:]


def test_a_sample_is_always_the_same(mixture: Mixture) -> None:
    first, again = (replace(mixture, split="validation").sample("translation", 6) for _ in range(2))
    assert first is not None
    assert again is not None
    assert torch.equal(first.input_ids, again.input_ids)


def test_a_sample_has_each_row_once(mixture: Mixture) -> None:
    drawn = replace(mixture, split="validation").sample("translation", 100)
    assert drawn is not None
    assert len(drawn.input_ids) == 12


def test_a_task_without_an_example_is_named(mixture: Mixture, tokenizer: "PreTrainedTokenizerFast") -> None:
    quotes = Source("quotes", "prose", {"train": ({"text": "One sentence."},), "validation": (), "test": ()})
    short = replace(mixture, sources=[quotes])
    assert short.sample("generation", 3) is None
    assert (short.tasks, short.tasks_without_examples) == (("generation", REPLAY), ("generation",))


def test_no_example_is_longer_than_the_limit(mixture: Mixture) -> None:
    short = replace(mixture, max_length=150)
    assert max(short.batch(step).input_ids.shape[1] for step in range(10)) < 150


def test_rows_that_never_fit_are_refused(tokenizer: "PreTrainedTokenizerFast") -> None:
    rows = ({"text": "A film that goes on and on.", "label": 1},)
    source = Source("reviews", "sentiment", {"train": rows, "validation": (), "test": ()})
    mixture = Mixture([source], task_weights({}), tokenizer, max_length=8, batch_size=2, seed=0)
    with pytest.raises(DataError, match=r"no example of at most 8 tokens. Give shorter texts"):
        mixture.batch(0)


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({"poetry": 1.0}, "there is no task 'poetry'; give one of translation"),
        ({"sentiment": -1.0}, "give a weight from 0"),
        ({"sentiment": float("nan")}, "--mix sentiment=nan: give a weight from 0"),
    ],
)
def test_invalid_task_weights_are_refused(mix: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        task_weights(mix)


@pytest.mark.parametrize(
    ("name", "weight"), [("tinystories_sample", 3.0), ("tatoeba.en-de", 1.0), ("african_storybook.en-fr", 0.1)]
)
def test_source_weight(name: str, weight: float) -> None:
    assert source_weight(name) == weight
