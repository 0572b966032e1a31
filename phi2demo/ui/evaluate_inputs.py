"""The inputs of a live run on the Evaluate tab, and the items and settings they stand for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from phi2demo.data.checks import check_choice
from phi2demo.data.languages import LANGUAGES
from phi2demo.data.own_pairs import FIELDS, MAX_ROWS, OwnColumns, read_pairs
from phi2demo.data.test_sets import TestSet
from phi2demo.engine.engine import MAX_SEED
from phi2demo.errors import InputError, SettingsError
from phi2demo.evaluation.live import LiveSettings
from phi2demo.evaluation.live_samples import MAX_ITEMS, ItemSample, draw
from phi2demo.evaluation.outputs import SYSTEM_TITLES, SYSTEMS, SystemName
from phi2demo.evaluation.statistics import SEED
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.tasks.own_task import OwnTask
from phi2demo.ui.description import ModelDescription
from phi2demo.ui.options import as_typed

COUNT = 12
"""The default number of items."""


@dataclass(frozen=True)
class LiveInputs:
    """The components that a run depends on."""

    tasks: Any
    """None where no test set is shipped."""
    count: Any
    own_task: Any
    languages: Any
    """The row of the two below: shown for translations."""
    source: Any
    target: Any
    pairs: Any
    upload: Any
    csv: Any
    jsonl: Any
    """Download templates."""
    systems: Any
    seed: Any
    test_sets: tuple[TestSet, ...]
    adapter_tasks: AdapterTasks

    def all(self) -> set[Any]:
        """Return every component whose value a run depends on."""
        shipped = {self.tasks, self.count} if self.tasks is not None else set()
        return shipped | {self.own_task, self.source, self.target, self.pairs, self.systems, self.seed}

    def read(self, values: Mapping[Any, Any], *, own: bool) -> tuple[list[ItemSample], LiveSettings]:
        """Return the items and the settings of the run; InputError and SettingsError where a value is not valid."""
        systems = values[self.systems] or []
        if not systems:
            raise InputError("No model is selected. Select at least one.")
        settings = LiveSettings(
            systems=tuple(system for system in SYSTEMS if system in systems), seed=self._seed(values)
        )
        if own:
            test_set = self._own(values)
            return [ItemSample(test_set, test_set.items)], settings
        return self._shipped(values, settings.seed), settings

    def _own(self, values: Mapping[Any, Any]) -> TestSet:
        task = values[self.own_task]
        check_choice("task", task, self.adapter_tasks.tasks)
        text, source, target = values[self.pairs] or "", values[self.source], values[self.target]
        return read_pairs(
            text, task=task, source=source, target=target, own=own_columns(task), labels=TASKS[task].labels
        )

    def _shipped(self, values: Mapping[Any, Any], seed: int) -> list[ItemSample]:
        chosen = values[self.tasks] or []
        if not chosen:
            raise InputError("No task is selected. Select at least one.")
        count = values[self.count]
        if count is None or not float(count).is_integer():
            shown = "missing" if count is None else count
            raise SettingsError(f"The number of items is {shown}; give a whole number from 1 to {MAX_ITEMS}.")
        return draw([test_set for test_set in self.test_sets if test_set.task in chosen], int(count), seed=seed)

    def _seed(self, values: Mapping[Any, Any]) -> int:
        seed = values[self.seed]
        if seed is None or not float(seed).is_integer() or not 0 <= seed <= MAX_SEED:
            raise SettingsError(f"The seed is {seed}; give a whole number from 0 to {MAX_SEED:,}.")
        return int(seed)


def tasks_with_pairs(adapter_tasks: AdapterTasks) -> list[str]:
    """Return the tasks of the model whose answers can be scored against pairs."""
    built_in = [name for name in FIELDS if name in adapter_tasks.tasks]
    return [*built_in, *(name for name in adapter_tasks.tasks if own_columns(name))]


def own_columns(name: str) -> OwnColumns | None:
    """Return the columns of the pairs of a task that the adapter declares; None for other tasks."""
    task = TASKS.get(name)
    if not isinstance(task, OwnTask):
        return None
    texts = [example.text for example in task.examples[:2]] or ["…"]
    fields = [str(entry.default) for entry in task.fields.values()]
    answers = task.labels or ("…",)
    samples = tuple((text, *fields, answers[index % len(answers)]) for index, text in enumerate(texts))
    return OwnColumns(tuple(task.fields), samples, task.accept_pair)


def shipped_inputs(test_sets: Sequence[TestSet]) -> tuple[Any, Any]:
    """Lay out tasks and number of items of the shipped set; None and None where there is no such set."""
    if not test_sets:
        return None, None
    names = list(dict.fromkeys(test_set.task for test_set in test_sets))
    tasks = gr.CheckboxGroup(
        [(TASKS[name].title, name) for name in names], value=names, label="Tasks", elem_classes="choice several"
    )
    count = as_typed(
        gr.Slider(
            1,
            MAX_ITEMS,
            value=COUNT,
            step=1,
            label="Items",
            elem_classes="option",
            info="Sampled evenly from the tasks",
        )
    )
    return tasks, count


def own_inputs(adapter_tasks: AdapterTasks) -> dict[str, Any]:
    """Lay out task, languages and the box for pairs, with a file to open and templates to download."""
    names = tasks_with_pairs(adapter_tasks) or list(FIELDS)
    task = gr.Dropdown(
        [(TASKS[name].title, name) for name in names], value=names[0], label="Task", elem_classes="task-choice"
    )
    codes = [(LANGUAGES[code], code) for code in adapter_tasks.languages]
    with gr.Row(elem_classes="languages", equal_height=True, visible=names[0] == "translation") as languages:
        source = gr.Dropdown(codes, value=adapter_tasks.languages[0], label="From", min_width=110)
        target = gr.Dropdown(codes, value=adapter_tasks.languages[1], label="To", min_width=110)
    pairs = gr.Textbox(
        label="Pairs, as CSV or JSON lines",
        lines=7,
        max_lines=16,
        placeholder=placeholder(names[0]),
        elem_classes="input-text own-pairs",
    )
    with gr.Row(elem_classes="under-input"):
        upload = gr.UploadButton(
            "Open a file", file_types=[".csv", ".tsv", ".jsonl", ".json", ".txt"], size="sm", min_width=0, scale=0,
            elem_classes="quiet",
        )  # fmt: skip
        csv = gr.Button("CSV template", size="sm", min_width=0, scale=0, elem_classes="quiet")
        jsonl = gr.Button("JSON lines template", size="sm", min_width=0, scale=0, elem_classes="quiet")
    return {
        "own_task": task, "languages": languages, "source": source, "target": target, "pairs": pairs,
        "upload": upload, "csv": csv, "jsonl": jsonl,
    }  # fmt: skip


def placeholder(task: str) -> str:
    """Return the placeholder of the box for pairs."""
    own = own_columns(task)
    return f"{','.join(own.names if own else FIELDS[task])}\n…\nAt most {MAX_ROWS} pairs. Download a template to see the format."


def system_inputs(description: ModelDescription) -> Any:
    """Lay out the choice of systems; without an adapter it has only those of the base."""
    names: list[SystemName] = [system for system in SYSTEMS if system != "finetuned" or description.has_adapter]
    value = ["finetuned", "base_plain"] if description.has_adapter else ["base_template"]
    return gr.CheckboxGroup(
        [(SYSTEM_TITLES[name].capitalize(), name) for name in names],
        value=value,
        label="Models",
        elem_classes="choice several",
    )


def seed_input() -> Any:
    """Lay out the folded options."""
    with gr.Accordion("Options", open=False, elem_classes="options"):
        return gr.Number(
            value=SEED, label="Seed", elem_classes="option", info="The same seed gives the same items and resamples"
        )
