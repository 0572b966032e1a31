"""A real Chromium on a real server; skipped, with the reason, where there is none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.servers import serving

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
def address(chromium: Any) -> Iterator[str]:
    with served("--delay", "0.1") as url:
        yield url


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
