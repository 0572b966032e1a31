"""What a person does on the page, in a real browser."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import served

pytestmark = pytest.mark.browser

TABS = ("Generate", "Summarize", "Translate", "Sentiment", "Ask")
LONG = " ".join(f"word{at}" for at in range(60))
ALONE = "PYTEST_XDIST_WORKER" not in os.environ
STOP_S = 1.0 if ALONE else 3.0
"""A run stops within a second; three where other tests run beside this one on the same two cores."""
TURN_S = 8.0 if ALONE else 12.0
"""The same for the turn of another visitor: the run before it would take more than 20 seconds."""


def seen(page: Any, selector: str) -> Any:
    """The element of this selector on the tab that is open."""
    return page.locator(f"{selector} >> visible=true")


def open_tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()
    page.wait_for_function(f"document.querySelector('[role=tab][aria-selected=true]').textContent.includes('{name}')")
    seen(page, "button.run").wait_for()


def ask(page: Any, text: str) -> None:
    seen(page, ".input-text textarea").fill(text)
    seen(page, "button.run").click()


def answer(page: Any, at: int = 0) -> str:
    return str(seen(page, ".output-text textarea").nth(at).input_value())


def status(page: Any) -> str:
    return str(seen(page, ".status").first.inner_text())


def until(condition: Callable[[], object], timeout_s: float = 15.0) -> float:
    """Wait for a condition; gives the seconds that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, "it did not happen in time"
        time.sleep(0.03)
    return time.monotonic() - started


def test_text_streams_and_comes_with_facts_and_a_receipt(page: Any) -> None:
    ask(page, LONG)
    until(lambda: "word3" in answer(page))
    assert "word59" not in answer(page)
    assert "tokens" in status(page)
    until(lambda: status(page) == "Done")
    assert answer(page).endswith("word59")
    assert "tokens/s" in seen(page, ".facts").inner_text()
    seen(page, ".details > button").click()
    with page.expect_download() as started:
        seen(page, "button:has-text('Download receipt')").click()
    receipt = json.loads(Path(started.value.path()).read_text(encoding="utf-8"))
    assert receipt["text"] == LONG
    assert receipt["output"] == answer(page)
    with page.expect_download() as started:
        seen(page, "button:has-text('Download text')").click()
    assert Path(started.value.path()).read_text(encoding="utf-8") == answer(page)


def test_a_receipt_replays_to_the_same_text(page: Any) -> None:
    ask(page, "A short text.")
    until(lambda: status(page) == "Done")
    seen(page, ".details > button").click()
    seen(page, "button:has-text('Replay')").click()
    until(lambda: "The same text again" in seen(page, ".replayed").first.inner_text())


def test_a_replay_waits_for_its_turn_and_can_be_stopped_there(new_page: Any, address: str) -> None:
    first, second = new_page(address), new_page(address)
    ask(second, "A short text.")
    until(lambda: status(second) == "Done")
    ask(first, LONG)
    until(lambda: "word3" in answer(first))
    seen(second, ".details > button").click()
    seen(second, "button:has-text('Replay')").click()
    replayed = seen(second, ".replayed").first
    until(lambda: "Waiting for its turn" in replayed.inner_text())
    seen(second, "button.stop").click()
    assert until(lambda: "Stopped before it began" in status(second)) < STOP_S
    until(lambda: seen(second, "button.run").is_enabled())
    until(lambda: "Stopped before it began" in replayed.inner_text())
    seen(first, "button.stop").click()
    until(lambda: "Stopped" in status(first))


def test_stop_ends_it_within_a_second_and_keeps_the_part(page: Any) -> None:
    ask(page, LONG)
    until(lambda: "word2" in answer(page))
    seen(page, "button.stop").click()
    assert until(lambda: status(page) == "Stopped") < STOP_S
    assert "Stopped before it was complete." in seen(page, ".notes").inner_text()
    assert "word2" in answer(page)
    assert seen(page, "button.stop").is_disabled()


