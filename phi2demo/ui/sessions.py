"""The requests that wait or run, by page and tab, so that Stop and a closed page reach them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class _Asked:
    cancel: threading.Event = field(default_factory=threading.Event)
    runs: bool = False
    """Else it waits for its turn."""

    @property
    def is_over(self) -> bool:
        """Return whether it was stopped while it waited, so that it will never run."""
        return self.cancel.is_set() and not self.runs


class Sessions:
    """Requests by (page, tab). An entry lives from the click on Run until the request has ended."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], _Asked] = {}
        self._lock = threading.Lock()

    def begin(self, page: str, tab: str) -> bool:
        """Announce a request; False where one of this tab waits or runs already."""
        with self._lock:
            present = self._asked.get((page, tab))
            if present is not None and not present.cancel.is_set():
                return False
            self._asked[page, tab] = _Asked()
            return True

    @contextmanager
    def running(self, page: str, tab: str) -> Iterator[threading.Event]:
        """Give the cancel event of a request while it runs; it is set already where the request was stopped while it waited."""
        with self._lock:
            asked = self._asked.setdefault((page, tab), _Asked())
            asked.runs = True
        try:
            yield asked.cancel
        finally:
            asked.cancel.set()
            with self._lock:
                if self._asked.get((page, tab)) is asked:
                    del self._asked[page, tab]

    def leave(self, page: str, tab: str) -> bool:
        """Stop what waits in a tab; False where nothing waits."""
        with self._lock:
            asked = self._asked.get((page, tab))
            if asked is None or asked.runs or asked.is_over:
                return False
            asked.cancel.set()
            return True

    def stop(self, page: str, tab: str) -> bool:
        """Stop what waits or runs in a tab; False where nothing does."""
        with self._lock:
            asked = self._asked.get((page, tab))
            if asked is None or asked.is_over:
                return False
            asked.cancel.set()
            return True

    def present(self, page: str, tab: str) -> bool:
        """Return whether a request of this tab waits, runs or is ending; False once it was dropped."""
        with self._lock:
            asked = self._asked.get((page, tab))
            return asked is not None and not asked.is_over

    def drop(self, page: str, tab: str) -> bool:
        """Stop and forget a request; True where it was stopped while it waited."""
        with self._lock:
            asked = self._asked.pop((page, tab), None)
            if asked is None:
                return False
            was_over = asked.is_over
            asked.cancel.set()
            return was_over

    def close(self, page: str) -> None:
        """Stop and forget everything of a page that was closed."""
        with self._lock:
            keys = [key for key in self._asked if key[0] == page]
        for _, tab in keys:
            self.drop(page, tab)

    def __len__(self) -> int:
        return len(self._asked)
