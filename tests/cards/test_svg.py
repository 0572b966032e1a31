"""Drawings: elements, scales and ticks."""

import pytest

from phi2demo.cards import svg


def test_attributes_and_texts_are_escaped_and_numbers_are_short() -> None:
    assert svg.text("<b>", x=1.25, y=2, text_anchor="end") == '<text x="1.2" y="2" text-anchor="end">&lt;b&gt;</text>'
    assert svg.line("grid", (0, "50%"), (1.0, 2.0)) == '<line class="grid" x1="0" x2="50%" y1="1.0" y2="2.0"/>'
    assert 'aria-label="&quot;a&quot;"' in svg.picture("", label='"a"')
    assert svg.picture("", width=3) == '<svg width="3" aria-hidden="true"/>'


def test_a_scale_maps_its_ends_and_its_middle() -> None:
    scale = svg.LinearScale(0, 10, 100, 0)
    assert [scale(value) for value in (0, 5, 10)] == [100, 50, 0]


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 10, [0, 2, 4, 6, 8, 10]), (1.2, 4.9, [1, 2, 3, 4, 5]), (3, 3, None)]
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float, expected: list[float] | None) -> None:
    marks = svg.ticks(low, high)
    assert marks[0] <= low
    assert marks[-1] >= high
    assert len(marks) >= 2
    assert expected is None or marks == pytest.approx(expected)
