from xml.etree import ElementTree

import pytest

from phi2demo.cards.learning_picture import PANEL_HEIGHT, PANEL_WIDTH, draw_learning
from phi2demo.evaluation.learning_curve import LearningCurve, LearningCurves, Point
from phi2demo.evaluation.results import ScoreValue

NAMESPACE = "{http://www.w3.org/2000/svg}"


def curve(*scores: float, target: float | None = 45.0, people: float | None = 43.7) -> LearningCurve:
    points = tuple(
        Point(at, 10.0 ** (15 + at), ScoreValue(score, score - 1, score + 1), ScoreValue(score / 2, None, None))
        for at, score in enumerate(scores)
    )
    known = None if people is None else ScoreValue(people, None, None)
    return LearningCurve("translation.cats.en-de", "bleu", "B<LEU", True, 1, 9, points, known, target)


def draw(*curves: LearningCurve) -> ElementTree.Element:
    return ElementTree.fromstring(draw_learning(LearningCurves("operations", (), curves), title="Of <a> & b"))


def marks(picture: ElementTree.Element, kind: str, name: str) -> list[dict[str, str]]:
    """Those of the panels, not of the legend."""
    return [
        each.attrib for panel in picture.iter(f"{NAMESPACE}g") for each in panel.iter(f"{NAMESPACE}{kind}")
        if each.attrib["class"] == name
    ]  # fmt: skip


def test_better_scores_stand_higher_and_more_training_to_the_right() -> None:
    first, second = marks(draw(curve(10, 30)), "circle", "finetuned")
    assert 0 < float(first["cx"]) < float(second["cx"]) < PANEL_WIDTH
    assert PANEL_HEIGHT > float(first["cy"]) > float(second["cy"]) > 0


def test_target_and_people_are_levels_at_their_scores() -> None:
    picture = draw(curve(10, 30))
    (target,), (people,) = marks(picture, "line", "target"), marks(picture, "line", "people")
    assert target["y1"] == target["y2"]
    assert float(target["y1"]) < float(people["y1"])  # 45 above 43.7
    assert not marks(draw(curve(10, 30, target=None, people=None)), "line", "target")


def test_intervals_are_drawn_where_there_are_any() -> None:
    picture = draw(curve(10, 30))
    assert len(marks(picture, "line", "finetuned")) == 2
    assert not marks(picture, "line", "base")
    assert len(marks(picture, "circle", "base")) == 2


def test_each_curve_has_a_panel_within_the_picture() -> None:
    picture = draw(*[curve(10, 30)] * 5)
    assert len(list(picture.iter(f"{NAMESPACE}g"))) == 5
    assert float(picture.attrib["height"]) > 3 * PANEL_HEIGHT


@pytest.mark.parametrize("columns", [1, 2])
def test_the_legend_stays_within_the_picture(columns: int) -> None:
    told = LearningCurves("operations", (), (curve(10, 30),))
    picture = ElementTree.fromstring(draw_learning(told, title="Curves", columns=columns))
    words = picture.findall(f"{NAMESPACE}text")
    ends = [float(each.attrib["x"]) + 7 * len(each.text or "") for each in words]
    assert len(words) == 4
    assert max(ends) < float(picture.attrib["width"])
    assert len({each.attrib["y"] for each in words}) == 3 - columns


@pytest.mark.parametrize("scores", [(10.0, 10.0), (0.0, 0.0)])
def test_scores_that_stay_are_drawn_too(scores: tuple[float, float]) -> None:
    assert len(marks(draw(curve(*scores, target=None, people=None)), "circle", "finetuned")) == 2


def test_it_is_for_light_and_dark_pages() -> None:
    assert "prefers-color-scheme: dark" in draw_learning(LearningCurves("tokens", (), (curve(1, 2),)), title="Curves")
