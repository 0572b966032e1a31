"""The inputs of the Explain tab, and the request they stand for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import gradio as gr

from phi2demo.data.checks import check_choice, check_text
from phi2demo.engine.engine import MAX_SEED, Output, Variant
from phi2demo.errors import InputError, SettingsError
from phi2demo.explain.request import EVALS, UNITS, ExplainRequest, as_output
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.tasks.request import Request, TaskOptions
from phi2demo.tasks.result import Result
from phi2demo.ui.description import ModelDescription, label_of
from phi2demo.ui.options import Fields, base_prompt_style_field, fields_above, fields_below

_UNITS = [("Automatic", "auto"), *((name.capitalize(), name) for name in UNITS if name != "auto")]
_METHODS = [
    ("SHAP", "auto"),
    ("SHAP, partition", "partition"),
    ("SHAP, exact", "exact"),
    ("SHAP, permutation", "permutation"),
    ("LIME", "lime"),
]
_VALUES = [("Log-probability", "log-probability"), ("Log-odds (stock shap)", "log-odds")]


@dataclass(frozen=True)
class Answered:
    """An answer of a task tab, with its request."""

    asked: Request
    result: Result


@dataclass(frozen=True)
class Carried:
    """An output as it was generated, and as the tab shows it."""

    task: str
    options: TaskOptions
    shown: str
    outputs: tuple[Output, ...]
    variant: Variant
    adapter_strength: float
    sentence_case: bool


@dataclass(frozen=True)
class ExplainInputs:
    """The input components of the tab."""

    task: Any
    groups: dict[str, Any]
    """By task: shown while the task is selected."""
    fields: dict[str, Fields]
    text: Any
    output: Any
    model: Any
    """None where only one model can be asked."""
    base_prompt_style: Any
    units: Any
    method: Any
    instead: Any
    value: Any
    mask: Any
    max_evals: Any
    seed: Any
    trust: Any
    carried: Any
    """The output with its tokens; None where it was typed."""
    target: Any
    """First output token and the one after the last; None is the whole output."""
    adapter_tasks: AdapterTasks

    def all(self) -> set[Any]:
        """Return every component, as the inputs of an event."""
        fields = {component for fields in self.fields.values() for component in fields.values()}
        others = {self.task, self.text, self.output, self.instead, self.value, self.mask, self.seed, self.target}
        return {*fields, *others, *self.settings(), self.carried}

    def settings(self) -> list[Any]:
        """Return the components that the estimate depends on."""
        model = [self.model] if self.model else []
        return [*model, self.base_prompt_style, self.units, self.method, self.max_evals, self.trust]

    def outputs(self, values: Mapping[Any, Any]) -> tuple[Output, ...]:
        """Return the generated tokens where the output still is that of a task's tab, otherwise the typed text."""
        carried: Carried | None = values[self.carried]
        typed = values[self.output] or ""
        if carried is not None and (carried.task, carried.shown) == (values[self.task], typed):
            return carried.outputs
        return (as_output(check_text(typed, what="output") if typed.strip() else ""),)

    def is_output(self, request: ExplainRequest, values: Mapping[Any, Any]) -> bool:
        """Return whether the tab still has the output of a request."""
        try:
            return request.task == values[self.task] and request.outputs == self.outputs(values)
        except InputError:
            return False

    def read(self, values: Mapping[Any, Any]) -> ExplainRequest:
        """Return the request; InputError and SettingsError where a value is not valid."""
        task = values[self.task]
        check_choice("task", task, self.adapter_tasks.tasks)
        return ExplainRequest(
            task=task,
            text=values[self.text] or "",
            options=self._options(task, values),
            outputs=self.outputs(values),
            of=values[self.model] if self.model else "base",
            target=values[self.target],
            instead=values[self.instead] or None,
            method=values[self.method],
            units=values[self.units],
            value=values[self.value],
            mask=values[self.mask] or "",
            max_evals=_whole("Maximum masked texts", values[self.max_evals], *EVALS),
            trust=bool(values[self.trust]),
            base_prompt_style=values[self.base_prompt_style],
            **self._answered_with(task, values),
            seed=_whole("The seed", values[self.seed], 0, MAX_SEED),
        )

    def _answered_with(self, task: str, values: Mapping[Any, Any]) -> dict[str, Any]:
        """Return adapter strength and sentence case: of the answer that was taken over, else what the adapter declares."""
        carried: Carried | None = values[self.carried]
        decoding = carried if carried is not None and carried.task == task else self.adapter_tasks.generation(task)
        return {"adapter_strength": decoding.adapter_strength, "sentence_case": decoding.sentence_case}

    def _options(self, task: str, values: Mapping[Any, Any]) -> TaskOptions:
        carried: Carried | None = values[self.carried]
        start = self.adapter_tasks.default_options(task)
        if carried is not None and carried.task == task:
            start = carried.options
        chosen = {name: values[component] for name, component in self.fields[task].items()}
        return self.adapter_tasks.adapt(replace(start, **chosen))

    def filled(self, task: str, text: str, output: str, options: TaskOptions | Mapping[str, Any]) -> dict[Any, Any]:
        """Return the updates that fill in a text and an output."""
        option_values = options if isinstance(options, Mapping) else asdict(options)
        chosen = {
            component: option_values[name] for name, component in self.fields[task].items() if name in option_values
        }
        shown = {group: gr.Column(visible=name == task) for name, group in self.groups.items()}
        filled = {self.task: task, self.text: text, self.output: output, self.instead: "", self.target: None}
        return filled | shown | chosen


