"""The page against the rules of WCAG 2.2 AA and axe's best practices, with answers on it, by axe-core."""

import re
from typing import Any

import pytest

from tests.browser.conftest import Broken
from tests.browser.test_page import ask, open_tab, seen, status, until

pytestmark = pytest.mark.browser


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
