"""Single items of an evaluation with what each form made of them: escaped HTML, words that the reference lacks marked."""

from collections.abc import Sequence
from html import escape

from phi2demo.evaluation.differences import differences, shared
from phi2demo.evaluation.examples import ITEM_METRICS, Example
from phi2demo.evaluation.forms import FormName
from phi2demo.evaluation.report import FORM_TITLES
from phi2demo.evaluation.wording import number
from phi2demo.ui.markup import note

PAGE = 5
"""Items that are shown at once."""
LONGEST = 900
"""Characters of a text, beyond which it is folded."""


def cards(examples: Sequence[Example], *, base: FormName | None) -> str:
    """The items in the order given."""
    if not examples:
        return note("No item of this measure was answered in every form.")
    intro = note("Marked: words of an answer that the good answer does not have in that place.")
    return f'<div class="cards">{intro}{"".join(_card(example, base) for example in examples)}</div>'


def _card(example: Example, base: FormName | None) -> str:
    labels = [f"item {example.index + 1}", *example.labels.values()]
    change = ""
    if base is not None and "finetuned" in example.scores and base in example.scores:
        value = example.change(base)
        kind = "better" if value > 0 else "worse" if value < 0 else "unclear"
        change = f'<span class="verdict {kind}">{number(value, 0, signed=True)} to {escape(FORM_TITLES[base])}</span>'
    rows = [_row("Text", _folded(example.text))]
    if example.question:
        rows.append(_row("Question", escape(example.question)))
    rows += [_row("Good answer" if at == 0 else "or", escape(each)) for at, each in enumerate(example.references)]
    rows += [_answer(example, form) for form in example.outputs]
    facts = "".join(f"<span>{escape(label)}</span>" for label in labels)
    return f'<article class="card"><p class="facts">{facts}{change}</p><dl>{"".join(rows)}</dl></article>'


def _answer(example: Example, form: FormName) -> str:
    score = example.scores[form]
    title = ITEM_METRICS[example.kind][1]
    said = ("right" if score else "wrong") if title == "right" else f"{title} {number(score, 0)}"
    text = example.outputs[form]
    shown = differing(text, example.references) if text.strip() else '<span class="none">no answer</span>'
    name = f'{escape(FORM_TITLES[form].capitalize())} <span class="score">{said}</span>'
    return _row(name, shown, kind=form)


def differing(text: str, references: Sequence[str]) -> str:
    """`text`, escaped; words that the nearest reference does not have there are in `<mark>`."""
    nearest = max((differences(reference, text) for reference in references), key=shared)
    kept = (change for change in nearest if change.kind != "gone")
    return "".join(_marked(change.text) if change.kind == "new" else escape(change.text) for change in kept)


def _marked(text: str) -> str:
    """White space before the words shows no mark."""
    core = text.lstrip()
    return f"{text[: len(text) - len(core)]}<mark>{escape(core)}</mark>"


def _folded(text: str) -> str:
    if len(text) <= LONGEST:
        return escape(text)
    return f"<details><summary>{escape(text[: LONGEST // 3].rstrip())} …</summary>{escape(text)}</details>"


def _row(name: str, content: str, *, kind: str = "") -> str:
    return f'<div class="{kind}"><dt>{name}</dt><dd dir="auto">{content}</dd></div>'
