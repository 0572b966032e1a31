"""How tokens are chosen: the folded options of a tab. Ranges are the engine's own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from phi2demo.engine.engine import RANGES, GenerationOptions
from phi2demo.tasks.task import AnyTask

_SLIDERS = {
    "max_new_tokens": ("New tokens at most", "A token is about three quarters of a word.", 1),
    "temperature": ("Temperature", "0 always takes the likeliest token; higher is more surprising.", 0.05),
    "top_p": ("Top-p", "Choose among the likeliest tokens that share this probability.", 0.01),
    "repetition_penalty": ("Repetition penalty", "Above 1, words already used become less likely.", 0.05),
    "num_beams": ("Beams", "Above 1: slower, compares several texts, shows nothing while it writes.", 1),
}
_NUMBERS = {
    "top_k": ("Top-k", "Choose among this many likeliest tokens; 0 is all."),
    "time_limit_s": ("Time limit, seconds", "The answer ends there, with what there is."),
}
_WITH_BEAMS = ("summarization", "translation")


@dataclass(frozen=True)
class OptionInputs:
    """The components of one tab, by option; none for a task that only chooses a label."""

    components: dict[str, Any]
    seed: Any
    defaults: GenerationOptions

    def all(self) -> set[Any]:
        """Every component, as the inputs of an event."""
        return {*self.components.values(), *({self.seed} if self.seed else ())}

    def read(self, values: Mapping[Any, Any]) -> tuple[GenerationOptions, int | None]:
        """Options and seed; an emptied box is the default. SettingsError where a value is out of range."""
        given = {name: values[component] for name, component in self.components.items()}
        given = {name: _whole(name, value) for name, value in given.items() if value is not None}
        seed = values[self.seed] if self.seed else None
        return replace(self.defaults, **given), None if seed is None else int(seed)


def option_inputs(task: AnyTask) -> OptionInputs:
    """Lay out the options of a task in a folded panel."""
    if task.labels:
        return OptionInputs({}, None, task.generation)
    components: dict[str, Any] = {}
    with gr.Accordion("Options", open=False, elem_classes="options"), gr.Row(elem_classes="option-grid"):
        for name, (label, info, step) in _SLIDERS.items():
            if name != "num_beams" or task.name in _WITH_BEAMS:
                components[name] = gr.Slider(
                    *RANGES[name],
                    value=getattr(task.generation, name),
                    step=step,
                    label=label,
                    info=info,
                    buttons=[],
                    elem_classes="option",
                )
        for name, (label, info) in _NUMBERS.items():
            components[name] = gr.Number(
                value=getattr(task.generation, name), label=label, info=info, elem_classes="option"
            )
        seed = gr.Number(
            value=None,
            precision=0,
            label="Seed",
            info="Empty: a new one each time; the receipt says which.",
            placeholder="random",
            elem_classes="option",
        )
    return OptionInputs(components, seed, task.generation)


def _whole(name: str, value: float) -> float:
    """JavaScript knows one kind of number: 5.0 is 5 where whole numbers are asked for."""
    return int(value) if isinstance(RANGES[name][0], int) and float(value).is_integer() else value
