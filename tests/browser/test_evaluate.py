"""What a person does to see how good the model is, in a real browser."""

import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phi2demo.evaluation.reports import REPORTS_FOLDER
from tests.browser.conftest import Broken, served
from tests.browser.test_page import STOP_S, TURN_S, ask, open_tab, seen, status, until
from tests.servers import Server, serving

pytestmark = pytest.mark.browser

EVIL = '<script>window.hacked=1</script> <img src=x onerror="window.hacked=1"> 👩‍🚀 e\u0301 Straße'
GOOD = [
    {"source": "Where is the station?", "target": "Wo ist der Bahnhof?"},
    {"source": EVIL, "target": EVIL},
    {"source": "I am tired.", "target": "Ich bin müde."},
]
BAD = "source,target\nGood morning.,Guten Morgen.\nWhere is it?\n"


@pytest.fixture(scope="module")
def product(chromium: Any) -> Iterator[Server]:
    with serving(["app.py"]) as server:
        yield server


@pytest.fixture(scope="module")
def slow_address(chromium: Any) -> Iterator[str]:
    with served("--delay", "0.3") as url:
        yield url


@pytest.fixture(scope="module")
def address(chromium: Any) -> Iterator[str]:
    with served("--delay", "0.01") as url:
        yield url


def open_evaluate(page: Any, source: str) -> None:
    page.get_by_role("tab", name="Evaluate", exact=True).click()
    seen(page, ".plot-row").first.wait_for()
    if source != "A report":
        seen(page, f"label:has-text('{source}')").click()
        seen(page, "button.run").wait_for()


def run(page: Any) -> None:
    seen(page, "button.run").click()


def download(page: Any, button: str) -> tuple[str, bytes]:
    with page.expect_download() as started:
        seen(page, f"button:has-text('{button}')").click()
    return started.value.suggested_filename, Path(started.value.path()).read_bytes()


def wide(page: Any) -> int:
    return int(page.evaluate("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"))


@pytest.mark.slow
def test_on_the_real_app_a_report_a_live_run_and_stop(new_page: Any, product: Server) -> None:
    page = new_page(product.url, ready=False)
    page.wait_for_selector(".loading:empty", state="attached", timeout=60_000)
    open_evaluate(page, "A report")
    until(lambda: "of the loaded weights" in seen(page, ".answers .note").first.inner_text())
    shown = json.loads((REPORTS_FOLDER / "set_report" / "report.json").read_text(encoding="utf-8"))
    assert seen(page, ".plot-row[class='plot-row']").count() == len(shown["test_sets"])
    assert "Finetuned against base" in seen(page, ".figures h2").first.inner_text()

    seen(page, "label:has-text('Run now')").click()
    seen(page, "input[type=number]").first.fill("6")
    seen(page, "input[type=number]").first.press("Tab")
    until(lambda: "12 answers, " in seen(page, ".estimate .note").first.inner_text(), timeout_s=60)
    run(page)
    until(lambda: seen(page, ".status progress").count(), timeout_s=60)
    until(lambda: status(page).startswith("Done"), timeout_s=120)
    assert "6 items" in seen(page, ".answers .facts").first.inner_text()
    assert seen(page, ".card").count() >= 1
    name, packed = download(page, "Download all")
    assert name == "evaluation.zip"
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        report = json.loads(archive.read("report.json"))
        answers = archive.read("answers.jsonl").decode().splitlines()
    assert sum(test_set["n"] for test_set in report["test_sets"]) == len(answers) == 6

    seen(page, "input[type=number]").first.fill("100")
    seen(page, "input[type=number]").first.press("Tab")
    run(page)
    until(lambda: seen(page, "h2:has-text('So far')").count(), timeout_s=60)
    seen(page, "button.stop").click()
    assert until(lambda: status(page).startswith("Stopped after")) < STOP_S
    until(lambda: seen(page, ".plot-row").count() >= 2)


