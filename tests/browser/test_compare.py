"""Comparing three models in a real browser."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import served
from tests.browser.test_page import ask, open_tab, seen, status, until

pytestmark = pytest.mark.browser

SLOW_S = 40.0


@pytest.fixture
def three(chromium: Any) -> Iterator[str]:
    with served("--second", "--delay", "0.05") as url:
        yield url


def test_three_models_answer_side_by_side_and_differences_are_marked(new_page: Any, three: str) -> None:
    page = new_page(three, width=360, height=900)
    assert "adapter scripted-second" in page.locator(".chips").inner_text()
    open_tab(page, "Compare")
    page.locator(".compare .examples button:has-text('Into English')").click()
    boxes = page.locator(".compare .output-text textarea")
    assert boxes.count() == 3
    until(lambda: all(boxes.nth(at).input_value() for at in range(3)), SLOW_S)
    until(lambda: status(page) == "Done", SLOW_S)
    marked = seen(page, ".marked-text")
    until(lambda: marked.count() == 2, SLOW_S)
    assert marked.nth(0).locator("ins").first.inner_text().startswith("finetuned")
    assert marked.nth(1).locator("del").first.inner_text().startswith("base")
    styles = "element => [getComputedStyle(element).textDecorationLine, getComputedStyle(element).color]"
    (line, colour), (struck, other) = (marked.nth(0).locator(tag).first.evaluate(styles) for tag in ("ins", "del"))
    assert (line, struck) == ("underline", "line-through")
    assert colour != other
    assert seen(page, ".scores").count() == 3
    assert "chrF" in seen(page, ".scores").first.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") == 360, "nothing scrolls sideways"
    with page.expect_download() as started:
        seen(page, "button:has-text('Download JSON')").click()
    written = json.loads(Path(started.value.path()).read_text(encoding="utf-8"))
    assert [answer["variant"] for answer in written["answers"]] == ["base", "finetuned", "second"]
    with page.expect_download() as started:
        seen(page, ".details > button").nth(1).click()
        seen(page, "button:has-text('Download text')").click()
    assert Path(started.value.path()).read_text(encoding="utf-8") == written["answers"][1]["text"]
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen(page, ".copy-answer").first.click()
    until(lambda: seen(page, ".copy-answer").first.inner_text() == "Copied")
    assert page.evaluate("navigator.clipboard.readText()") == written["answers"][1]["text"]
    marked.nth(1).click(click_count=3)
    page.keyboard.press("Control+C")
    assert page.evaluate("navigator.clipboard.readText()").strip() == written["answers"][2]["text"]
    seen(page, ".answers label:has-text('Nothing')").click()
    until(lambda: marked.count() == 0, SLOW_S)
    assert boxes.nth(1).input_value() == written["answers"][1]["text"]
    seen(page, "button.why").nth(2).click()
    until(lambda: page.locator(".explain .input-text textarea").input_value() == written["text"], SLOW_S)
    assert page.locator(".explain label.selected:has-text('second')").is_visible()


def test_what_is_chosen_while_it_runs_is_what_is_marked(new_page: Any, address: str) -> None:
    page = new_page(address)
    open_tab(page, "Compare")
    ask(page, "one two three four five six seven eight")
    until(lambda: status(page).startswith("Writing"))
    seen(page, ".answers label:has-text('Nothing')").click()
    until(lambda: status(page) == "Done", SLOW_S)
    until(lambda: seen(page, ".output-text").count() == 2 and seen(page, ".marked-text").count() == 0)
    assert seen(page, ".marks-legend p").count() == 0
