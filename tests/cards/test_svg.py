"""Drawings: elements, scales and ticks."""

import re
from xml.etree import ElementTree

import pytest

from phi2demo.cards import svg
from phi2demo.cards.svg import HEIGHT, WIDTH, draw_curve
from phi2demo.training.record import CurvePoint, Record, Validation
from tests.cards.reports import stage


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


NAMESPACE = "{http://www.w3.org/2000/svg}"


def draw(*stages: object) -> ElementTree.Element:
    picture = draw_curve(Record(stages), title="Loss of <a> & b")  # type: ignore[arg-type]
    assert picture is not None
    return ElementTree.fromstring(picture)


def points(line: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.attrib["points"].split())]


def test_a_falling_loss_falls_in_the_picture() -> None:
    (line,) = draw(stage()).iter(f"{NAMESPACE}polyline")
    (x1, y1), (x2, y2) = points(line)
    assert 0 < x1 < x2 < WIDTH
    assert 0 < y1 < y2 < HEIGHT  # downwards


def test_stages_follow_each_other_and_are_parted() -> None:
    picture = draw(stage(), stage())
    first, second = (points(line) for line in picture.iter(f"{NAMESPACE}polyline"))
    assert first[-1][0] < second[0][0]
    (border,) = [line for line in picture.iter(f"{NAMESPACE}line") if line.attrib["class"] == "stage"]
    assert first[-1][0] == pytest.approx(float(border.attrib["x1"]))


def test_only_the_mean_by_weight_is_a_dot() -> None:
    validations = (Validation(20, {"all": 5.0, "other": 1.0}), Validation(40, {"other": 1.0}))
    dots = [d for d in draw(stage(validations=validations)).iter(f"{NAMESPACE}circle") if d.attrib["r"] == "3"]
    assert len(dots) == 1


def test_it_is_for_light_and_dark_pages() -> None:
    picture = draw_curve(Record((stage(),)), title="Loss")
    assert picture is not None
    assert "prefers-color-scheme: dark" in picture
    assert f'class="back" width="{WIDTH}"' in picture


@pytest.mark.parametrize(
    ("tokens", "unit"), [(40, "tokens seen"), (4_000_000, "millions"), (4_000_000_000, "billions")]
)
def test_tokens_have_a_unit(tokens: int, unit: str) -> None:
    curve = (CurvePoint(1, tokens // 2, 3.0, 0.1), CurvePoint(2, tokens, 2.0, 0.1))
    texts = [text.text or "" for text in draw(stage(curve=curve, tokens=tokens)).iter(f"{NAMESPACE}text")]
    assert any(text.endswith(unit) for text in texts)
    assert all(re.fullmatch(r"[\d.]{1,5}", text) for text in texts if text[:1].isdigit())


def test_no_curve_no_picture() -> None:
    assert draw_curve(Record((stage(curve=()),)), title="Loss") is None


def test_a_loss_that_stays_is_drawn_too() -> None:
    curve = (CurvePoint(1, 10, 3.0, 0.1), CurvePoint(2, 20, 3.0, 0.1))
    assert len(list(draw(stage(curve=curve, validations=())).iter(f"{NAMESPACE}polyline"))) == 1
