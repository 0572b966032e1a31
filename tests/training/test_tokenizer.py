import pytest

from phi2demo.engine.engine import END_OF_TEXT
from phi2demo.training.tokenizer import PAD, train_tokenizer

TEXTS = ["The cat sleeps. " * 20, "Die Katze schläft. " * 20]


@pytest.mark.parametrize(
    "text",
    [
        "The cat sleeps.",
        " leading and  double spaces ",
        "line\nbreaks\n\n",
        "schläft 🙂 नमस्ते مرحبا",
        "\x00\x7f",
        "1234567",
    ],
)
def test_any_string_comes_back(text: str) -> None:
    tokenizer = train_tokenizer(TEXTS, vocab_size=300, context=64)
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_special_tokens_and_digits() -> None:
    tokenizer = train_tokenizer([*TEXTS, "12 12 12 12 " * 50], vocab_size=400, context=64)
    assert tokenizer.convert_tokens_to_ids([END_OF_TEXT, PAD]) == [0, 1]
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.model_max_length) == (END_OF_TEXT, PAD, 64)
    assert len(tokenizer("1212")["input_ids"]) == 4
    assert tokenizer("no special tokens are added")["input_ids"][0] != 0
