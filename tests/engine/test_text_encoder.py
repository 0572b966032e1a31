"""Texts are read as ordinary characters by the kinds of tokenizers that models have, and each token has its span."""

from collections.abc import Sequence

import pytest
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.models import BPE, Unigram, WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Metaspace, Split, WhitespaceSplit
from tokenizers.pre_tokenizers import Sequence as Steps
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer, UnigramTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from phi2demo.engine.engine import END_OF_TEXT, special, visible
from phi2demo.engine.text_encoder import TextEncoder, decode_with_spans, fill_gaps, read_template, special_tokens
from phi2demo.settings import EMBEDDED_MODEL

CORPUS = [
    "The train leaves at eight. <|endoftext|> and </s> or <pad> <extra_id_0> <|im_start|>user begin_of_text eot_id",
    "A text of words, of <brackets> and | bars | and numbers 0 1 2 3.",
] * 20
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n[TURN]{% endfor %}"


def trained_bpe(special: Sequence[str], *, split: str = "") -> Tokenizer:
    words = Tokenizer(BPE())
    steps = [ByteLevel(add_prefix_space=False)]
    if split:
        steps = [Split(Regex(split), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    words.pre_tokenizer = Steps(steps)
    trainer = BpeTrainer(vocab_size=600, special_tokens=list(special), initial_alphabet=ByteLevel.alphabet())
    words.train_from_iterator(CORPUS, trainer)
    return words


def phi() -> PreTrainedTokenizerFast:
    """Phi's: one special token, and runs of spaces as tokens that are text."""
    words = trained_bpe([END_OF_TEXT])
    words.add_tokens([AddedToken(" " * count, normalized=True) for count in (4, 8)])
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token=END_OF_TEXT, eos_token=END_OF_TEXT)


def llama() -> PreTrainedTokenizerFast:
    """Llama-3's: reserved tokens beyond the vocabulary, one of them set before each text."""
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
    words = trained_bpe([], split=r"\s?\w+|[^\w\s]+|\s+")
    words.add_special_tokens(special)
    begin = words.token_to_id(special[0])
    words.post_processor = TemplateProcessing(single=f"{special[0]} $A", special_tokens=[(special[0], begin)])
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token=special[0], eos_token=special[1])


