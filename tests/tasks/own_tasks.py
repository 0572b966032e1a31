"""Declarations of tasks of one's own, for tests."""

from typing import Any

from phi2demo.tasks.own_task import OwnTask, make_own_task

URGENCY: dict[str, Any] = {
    "title": "How urgent",
    "instruction": "How urgent is this for {team}, {days} days before the deadline? Note: {note}\n{text}",
    "fields": {
        "team": {"label": "Team", "choices": ["support", "sales"]},
        "days": {"number": [0, 30]},
        "note": {"label": "Note"},
    },
    "output": "label",
    "labels": ["low", "medium", "very high"],
    "examples": [{"text": "The pump leaks.", "team": "sales", "days": 2}, {"text": "Thank you."}],
}
POLITE: dict[str, Any] = {"instruction": "Rewrite {text} politely.", "decoding": {"max_new_tokens": 40}}


def urgency(**changes: Any) -> OwnTask:
    """A task with labels and a field of each kind."""
    return make_own_task("urgency", URGENCY | changes)


def polite() -> OwnTask:
    """A task that writes a text, with the person's text within its instruction."""
    return make_own_task("polite", POLITE)
