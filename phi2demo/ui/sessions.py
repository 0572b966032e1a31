"""Which requests wait or run, by page and tab, so that Stop and a closed page reach them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Sessions:
    """Cancel events by (page, tab). An entry lives from the click on Run until the request has ended."""

    def __init__(self) -> None:
        self._events: dict[tuple[str, str], threading.Event] = {}
        self._lock = threading.Lock()

    def begin(self, page: str, tab: str) -> bool:
        """Announce a request; False where one of this tab waits or runs already."""
        with self._lock:
            present = self._events.get((page, tab))
            if present is not None and not present.is_set():
                return False
            self._events[page, tab] = threading.Event()
            return True

    @contextmanager
    def running(self, page: str, tab: str) -> Iterator[threading.Event]:
        """The event of a request while it runs; set from the start where it was stopped while it waited."""
        with self._lock:
            event = self._events.setdefault((page, tab), threading.Event())
        try:
            yield event
        finally:
            event.set()
            with self._lock:
                if self._events.get((page, tab)) is event:
                    del self._events[page, tab]

    def stop(self, page: str, tab: str) -> bool:
        """Stop what waits or runs in a tab; False where nothing does."""
        with self._lock:
            event = self._events.get((page, tab))
        if event is None:
            return False
        event.set()
        return True

    def present(self, page: str, tab: str) -> bool:
        """Whether something of this tab waits or runs, or ends because it was stopped; not what was dropped."""
        with self._lock:
            return (page, tab) in self._events

    def drop(self, page: str, tab: str) -> None:
        """Stop and forget a request that never got its turn."""
        with self._lock:
            event = self._events.pop((page, tab), None)
        if event is not None:
            event.set()

    def close(self, page: str) -> None:
        """Stop and forget everything of a page that was closed."""
        with self._lock:
            keys = [key for key in self._events if key[0] == page]
        for _, tab in keys:
            self.drop(page, tab)

    def __len__(self) -> int:
        return len(self._events)
