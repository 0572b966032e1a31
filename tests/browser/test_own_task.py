"""A task that the adapter declares, on the page."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phi2demo.settings import ASSETS
from phi2demo.tasks.declared import read_tasks_file
from tests.browser.conftest import Broken, served
from tests.browser.test_page import answer, ask, open_tab, seen, status, until

pytestmark = pytest.mark.browser

(TASK,) = read_tasks_file(ASSETS / "examples" / "own_task" / "tasks.json").own
LABELS = TASK.labels
TEXT = "The lift has stopped between two floors."


@pytest.fixture(scope="module")
def own(chromium: Any) -> Iterator[str]:
    with served("--own", "--delay", "0.02") as url:
        yield url


def receipt(page: Any) -> Any:
    seen(page, ".details > button").click()
    with page.expect_download() as started:
        seen(page, "button:has-text('Download receipt')").click()
    return json.loads(Path(started.value.path()).read_text(encoding="utf-8"))


def test_its_tab_comes_after_the_built_in_ones_and_its_fields_reach_the_model(new_page: Any, own: str) -> None:
    page = new_page(own)
    titles = [tab.inner_text().strip() for tab in page.get_by_role("tab").all()]
    assert titles[:4] == ["Translate", "Urgency", "Compare", "Explain"]
    open_tab(page, "Urgency")
    seen(page, ".choice label:has-text('building')").click()
    page.get_by_label("Days left").locator("visible=true").fill("4")
    ask(page, TEXT)
    until(lambda: status(page) == "Done")
    assert answer(page) in LABELS
    assert [bar.inner_text() for bar in seen(page, ".bars .label").all()] == list(LABELS)
    asked = receipt(page)
    assert asked["options"] == {"team": "building", "days": 4}
    options = TASK.options_type(team="building", days=4)
    assert TASK.instruction(TEXT, options).whole in asked["prompt"]


def test_a_number_out_of_range_is_told_and_an_example_fills_the_fields(new_page: Any, own: str, broken: Broken) -> None:
    page = new_page(own)
    open_tab(page, "Urgency")
    page.get_by_label("Days left").locator("visible=true").fill("99")
    ask(page, TEXT)
    until(lambda: "days is 99; give a whole number from 0 to 30." in status(page))
    seen(page, ".examples .gallery-item").nth(1).click()  # which runs it
    until(lambda: status(page) == "Done")
    assert receipt(page)["options"] == {"team": "sales", "days": 20}
    assert broken(page) == []


def test_its_answer_is_explained(new_page: Any, own: str) -> None:
    page = new_page(own)
    open_tab(page, "Urgency")
    ask(page, TEXT)
    until(lambda: status(page) == "Done")
    seen(page, "button.why").click()
    seen(page, ".picker").wait_for()
    shown = seen(page, ".explain .fields").locator("[data-testid=block-info] >> visible=true")
    assert [label.strip() for label in shown.all_inner_texts()] == ["Team", "Days left"]
    seen(page, "button.run").click()
    until(lambda: status(page) == "Done" and seen(page, ".trust").count(), timeout_s=60)
    assert page.locator(".view .heatmap").evaluate("e => e.textContent") == TEXT
