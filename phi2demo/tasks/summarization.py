"""Summarization: in a sentence, short or medium; a long document part by part, then a summary of the summaries."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from phi2demo.data.checks import check_choice
from phi2demo.data.documents import balance, count_words, pack, split_sentences
from phi2demo.data.rows import Row
from phi2demo.engine.engine import GenerationOptions
from phi2demo.errors import InputError, SettingsError, quoted
from phi2demo.tasks.request import TaskOptions
from phi2demo.tasks.task import Pieces, PromptLimit, Task
from phi2demo.tasks.templates import Instruction

LENGTHS = {"sentence": "one sentence", "short": "two or three sentences", "medium": "a short paragraph"}
SENTENCES = {"sentence": 1, "short": 3, "medium": 6}
"""Sentences of a summary that is put together from one-sentence summaries."""
MIN_PART_WORDS = 40
"""A part is not cut smaller for the sake of more sentences."""
SEAM_TOKENS = 4
"""Text and template may take this many tokens more together than apart."""
_OPENING = "\n.!?…\"'“„«‘‚(:–—-"
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]\w*")


@dataclass(frozen=True)
class SummaryOptions(TaskOptions):
    """How long the summary should be."""

    length: str = "sentence"
    """A key of LENGTHS."""
    by_parts: bool = False
    """Build longer summaries from one sentence per part: for models that were finetuned on one-sentence summaries."""

    def __post_init__(self) -> None:
        check_choice("length", self.length, LENGTHS)
        if not isinstance(self.by_parts, bool):
            raise SettingsError(f"by_parts is {quoted(self.by_parts)}; give true or false.")


class Summarization(Task[SummaryOptions]):
    """A shorter text that says what the longer one says."""

    name = "summarization"
    command = "summarize"
    title = "Summarize"
    input_label = "The text to summarize"
    options_type = SummaryOptions
    generation = GenerationOptions(max_new_tokens=160, time_limit_s=1800.0)
    splits = True

    def from_row(self, row: Row) -> tuple[str, SummaryOptions]:
        """A summary of one sentence."""
        return row["document"], SummaryOptions("sentence")

    def instruction(self, text: str, options: SummaryOptions) -> Instruction:
        """Name the length in words."""
        length = LENGTHS["sentence" if options.by_parts else options.length]
        return Instruction(f"Summarize the following text in {length}.", text)

    def plain(self, text: str, options: SummaryOptions) -> str:
        """A summary of one line, whatever length is asked for."""
        return f"{text}\n\nIn short:"

    def pieces(self, text: str, options: SummaryOptions, budget: PromptLimit) -> Pieces:
        """Parts cut at sentence ends: as few as fit, or as many as the summary should have sentences."""
        room = budget.tokens - budget.count_tokens(self.prompt("", options, budget.template)) - SEAM_TOKENS
        if room < 32:
            raise InputError(f"Only {room} tokens are left for the text. Lower the number of new tokens.")
        parts = pack(text, count=budget.count_tokens, limit=room)
        count = SENTENCES[options.length]
        if options.by_parts and len(parts) < count:
            groups = balance(text, parts=count, min_words=MIN_PART_WORDS)
            if all(budget.fits(self.prompt(group, options, budget.template)) for group in groups):
                parts = groups
        later = _later(len(parts), count if options.by_parts else 1, shrink=budget.output_tokens / room)
        return Pieces(tuple(parts), join=_paragraph, later=later)

    def next_pieces(self, outputs: Sequence[str], options: SummaryOptions, budget: PromptLimit) -> Pieces | None:
        """A summary of the summaries, until there are as few as the length wants or it gets no shorter."""
        count = SENTENCES[options.length] if options.by_parts else 1
        merged = _paragraph(outputs)
        if len(outputs) <= count or not merged:
            return None
        pieces = self.pieces(merged, options, budget)
        return pieces if len(pieces.texts) < len(outputs) else None

    def kept(self, output: str, options: SummaryOptions) -> str:
        """The first sentence, where one was asked for."""
        if not options.by_parts and options.length != "sentence":
            return output
        first = next((sentence for sentence in split_sentences(output) if sentence.strip()), "")
        return output[: output.index(first) + len(first.rstrip())] if first else output

    def preferred(self, text: str, outputs: Sequence[str]) -> int:
        """The likeliest of those with the fewest made-up names and numbers."""
        counts = [len(made_up(text, output)) for output in outputs]
        return counts.index(min(counts))

    def remark(self, text: str, output: str) -> str:
        """Its made-up names and numbers."""
        listed = made_up(text, output)
        return f"not in the text: {', '.join(listed)}" if listed else ""

    def notes(self, text: str, output: str, options: SummaryOptions) -> tuple[str, ...]:
        """A summary that is the text; names and numbers that were made up."""
        if _WORD.findall(text.casefold()) == _WORD.findall(output.casefold()):
            return ("The summary is the same as your text: nothing was shortened.",)
        listed = made_up(text, output)[:10]
        return (f"Names and numbers of the summary that the text lacks: {', '.join(listed)}.",) if listed else ()

    def facts(self, text: str, output: str) -> tuple[str, ...]:
        """Words in, words out, compression."""
        before, after = count_words(text), count_words(output)
        if not after:
            return (f"{before:,} words in, no words out",)
        return (f"{before:,} words in, {after:,} words out", f"compression {before / after:.1f} to 1")


def made_up(text: str, output: str) -> list[str]:
    """Names and numbers of an output that its text lacks, each once.

    The first word of a sentence or a quotation is no name for its capital.
    """
    known = {word.casefold() for word in _WORD.findall(text)}
    names = dict.fromkeys(
        word[0]
        for word in _WORD.finditer(output)
        if word[0].casefold() not in known and (word[0][0].isdigit() or (word[0][0].isupper() and _inside(word)))
    )
    return list(names)


def _inside(word: re.Match[str]) -> bool:
    """Whether a word begins neither its sentence nor a quotation."""
    before = word.string[: word.start()].rstrip(" ")
    return bool(before) and before[-1] not in _OPENING


def _later(parts: int, count: int, *, shrink: float) -> int:
    """Count the parts of all later passes, if every output takes all the tokens that it may."""
    later = 0
    while parts > count:
        following = min(math.ceil(parts * shrink), parts - 1)
        later += following
        parts = following
    return later


def _paragraph(outputs: Sequence[str]) -> str:
    return " ".join(output.strip() for output in outputs if output.strip())
