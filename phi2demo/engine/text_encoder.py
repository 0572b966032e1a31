"""Encode texts so that nothing in them becomes a special token: what a person types is characters, whatever it says.

A tokenizer turns `<|endoftext|>` in a text into the token that ends texts, and a Unigram model finds `</s>` among its own
pieces. Here the special tokens have names that cannot be typed, in a copy of the tokenizer; all else is as it was.
"""

import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi2demo.engine.engine import END_OF_TEXT
from phi2demo.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_UNTYPED = f"\x00{secrets.token_hex(8)}:"
"""Begins the names of special tokens in the copy: another one in every process, so that no text can hold it."""


@dataclass(frozen=True)
class EncodedText:
    """A text as token ids, each with the span of characters that it is of."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


class TextEncoder:
    """Encodes texts and prompts for one tokenizer."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", *, end_ids: Iterable[int] = ()) -> None:
        """`end_ids` are tokens that end an answer, beside those that the tokenizer itself calls special.

        Raises ModelError where the tokenizer is not one of the library `tokenizers`.
        """
        self._copy: Any = _renamed(tokenizer, special_tokens(tokenizer, end_ids))
        self._begin_ids, self._begin_text = _beginning(tokenizer)

    def encode(self, text: str) -> EncodedText:
        """`text` alone, without the tokens that begin or end a text."""
        found = self._copy.encode(text, add_special_tokens=False)
        return EncodedText(tuple(found.ids), tuple(found.offsets))

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text alone."""
        return [found.ids for found in self._copy.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_prompts(self, prompts: Sequence[str]) -> list[list[int]]:
        """The ids of each prompt, with what this model has before a text.

        `END_OF_TEXT` at the very beginning of a prompt stands for the token that begins a text; anywhere else it is
        characters.
        """
        begins = [prompt.startswith(END_OF_TEXT) for prompt in prompts]
        texts = [
            self._begin_text + prompt.removeprefix(END_OF_TEXT) if begin else prompt
            for prompt, begin in zip(prompts, begins, strict=True)
        ]
        encoded = self._copy.encode_batch_fast(texts, add_special_tokens=True)
        return [[*(self._begin_ids if begin else ()), *found.ids] for found, begin in zip(encoded, begins, strict=True)]

    def count(self, text: str) -> int:
        """Tokens of a text, or of a prompt that begins with `END_OF_TEXT`."""
        return int(text.startswith(END_OF_TEXT)) + len(self.encode(text.removeprefix(END_OF_TEXT)).ids)


def special_tokens(tokenizer: "PreTrainedTokenizerBase", end_ids: Iterable[int] = ()) -> dict[int, str]:
    """The tokens that say where texts, turns and answers begin and end, by id.

    That is what the tokenizer calls special, what ends an answer, and of its other added tokens those that its chat
    template writes or that look like `<|...|>`. Added tokens that are ordinary text, such as runs of spaces, are not.
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


def _renamed(tokenizer: "PreTrainedTokenizerBase", special: dict[int, str]) -> Any:
    """A copy of the tokenizer whose special tokens have names that no text holds."""
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(
            "This model's tokenizer is not one that is read here. Save it as tokenizer.json, and try again."
        )
    written = json.loads(backend.to_str())
    names = {content: f"{_UNTYPED}{token_id}" for token_id, content in special.items()}
    for token in written["added_tokens"]:
        if token["content"] in names:
            token |= {"content": names[token["content"]], "normalized": False}
    model = written["model"]
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(piece, piece): token_id for piece, token_id in vocabulary.items()}
    elif vocabulary:  # of a Unigram model: pieces with their scores
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [merge for merge in model["merges"] if not _parts(merge) & names.keys()]
    copy = Tokenizer.from_str(json.dumps(written))
    copy.no_padding()
    copy.no_truncation()
    return copy


def _parts(merge: str | list[str]) -> set[str]:
    """The two pieces that a merge of byte-pair encoding joins, and what they become."""
    first, second = merge.split(" ", 1) if isinstance(merge, str) else merge
    return {first, second, first + second}


def _beginning(tokenizer: "PreTrainedTokenizerBase") -> tuple[tuple[int, ...], str]:
    """What stands where a text begins, as ids or as text.

    Nothing where the tokenizer sets it itself; a line break where it has no token for it.
    """
    if tokenizer.encode("", verbose=False):
        return (), ""
    known = tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    if known not in (None, tokenizer.unk_token_id) or END_OF_TEXT in (tokenizer.bos_token, tokenizer.eos_token):
        return (int(tokenizer.convert_tokens_to_ids(END_OF_TEXT)),), ""
    token = tokenizer.bos_token or tokenizer.eos_token
    return ((int(tokenizer.convert_tokens_to_ids(token)),), "") if token else ((), "\n")
