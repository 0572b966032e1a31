"""What a person does to learn why, in a real browser."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phi2demo.data.cleaning import clean
from tests.browser.conftest import Broken, served
from tests.browser.test_page import LONG, STOP_S, TURN_S, answer, ask, open_tab, seen, status, until

pytestmark = pytest.mark.browser

TEXT = "The train leaves at eight, not before."
EVIL = '<script>window.hacked=1</script> <img src=x onerror="window.hacked=1"> "q" \'a\' 👩‍🚀 e\u0301 Straße garçon {{x}} ${1+1}'
MINUTES_S = 240.0
"""shap is imported and compiled on the way, once a server."""


@pytest.fixture(scope="module")
def address(chromium: Any) -> Iterator[str]:
    with served("--delay", "0.02") as url:
        yield url


@pytest.fixture(scope="module")
def slow_address(chromium: Any) -> Iterator[str]:
    with served("--delay", "0.3") as url:
        yield url


def fill(page: Any, text: str, output: str) -> None:
    """Type a text and an output on the Explain tab."""
    open_tab(page, "Explain")
    seen(page, ".input-text textarea").fill(text)
    seen(page, ".explained-output textarea").fill(output)


def explained(page: Any) -> None:
    until(lambda: status(page) == "Done" and seen(page, ".trust").count(), timeout_s=MINUTES_S)


def heatmap(page: Any) -> str:
    return str(page.locator(".view .heatmap").evaluate("e => e.textContent"))


def test_from_an_answer_to_its_words(page: Any) -> None:
    assert seen(page, "button.why").is_disabled()
    ask(page, TEXT)
    until(lambda: status(page) == "Done")
    output = answer(page)
    seen(page, "button.why").click()
    seen(page, ".picker").wait_for()
    assert seen(page, ".input-text textarea").input_value() == TEXT
    assert seen(page, ".explained-output textarea").input_value() == output
    assert "".join(seen(page, ".token").all_text_contents()) == output
    until(lambda: "model calls" in seen(page, ".estimate .note").first.inner_text(), timeout_s=MINUTES_S)
    until(lambda: page.evaluate("document.activeElement.textContent.trim()") == "Explain")
    page.keyboard.press("Enter")
    explained(page)
    assert heatmap(page) == TEXT
    assert output in seen(page, ".view h2").inner_text()

    seen(page, ".token").nth(3).click()
    until(lambda: "write “train”?" in seen(page, ".view h2").inner_text())
    assert seen(page, ".token[aria-pressed=true]").count() == 1
    page.keyboard.press("Tab")  # the tokens are one stop; arrows move among them
    seen(page, ".token").nth(3).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    until(lambda: "write “train leaves”?" in seen(page, ".view h2").inner_text())
    seen(page, ".whole").click()
    until(lambda: output in seen(page, ".view h2").inner_text())

    seen(page, ".details > button").click()
    rows = seen(page, ".explanation tbody tr")
    until(lambda: rows.count() == len(TEXT.split()))
    for ending, begins in (("JSON", "{"), ("CSV", "rank,unit"), ("HTML", "<!doctype html>")):
        with page.expect_download() as started:
            seen(page, f"button:has-text('Download {ending}')").click()
        content = Path(started.value.path()).read_text(encoding="utf-8")
        assert content.startswith(begins)
        assert started.value.suggested_filename == f"explanation.{ending.lower()}"
        if ending == "JSON":
            assert json.loads(content)["text"] == TEXT


@pytest.mark.parametrize(("tab", "fields"), [("Ask", ["Your question"]), ("Translate", ["From", "To"])])
def test_the_first_answer_of_a_page_brings_the_fields_of_its_task(page: Any, tab: str, fields: list[str]) -> None:
    open_tab(page, tab)
    if tab == "Ask":
        page.get_by_label("Your question").fill("When?")
    ask(page, TEXT)
    until(lambda: status(page) == "Done")
    seen(page, "button.why").click()
    seen(page, ".picker").wait_for()
    page.wait_for_timeout(1000)  # the change of the output is answered after the carry
    shown = seen(page, ".explain .fields").locator("[data-testid=block-info] >> visible=true")
    assert [label.strip() for label in shown.all_inner_texts()] == fields


def test_side_by_side_has_a_button_for_each_answer(page: Any) -> None:
    seen(page, "label:has-text('Side by side')").click()
    until(lambda: seen(page, "button.why").count() == 2)
    ask(page, "A short text.")
    until(lambda: status(page) == "Done")
    seen(page, "button.why").nth(1).click()
    until(lambda: "base" in seen(page, ".explained-output textarea").input_value())
    assert seen(page, ".choice label.selected:has-text('Base')").count() == 1


def test_what_is_said_and_written_is_text_and_never_markup(page: Any) -> None:
    fill(page, EVIL, EVIL)
    until(lambda: "".join(seen(page, ".token").all_text_contents()) == clean(EVIL))
    seen(page, "button.run").click()
    explained(page)
    assert heatmap(page) == EVIL
    seen(page, ".token").nth(1).click()
    until(lambda: seen(page, ".token[aria-pressed=true]").count() == 1)
    seen(page, ".details > button").click()
    page.wait_for_timeout(500)
    assert page.evaluate("window.hacked") is None
    assert page.locator(".explain img, .explain script").count() == 0


def test_lines_and_spaces_stay_as_typed(page: Any) -> None:
    text = "  One   line.\n\n\tAnd another.  "
    fill(page, text, "Another line.")
    seen(page, "button.run").click()
    explained(page)
    assert heatmap(page) == text
    assert page.locator(".view .heatmap").evaluate("e => getComputedStyle(e).whiteSpace") == "pre-wrap"


def test_stop_ends_it_within_a_second_and_keeps_the_part(new_page: Any, slow_address: str) -> None:
    page = new_page(slow_address)
    fill(page, LONG, "word3 word7")
    seen(page, "button.run").click()
    seen(page, ".view .heatmap").wait_for(timeout=MINUTES_S * 1000)
    assert " of at most " in status(page)
    assert seen(page, ".status progress").count() == 1
    seen(page, "button.stop").click()
    assert until(lambda: status(page) == "Stopped") < STOP_S
    assert "partial result" in seen(page, ".view h2").inner_text()
    assert seen(page, "button.stop").is_disabled()


def test_a_closed_page_frees_the_model(new_page: Any, slow_address: str) -> None:
    first, second = new_page(slow_address), new_page(slow_address)
    fill(first, LONG, "word3 word7")
    seen(first, "button.run").click()
    seen(first, ".view .heatmap").wait_for(timeout=MINUTES_S * 1000)
    first.close()
    ask(second, "next")
    assert until(lambda: status(second) == "Done") < TURN_S


def test_an_error_is_said_in_the_page_and_keeps_the_text(page: Any) -> None:
    fill(page, "A text.", "")
    seen(page, "button.run").click()
    until(lambda: "The output is empty" in status(page))
    assert seen(page, ".input-text textarea").input_value() == "A text."


def test_an_example_fills_the_tab_and_runs(page: Any) -> None:
    open_tab(page, "Explain")
    seen(page, ".examples button").first.click()
    explained(page)
    assert "rather than “negative”?" in seen(page, ".view h2").inner_text()


def test_a_bare_base_has_no_choice_of_models(new_page: Any) -> None:
    with served("--bare", "--delay", "0.02") as url:
        page = new_page(url)
        fill(page, TEXT, TEXT)
        assert page.locator(".explain label:has-text('Difference')").count() == 0
        seen(page, "button.run").click()
        explained(page)
        assert "made the base model write" in seen(page, ".view h2").inner_text()


@pytest.mark.parametrize("width", [360, 800])
def test_nothing_scrolls_sideways(new_page: Any, address: str, width: int) -> None:
    page = new_page(address, width=width, height=800)
    fill(page, f"{TEXT} {'Donaudampfschifffahrt' * 8}", "A word " + "w" * 90)
    seen(page, ".options > button").click()
    seen(page, "button.run").click()
    explained(page)
    seen(page, ".details > button").click()
    seen(page, ".token").nth(1).click()
    page.wait_for_timeout(500)
    wide = page.evaluate("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth")
    assert wide <= 0


@pytest.mark.parametrize("dark", [False, True])
def test_texts_can_be_read_in_light_and_dark(new_page: Any, address: str, broken: Broken, dark: bool) -> None:
    page = new_page(address + ("?__theme=dark" if dark else "?__theme=light"), dark=dark)
    fill(page, TEXT, "The train leaves, not later.")
    seen(page, "button.run").click()
    explained(page)
    seen(page, ".details > button").click()
    seen(page, ".token").nth(1).click()
    page.mouse.move(0, 0)
    time.sleep(0.5)
    assert broken(page) == []
