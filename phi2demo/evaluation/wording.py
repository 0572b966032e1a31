"""What is in a report as a person reads it: names of measures, numbers."""

from phi2demo.tasks import TASKS
from phi2demo.tasks.languages import LANGUAGES

_MINUS = str.maketrans("-", "−")


def measure_title(name: str) -> str:
    """`translation.tatoeba.en-de` as `English to German, tatoeba`."""
    task, _, rest = name.partition(".")
    if task == "translation" and "." in rest:
        data, _, direction = rest.rpartition(".")
        source, _, target = direction.partition("-")
        if source in LANGUAGES and target in LANGUAGES:
            return f"{LANGUAGES[source]} to {LANGUAGES[target]}, {data}"
    title = TASKS[task].title if task in TASKS else task.capitalize()
    return f"{title}, {rest}" if rest else title


def metric_title(title: str, *, higher_is_better: bool) -> str:
    """With a word where less is better."""
    return title if higher_is_better else f"{title} (lower is better)"


def number(value: float, digits: int, *, signed: bool = False) -> str:
    """With a true minus sign; never a minus zero."""
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if not text.strip("+-0."):
        text = text.strip("+-")
    return text.translate(_MINUS)
