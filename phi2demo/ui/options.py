"""How tokens are chosen: the folded options of a tab. Ranges are the engine's own."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from phi2demo.data.languages import LANGUAGES
from phi2demo.engine.engine import MAX_SEED, RANGES, GenerationOptions
from phi2demo.errors import SettingsError
from phi2demo.settings import LONGEST_S
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.tasks.generation import MODES
from phi2demo.tasks.request import PROMPT_STYLES, PromptStyle
from phi2demo.tasks.summarization import LENGTHS
from phi2demo.tasks.task import AnyTask

_SLIDERS = {
    "temperature": ("Temperature", "0 takes the likeliest token, higher is more surprising", 0.05),
    "top_p": ("Top-p", "The likeliest tokens that share this probability", 0.01),
    "repetition_penalty": ("Repetition penalty", "Above 1, words already used become less likely", 0.05),
    "copy_bias": ("Copying", "Above 0: rather words that your text has", 0.25),
    "adapter_strength": ("Strength of the finetuning", "0 is the base, 1 as it was finetuned, between: a blend", 0.05),
}
_NUMBERS = {
    "max_new_tokens": ("New tokens at most", "About ¾ of a word each"),
    "top_k": ("Top-k", "Of so many tokens, 0 is all"),
    "no_repeat_ngram_size": ("No repeats of", "Runs of so many tokens stand once in the output; 0 allows all"),
    "num_beams": ("Beams", "Above 1: slower, no streaming"),
    "reverse_weight": ("Weight of translating back", "Of the beams' outputs, rather one that gives your text back"),
    "min_support": ("Support needed", "Below this support by your text it answers “not in the text”; 0 answers always"),
    "time_limit_s": ("Time limit in seconds", "It ends with what there is"),
}
_CHECKBOXES = {
    "sentence_case": ("Read capitals as sentences", "A text in capitals, or without any, as sentences are written"),
}
_ONLY_IN = {
    "num_beams": ("summarization", "translation", "question_answering"),
    "copy_bias": ("summarization", "question_answering"),
}
"""Tasks that offer an option, where not all do."""
_LABELS = {name: words[0] for name, words in {**_SLIDERS, **_NUMBERS, **_CHECKBOXES}.items()}
_NAME = re.compile(rf"\b(?:{'|'.join(_LABELS)})\b")


@dataclass(frozen=True)
class OptionInputs:
    """The components of one tab, by option; a task that only chooses a label has no seed."""

    components: dict[str, Any]
    seed: Any
    defaults: GenerationOptions
    longest_s: float = LONGEST_S
    """What a request may take at most."""

    def all(self) -> set[Any]:
        """Every component, as the inputs of an event."""
        return {*self.components.values(), *({self.seed} if self.seed else ())}

    def read(self, values: Mapping[Any, Any]) -> tuple[GenerationOptions, int | None]:
        """Options and seed; an emptied box is the default. SettingsError where a value is out of range."""
        given = {name: values[component] for name, component in self.components.items()}
        given = {name: _whole(name, value) for name, value in given.items() if value is not None}
        try:
            options = check_time_limit(replace(self.defaults, **given), self.longest_s)
        except SettingsError as error:
            raise SettingsError(_by_label(str(error))) from error
        return options, _seed(values[self.seed]) if self.seed else None


def option_inputs(
    task: AnyTask, defaults: GenerationOptions, *, has_adapter: bool, longest_s: float = LONGEST_S
) -> OptionInputs:
    """Lay out the options of a task in a folded panel; they start with `defaults`, of at most `longest_s` seconds."""
    defaults = defaults.within(longest_s)
    components: dict[str, Any] = {}
    seed = None
    with gr.Accordion("Options", open=False, elem_classes="options"):
        for name, (label, info, step) in _SLIDERS.items():
            if not _offered(name, task, has_adapter):
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
        for name, (label, info) in _CHECKBOXES.items():
            if _offered(name, task, has_adapter):
                components[name] = gr.Checkbox(getattr(defaults, name), label=label, info=info, elem_classes="option")
        if not task.labels:
            with gr.Row(elem_classes="option-grid"):
                for name, (label, info) in _NUMBERS.items():
                    if _offered(name, task, has_adapter):
                        if name == "time_limit_s":
                            info = f"{info}; {longest_s:,.0f} at most"
                        components[name] = gr.Number(
                            value=getattr(defaults, name), label=label, info=info, elem_classes="option"
                        )
                seed = gr.Textbox(
                    label="Seed",
                    info="The same number, the same text",
                    placeholder="random",
                    max_lines=1,
                    elem_classes="option",
                )
    return OptionInputs(components, seed, defaults, longest_s)


def check_time_limit(options: GenerationOptions, longest_s: float) -> GenerationOptions:
    """As given; SettingsError where a request would take longer than one may."""
    if options.time_limit_s > longest_s:
        raise SettingsError(
            f"time_limit_s is {options.time_limit_s:g}; one request may take at most {longest_s:g} seconds here. "
            "Give that or less."
        )
    return options


def as_typed(slider: Any) -> Any:
    """The slider, its value as it was typed: gradio refuses one out of range itself, before anybody can say which it is.

    Not a class of its own: gradio writes a file of types beside the module of every class of components.
    """
    slider.preprocess = lambda value: value
    return slider


def _offered(name: str, task: AnyTask, has_adapter: bool) -> bool:
    if name == "adapter_strength":
        return has_adapter
    if name == "sentence_case":
        return task.recases
    if task.labels:
        return False
    if name == "min_support":
        return bool(task.no_answer)
    return task.reversible if name == "reverse_weight" else task.name in _ONLY_IN.get(name, (task.name,))


def _by_label(message: str) -> str:
    """What the engine says of an option, with the name by which the page shows it."""
    return _NAME.sub(lambda name: f"“{_LABELS[name[0]]}”", message)


def _seed(typed: str | None) -> int | None:
    """Empty is a random one."""
    if not typed or not typed.strip():
        return None
    if not typed.strip().isdecimal():
        raise SettingsError(
            f"The seed is {typed.strip()[:40]!r}; give a whole number from 0 to {MAX_SEED}, or leave it empty."
        )
    return int(typed.strip()[:20])


def _whole(name: str, value: float) -> float:
    """JavaScript knows one kind of number: 5.0 is 5 where whole numbers are asked for."""
    whole = name in RANGES and isinstance(RANGES[name][0], int)
    return int(value) if whole and float(value).is_integer() else value


Fields = dict[str, Any]
"""Components by the name of the task option that they set."""


def fields_above(task: AnyTask, adapter_tasks: AdapterTasks, *, with_swap: bool = True) -> tuple[Fields, Any]:
    """What stands above the input box, and the button that swaps languages where there is one."""
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
    """What stands below the input box."""
    lay_out: dict[str, Callable[[AdapterTasks], Fields]] = {
        "generation": _mode,
        "summarization": _length,
        "question_answering": _question,
    }
    return lay_out[task.name](adapter_tasks) if task.name in lay_out else {}


def chooses_prompt_style(task: AnyTask, adapter_tasks: AdapterTasks) -> bool:
    """Whether how the base is asked can be chosen: a text to go on with is given as it is."""
    return task.name != "generation" or "instruct" in adapter_tasks.modes


def base_prompt_style_field(start: PromptStyle, *, visible: bool) -> Any:
    """How the base is asked, shown where it is."""
    labels = PROMPT_STYLES | ({"plain": "As it was pretrained"} if start == "plain" else {})
    choices = [(label, prompt_style) for prompt_style, label in labels.items()]
    return gr.Radio(choices, value=start, label="Ask the base", elem_classes="choice", visible=visible)


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
