"""Question answering: a question about the person's own text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from phi2demo.data.checks import check_text
from phi2demo.data.cleaning import clean
from phi2demo.data.rows import Row
from phi2demo.engine.engine import GenerationOptions
from phi2demo.errors import InputError, SettingsError, quoted
from phi2demo.tasks.confidence import Grounds
from phi2demo.tasks.request import Request, TaskOptions, language_of
from phi2demo.tasks.task import Task
from phi2demo.tasks.templates import PHI, Instruction, Template

MAX_QUESTION_CHARACTERS = 1000
_NO_TEXT = "."
"""Stands for a text that says nothing."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class QuestionOptions(TaskOptions):
    """What is asked about the text."""

    question: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.question, str):
            raise SettingsError(f"question is {quoted(self.question)}; give a string.")


class QuestionAnswering(Task[QuestionOptions]):
    """A short answer out of the text."""

    name = "question_answering"
    command = "answer"
    title = "Ask"
    input_label = "The text to ask about"
    options_type = QuestionOptions
    generation = GenerationOptions(max_new_tokens=48)
    no_answer = "not in the text"

    def from_row(self, row: Row) -> tuple[str, QuestionOptions]:
        """The question of a row about its context."""
        return row["context"], QuestionOptions(row["question"])

    def instruction(self, text: str, options: QuestionOptions) -> Instruction:
        """Put the text first and the question last, next to where the answer begins."""
        question = options.question.strip()
        return Instruction("Answer the question from the following text.", f"{text}\nQuestion: {question}")

    def plain(self, text: str, options: QuestionOptions) -> str:
        """As the instruction, with what stands before the answer."""
        return f"{text}\n\nQuestion: {options.question.strip()}\nAnswer:"

    def grounds(self, text: str, options: QuestionOptions, template: Template = PHI) -> Grounds:
        """Return the question, which the text makes likelier, and what stands before it."""
        question = options.question.strip()
        prompts = [self.prompt(given, options, template) for given in (text, _NO_TEXT)]
        with_text, without = (prompt[: prompt.rindex(f" {question}")] for prompt in prompts)
        return Grounds(with_text, without, f" {question}")

    def _with_checked_settings(self, request: Request) -> Request:
        """Also refuses an empty or very long question."""
        request = super()._with_checked_settings(request)
        assert isinstance(request.options, QuestionOptions)
        question = check_text(request.options.question, what="question")
        if len(question) > MAX_QUESTION_CHARACTERS:
            raise InputError(
                f"The question has {len(question):,} characters; ask in at most {MAX_QUESTION_CHARACTERS:,}."
            )
        return request

    def read(self, request: Request) -> Request:
        """With the question read as the text is."""
        read = super().read(request)
        assert isinstance(read.options, QuestionOptions)
        question = clean(read.options.question)
        if request.generation.sentence_case:
            question = self.recased(question, language_of(read.options))
        return replace(read, options=replace(read.options, question=question))

    def preferred(self, text: str, outputs: Sequence[str]) -> int:
        """The likeliest that stands in the text; the likeliest of all where none does."""
        return next((place for place, output in enumerate(outputs) if stands_in(text, output)), 0)

    def remark(self, text: str, output: str) -> str:
        """Whether it stands there."""
        return "" if stands_in(text, output) else "not in the text in this wording"

    def notes(self, text: str, output: str, options: QuestionOptions) -> tuple[str, ...]:
        """An answer in other words than the text's."""
        if not output or stands_in(text, output):
            return ()
        return ("These words do not appear in the text in this wording: the answer may be made up.",)

    def clean(self, raw: str) -> str:
        """The first line: an answer has one."""
        return raw.strip().partition("\n")[0].strip()


def stands_in(text: str, output: str) -> bool:
    """Whether the words of an output follow each other in a text, whatever their case and what stands between them."""
    words = _words(output)
    return words != "  " and words in _words(text)


def _words(text: str) -> str:
    return f" {' '.join(_WORD.findall(text.casefold()))} "
