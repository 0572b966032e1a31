"""How a model is asked: by the template of its task or, a base, in the plain form that it was pretrained on."""

from pathlib import Path
from typing import Literal

Form = Literal["template", "plain"]

FORMS: dict[Form, str] = {"plain": "As plain text", "template": "With the instruction"}
RECORD = "pretraining.json"
"""Beside a base that this package pretrained: it knows the plain forms, and no template."""


def best_form(folder: Path | None) -> Form:
    """How the base in a folder is asked best, as far as can be told: Phi-2 knows the template."""
    return "plain" if folder is not None and (folder / RECORD).is_file() else "template"
