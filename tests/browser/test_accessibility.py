"""The page against the rules of WCAG 2.2 AA and axe's best practices, with answers on it, by axe-core."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.test_page import ask, open_tab, seen, status, until

pytestmark = pytest.mark.browser

RULES = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
Broken = Callable[[Any], list[str]]


@pytest.fixture(scope="module")
def broken() -> Broken:
    """Rules that the page breaks, and where."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing").Axe()

    def run(page: Any) -> list[str]:
        found = axe.run(page, options=RULES).response["violations"]
        return [f"{each['id']}: {node['target']} {node['html'][:120]}" for each in found for node in each["nodes"]]

    return run


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 1280), (False, 360), (True, 360)])
def test_an_answer_and_its_details_can_be_read(
    new_page: Any, address: str, broken: Broken, dark: bool, width: int
) -> None:
    page = new_page(address + ("?__theme=dark" if dark else "?__theme=light"), dark=dark, width=width)
    ask(page, "A short text.")
    until(lambda: status(page) == "Done")
    page.locator("#limits summary").click()
    seen(page, ".details > button").click()
    assert broken(page) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", background)[:3])) < 60) is dark


@pytest.mark.parametrize("dark", [False, True])
def test_every_tab_can_be_read(new_page: Any, address: str, broken: Broken, dark: bool) -> None:
    page = new_page(address + ("?__theme=dark" if dark else "?__theme=light"), dark=dark)
    for name in ("Summarize", "Translate", "Sentiment", "Ask"):
        open_tab(page, name)
        assert broken(page) == [], name
    ask(page, "")  # refused
    until(lambda: "error" in seen(page, ".status").first.get_attribute("class"))
    assert broken(page) == [], "an error"
    open_tab(page, "Compare")
    ask(page, "A short text.")
    until(lambda: status(page) == "Done")
    assert broken(page) == [], "Compare"
    for name, shown in (("Evaluate", ".plot-row"), ("Model", ".model-card")):
        page.get_by_role("tab", name=name, exact=True).click()
        until(lambda at=shown: seen(page, at).count())
        assert broken(page) == [], name


def test_an_explanation_can_be_read(new_page: Any, address: str, broken: Broken) -> None:
    page = new_page(address)
    ask(page, "The train leaves.")
    until(lambda: status(page) == "Done")
    seen(page, "button.why").click()
    seen(page, ".picker").wait_for()
    seen(page, "button.run").click()
    until(lambda: status(page) == "Done" and seen(page, ".trust").count(), timeout_s=60)
    assert broken(page) == []