def explain_inputs(description: ModelDescription, adapter_tasks: AdapterTasks) -> ExplainInputs:
    """Lay out the inputs; `rare_inputs` lays out the folded options."""
    names = adapter_tasks.tasks
    task = gr.Dropdown(
        [(TASKS[name].title, name) for name in names], value=names[0], label="Task", elem_classes="task-choice"
    )
    groups, fields = {}, {}
    for name in names:
        with gr.Column(visible=name == names[0], elem_classes="fields") as groups[name]:
            fields[name] = fields_above(TASKS[name], adapter_tasks, with_swap=False)[0]
            fields[name] |= fields_below(TASKS[name], adapter_tasks)
    text = gr.Textbox(
        label="Input text",
        lines=4,
        max_lines=14,
        placeholder="Type or paste a text …",
        elem_classes="input-text",
    )
    output = gr.Textbox(
        label="Output to explain",
        lines=2,
        max_lines=8,
        placeholder="What the model wrote, or another output to test …",
        elem_classes="explained-output",
    )
    model = None
    if description.has_adapter:
        offered = [*((label_of(name), name) for name in description.variants), ("Difference", "difference")]
        model = gr.Radio(offered, value="finetuned", label="Model", elem_classes="choice")
    base_prompt_style = base_prompt_style_field(description.base_prompt_style, visible=model is None)
    with gr.Row(elem_classes="pair", equal_height=True):
        units = gr.Dropdown(_UNITS, value="auto", label="Units", min_width=120)
        method = gr.Dropdown(_METHODS, value="auto", label="Method", min_width=120)
    instead = gr.Textbox(
        label="Contrast (optional)",
        max_lines=2,
        placeholder="Explain this output rather than …",
    )
    return ExplainInputs(
        task,
        groups,
        fields,
        text,
        output,
        model,
        base_prompt_style,
        units,
        method,
        instead,
        **_rare(),
        adapter_tasks=adapter_tasks,
    )


def _rare() -> dict[str, Any]:
    """Create the folded components; `rare_inputs` renders them."""
    return {
        "value": gr.Radio(
            _VALUES, value="log-probability", label="Value", elem_classes="option", render=False,
            info="Log-probabilities of the output's tokens add up; log-odds do not",
        ),
        "mask": gr.Textbox(
            label="Mask text", placeholder="empty: drop hidden parts", max_lines=1, elem_classes="option", render=False,
            info="Replaces each hidden part",
        ),
        "max_evals": gr.Number(
            value=500, label="Maximum masked texts", elem_classes="option", render=False,
            info="More take longer and give more precise values",
        ),
        "seed": gr.Number(
            value=0, label="Seed", elem_classes="option", render=False, info="The same seed gives the same explanation"
        ),
        "trust": gr.Checkbox(
            value=True, label="Check this explanation", elem_classes="option", render=False,
            info="Deletion, insertion, and agreement with the other method",
        ),
        "carried": gr.State(None, render=False),
        "target": gr.State(None, render=False),
    }  # fmt: skip


def rare_inputs(inputs: ExplainInputs) -> None:
    """Lay out the folded options."""
    with gr.Accordion("Options", open=False, elem_classes="options"):
        inputs.base_prompt_style.render()
        inputs.value.render()
        with gr.Row(elem_classes="option-grid"):
            for component in (inputs.mask, inputs.max_evals, inputs.seed):
                component.render()
        inputs.trust.render()
    inputs.carried.render()
    inputs.target.render()


def _whole(name: str, value: float | None, low: int, high: int) -> int:
    """Return a whole number; 5.0 counts as one, as JavaScript has only one kind of number."""
    if value is None or not float(value).is_integer() or not low <= value <= high:
        raise SettingsError(f"{name}: {value}; give a whole number from {low:,} to {high:,}.")
    return int(value)
