"""Question answering: a question about the person's own text."""

from dataclasses import dataclass
from typing import ClassVar

from phi2demo.engine.engine import GenerationOptions
from phi2demo.errors import InputError, SettingsError
from phi2demo.tasks.task import Request, Task, TaskOptions, check_text

MAX_QUESTION_CHARACTERS = 1000


@dataclass(frozen=True)
class QuestionOptions(TaskOptions):
    """What is asked about the text."""

    question: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.question, str):
            raise SettingsError(f"question is {self.question!r}; give a string.")


class QuestionAnswering(Task[QuestionOptions]):
    """A short answer out of the text."""

    name = "question_answering"
    command = "answer"
    title = "Ask"
    input_label = "The text to ask about"
    options_type = QuestionOptions
    # on 400 held-out questions of SQuAD a guidance of 1.5 gave the embedded model 15.0 F1 instead of 11.6, 2 gave 12.3
    generation: ClassVar = GenerationOptions(max_new_tokens=48, guidance_scale=1.5)

    def instruction(self, text: str, options: QuestionOptions) -> str:
        """Text first, question last: next to where the answer begins."""
        return f"Answer the question from the following text.\n{text}\nQuestion: {options.question.strip()}"

    def plain(self, text: str, options: QuestionOptions) -> str:
        """As the instruction, with what stands before the answer."""
        return f"{text}\n\nQuestion: {options.question.strip()}\nAnswer:"

    def check(self, request: Request) -> Request:
        """Also refuses an empty or very long question."""
        request = super().check(request)
        assert isinstance(request.options, QuestionOptions)
        question = check_text(request.options.question, what="question")
        if len(question) > MAX_QUESTION_CHARACTERS:
            raise InputError(
                f"The question has {len(question):,} characters; ask in at most {MAX_QUESTION_CHARACTERS:,}."
            )
        return request

    def clean(self, raw: str) -> str:
        """The first line: an answer has one."""
        return raw.strip().partition("\n")[0].strip()
