import threading
import time

import pytest

from phi2demo.engine.engine import Engine
from phi2demo.engine.loader import EngineLoader
from phi2demo.errors import ModelError, NotReadyError
from tests.tasks.scripted import ScriptedEngine


def test_the_engine_is_there_once_it_is_loaded() -> None:
    go, engine = threading.Event(), ScriptedEngine()

    def load() -> Engine:
        go.wait(5)
        return engine

    loader = EngineLoader(load).start()
    assert loader.status.state == "loading"
    with pytest.raises(NotReadyError, match=r"still loading \(0 s so far\)"):
        loader.engine()
    go.set()
    assert loader.engine(timeout_s=5) is engine
    assert loader.status.state == "ready"
    assert loader.engine() is engine


def test_seconds_go_on_while_loading_and_stand_still_afterwards() -> None:
    go = threading.Event()
    loader = EngineLoader(lambda: go.wait(5) and ScriptedEngine()).start()  # type: ignore[arg-type,return-value]
    first = loader.status.seconds
    time.sleep(0.05)
    assert loader.status.seconds >= first + 0.04
    go.set()
    loader.engine(timeout_s=5)
    ended = loader.status.seconds
    time.sleep(0.02)
    assert loader.status.seconds == ended


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModelError("The base is damaged."), "The base is damaged."),
        (MemoryError("no room"), "The model could not be loaded (MemoryError: no room). The log of the app says more."),
    ],
)
def test_a_failure_reaches_everyone_who_asks(error: Exception, message: str) -> None:
    def load() -> Engine:
        raise error

    loader = EngineLoader(load).start()
    for _ in range(2):
        with pytest.raises(ModelError) as told:
            loader.engine(timeout_s=5)
        assert not isinstance(told.value, NotReadyError)
        assert str(told.value) == message
        assert told.value.__cause__ is error
    assert (loader.status.state, loader.status.message) == ("failed", message)


def test_loading_happens_once_for_many() -> None:
    calls: list[int] = []

    def load() -> Engine:
        calls.append(1)
        time.sleep(0.05)
        return ScriptedEngine()

    loader = EngineLoader(load).start()
    engines: list[Engine] = []
    threads = [threading.Thread(target=lambda: engines.append(loader.engine(timeout_s=5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert calls == [1]
    assert len(engines) == 8
    assert len(set(map(id, engines))) == 1