def test_ctrl_enter_runs_and_escape_stops(page: Any) -> None:
    seen(page, ".input-text textarea").fill(LONG)
    page.keyboard.press("Control+Enter")
    until(lambda: "word2" in answer(page))
    page.keyboard.press("Escape")
    assert until(lambda: status(page) == "Stopped") < STOP_S


def test_side_by_side_shows_both(page: Any) -> None:
    assert seen(page, ".output-text").count() == 1
    seen(page, "label:has-text('Side by side')").click()
    until(lambda: seen(page, ".output-text").count() == 2)
    ask(page, "A short text.")
    until(lambda: status(page) == "Done")
    assert answer(page, 0).startswith("finetuned")
    assert answer(page, 1).startswith("base")
    assert seen(page, ".facts").all_inner_texts()[1].endswith("asked as plain text")
    seen(page, ".choice span:text-is('Base')").click()
    until(lambda: seen(page, ".output-text").count() == 1)


def test_how_the_base_is_asked_is_chosen_and_carried_to_why(page: Any) -> None:
    open_tab(page, "Translate")
    assert seen(page, ".choice:has-text('Base prompt')").count() == 0
    seen(page, "label:has-text('Side by side')").click()
    seen(page, ".options button:has-text('Options')").click()
    seen(page, ".choice:has-text('Base prompt') label:has-text('As plain text')").click()
    ask(page, "The train leaves.")
    until(lambda: status(page) == "Done")
    facts = seen(page, ".facts").all_inner_texts()
    assert [text.endswith("asked as plain text") for text in facts] == [False, True]
    seen(page, "button:has-text('Why these words?')").nth(1).click()
    chosen = ".choice:has-text('Base prompt') label:has-text('As plain text') input:checked"
    until(lambda: page.get_by_role("tab", name="Explain", exact=True).get_attribute("aria-selected") == "true")
    seen(page, ".explain .options button:has-text('Options')").click()
    until(lambda: page.locator(f".explain {chosen}").count() == 1)


def test_swap_turns_the_languages_and_takes_the_answer_along(page: Any) -> None:
    open_tab(page, "Translate")

    def languages() -> list[str]:
        return [box.input_value() for box in seen(page, ".languages input").all()]

    assert languages() == ["English", "German"]
    ask(page, "The train leaves.")
    until(lambda: status(page) == "Done")
    translated = answer(page)
    seen(page, "button.swap").click()
    until(lambda: languages() == ["German", "English"])
    until(lambda: seen(page, ".input-text textarea").input_value() == translated)
    seen(page, "button.swap").click()
    until(lambda: languages() == ["English", "German"])
    until(lambda: seen(page, ".input-text textarea").input_value() == "The train leaves.")


def test_a_file_fills_the_input_and_a_bad_one_says_why(page: Any, tmp_path: Path) -> None:
    open_tab(page, "Summarize")
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("A text from a file.", encoding="utf-8")
    bad.write_bytes(b"\x89PNG\r\n\x1a\n")
    chooser = seen(page, ".ask").locator("input[type=file]")
    chooser.set_input_files(good)
    until(lambda: seen(page, ".input-text textarea").input_value() == "A text from a file.")
    chooser.set_input_files(bad)
    until(lambda: "PNG image" in status(page))
    assert seen(page, ".input-text textarea").input_value() == "A text from a file."


def test_an_error_is_said_in_the_page_and_keeps_the_text(page: Any) -> None:
    ask(page, "please explode now")
    until(lambda: "Something went wrong" in status(page))
    assert seen(page, ".input-text textarea").input_value() == "please explode now"
    ask(page, "   ")
    until(lambda: "The text is empty" in status(page))
    ask(page, "fine again")
    until(lambda: status(page) == "Done")


