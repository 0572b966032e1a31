"""The folded options of a tab, and the fields of a task. What has no control here keeps the value that the adapter declares."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from phi2demo.data.languages import LANGUAGES
from phi2demo.engine.engine import MAX_SEED, RANGES, GenerationOptions
from phi2demo.errors import SettingsError, quoted
from phi2demo.settings import LONGEST_S
from phi2demo.tasks.declaration import OwnField
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.tasks.generation import MODES
from phi2demo.tasks.own_task import OwnTask
from phi2demo.tasks.request import PROMPT_STYLES, PromptStyle
from phi2demo.tasks.summarization import LENGTHS
from phi2demo.tasks.task import AnyTask

_SLIDERS = {
    "temperature": ("Temperature", "0 always takes the most probable token; higher values vary more", 0.05),
    "top_p": ("Top-p", "Sample from the most probable tokens that together have this probability", 0.01),
    "repetition_penalty": ("Repetition penalty", "Above 1, words already used become less probable", 0.05),
    "adapter_strength": ("Adapter strength", "0 is the base model, 1 the finetuned one; between, a blend", 0.05),
}
_NUMBERS = {
    "max_new_tokens": ("Maximum new tokens", "A token is about ¾ of a word"),
    "top_k": ("Top-k", "Sample from this many of the most probable tokens; 0 for all"),
    "no_repeat_ngram_size": ("No-repeat n-gram size", "A run of this many tokens appears only once; 0 allows repeats"),
    "num_beams": ("Beams", "Above 1: beam search, which is slower and does not stream"),
    "min_support": (
        "Minimum support",
        "An answer with less support in your text becomes “not in the text”; 0 for never",
    ),
    "time_limit_s": ("Time limit in seconds", "Generation then stops and keeps its text"),
}
MOST_RADIO = 4
"""More choices than this are a drop-down list."""
_LABELS = {name: words[0] for name, words in {**_SLIDERS, **_NUMBERS}.items()}
_NAME = re.compile(rf"\b(?:{'|'.join(_LABELS)})\b")


@dataclass(frozen=True)
class OptionInputs:
    """The components of one tab by option; a task that only chooses a label has no seed."""

    components: dict[str, Any]
    seed: Any
    defaults: GenerationOptions
    longest_s: float = LONGEST_S
    """The most time that a request may take."""

    def all(self) -> set[Any]:
        """Return every component, as the inputs of an event."""
        return {*self.components.values(), *({self.seed} if self.seed else ())}

    def read(self, values: Mapping[Any, Any]) -> tuple[GenerationOptions, int | None]:
        """Return options and seed; an empty box means the default. SettingsError where a value is out of range."""
        entered = {name: values[component] for name, component in self.components.items()}
        entered = {name: _whole(name, value) for name, value in entered.items() if value is not None}
        try:
            options = check_time_limit(replace(self.defaults, **entered), self.longest_s)
        except SettingsError as error:
            raise SettingsError(_by_label(str(error))) from error
        return options, _seed(values[self.seed]) if self.seed else None


def option_inputs(
    task: AnyTask,
    defaults: GenerationOptions,
    *,
    has_strength: bool,
    base_prompt_style: Any = None,
    longest_s: float = LONGEST_S,
) -> OptionInputs:
    """Lay out the options of a task in a folded panel, starting with `defaults`, with a time limit of at most `longest_s`.

    The panel ends with `base_prompt_style`, where one is given.
    """
    defaults = defaults.within(longest_s)
    components: dict[str, Any] = {}
    seed = None
    is_empty = not has_strength and task.labels and base_prompt_style is None
    with gr.Accordion("Options", open=False, elem_classes="options", visible=not is_empty):
        for name, (label, info, step) in _SLIDERS.items():
            if not _offered(name, task, has_strength):
                continue
            low, high = RANGES[name]
            components[name] = as_typed(
                gr.Slider(
                    low,
                    high,
                    value=getattr(defaults, name),
                    step=step,
                    label=label,
                    info=info,
                    buttons=[],
                    elem_classes="option",
                )
            )
        if not task.labels:
            with gr.Row(elem_classes="option-grid"):
                for name, (label, info) in _NUMBERS.items():
                    if _offered(name, task, has_strength):
                        if name == "time_limit_s":
                            info = f"{info}; at most {longest_s:,.0f}"
                        components[name] = gr.Number(
                            value=getattr(defaults, name), label=label, info=info, elem_classes="option"
                        )
                seed = gr.Textbox(
                    label="Seed",
                    info="The same seed gives the same text",
                    placeholder="random",
                    max_lines=1,
                    elem_classes="option",
                )
        if base_prompt_style is not None:
            base_prompt_style.render()
    return OptionInputs(components, seed, defaults, longest_s)


def check_time_limit(options: GenerationOptions, longest_s: float) -> GenerationOptions:
    """Return the options; SettingsError where their time limit is above `longest_s` seconds."""
    if options.time_limit_s > longest_s:
        raise SettingsError(
            f"time_limit_s is {options.time_limit_s:g}; one request may take at most {longest_s:g} seconds here. "
            "Set that or less."
        )
    return options


def as_typed(component: Any) -> Any:
    """Let a slider or a number pass on what was typed: gradio refuses a value out of range without naming the component.

    This is no subclass, as gradio writes a file of types beside the module of every class of components.
    """
    component.preprocess = lambda value: value
    return component


def _offered(name: str, task: AnyTask, has_strength: bool) -> bool:
    if name == "adapter_strength":
        return has_strength
    if task.labels:
        return False
    if name == "min_support":
        return bool(task.no_answer)
    return name != "num_beams" or task.has_right_answer


def _by_label(message: str) -> str:
    """Put the labels of the page in the place of option names in an error message."""
    return _NAME.sub(lambda name: f"“{_LABELS[name[0]]}”", message)


def _seed(typed: str | None) -> int | None:
    """Return the seed; None for a random one where nothing was typed."""
    if not typed or not typed.strip():
        return None
    if not typed.strip().isdecimal():
        raise SettingsError(
            f"The seed is {quoted(typed.strip())}; give a whole number from 0 to {MAX_SEED}, or leave it empty."
        )
    return int(typed.strip()[:20])


def _whole(name: str, value: float) -> float:
    """Turn 5.0 into 5 where an option is a whole number: JavaScript has only one kind of number."""
    whole = name in RANGES and isinstance(RANGES[name][0], int)
    return int(value) if whole and float(value).is_integer() else value


Fields = dict[str, Any]
"""Components by the name of the task option that they set."""


def fields_above(task: AnyTask, adapter_tasks: AdapterTasks, *, with_swap: bool = True) -> tuple[Fields, Any]:
    """Lay out the fields above the input box, and the button that swaps languages; None where there is no such button."""
    if task.name != "translation":
        return {}, None
    choices = [(LANGUAGES[code], code) for code in adapter_tasks.languages]
    start = adapter_tasks.default_options(task.name)
    with gr.Row(elem_classes="languages", equal_height=True):
        source = gr.Dropdown(choices, value=getattr(start, "source"), label="From", min_width=110)  # noqa: B009
        swap = None
        if with_swap:
            swap = gr.Button("Swap", elem_classes="swap", size="sm", min_width=0, scale=0)
        target = gr.Dropdown(choices, value=getattr(start, "target"), label="To", min_width=110)  # noqa: B009
    return {"source": source, "target": target}, swap


def fields_below(task: AnyTask, adapter_tasks: AdapterTasks) -> Fields:
    """Lay out the fields below the input box."""
    if isinstance(task, OwnTask):
        return {name: _own_field(task.label_of(name), entry) for name, entry in task.fields.items()}
    lay_out: dict[str, Callable[[AdapterTasks], Fields]] = {
        "generation": _mode,
        "summarization": _length,
        "question_answering": _question,
    }
    return lay_out[task.name](adapter_tasks) if task.name in lay_out else {}


def _own_field(label: str, entry: OwnField) -> Any:
    """Lay out a field of a task that the adapter declares."""
    if entry.number:
        low, high = entry.number
        return as_typed(gr.Number(value=low, label=label, info=entry.expects, minimum=low, maximum=high))
    if not entry.choices:
        return gr.Textbox(label=label, lines=1, max_lines=3)
    if len(entry.choices) <= MOST_RADIO:
        return gr.Radio(list(entry.choices), value=entry.default, label=label, elem_classes="choice")
    return gr.Dropdown(list(entry.choices), value=entry.default, label=label)


def chooses_prompt_style(task: AnyTask, adapter_tasks: AdapterTasks) -> bool:
    """Return whether the prompt style of the base can be chosen: a text to continue has no template."""
    return task.name != "generation" or "instruct" in adapter_tasks.modes


def base_prompt_style_field(start: PromptStyle, *, visible: bool) -> Any:
    """Create the choice of prompt style for the base, which the folded options render."""
    choices = [(label, prompt_style) for prompt_style, label in PROMPT_STYLES.items()]
    return gr.Radio(choices, value=start, label="Base prompt", elem_classes="choice", visible=visible, render=False)


def _mode(adapter_tasks: AdapterTasks) -> Fields:
    if len(adapter_tasks.modes) < 2:
        return {}
    choices = [(MODES[mode], mode) for mode in adapter_tasks.modes]
    return {"mode": gr.Radio(choices, value=adapter_tasks.modes[0], label="Mode", elem_classes="choice")}


def _length(adapter_tasks: AdapterTasks) -> Fields:
    choices = [(words[0].upper() + words[1:], length) for length, words in LENGTHS.items()]
    start = adapter_tasks.default_options("summarization")
    return {"length": gr.Radio(choices, value=getattr(start, "length"), label="Length", elem_classes="choice")}  # noqa: B009


def _question(adapter_tasks: AdapterTasks) -> Fields:
    return {
        "question": gr.Textbox(
            label="Your question", lines=1, max_lines=3, placeholder="What does the text say about …?"
        )
    }
