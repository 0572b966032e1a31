"""What the adapters that are loaded were finetuned for, each for itself and together. Knows nothing of the page.

A second adapter is compared with the first, so both are asked what either was finetuned for, and an answer to what its
adapter was not finetuned for says so. An adapter that declares nothing may know anything: it neither adds to what the
other declares nor gets such a note.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from phi2demo.engine.engine import ModelInfo, Use
from phi2demo.errors import SettingsError
from phi2demo.tasks.declaration import Declaration, read_declaration
from phi2demo.tasks.form import Form, best_form
from phi2demo.tasks.task import Request, Result, TaskOptions


@dataclass(frozen=True)
class Declarations:
    """Of the first adapter, or of a bare base, and of the second where there is one."""

    first: Declaration
    second: Declaration | None = None
    base_form: Form = "template"
    """How the base is asked unless a person says otherwise."""

    def form(self, given: Form | None) -> Form:
        """How the base is asked: as given, where something is."""
        return self.base_form if given is None else given

    @property
    def either(self) -> Declaration:
        """What at least one of the two was finetuned for; what the other declares, where one declares nothing."""
        return self.first if self.second is None else self.first.joined(self.second)

    def of(self, uses: Sequence[Use]) -> Declaration:
        """What these models are asked for: the base what the adapter beside it is, two adapters what either is."""
        if self.second is None or "second" not in uses:
            return self.first
        return self.either if "finetuned" in uses else self.second

    def asked_of(self, use: str) -> Declaration:
        """What these weights alone are asked for, or the difference that finetuning made."""
        return self.of(("second",) if use == "second" else ("finetuned",))

    def adapt(self, task: str, options: TaskOptions, uses: Sequence[Use]) -> TaskOptions:
        """The options as these models can follow them; SettingsError for what none of them was finetuned for."""
        declaration = self.of(uses)
        if task not in declaration.tasks:
            other, named = ("second", "second") if "finetuned" in uses or "base" in uses else ("first", "finetuned")
            raise SettingsError(
                f"This model was not finetuned for {task.replace('_', ' ')}; the {other} adapter was: choose {named}."
            )
        return declaration.adapt(options)

    def noted(self, asked: Request, results: Sequence[Result]) -> tuple[Result, ...]:
        """The results, with a note beside each answer whose adapter was not finetuned for what was asked.

        And beside each to a text in a language that the task was not measured in, by an adapter or by the base.
        """
        return tuple(replace(result, notes=(*self._notes(asked, result.use), *result.notes)) for result in results)

    def _notes(self, asked: Request, use: Use) -> tuple[str, ...]:
        beside = self.second if use == "second" else self.first
        foreign = beside.foreign(asked.task, asked.text) if beside else ""
        return tuple(note for note in (self._missing(asked, use), foreign) if note)

    def _missing(self, asked: Request, use: Use) -> str:
        declared = {"finetuned": self.first, "second": self.second}.get(use)
        return declared.missing(asked.task, asked.options) if declared else ""


def read_declarations(info: ModelInfo) -> Declarations:
    """Of what is loaded; ModelError where a tasks.json is malformed."""
    second = read_declaration(info.second.folder) if info.second else None
    return Declarations(read_declaration(info.adapter_folder), second, best_form(info.base_folder))
