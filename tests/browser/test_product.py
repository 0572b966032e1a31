"""The page over the embedded model, as a first-time visitor meets it."""

import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.browser.test_page import STOP_S, answer, ask, open_tab, seen, status, until
from tests.servers import Server, serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def product(chromium: Any) -> Iterator[Server]:
    with serving(["app.py"]) as server:
        yield server


@pytest.fixture
def page(new_page: Any, product: Server) -> Any:
    opened = new_page(product.url, ready=False)
    opened.wait_for_selector(".loading:empty", state="attached", timeout=60_000)
    return opened


def test_the_header_says_who_answers(page: Any) -> None:
    header = page.locator("#header").inner_text()
    assert "assets/model" in header
    assert "assets/adapter" in header
    assert "not Phi-2 itself" in header


def test_an_example_is_translated_side_by_side(page: Any) -> None:
    open_tab(page, "Translate")
    seen(page, ".choice label:has-text('Side by side')").click()
    until(lambda: seen(page, ".output-text textarea").count() == 2)
    seen(page, ".examples .gallery-item").first.click()  # which runs it
    until(lambda: status(page) == "Done", timeout_s=60)
    assert answer(page, 0).strip()
    assert answer(page, 1).strip()
    facts = [line.inner_text() for line in seen(page, ".facts").all()]
    assert ["asked" in line for line in facts] == [False, True], "the second is the base's"


def test_what_else_it_could_have_said_is_a_click_away(page: Any) -> None:
    open_tab(page, "Translate")
    ask(page, "My sister has two cats. The children play in the garden.")
    until(lambda: status(page) == "Done", timeout_s=60)
    assert seen(page, ".alternatives table").count() == 0
    seen(page, ".alternatives summary").click()
    until(lambda: seen(page, ".alternatives table").count() == 1)
    chosen = [row.inner_text() for row in seen(page, ".alternatives tr.chosen th").all()]
    assert [line.split(" chosen")[0].strip() for line in chosen] == answer(page).replace(". ", ".\n").split("\n")
    assert seen(page, ".alternatives tbody tr").count() > len(chosen)


def test_how_sure_an_answer_is_stands_beside_what_else_it_could_have_been(page: Any) -> None:
    open_tab(page, "Ask")
    seen(page, ".examples .gallery-item").first.click()  # which runs it
    until(lambda: status(page) == "Done", timeout_s=60)
    seen(page, ".alternatives summary").click()
    until(lambda: seen(page, ".alternatives table").count() == 1)
    first, *others = [row.inner_text() for row in seen(page, ".alternatives tbody tr").all()]
    assert first.startswith(answer(page))
    assert "%" in first
    assert any("not in the text" in each for each in others)


def test_lines_are_kept(page: Any) -> None:
    open_tab(page, "Translate")
    ask(page, "I have no time today.\n\nWhere is the station?\n  My name is Anna.\n")
    until(lambda: status(page) == "Done", timeout_s=60)
    assert [bool(line.strip()) for line in answer(page).split("\n")][:4] == [True, False, True, True]


def test_stop_ends_a_long_summary_and_the_processor_goes_quiet(page: Any, product: Server) -> None:
    open_tab(page, "Summarize")
    sentence = "The old town has a market, and people from the villages bring bread, apples and cheese to it. "
    ask(page, sentence * 1200)
    until(lambda: " of " in status(page) and "tokens" in status(page), timeout_s=60)
    seen(page, "button.stop").click()
    assert until(lambda: "Stopped" in status(page), timeout_s=10) < STOP_S
    process = psutil.Process(product.pid)
    process.cpu_percent()
    time.sleep(1)
    assert process.cpu_percent() < 50
