"""A bias towards the words of the prompt, so that a summary says what stands in its text and not what is likely anyway.

Every token that stands in the prompt, and every one that any text needs, is made likelier by the same number of nats: what
is left are words that the text lacks. A constant in the place of the learned copying of See et al., "Get To The Point"
(2017).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import LogitsProcessor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FUNCTION_WORDS = """
a an the this that these those it its it's he his him she her they their them we our us I my me you your and or but nor so
yet if because as while when where who whom whose which what how why than then to of in on at by for with from into onto over
under after before during between about against through up down out off is are was were be been being am has have had having
do does did will would shall should can could may might must not no more most some any all each every many few much other
another such also only just very there here one two
"""
"""Of English, with spaces between: without them a bias would bend its grammar."""


@dataclass(frozen=True)
class Vocabulary:
    """What the bias has to know of one."""

    common: torch.Tensor
    """Ids of what every text needs, (tokens,)."""
    pad_id: int

    @classmethod
    def of(cls, tokenizer: "PreTrainedTokenizerBase", end_ids: Iterable[int], pad_id: int) -> "Vocabulary":
        """Common are function words that are one token, punctuation and white space, and the end of a text."""
        known = {f" {word}" for each in FUNCTION_WORDS.split() for word in (each, each.capitalize())}
        texts = [tokenizer.decode([token], clean_up_tokenization_spaces=False) for token in range(len(tokenizer))]
        found = {token for token, text in enumerate(texts) if text in known or _punctuates(text)}
        return cls(torch.tensor(sorted(found | set(end_ids)), dtype=torch.long), pad_id)


class CopyBias(LogitsProcessor):
    """Log-probabilities after what stands in a row's prompt was made likelier. A guide has those of the row beside it."""

    def __init__(self, nats: float, prompt_length: int, vocabulary: Vocabulary, *, guided: bool) -> None:
        """`prompt_length` is the padded length of the prompts."""
        self._nats, self._prompt_length, self._vocabulary, self._guided = nats, prompt_length, vocabulary, guided

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Of shape (rows, vocabulary), as are the scores; with guides, these are the second half of the rows."""
        prompts = input_ids[: len(input_ids) // (1 + self._guided), : self._prompt_length]
        bias = torch.zeros(len(prompts), scores.shape[1], device=scores.device).scatter_(1, prompts, self._nats)
        bias[:, self._vocabulary.pad_id] = 0.0  # it stands where a prompt is shorter than others
        common = self._vocabulary.common.to(scores.device)
        bias[:, common[common < scores.shape[1]]] = self._nats
        return (scores.float() + bias.repeat(1 + self._guided, 1)).log_softmax(-1)  # type: ignore[return-value]


def _punctuates(text: str) -> bool:
    """Also white space; not a part of a character, which decodes to U+FFFD."""
    return not any(character.isalnum() or character == "\ufffd" for character in text)
