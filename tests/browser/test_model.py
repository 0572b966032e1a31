"""The Model tab in Chromium: nothing of a card runs, tables scroll inside themselves."""

from typing import Any

import pytest

from tests.browser.test_page import ask, seen, status, until

pytestmark = pytest.mark.browser

WIDTHS = "[document.documentElement.scrollWidth, window.innerWidth]"


def opened(page: Any) -> Any:
    page.get_by_role("tab", name="Model", exact=True).click()
    page.wait_for_selector("article.model-card h2")
    return page


def test_a_card_is_shown_and_nothing_in_it_runs(page: Any) -> None:
    opened(page)
    text = page.locator("article.model-card").inner_text()
    assert "Trained with care" in text
    assert "${window.hacked = 2} {{ window.hacked = 3 }}" in text
    assert "model-index" not in text
    until(lambda: page.evaluate("document.querySelector('.model-card img').naturalWidth") == 40)
    assert page.evaluate("window.hacked") is None
    assert page.locator("article a:has-text('nothing')").count() == 0
    page.locator(".card-sections a:has-text('Citation')").click()
    until(lambda: page.evaluate("document.getElementById('card-citation').getBoundingClientRect().top < innerHeight"))
    seen(page, ".choice label:has-text('Base')").click()
    until(lambda: "made from its files" in page.locator(".block.card-text").inner_text())
    assert page.evaluate("window.hacked") is None


def test_a_citation_is_copied(page: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(page)
    button = page.locator(".essentials button.copy").first
    button.click()
    until(lambda: button.inner_text() == "Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "@misc{adapter, title = {A <b>title</b>}}"


def test_at_360_pixels_nothing_scrolls_sideways_and_tables_are_stacks(new_page: Any, address: str) -> None:
    page = opened(new_page(address, width=360))
    width, inner = page.evaluate(WIDTHS)
    assert width <= inner
    tables = seen(page, ".model .stacks")
    assert tables.count() == 3
    for at in range(3):
        assert tables.nth(at).evaluate("(box) => box.scrollWidth <= box.clientWidth")
    base = seen(page, "[aria-label='Results'] td[data-label='Base']").first
    assert base.evaluate("(cell) => getComputedStyle(cell, '::before').content") == '"Base"'


def test_answers_are_counted(page: Any) -> None:
    ask(page, "one two three")
    until(lambda: status(page) == "Done")
    opened(page)
    until(lambda: "Wh a batch" in page.locator(".block.used").inner_text())
