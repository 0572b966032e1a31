"""The Model tab in Chromium: nothing of a card runs, tables scroll inside themselves, the calculator is live."""

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
    page.get_by_text("Calculate energy and CO2e").click()
    seen(page, "button:has-text('BERT base')").click()
    until(lambda: "1,507 kWh" in page.locator(".calculated").inner_text())
    width, inner = page.evaluate(WIDTHS)
    assert width <= inner
    tables = seen(page, ".model .stacks")
    assert tables.count() == 3
    for at in range(3):
        assert tables.nth(at).evaluate("(box) => box.scrollWidth <= box.clientWidth")
    base = seen(page, "[aria-label='Results'] td[data-label='Base']").first
    assert base.evaluate("(cell) => getComputedStyle(cell, '::before').content") == '"Base"'


def test_the_calculator_follows_every_change(page: Any) -> None:
    opened(page)
    page.get_by_text("Calculate energy and CO2e").click()
    intensity = page.get_by_label("Own g CO2e per kWh")
    intensity.wait_for()
    page.get_by_label("Count").fill("2")
    until(lambda: "(2 × " in page.locator(".calculator").inner_text())
    assert intensity.input_value() == ""
    assert "475 g CO2e per kWh" in page.locator(".calculator").inner_text()
    seen(page, "button:has-text('BERT base')").click()
    until(lambda: "1,507 kWh" in page.locator(".calculated").inner_text())
    page.wait_for_timeout(500)  # what was filled in is calculated once more
    until(lambda: "Published: 1,507 kWh" in page.locator(".calculator").inner_text())
    hours = page.get_by_label("Hours")
    hours.fill("-1")
    until(lambda: seen(page, ".calculator .status.error").count() == 1)
    assert "Hours is -1: give a number from 0." in seen(page, ".calculator .status.error").inner_text()
    assert (hours.input_value(), page.get_by_label("PUE").input_value()) == ("-1", "1.58")
    hours.fill("158.4")
    until(lambda: "3,014 kWh" in page.locator(".calculated").inner_text())
    intensity.fill("")
    until(lambda: "475 g CO2e per kWh" in page.locator(".calculator").inner_text())


def test_answers_are_counted(page: Any) -> None:
    ask(page, "one two three")
    until(lambda: status(page) == "Done")
    opened(page)
    until(lambda: "Wh a batch" in page.locator(".block.used").inner_text())
