""""""

from dataclasses import replace

import numpy as np
import pytest

from phi2demo.explain import export
from phi2demo.explain.attribution import Attribution, Curve, OutputToken, Trust
from phi2demo.explain.estimate import Estimate
from phi2demo.explain.job import Partial
from phi2demo.explain.request import ExplainRequest
from phi2demo.explain.units import Unit
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.ui import explanation_view
from phi2demo.ui.explanation_view import trust_panel
from tests.ui.scripted import INFO

EVIL = "<script>alert('1')</script>"
CURVE = Curve((0.0, 1.0), (-1.0, -9.0), (-1.0, -9.0), 0.3, 0.5)
TRUST = Trust(
    calls=1234, seconds=1.5, seed=7, remainder=0.0, opened=0.5, split_evenly=0.04, deletion=CURVE, insertion=CURVE,
    agreement=0.9,
)  # fmt: skip


def attribution(**changed: object) -> Attribution:
    """Two units, three output tokens."""
    request = ExplainRequest("generation", f"a {EVIL}", GenerationTaskOptions("continue"), (f"x y {EVIL}",))
    made = Attribution(
        request=request,
        model=INFO,
        units=(Unit("a ", 0, 2), Unit(EVIL, 2, 2 + len(EVIL))),
        kind="words",
        tokens=(OutputToken(1, "x", 0, 1), OutputToken(2, " y ", 1, 4), OutputToken(3, EVIL, 4, 4 + len(EVIL))),
        values=np.array([[1.0, 2.0, 4.0], [0.0, -1.0, -1.0]]),
        base_values=np.array([-3.0, -3.0, -3.0]),
        full_values=np.array([-2.0, -2.0, 0.0]),
        trust=TRUST,
        notes=(EVIL,),
    )
    return replace(made, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "html",
    [
        explanation_view.picker(attribution().tokens),
        explanation_view.hint(EVIL, is_shown=False),
        explanation_view.hint(EVIL, is_shown=True),
        explanation_view.so_far(Partial(attribution().units, np.zeros(2))),
        explanation_view.view(attribution()),
        export.bars(attribution()),
        export.table(attribution()),
        trust_panel(attribution()),
    ],
)
def test_what_comes_from_outside_is_escaped(html: str) -> None:
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_the_text_stands_as_typed() -> None:
    import html as markup
    import re

    shown = (
        explanation_view.view(attribution()).partition('<p class="heatmap"')[2].partition("</p>")[0].partition(">")[2]
    )
    assert markup.unescape(re.sub(r"<[^>]+>", "", shown)) == f"a {EVIL}"


def test_a_token_is_a_button_and_tokens_of_one_character_are_one() -> None:
    rocket = (OutputToken(1, "🚀", 0, 1), OutputToken(2, "🚀", 0, 1), OutputToken(3, " x", 1, 3))
    html = explanation_view.picker(rocket)
    assert html.count('role="button"') == 2
    assert 'data-first="0" data-last="2"' in html
    assert html.count('tabindex="0"') == 1


def test_pieces_begin_on_new_lines_and_white_space_can_be_seen() -> None:
    html = explanation_view.picker(
        (OutputToken(1, " Wo?", 0, 4), OutputToken(2, "\n", 4, 5), OutputToken(3, " Da.", 0, 4, piece=1))
    )
    assert ">Wo?</span>" in html
    assert "↵" in html
    assert '\n<span class="token"' in html


def test_one_token_is_narrowed_to_its_column() -> None:
    part = explanation_view.narrowed(attribution(), 1, 2)
    assert part is not None
    assert part.totals.tolist() == [2.0, -1.0]
    assert part.output == " y "
    assert explanation_view.narrowed(attribution(), 2, 4) is None


def test_columns_of_a_part_are_counted_from_its_beginning() -> None:
    result = attribution()
    result = replace(result, request=replace(result.request, target=(5, 8)))
    part = explanation_view.narrowed(result, 5, 7)
    assert part is not None
    assert part.totals.tolist() == [3.0, -1.0]
    assert explanation_view.narrowed(result, 4, 6) is None
    assert explanation_view.narrowed(result, 7, 9) is None


def test_a_contrast_is_narrowed_to_what_was_written() -> None:
    result = attribution()
    that = replace(result.tokens[2], side="contrast")
    result = replace(result, tokens=(*result.tokens[:2], that), request=replace(result.request, instead="z"))
    assert explanation_view.narrowed(result, 2, 3) is None
    part = explanation_view.narrowed(result, 0, 2)
    assert part is not None
    assert part.request.instead is None


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "under a second"), (3.6, "about 4 s"), (240.0, "about 4 minutes")])
def test_an_estimate_in_words(seconds: float, said: str) -> None:
    html = explanation_view.estimated(Estimate("words", 1, 1200, seconds))
    assert f"At most 1,200 model calls, {said} on this machine, for 1 word." in html


def test_how_far_to_believe_it_in_plain_words() -> None:
    said = {figure.name: f"{figure.value} {figure.says}" for figure in export.checks(attribution())}
    assert said["Measured"].startswith("50% of the groups were split down to single words; 4.0% of the total value")
    assert said["Deletion"].startswith("0.30 against 0.50 for random orders: hiding the strongest first changes")
    assert "does not change the output any faster" in said["Insertion"]
    assert said["Agreement"] == "0.90 SHAP and LIME agree on the order"
    assert said["Cost"] == "1,234 model calls in 1.5 s, seed 7"


def test_only_what_was_measured_is_said() -> None:
    result = attribution(trust=Trust(calls=2, seconds=0.1, seed=0, remainder=0.0), notes=())
    assert [figure.name for figure in export.checks(result)] == ["Missing share", "Cost"]
    assert "<ul" not in trust_panel(result)
    exact = replace(result, request=replace(result.request, method="exact"))
    assert next(export.checks(exact)).value == "All"


def test_values_that_were_sampled_have_their_error() -> None:
    result = attribution(trust=replace(TRUST, standard_error=(0.25, 0.5), fit=0.875))
    said = {figure.name: f"{figure.value} {figure.says}" for figure in export.checks(result)}
    assert said["Standard error"] == "± 0.25 on the strongest value, +7.00"
    assert said["Fit"].startswith("88% of the variance")
