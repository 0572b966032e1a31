"""An engine in a process of its own answers as one in this process, and its end is told."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.engine.engine import END_OF_TEXT, Prompt, special, visible
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.planning import plan
from phi2demo.engine.process import ProcessEngine, load_engine
from phi2demo.errors import InputError, ModelError, SettingsError, StoppedError
from phi2demo.settings import ModelSettings
from tests.engine.test_local import GREEDY, LONG, TEXTS, last, texts

CHAT = "{% for message in messages %}<|im_start|>{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"


@pytest.fixture(scope="module")
def folder(tiny_adapter: Path) -> Path:
    return tiny_adapter


@pytest.fixture(scope="module")
def here(folder: Path) -> LocalEngine:
    return LocalEngine.load(plan(ModelSettings(adapter=str(folder), device="cpu")))


@pytest.fixture(scope="module")
def apart(folder: Path) -> Iterator[ProcessEngine]:
    engine = ProcessEngine(plan(ModelSettings(adapter=str(folder), device="cpu")))
    yield engine
    engine.close()


def test_it_answers_as_an_engine_in_this_process(here: LocalEngine, apart: ProcessEngine) -> None:
    assert apart.info == here.info
    rows = [Prompt(text, variant) for text in TEXTS for variant in ("finetuned", "base")]
    for options in (GREEDY, replace(GREEDY, num_beams=3), replace(GREEDY, temperature=1.0)):
        ours = last(apart.stream(rows, options)).completions or ()
        expected = last(here.stream(rows, options)).completions or ()
        assert [replace(row, seconds=None) for row in ours] == [replace(row, seconds=None) for row in expected]
    assert apart.score(rows, [" a"] * 6, adapter_strength=0.5) == here.score(rows, [" a"] * 6, adapter_strength=0.5)
    apart.forget()
    assert apart.count_tokens(TEXTS[0]) == here.count_tokens(TEXTS[0])
    assert apart.tokens(TEXTS[0]) == here.tokens(TEXTS[0])
    assert apart.tokens((5, 6)) == here.tokens((5, 6))


def test_a_marked_special_token_stays_one_and_a_typed_one_does_not(here: LocalEngine, apart: ProcessEngine) -> None:
    marked, typed = f"{TEXTS[0]}{special(END_OF_TEXT)}", f"{TEXTS[0]}{END_OF_TEXT}"
    for text in (marked, typed):
        assert apart.score([Prompt(text)], [" a"]) == here.score([Prompt(text)], [" a"])
    assert apart.score([Prompt(marked)], [" a"]) != apart.score([Prompt(typed)], [" a"])


def test_the_chat_template_is_marked_as_here(base: Path) -> None:
    config = base / "tokenizer_config.json"
    config.write_text(
        json.dumps(json.loads(config.read_text(encoding="utf-8")) | {"chat_template": CHAT}), encoding="utf-8"
    )
    settings = ModelSettings(model=str(base), device="cpu")
    engine = ProcessEngine(plan(settings))
    try:
        here = LocalEngine.load(plan(settings)).info
        assert engine.info.chat == here.chat
        assert here.chat is not None
        assert "user: {prompt}" in visible(here.chat.text)
    finally:
        engine.close()


def test_errors_of_the_engine_arrive(apart: ProcessEngine) -> None:
    with pytest.raises(InputError, match="text is empty"):
        apart.score([Prompt("")], [" a"])
    with pytest.raises(SettingsError, match="no adapter 'other'"):
        last(apart.stream([Prompt(TEXTS[0], "other")], GREEDY))


def test_stop_and_closing_end_a_run(apart: ProcessEngine) -> None:
    cancel = threading.Event()
    rows = [Prompt(text, seed=seed) for seed, text in enumerate(TEXTS * 8)]
    sampled = replace(LONG, temperature=2.0)
    stream = apart.stream(rows, sampled, cancel=cancel)
    next(stream)
    cancel.set()
    started = time.monotonic()
    assert "stopped" in {completion.stop_reason for completion in last(stream).completions or ()}
    assert time.monotonic() - started < 1.5
    stream = apart.stream(rows, sampled)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    started = time.monotonic()
    assert texts(apart, [Prompt(TEXTS[0])], GREEDY)  # type: ignore[arg-type]
    assert time.monotonic() - started < 2
    with pytest.raises(StoppedError):
        apart.score(rows * 20, [" a reads"] * len(rows) * 20, cancel=cancel)


def test_two_requests_at_once_get_their_own_answers(apart: ProcessEngine) -> None:
    alone = [texts(apart, [Prompt(text)], GREEDY) for text in TEXTS]  # type: ignore[arg-type]
    together: dict[str, Any] = {}
    threads = [
        threading.Thread(target=lambda text=text: together.update({text: texts(apart, [Prompt(text)], GREEDY)}))  # type: ignore[misc,arg-type]
        for text in TEXTS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[text] for text in TEXTS] == alone


def test_a_process_that_ends_is_told_and_another_one_answers(apart: ProcessEngine) -> None:
    expected = texts(apart, [Prompt(TEXTS[0])], GREEDY)  # type: ignore[arg-type]
    stream = apart.stream([Prompt(TEXTS[0])] * 8, replace(LONG, temperature=2.0))
    next(stream)
    apart._worker._process.kill()
    with pytest.raises(ModelError, match=r"ended unexpectedly .* Try again"):
        last(stream)
    assert texts(apart, [Prompt(TEXTS[0])], GREEDY) == expected  # type: ignore[arg-type]


def test_a_plan_that_cannot_be_loaded_says_why(adapter: Path) -> None:
    planned = plan(ModelSettings(adapter=str(adapter), device="cpu"))
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="adapter_model"):
        ProcessEngine(planned)


def test_onnx_runtime_computes_in_a_process_of_its_own(tiny_adapter: Path) -> None:
    settings = ModelSettings(adapter=str(tiny_adapter), engine="onnx", cache=tiny_adapter.parent / "cache")
    engine = load_engine(plan(settings))
    assert isinstance(engine, ProcessEngine)
    assert engine.info.engine.startswith("ONNX Runtime GenAI")
    assert texts(engine, [Prompt(TEXTS[0])], GREEDY)  # type: ignore[arg-type]
    engine.close()
