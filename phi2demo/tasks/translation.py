"""Translation: sentence by sentence, so that none is dropped, with line breaks kept and numbers checked."""

import re
from collections import Counter
from dataclasses import dataclass, replace
from unicodedata import decimal

from phi2demo.data.cleaning import with_beginnings
from phi2demo.data.documents import lay_out, split_sentences
from phi2demo.data.languages import LANGUAGES, detect_foreign, foreign_script, language_name
from phi2demo.data.rows import Row
from phi2demo.engine.engine import GenerationOptions
from phi2demo.errors import InputError, SettingsError, quoted
from phi2demo.tasks.request import TaskOptions
from phi2demo.tasks.task import Pieces, PromptLimit, Task
from phi2demo.tasks.templates import Instruction

_WORD = re.compile(r"\w+")
MIN_COPIED_WORDS = 4
"""The fewest words of a sentence of a longer text that is pointed out where it comes back unchanged: names stay so."""
_NUMBER = re.compile(r"(?<!\d)\d{1,3}(?: \d{3})+(?!\d)(?:[.,]\d+)?|\d(?:[\d.,'’\u00a0\u202f]*\d)?")


@dataclass(frozen=True)
class TranslationOptions(TaskOptions):
    """From which language into which, as ISO 639-1 codes."""

    source: str = "en"
    target: str = "de"

    def __post_init__(self) -> None:
        for end, code in (("source", self.source), ("target", self.target)):
            if not isinstance(code, str) or code not in LANGUAGES:
                known = ", ".join(f"{code} ({name})" for code, name in LANGUAGES.items())
                raise SettingsError(f"The {end} language is {quoted(code)}; give one of {known}.")
        if self.source == self.target:
            raise SettingsError(f"Both languages are {language_name(self.source)}; choose two.")


class Translation(Task[TranslationOptions]):
    """The same text in another language."""

    name = "translation"
    command = "translate"
    title = "Translate"
    input_label = "The text to translate"
    options_type = TranslationOptions
    generation = GenerationOptions(max_new_tokens=128, time_limit_s=1800.0)
    splits = True
    keeps_layout = True

    def from_row(self, row: Row) -> tuple[str, TranslationOptions]:
        """From the first language of a row into the second."""
        return row["source"], TranslationOptions(row["source_lang"], row["target_lang"])

    def instruction(self, text: str, options: TranslationOptions) -> Instruction:
        """Name both languages in English."""
        source, target = language_name(options.source), language_name(options.target)
        return Instruction(f"Translate the following text from {source} to {target}.", text)

    def plain(self, text: str, options: TranslationOptions) -> str:
        """A line a language, each begun by its name."""
        return f"{language_name(options.source)}: {text}\n{language_name(options.target)}:"

    def pieces(self, text: str, options: TranslationOptions, budget: PromptLimit) -> Pieces:
        """One piece a sentence; what has no letters (numbers, rules, blank lines) is copied."""
        layout = lay_out(
            text, language=options.source, fits=lambda part: budget.fits(self.prompt(part, options, budget.template))
        )
        if not layout.sentences:
            raise InputError("The text holds no words to translate. Type or paste some words first.")
        return Pieces(layout.sentences, join=layout.join, noun="sentence")

    def recased(self, text: str, language: str) -> str:
        """Also a text without any capital: one sentence is translated at a time, and one begins with a capital."""
        return with_beginnings(super().recased(text, language), language=language)

    def reverse(self, options: TranslationOptions) -> TranslationOptions:
        """From the target language into the source language."""
        return replace(options, source=options.target, target=options.source)

    def clean(self, raw: str) -> str:
        """One line: a sentence has no line break."""
        return " ".join(raw.split())

    def notes(self, text: str, output: str, options: TranslationOptions) -> tuple[str, ...]:
        """A text in another script or language than said; what was not translated; numbers that were lost or made up."""
        notes = [*_foreign_notes(text, options.source), *_copied_notes(text, output, options.source)]
        before, after = numbers(text), numbers(output)
        if lost := list((before - after).elements()):
            notes.append(f"Numbers of the text that the translation lacks: {', '.join(lost[:10])}.")
        if added := list((after - before).elements()):
            notes.append(f"Numbers in the translation that the text lacks: {', '.join(added[:10])}.")
        return tuple(notes)


def _foreign_notes(text: str, source: str) -> tuple[str, ...]:
    named = language_name(source)
    if script := foreign_script(text):
        what = f"is written in {script} characters, not in {named}"
    elif code := detect_foreign(text, (source,)):
        what = f"looks like {language_name(code)}, not {named}"
    else:
        return ()
    return (f"The text {what}: the translation may be worthless.",)


def _copied_notes(text: str, output: str, source: str) -> tuple[str, ...]:
    """Names and numbers are the same in many languages; whole sentences are not."""
    if _words(text) == _words(output):
        return ("The translation is the same as your text: unless that is a name, it was not translated.",)
    written = {tuple(_words(sentence)) for sentence in split_sentences(output)}
    copied = [
        sentence.strip()
        for sentence in split_sentences(text, language=source)
        if len(words := _words(sentence)) >= MIN_COPIED_WORDS and tuple(words) in written
    ]
    return (f"Not translated: {copied[0]}",) if copied else ()


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def numbers(text: str) -> Counter[str]:
    """The numbers in a text by their digits: 1,000.5, 1.000,5 and 1 000,5 are the same number in three languages."""
    return Counter(
        "".join(str(decimal(character)) for character in match if character.isdecimal())
        for match in _NUMBER.findall(text)
    )