def test_text_is_kept_when_tabs_change(page: Any) -> None:
    seen(page, ".input-text textarea").fill("kept")
    open_tab(page, "Ask")
    open_tab(page, "Generate")
    assert seen(page, ".input-text textarea").input_value() == "kept"


def test_what_was_typed_and_the_open_tab_outlive_a_reload(page: Any) -> None:
    seen(page, ".input-text textarea").fill("kept")
    open_tab(page, "Ask")
    seen(page, ".input-text textarea").fill("The train leaves.")
    page.get_by_label("Your question").fill("When?")
    page.reload()
    until(lambda: seen(page, ".input-text textarea").count() == 1)
    until(lambda: seen(page, ".input-text textarea").input_value() == "The train leaves.")
    until(lambda: page.get_by_label("Your question").input_value() == "When?")
    seen(page, "button.run").click()
    until(lambda: status(page) == "Done")
    assert "The train leaves." in answer(page)
    open_tab(page, "Generate")
    until(lambda: seen(page, ".input-text textarea").input_value() == "kept")


def test_an_answer_brought_to_explain_is_not_mixed_with_what_was_kept(page: Any) -> None:
    open_tab(page, "Explain")
    seen(page, ".input-text textarea").fill("An older text.")
    page.get_by_label("Contrast").fill("An older answer.")
    open_tab(page, "Generate")
    page.reload()
    ask(page, "A short text.")
    until(lambda: status(page) == "Done")
    seen(page, "button.why").click()
    seen(page, ".picker").wait_for()
    page.wait_for_timeout(1000)  # what was kept is put back a moment after its box is there
    assert seen(page, ".input-text textarea").input_value() == "A short text."
    assert page.get_by_label("Contrast").input_value() == ""


def test_an_example_fills_the_tab_and_runs(page: Any) -> None:
    open_tab(page, "Ask")
    seen(page, ".examples button").first.click()
    until(lambda: status(page) == "Done")
    assert seen(page, ".input-text textarea").input_value()
    assert answer(page)


def test_nothing_else_is_asked_while_a_tab_runs(page: Any) -> None:
    ask(page, LONG)
    until(lambda: "word2" in answer(page))
    assert seen(page, "button.run").is_disabled()
    seen(page, ".examples button").first.dispatch_event("click")
    seen(page, ".input-text textarea").press("Control+Enter")
    page.wait_for_timeout(500)
    assert seen(page, ".input-text textarea").input_value() == LONG
    seen(page, "button.stop").click()
    until(lambda: status(page) == "Stopped")
    page.wait_for_timeout(1000)
    assert status(page) == "Stopped", "nothing starts by itself"
    assert seen(page, "button.stop").is_disabled()
    seen(page, ".examples button").first.click()
    until(lambda: seen(page, "button.stop").is_enabled() and seen(page, "button.run").is_disabled())
    until(lambda: status(page) == "Done")
    assert seen(page, "button.run").is_enabled()


def test_a_label_shows_its_probabilities(page: Any) -> None:
    open_tab(page, "Sentiment")
    ask(page, "a great film")
    until(lambda: status(page) == "Done")
    assert answer(page) == "positive"
    assert "90.9%" in seen(page, ".bars").inner_text()


def test_what_a_model_says_is_text_and_never_markup(page: Any) -> None:
    evil = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    ask(page, evil)
    until(lambda: status(page) == "Done")
    seen(page, ".details > button").click()
    assert evil in answer(page)
    assert page.evaluate("window.hacked") is None


def test_two_people_wait_for_each_other(new_page: Any, address: str) -> None:
    first, second = new_page(address), new_page(address)
    ask(first, LONG)
    until(lambda: "word2" in answer(first))
    ask(second, "a second person's text")
    until(lambda: status(second) == "Waiting for its turn")
    assert answer(second) == ""
    assert not seen(second, ":not(.hide) > .progress-text").count(), "the time that Gradio tells is another one"
    seen(second, "button.stop").click()
    assert until(lambda: "Stopped before it began" in status(second)) < STOP_S
    until(lambda: seen(second, "button.run").is_enabled() and seen(second, "button.stop").is_disabled())
    assert "Stopped before it began" in status(second)
    ask(second, "another text")
    until(lambda: status(second) == "Waiting for its turn")
    seen(first, "button.stop").click()
    until(lambda: status(second) == "Done")
    assert answer(second).endswith("another text")


