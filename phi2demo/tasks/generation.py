"""Generation: go on with a text, or follow an instruction."""

from dataclasses import dataclass

from phi2demo.data.checks import check_choice
from phi2demo.engine.engine import GenerationOptions, Variant
from phi2demo.tasks.request import PromptStyle, TaskOptions
from phi2demo.tasks.task import Task
from phi2demo.tasks.templates import Instruction

MODES = {"continue": "Continue my text", "instruct": "Follow my instruction"}


@dataclass(frozen=True)
class GenerationTaskOptions(TaskOptions):
    """What the text is to the model."""

    mode: str = "continue"
    """A key of MODES."""

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, MODES)


class Generation(Task[GenerationTaskOptions]):
    """Free text after the person's own."""

    name = "generation"
    command = "generate"
    title = "Generate"
    input_label = "Your text"
    options_type = GenerationTaskOptions
    generation = GenerationOptions(max_new_tokens=200, temperature=0.7, top_p=0.95, repetition_penalty=1.1)
    plain_stop = ()
    has_right_answer = False
    keeps_layout = True
    recases = False

    def prompt_style_of(
        self, variant: Variant, options: GenerationTaskOptions, base_prompt_style: PromptStyle
    ) -> PromptStyle:
        """A text to go on with needs no instruction; given one, half a sentence was begun anew."""
        return "plain" if options.mode == "continue" else super().prompt_style_of(variant, options, base_prompt_style)

    def instruction(self, text: str, options: GenerationTaskOptions) -> Instruction:
        """Return the text itself, or the wish to have it continued."""
        return Instruction(text) if options.mode == "instruct" else Instruction("Continue the following text.", text)

    def plain(self, text: str, options: GenerationTaskOptions) -> str:
        """The text itself."""
        return text
