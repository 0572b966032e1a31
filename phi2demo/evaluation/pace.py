"""How long answers take on this machine, from those that were timed on it. Knows no model."""

from collections.abc import Sequence
from threading import Lock

from phi2demo.evaluation.datasets import Item
from phi2demo.evaluation.forms import SCORED, Form

CHARACTERS_PER_TOKEN = 4
READING = 0.1
"""What a character that is read costs, against one that is written."""


class Paces:
    """Seconds per unit of work by kind of item and by form. May be shared by runs."""

    def __init__(self) -> None:
        self._spent: dict[tuple[str, str], tuple[float, float]] = {}
        self._lock = Lock()

    def knows(self, form: Form) -> bool:
        """Whether such answers were timed before."""
        return _key(form) in self._spent

    def add(self, form: Form, items: Sequence[Item], seconds: float) -> None:
        """Answers that took so long together; later ones count more, for they are many and the first are trials."""
        with self._lock:
            work, spent = self._spent.get(_key(form), (0.0, 0.0))
            self._spent[_key(form)] = (work / 2 + self.work(form, items), spent / 2 + seconds)

    def seconds(self, form: Form, items: Sequence[Item]) -> float:
        """What these will take."""
        work, spent = self._spent[_key(form)]
        return spent / work * self.work(form, items)

    def work(self, form: Form, items: Sequence[Item]) -> float:
        """In characters to write: of the answer that is wanted, or, of a base in the template, up to the limit."""
        return sum(READING * len(form.prompt(item)) + self._written(form, item) for item in items)

    def _written(self, form: Form, item: Item) -> float:
        if form.measure.kind in (*SCORED, "sentiment"):
            return 0.0
        if _key(form)[1] == "TemplateForm base":
            return float(CHARACTERS_PER_TOKEN * form.generation.max_new_tokens)
        return float(max(map(len, item.references)))


def _key(form: Form) -> tuple[str, str]:
    return form.measure.kind, f"{type(form).__name__} {getattr(form, 'use', 'base')}"
