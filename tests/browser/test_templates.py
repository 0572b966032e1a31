"""Prompt templates in Chromium: the exact prompt under an answer, and the choice of a template for an adapter of others."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Broken, served
from tests.browser.test_page import ask, open_tab, seen, status, until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def undeclared(chromium: Any) -> Iterator[str]:
    """The address of a page whose adapter says nothing of how it was trained."""
    with served("--delay", "0.05", "--undeclared") as url:
        yield url


def test_the_exact_prompt_stands_under_an_answer(page: Any) -> None:
    open_tab(page, "Translate")
    ask(page, "The <b>train</b> leaves.")
    until(lambda: status(page) == "Done")
    seen(page, "button:has-text('Receipt')").click()
    until(lambda: seen(page, "pre.prompt").count() == 1)
    prompt = seen(page, "pre.prompt")
    asked = "Instruct: Translate the following text from English to German.\nThe <b>train</b> leaves.\nOutput:"
    assert prompt.text_content() == asked
    assert prompt.locator(".text").text_content() == "The <b>train</b> leaves."
    assert "Prompt template: Instruct/Output, Phi-2's own." in seen(page, ".details").inner_text()


def test_a_template_is_chosen_by_what_it_answers(
    new_page: Any, undeclared: str, broken: Broken, tmp_path: Path
) -> None:
    page = new_page(undeclared)
    seen(page, "a:has-text('Try the others')").click()
    text = page.locator("#prompt-templates textarea")
    until(lambda: text.is_visible() and text.evaluate("(box) => box === document.activeElement"))
    text.fill("Name <it> and say why it is so wide and so deep and so blue today.")
    seen(page, "#prompt-templates button.run").click()
    cards = seen(page, "#prompt-templates .trial")
    until(lambda: cards.count() == 4)
    page.keyboard.press("Escape")
    until(lambda: status(page) == "Stopped")
    seen(page, "#prompt-templates button.run").click()
    until(lambda: status(page).startswith("Done"))
    assert [head.split("\n")[0] for head in cards.locator("h3").all_inner_texts()] == [
        "Instruct/Output in force now", "Alpaca", "ChatML", "Plain text",
    ]  # fmt: skip
    assert all("Name <it>" in prompt for prompt in cards.locator("pre.prompt .text").all_inner_texts())
    assert not broken(page)
    with page.expect_download() as download:
        cards.nth(1).locator("button").click()
    download.value.save_as(tmp_path / "tasks.json")
    assert json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8")) == {"template": "alpaca"}
    until(lambda: "--template alpaca" in seen(page, "#prompt-templates .code").inner_text())
    page.set_viewport_size({"width": 360, "height": 800})
    until(lambda: page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_an_adapter_that_says_how_it_was_trained_gets_no_choice(page: Any) -> None:
    assert seen(page, "a:has-text('Try the others')").count() == 0
    assert page.locator("#prompt-templates").count() == 0