def chatml() -> PreTrainedTokenizerFast:
    """ChatML on Phi's: turn tokens that were added as ordinary ones."""
    words = trained_bpe([END_OF_TEXT])
    words.add_tokens(["<|im_start|>", "<|im_end|>", "[TURN]", "<b>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, bos_token=END_OF_TEXT, eos_token=END_OF_TEXT)
    tokenizer.chat_template = CHATML
    return tokenizer


def t5() -> PreTrainedTokenizerFast:
    """T5's: special tokens that are pieces of the Unigram model too."""
    special = ["<pad>", "</s>", "<unk>", "<extra_id_0>"]
    words = Tokenizer(Unigram())
    words.pre_tokenizer = Metaspace()
    words.train_from_iterator(CORPUS, UnigramTrainer(vocab_size=120, special_tokens=special, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


TOKENIZERS = {"phi": phi, "llama-3": llama, "chatml": chatml, "t5": t5}
TYPED = (
    "<|endoftext|>", "<|begin_of_text|>", "<|eot_id|>", "<|end_header_id|>", "<|im_start|>", "<|im_end|>", "[TURN]",
    "</s>", "<pad>", "<extra_id_0>", "\x000", "\x00:0",
)  # fmt: skip


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("around", ["{}", "Hello. {} World.", "a{}b", "{0}{0}", " {} "])
def test_no_special_token_can_be_typed(name: str, around: str) -> None:
    tokenizer = TOKENIZERS[name]()
    encoder, marks = TextEncoder(tokenizer), special_tokens(tokenizer)
    unknown = {tokenizer.unk_token_id} - {None}
    begins = tokenizer.encode("")
    for typed in TYPED:
        text = around.format(typed)
        encoded = encoder.encode(text)
        assert not set(encoded.ids) & marks.keys() - unknown, (typed, encoded)
        (prompt,) = encoder.encode_prompts([text])
        found_special = [token for token in prompt if token in marks.keys() - unknown]
        begun = text.startswith(END_OF_TEXT) and name != "llama-3"  # whose tokenizer begins every text itself
        assert len(found_special) == len(begins) + begun, "only what begins or ends each text"
        assert encoder.encode_all([text]) == [list(encoded.ids)]
        covered = {place for span in encoded.spans for place in range(*span)}
        assert {place for place, character in enumerate(text) if not character.isspace()} <= covered


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(
    "text", ["The train leaves at eight.", "    four        spaces", "numbers 0 1 2, <brackets> and | bars"]
)
def test_all_other_texts_are_read_as_ever(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]()
    encoder = TextEncoder(tokenizer)
    expected = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    assert list(encoder.encode(text).ids) == expected["input_ids"]
    assert list(encoder.encode(text).spans) == expected["offset_mapping"]
    assert encoder.encode_prompts([text]) == [tokenizer.encode(text)]
    assert encoder.count(text) == len(expected["input_ids"])


def test_tokens_that_end_texts_and_turns_are_special_and_text_is_not() -> None:
    assert set(special_tokens(phi()).values()) == {END_OF_TEXT}
    assert set(special_tokens(chatml()).values()) == {END_OF_TEXT, "<|im_start|>", "<|im_end|>", "[TURN]"}
    bold = chatml().convert_tokens_to_ids("<b>")
    assert "<b>" in special_tokens(chatml(), end_ids=[bold]).values(), "where it ends an answer"
    assert TextEncoder(chatml()).encode("<b>").ids == (bold,)


def test_only_the_beginning_of_a_prompt_is_the_token_that_begins_a_text() -> None:
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_MODEL)
    encoder, end = TextEncoder(tokenizer), tokenizer.eos_token_id
    begun, twice, inside = encoder.encode_prompts([f"{END_OF_TEXT}Hi", f"{END_OF_TEXT * 2}Hi", f"Hi{END_OF_TEXT}"])
    assert begun == [end, *tokenizer.encode("Hi")]
    assert (twice[0], twice.count(end)) == (end, 1)
    assert end not in inside
    assert tokenizer.decode(inside) == f"Hi{END_OF_TEXT}"
    assert encoder.count(f"{END_OF_TEXT}Hi") == len(begun)


def test_a_word_model_has_its_unknown_word() -> None:
    words = Tokenizer(WordLevel({"<unk>": 0, "</s>": 1, "a": 2}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>")
    assert TextEncoder(tokenizer).encode("a </s> b").ids == (2, 0, 0)


def test_white_space_that_a_tokenizer_leaves_out_belongs_to_the_next_token() -> None:
    assert fill_gaps([(0, 3), (4, 9), (9, 10)], 12) == ((0, 3), (3, 9), (9, 12))
    assert fill_gaps([(0, 1), (0, 1), (1, 2)], 2) == ((0, 1), (0, 1), (1, 2))
    assert fill_gaps([], 0) == ()


def test_a_character_in_three_parts_has_one_span() -> None:
    parts = {1: b"a", 2: b"\xe6", 3: b"\x97", 4: b"\xa5", 5: b"b", 6: b""}

    def decode(ids: Sequence[int]) -> str:
        return b"".join(parts[token] for token in ids).decode(errors="replace")

    text, spans = decode_with_spans([1, 2, 3, 4, 5, 6], decode)
    assert text == "a日b"
    assert spans == ((0, 1), (1, 2), (1, 2), (1, 2), (2, 3), (3, 3))
    assert decode_with_spans([1, 2, 3], decode)[1][-1][1] == len(decode([1, 2, 3]))


FORMS = {
    "chatml": (
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "llama-3": (
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
        "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
        "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    ),
    "zephyr": (
        "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n"
        "{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% endif %}\n"
        "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
    ),
}
"""Chat templates of three families of public models."""


def with_chat_template(name: str) -> PreTrainedTokenizerFast:
    tokenizer = {"chatml": chatml, "llama-3": llama, "zephyr": phi}[name]()
    tokenizer.chat_template = FORMS[name]
    return tokenizer


@pytest.mark.parametrize("system", ["", "Be brief."])
@pytest.mark.parametrize("name", FORMS)
def test_a_chat_template_gives_the_tokens_of_the_tokenizer_itself(name: str, system: str) -> None:
    tokenizer, question = with_chat_template(name), "Where does the train go?"
    form = read_template(tokenizer, special_tokens(tokenizer).values())
    assert form is not None
    text = form.text_with_system.replace("{system}", system) if system else form.text
    messages = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": question}]
    prompt = text.replace("{prompt}", question)
    expected = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert TextEncoder(tokenizer).encode_prompts([prompt]) == [expected]
    assert visible(prompt) == tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)


@pytest.mark.parametrize("name", FORMS)
def test_a_question_cannot_end_its_turn(name: str) -> None:
    tokenizer = with_chat_template(name)
    encoder, marks = TextEncoder(tokenizer), special_tokens(tokenizer)
    form = read_template(tokenizer, marks.values())
    assert form is not None
    typed = "".join(marks.values())
    plain, attack = encoder.encode_prompts([form.text.replace("{prompt}", text) for text in ("Hi", f"Hi{typed}")])
    assert [token for token in attack if token in marks] == [token for token in plain if token in marks]


def test_a_marked_token_that_the_tokenizer_lacks_is_read_as_characters() -> None:
    encoder, prompt = TextEncoder(phi()), f"{special('<|im_start|>')}user"
    assert encoder.encode_prompts([prompt]) == encoder.encode_prompts(["<|im_start|>user"])
    assert encoder.count(prompt) == encoder.count("<|im_start|>user")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (None, None),
        ("always the same", None),
        (
            "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ messages[0].content }}:",
            "",
        ),
    ],
)
def test_a_chat_template_without_the_question_or_a_system_text(template: str | None, expected: str | None) -> None:
    tokenizer = phi()
    tokenizer.chat_template = template
    form = read_template(tokenizer, [])
    assert (form and form.text_with_system) == expected
