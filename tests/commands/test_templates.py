""""""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.commands import audit, evaluate, templates
from phi2demo.engine.engine import ChatTemplate
from phi2demo.errors import InputError, SettingsError
from phi2demo.settings import ModelSettings
from tests.tasks.scripted import INFO, ScriptedEngine

Say = Callable[..., str]


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(lambda prompt: " Paris." if prompt.text.endswith("### Response:\n") else " I do not know.")


@pytest.fixture
def loaded() -> list[ModelSettings]:
    """The settings of each model that was loaded."""
    return []


@pytest.fixture
def say(
    engine: ScriptedEngine,
    loaded: list[ModelSettings],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Say:
    """Run the command, give what it printed."""
    for name in ("MODEL", "ADAPTER", "TEMPLATE", "SYSTEM"):
        monkeypatch.delenv(f"PHI2DEMO_{name}", raising=False)

    def load(settings: ModelSettings) -> ScriptedEngine:
        loaded.append(settings)
        return engine

    def run(*argv: str) -> str:
        assert templates.main("templates", argv, load_engine=load) == 0
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("command", [templates, evaluate, audit])
def test_a_command_that_takes_one_adapter_refuses_a_second(command: Any) -> None:
    argv = ["--adapter", "a", "--adapter", "b", *(["text"] if command is templates else ["--output", "out"])]
    with pytest.raises(SettingsError, match="--adapter is given twice, and this command takes one"):
        command.main("x", argv, load_engine=lambda settings: pytest.fail("loaded"))


def test_each_template_with_its_prompt_and_answer(say: Say) -> None:
    shown = say("Name the capital.")
    assert shown.startswith(
        "Instruct/Output, --template phi (in force: Phi-2's own)\n"
        "  | Instruct: Name the capital.\n  | Output:\n\n  I do not know.\n"
    )
    assert "  | ### Response:\n  |\n\n  Paris.\n" in shown
    assert "warning: The tokenizer has no token <|im_start|>" in shown


def test_json_names_the_template_in_force(say: Say, engine: ScriptedEngine) -> None:
    engine._info = replace(INFO, chat=ChatTemplate("Q: {prompt}\nA:"), template="Say {prompt}!")
    trials = {trial["template"]: trial for trial in json.loads(say("Hello.", "--json"))}
    assert list(trials) == ["Say {prompt}!", "phi", "alpaca", "chatml", "plain", "chat"]
    assert [trial["template"] for trial in trials.values() if "reason" in trial] == ["Say {prompt}!"]
    assert trials["chat"]["prompt"] == "Q: Hello.\nA:"


def test_save_adds_the_template_and_leaves_the_rest_alone(say: Say, tmp_path: Path) -> None:
    file, adapter = tmp_path / "tasks.json", str(tmp_path)
    say("Hi.", "--adapter", adapter, "--save", "alpaca")
    assert json.loads(file.read_text(encoding="utf-8")) == {"template": "alpaca"}
    file.write_text('{"tasks": {"sentiment": {}}, "template": "phi", "more": [1]}', encoding="utf-8")
    say("Hi.", "--adapter", adapter, "--save", "chatml", "--system", "Be brief.")
    assert json.loads(file.read_text(encoding="utf-8")) == {
        "template": "chatml", "system": "Be brief.", "tasks": {"sentiment": {}}, "more": [1],
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["tasks.json"]


def test_the_system_text_belongs_to_the_template_that_is_saved(
    say: Say, loaded: list[ModelSettings], tmp_path: Path
) -> None:
    say("Hi.", "--adapter", str(tmp_path), "--save", "chatml", "--system", "Be brief.")
    say("Hi.", "--adapter", str(tmp_path), "--save", "chatml", "--template", "chatml", "--system", "Be brief.")
    assert [settings.system for settings in loaded] == [None, "Be brief."]


def test_what_cannot_be_saved_is_refused_before_the_model_is_asked(
    say: Say, engine: ScriptedEngine, tmp_path: Path
) -> None:
    for adapter, name, message in (
        (None, "phi", "give the folder with --adapter"),
        ("someone/adapter", "phi", "someone/adapter is not a folder here"),
        (str(tmp_path), "vicuna", "There is no template 'vicuna'"),
        (str(tmp_path), "chat", "the tokenizer has no chat template"),
    ):
        with pytest.raises(SettingsError, match=re.escape(message)):
            say("Hi.", *(("--adapter", adapter) if adapter else ()), "--save", name)
    (tmp_path / "tasks.json").write_text("{", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"tasks\.json is no JSON"):
        say("Hi.", "--adapter", str(tmp_path), "--save", "phi")
    assert not engine.batches


def test_a_folder_that_cannot_be_written_is_said(say: Say, tmp_path: Path) -> None:
    (tmp_path / "tasks.part").mkdir()
    with pytest.raises(SettingsError, match=r"tasks\.json cannot be written .* or start with --template phi"):
        say("Hi.", "--adapter", str(tmp_path), "--save", "phi")


def test_an_empty_text_is_refused(say: Say) -> None:
    with pytest.raises(InputError):
        say(" ")