def test_a_closed_page_frees_the_model(new_page: Any, address: str) -> None:
    first, second = new_page(address), new_page(address)
    ask(first, " ".join([LONG] * 4))
    until(lambda: "word2" in answer(first))
    first.close()
    ask(second, "next")
    assert until(lambda: status(second) == "Done") < TURN_S


def test_the_limits_are_one_click_from_an_answer(page: Any) -> None:
    ask(page, "A short text.")
    until(lambda: status(page) == "Done")
    assert not page.locator("#limits ul").is_visible()
    seen(page, "a[href='#limits']").click()
    until(lambda: page.locator("#limits ul").is_visible())
    assert "It may carry bias" in page.locator("#limits ul").inner_text()


def test_the_page_is_there_before_the_weights(new_page: Any) -> None:
    with served("--loading", "15") as url:
        page = new_page(url, ready=False)
        assert "Loading the weights" in page.locator(".loading").inner_text()
        ask(page, "A short text.")
        until(lambda: "still loading" in status(page))
        until(lambda: status(page) == "Done", timeout_s=30)
        until(lambda: "LoRA rank 16" in page.locator(".chips").inner_text())
        assert page.locator(".loading:empty").count() == 1


def test_a_failed_loading_says_why(new_page: Any) -> None:
    with served("--fails") as url:
        page = new_page(url, ready=False)
        until(lambda: "is damaged" in page.locator(".loading").inner_text())
        ask(page, "A short text.")
        until(lambda: "is damaged" in status(page))


def test_a_bare_base_has_no_switch(new_page: Any) -> None:
    with served("--bare") as url:
        page = new_page(url)
        assert "base only" in page.locator(".chips").inner_text()
        assert page.locator("label:has-text('Side by side')").count() == 0
        assert page.get_by_role("tab", name="Compare", exact=True).count() == 0
        ask(page, "A short text.")
        until(lambda: status(page) == "Done")
        assert answer(page).startswith("base")


def test_a_full_queue_says_so(new_page: Any) -> None:
    with served("--queue-size", "1", "--delay", "0.2") as url:
        pages = [new_page(url) for _ in range(3)]
        for page in pages:
            ask(page, LONG)
            time.sleep(0.7)
        until(lambda: "too many are waiting" in status(pages[-1]))
        assert seen(pages[-1], ".input-text textarea").input_value() == LONG


def test_the_counter_follows_the_text_and_what_is_kept_for_the_output(page: Any) -> None:
    def counted() -> str:
        return str(seen(page, ".counter").inner_text())

    seen(page, ".input-text textarea").fill("word " * 700)
    until(lambda: "too long" not in counted() and "700 of" in counted())
    seen(page, ".options > button").click()
    seen(page, "label:has-text('Maximum new tokens') input").fill("400")
    until(lambda: "too long" in counted())


@pytest.mark.parametrize("width", [360, 390, 800])
@pytest.mark.parametrize("tab", TABS)
def test_nothing_scrolls_sideways(new_page: Any, address: str, width: int, tab: str) -> None:
    page = new_page(address, width=width, height=800)
    open_tab(page, tab)
    if tab in ("Generate", "Translate"):
        seen(page, ".options > button").click()
        page.locator("#limits summary").click()
    seen(page, "label:has-text('Side by side')").click()
    seen(page, ".examples button").first.click()
    until(lambda: status(page) == "Done")
    page.wait_for_timeout(200)
    wide = page.evaluate("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth")
    assert wide <= 0
