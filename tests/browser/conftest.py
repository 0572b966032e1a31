"""A real Chromium on a real server; skipped, with the reason, where there is none."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.servers import serving

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RULES = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
Broken = Callable[[Any], list[str]]


@contextmanager
def served(*arguments: str) -> Iterator[str]:
    """The address of a page over the scripted engine, in a process of its own."""
    with serving(["-m", "tests.browser.serve", *arguments]) as server:
        yield server.url


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def address(chromium: Any) -> Iterator[str]:
    with served("--delay", "0.1") as url:
        yield url


@pytest.fixture
def new_page(chromium: Any) -> Iterator[Any]:
    """Open a page; `script errors` fail the test that caused them."""
    contexts, errors = [], []

    def open_page(url: str, *, width: int = 1280, height: int = 900, dark: bool = False, ready: bool = True) -> Any:
        scheme = "dark" if dark else "light"
        contexts.append(chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.wait_for_selector("button.run")
        if ready:
            page.wait_for_selector(".loading:empty", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture
def page(new_page: Any, address: str) -> Any:
    return new_page(address)


@pytest.fixture(scope="session")
def broken() -> Broken:
    """Rules that the page breaks, and where."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing").Axe()

    def run(page: Any) -> list[str]:
        found = axe.run(page, options=RULES).response["violations"]
        return [f"{each['id']}: {node['target']} {node['html'][:120]}" for each in found for node in each["nodes"]]

    return run
