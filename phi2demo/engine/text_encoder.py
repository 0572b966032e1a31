"""An encoder that reads every text as ordinary characters, so that no text can contain a special token.

A tokenizer turns `<|endoftext|>` in a text into the token that ends texts, and a Unigram model finds `</s>` among its
pieces. In a copy of the tokenizer, the special tokens here get names that nobody can type, those that `special` makes;
nothing else changes.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from phi2demo.engine.engine import AS_IT_STANDS, END_OF_TEXT, ChatTemplate, special, visible
from phi2demo.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


UNFINISHED = "\ufffd"
"""The character that a decoder writes for the bytes of an incomplete character."""

Span = tuple[int, int]
"""Start and end of a token in a text, in characters."""


def fill_gaps(offsets: Sequence[Span], length: int) -> tuple[Span, ...]:
    """Turn a tokenizer's offsets into spans without gaps from 0 to `length`: white space belongs to the token after it.

    A byte-level tokenizer can split one character into several tokens, whose spans then overlap.
    """
    spans: list[Span] = []
    covered = 0
    for start, end in offsets:
        spans.append((min(start, covered), max(end, covered)))
        covered = spans[-1][1]
    if spans:
        spans[-1] = (spans[-1][0], length)
    return tuple(spans)


def decode_with_spans(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> tuple[str, tuple[Span, ...]]:
    """Return the text of token ids, and the span of each; a special token has no text and an empty span."""
    text = decode(ids)
    is_silent = [not decode([token]) for token in ids]
    ends = [0]
    for count in range(1, len(ids)):
        so_far = decode(ids[:count])
        whole = so_far if text.startswith(so_far) else so_far.rstrip(UNFINISHED)
        ends.append(max(len(whole), ends[-1]))
    ends.append(len(text))
    completed = list(ends)
    for index in range(len(ids) - 1, 0, -1):  # a part of a character belongs where the character is complete
        if ends[index] == ends[index - 1] and not is_silent[index - 1]:
            completed[index] = max(completed[index], completed[index + 1])
    spans: list[Span] = []
    for index, silent in enumerate(is_silent):
        start, end = ends[index], ends[index] if silent else completed[index + 1]
        if start == end and not silent and spans:
            start = spans[-1][0]
        spans.append((start, end))
    return text, tuple(spans)


@dataclass(frozen=True)
class EncodedText:
    """The token ids of a text, each with its span of characters."""

    ids: tuple[int, ...]
    spans: tuple[Span, ...]


class TextEncoder:
    """Encodes texts and prompts with one tokenizer."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", *, end_ids: Iterable[int] = ()) -> None:
        """`end_ids` are further tokens that end an answer. Raises ModelError where there is no fast tokenizer."""
        self._special = frozenset(special_tokens(tokenizer, end_ids).values())
        self._copy: Any = _renamed(tokenizer, self._special)
        self._begin_ids, self._begin_text = _beginning(tokenizer)

    def encode(self, text: str) -> EncodedText:
        """Encode `text` without the tokens that begin or end a text."""
        encoding = self._copy.encode(text, add_special_tokens=False)
        return EncodedText(tuple(encoding.ids), tuple(encoding.offsets))

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode each text without the tokens that begin or end a text."""
        return [encoding.ids for encoding in self._copy.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_prompts(self, prompts: Sequence[str]) -> list[list[int]]:
        """Encode each prompt with the tokens that this model expects before a text.

        `END_OF_TEXT` at the very beginning of a prompt stands for the token that begins a text; anywhere else it is read
        as characters. `AS_IT_STANDS` at the beginning adds nothing.
        """
        begins = [prompt.startswith(END_OF_TEXT) for prompt in prompts]
        texts = [
            self._begin_text + prompt.removeprefix(END_OF_TEXT) if begin else prompt
            for prompt, begin in zip(prompts, begins, strict=True)
        ]
        ids: list[list[int]] = [[] for _ in texts]
        for is_complete in (False, True):
            places = [place for place, text in enumerate(texts) if text.startswith(AS_IT_STANDS) == is_complete]
            parts = [self._known(texts[place].removeprefix(AS_IT_STANDS)) for place in places]
            encodings = self._copy.encode_batch_fast(parts, add_special_tokens=not is_complete)
            for place, encoding in zip(places, encodings, strict=True):
                ids[place] = [*(self._begin_ids if begins[place] else ()), *encoding.ids]
        return ids

    def count(self, text: str) -> int:
        """Count the tokens of a text, or of a prompt that begins with `END_OF_TEXT`."""
        begins = text.startswith(END_OF_TEXT)
        return int(begins) + len(self.encode(self._known(text.removeprefix(END_OF_TEXT))).ids)

    def _known(self, prompt: str) -> str:
        """Return a prompt in which only the special tokens that the tokenizer has are marked."""
        return visible(prompt, lambda token: special(token) if token in self._special else token)


PLACEHOLDER, SYSTEM_PLACEHOLDER = "{prompt}", "{system}"


def read_template(tokenizer: "PreTrainedTokenizerBase", tokens: Iterable[str]) -> ChatTemplate | None:
    """Render the tokenizer's chat template around placeholders, by `apply_chat_template`, with its `tokens` marked.

    None where the tokenizer has no chat template, or one that does not show what the user says.
    """
    if not isinstance(tokenizer.chat_template, str):
        return None
    question, system = {"role": "user", "content": PLACEHOLDER}, {"role": "system", "content": SYSTEM_PLACEHOLDER}
    text = _rendered(tokenizer, [question])
    both = _rendered(tokenizer, [system, question])
    if text.count(PLACEHOLDER) != 1:
        return None
    mark = partial(_marked, tokens=sorted(tokens, key=len, reverse=True))
    has_both = both.count(PLACEHOLDER) == both.count(SYSTEM_PLACEHOLDER) == 1
    return ChatTemplate(mark(text), mark(both) if has_both else "")


def _rendered(tokenizer: "PreTrainedTokenizerBase", messages: list[dict[str, str]]) -> str:
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except TemplateError:  # some templates refuse a system text
        return ""
    assert isinstance(text, str)
    return text


def _marked(text: str, tokens: Sequence[str]) -> str:
    pattern = "|".join(map(re.escape, tokens))
    return AS_IT_STANDS + (re.sub(pattern, lambda match: special(match[0]), text) if pattern else text)


def special_tokens(tokenizer: "PreTrainedTokenizerBase", end_ids: Iterable[int] = ()) -> dict[int, str]:
    """Return the tokens that mark where texts, turns and answers begin and end, by id.

    These are the tokens that the tokenizer calls special, those that end an answer, and the added tokens that its chat
    template contains or that look like `<|...|>`. Added tokens of ordinary text, such as runs of spaces, are not.
    """
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else ""
    ends = set(end_ids)
    named = set(tokenizer.all_special_tokens)
    return {
        token_id: token.content
        for token_id, token in tokenizer.added_tokens_decoder.items()
        if token.special
        or token_id in ends
        or token.content in named
        or (token.content.startswith("<|") and token.content.endswith("|>"))
        or (len(token.content.strip()) > 1 and token.content in template)
    }


def _renamed(tokenizer: "PreTrainedTokenizerBase", contents: Iterable[str]) -> Any:
    """Copy the tokenizer, with names for its special tokens that no text contains."""
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(
            "The tokenizer of this model has no tokenizer.json, which is needed here. Save it as one, and try again."
        )
    state = json.loads(backend.to_str())
    names = {content: special(content) for content in contents}
    for token in state["added_tokens"]:
        if token["content"] in names:
            token |= {"content": names[token["content"]], "normalized": False}
    model = state["model"]
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(piece, piece): token_id for piece, token_id in vocabulary.items()}
    elif vocabulary:  # of a Unigram model: pieces with their scores
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [merge for merge in model["merges"] if not _parts(merge) & names.keys()]
    copy = Tokenizer.from_str(json.dumps(state))
    copy.no_padding()
    copy.no_truncation()
    return copy


def _parts(merge: str | list[str]) -> set[str]:
    """Return the two pieces that a merge of byte-pair encoding joins, and the result."""
    first, second = merge.split(" ", 1) if isinstance(merge, str) else merge
    return {first, second, first + second}


def _beginning(tokenizer: "PreTrainedTokenizerBase") -> tuple[tuple[int, ...], str]:
    """Return what precedes a text, as ids or as text: nothing where the tokenizer adds it, else a token or a line break."""
    if tokenizer.encode("", verbose=False):
        return (), ""
    if END_OF_TEXT in tokenizer.get_vocab():
        return (int(tokenizer.convert_tokens_to_ids(END_OF_TEXT)),), ""
    token = tokenizer.bos_token or tokenizer.eos_token
    return ((int(tokenizer.convert_tokens_to_ids(token)),), "") if token else ((), "\n")
