"""Texts to try, by task: read from assets/examples, and only those that the model can follow."""

import json
from dataclasses import dataclass
from typing import Any

from phi2demo.settings import ASSETS
from phi2demo.tasks.declaration import Declaration

FOLDER = ASSETS / "examples"


@dataclass(frozen=True)
class Example:
    """One text with the options of its task."""

    label: str
    """What the page shows to choose it by."""
    text: str
    options: dict[str, str]


def read_examples(task: str, declaration: Declaration) -> list[Example]:
    """The examples of a task whose languages, modes and lengths are declared."""
    path = FOLDER / f"{task}.json"
    if not path.is_file():
        return []
    entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    examples = [Example(entry["label"], entry["text"], entry.get("options", {})) for entry in entries]
    return [example for example in examples if _is_declared(example, declaration)]


def _is_declared(example: Example, declaration: Declaration) -> bool:
    offered = {
        "source": declaration.languages,
        "target": declaration.languages,
        "mode": declaration.modes,
    }
    return all(value in offered[name] for name, value in example.options.items() if name in offered)