def test_own_pairs_bad_and_good(page: Any, tmp_path: Path) -> None:
    open_evaluate(page, "Your own pairs")
    box = seen(page, ".own-pairs textarea")
    name, template = download(page, "CSV template")
    assert name == "pairs.csv"
    assert template.startswith(b"source,target\n")
    box.fill(BAD)
    run(page)
    until(lambda: "Line 3: 1 columns instead of 2" in status(page))
    assert box.input_value() == BAD
    path = tmp_path / "good.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in GOOD), encoding="utf-8")
    seen(page, ".ask").locator("input[type=file]").last.set_input_files(path)
    until(lambda: "Where is the station?" in box.input_value())
    run(page)
    until(lambda: status(page).startswith("Done"), timeout_s=30)
    assert "English to German, own" in seen(page, ".plot-row .name").first.inner_text()
    assert seen(page, ".card").count() == 3
    seen(page, "label:has-text('Best')").click()
    until(lambda: "<script>window.hacked=1</script> <img" in seen(page, ".card dd").first.inner_text())
    assert page.evaluate("window.hacked") is None
    assert page.locator(".evaluate .card img, .evaluate .card script").count() == 0
    name, answers = download(page, "Download answers")
    assert (name, len(answers.decode().splitlines())) == ("answers.jsonl", 3)
    _, table = download(page, "Download table")
    assert table.startswith(b"test_set,")
    assert json.loads(download(page, "Download report")[1])["settings"]["live"] is True


def test_the_report_box_can_be_worked_by_keyboard(new_page: Any, chromium: Any) -> None:
    with serving(["-m", "tests.browser.serve", "--delay", "0.01"]) as server:
        page = new_page(server.url)
        open_evaluate(page, "A report")
        box = seen(page, ".task-choice input")
        title = box.input_value()
        for keys in (
            ("x", "Enter"),
            ("Control+a", "Delete", "Escape"),
            ("Control+a", "Delete", "Tab"),
            ("ArrowDown", "Enter"),
        ):
            box.focus()
            for key in keys:
                box.press(key)
            time.sleep(0.5)
        assert box.input_value() not in ("", title)
        assert "Traceback" not in server.log.read_text(encoding="utf-8")


def test_stop_and_another_visitor(new_page: Any, slow_address: str) -> None:
    first, second = new_page(slow_address), new_page(slow_address)
    open_evaluate(first, "Your own pairs")
    seen(first, ".own-pairs textarea").fill("source,target\n" + "one two three four,a b c d\n" * 20)
    run(first)
    until(lambda: seen(first, ".status progress").count())
    until(lambda: seen(first, "h2:has-text('So far')").count(), timeout_s=30)
    seen(first, "button.stop").click()
    assert until(lambda: status(first).startswith("Stopped after")) < STOP_S
    until(lambda: seen(first, ".card").count() >= 4)
    run(first)
    until(lambda: seen(first, ".status progress").count())
    first.close()
    ask(second, "next")
    assert until(lambda: status(second) == "Done") < TURN_S


@pytest.mark.parametrize(("width", "dark"), [(360, False), (800, True), (1280, False)])
def test_it_fits_and_can_be_read(new_page: Any, address: str, broken: Broken, width: int, dark: bool) -> None:
    theme = "?__theme=dark" if dark else "?__theme=light"
    page = new_page(address + theme, width=width, height=800, dark=dark)
    open_evaluate(page, "Your own pairs")
    rows = "".join(f"{'word' * 30} {at},{'Wort' * 30} {at}\n" for at in range(3))
    seen(page, ".own-pairs textarea").fill(f"source,target\n{rows}")
    run(page)
    until(lambda: status(page).startswith("Done"), timeout_s=30)
    page.mouse.move(0, 0)
    time.sleep(0.5)
    assert wide(page) <= 0
    assert broken(page) == []


def test_at_360_pixels_tables_are_stacks_that_tell_what_their_figures_are(new_page: Any, address: str) -> None:
    page = new_page(address, width=360, height=800)
    page.get_by_role("tab", name="Evaluate", exact=True).click()
    seen(page, ".slices td").first.wait_for()
    tables = seen(page, ".stacks")
    assert tables.count() >= 1
    for at in range(tables.count()):
        tables.nth(at).scroll_into_view_if_needed()
        assert tables.nth(at).evaluate("(box) => box.scrollWidth <= box.clientWidth")
    assert wide(page) <= 0


def test_a_bare_base_has_one_column(new_page: Any) -> None:
    with served("--bare", "--delay", "0.01") as url:
        page = new_page(url)
        open_tab(page, "Ask")
        open_evaluate(page, "Your own pairs")
        seen(page, ".own-pairs textarea").fill("source,target\na b c d,e f g h\n")
        run(page)
        until(lambda: status(page).startswith("Done"), timeout_s=30)
        assert seen(page, "th:has-text('Difference')").count() == 0
        assert "Scores by test set" in seen(page, ".figures h2").first.inner_text()
