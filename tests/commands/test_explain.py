import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from phi2demo.commands import explain
from phi2demo.engine.engine import AdapterInfo, Prompt
from phi2demo.errors import InputError, Phi2DemoError, SettingsError
from phi2demo.settings import ModelSettings
from tests.explain.planted import PlantedEngine, rewards
from tests.tasks.scripted import BARE

Say = Callable[..., str]


@pytest.fixture
def engine() -> PlantedEngine:
    return PlantedEngine(rewards({"train": 3.0, "eight": 1.0, "quiet": -2.0}))


@pytest.fixture
def say(engine: PlantedEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    for name in ("MODEL", "ADAPTER", "REVISION", "ADAPTER_REVISION", "BASE", "DEVICE", "DTYPE"):
        monkeypatch.delenv(f"PHI2DEMO_{name}", raising=False)

    def run(*argv: str, engine: PlantedEngine = engine) -> str:
        assert explain.main("explain", argv, load_engine=lambda settings: engine) == 0
        return capsys.readouterr().out

    return run


def test_the_strongest_units_come_first_with_bars_and_trust(say: Say) -> None:
    lines = say("the quiet train at eight", "--task", "summarize", "--units", "words", "--method", "partition").split(
        "\n"
    )
    assert lines[0] == "Which words made the finetuned model write “THE QUIET TRAIN AT EIGHT”?"
    rows = [line for line in lines if "█" in line or "░" in line]
    assert [row.split()[-1] for row in rows] == ["train", "quiet", "eight"]
    assert [row.split()[0] for row in rows] == ["+15.00", "-10.00", "+5.00"]
    assert "░" in rows[1]
    assert rows[0].count("█") == 24
    text = "\n".join(lines)
    for part in ("Measured: 100%", "Deletion: ", "Insertion: ", "SHAP and LIME", "seed 0"):
        assert part in text


def test_json_html_and_csv(say: Say, tmp_path: Path) -> None:
    page, sheet = tmp_path / "why.html", tmp_path / "why.csv"
    out = say(
        "the train", "--output", "yes no", "--json", "--html", str(page), "--csv", str(sheet), "--units", "words",
        "--target", "1:2", "--instead", "maybe", "--method", "exact", "--value", "log-odds", "--mask", "...", "--seed", "4",
        "--no-trust", "--max-evals", "64",
    )  # fmt: skip
    value = json.loads(out)
    assert [(token["text"], token["side"]) for token in value["tokens"]] == [(" no", "output"), (" maybe", "contrast")]
    assert (value["target"], value["instead"], value["method"]) == ([1, 2], "maybe", "exact")
    assert (value["value"], value["mask"], value["max_evals"], value["trust"]["seed"]) == ("log-odds", "...", 64, 4)
    assert value["trust"]["deletion"] is None
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert sheet.read_text(encoding="utf-8").startswith("rank,unit,start,end,value")


def test_a_document_is_read_from_a_file(say: Say, tmp_path: Path) -> None:
    source = tmp_path / "text.txt"
    source.write_text("One quiet train.\n\nTwo.\n", encoding="utf-8")
    value = json.loads(say("--file", str(source), "--output", "yes", "--json", "--units", "paragraphs"))
    assert value["text"] == "One quiet train.\n\nTwo."
    assert [unit["value"] for unit in value["units"]["items"]] == [pytest.approx(1), pytest.approx(0)]


def test_each_task_is_explained_as_it_answers(say: Say, engine: PlantedEngine) -> None:
    translated = json.loads(say("One train. Two.", "--task", "translate", "--to", "fr", "--json", "--units", "words"))
    assert translated["options"] == {"source": "en", "target": "fr"}
    assert {token["piece"] for token in translated["tokens"]} == {0, 1}
    assert "from English to French" in engine.scored[0][0].text
    label = json.loads(say("a quiet film", "--task", "classify", "--json"))
    assert label["output"].strip() in ("positive", "negative")
    answered = json.loads(say("a quiet film", "--task", "answer", "--question", "What?", "--json"))
    assert answered["options"] == {"question": "What?"}


def test_the_base_gets_the_prompt_style_asked_for(say: Say) -> None:
    engine = PlantedEngine(rewards({"train": 2.0}))
    arguments = ("the train", "--output", "yes", "--units", "words", "--no-trust", "--task", "summarize")
    value = json.loads(say(*arguments, "--of", "difference", "--base-prompt-style", "plain", "--json", engine=engine))
    assert value["base_prompt_style"] == "plain"
    texts = {
        variant: [prompt.text for prompt, _ in engine.scored if prompt.variant == variant]
        for variant in ("finetuned", "base")
    }
    assert all(text.startswith("Instruct: ") for text in texts["finetuned"])
    assert "<|endoftext|>the train\n\nIn short:" in texts["base"]
    assert not any("Instruct: " in text for text in texts["base"])
    assert "the base asked as plain text" in say(
        *arguments, "--of", "base", "--base-prompt-style", "plain", engine=engine
    )


def test_a_difference_and_a_base_without_adapter(say: Say) -> None:
    def learned(token: str, text: str, prompt: Prompt) -> float:
        return -3.0 + (2.0 if prompt.variant == "finetuned" and "train" in text else 0.0)

    value = json.loads(
        say("the train", "--of", "difference", "--json", "--units", "words", engine=PlantedEngine(learned))
    )
    assert [unit["value"] / len(value["tokens"]) for unit in value["units"]["items"]] == [
        pytest.approx(0),
        pytest.approx(2),
    ]
    bare = PlantedEngine(rewards({}), info=BARE)
    assert json.loads(say("the train", "--json", engine=bare))["of"] == "base"
    with pytest.raises(SettingsError, match="no adapter is loaded"):
        say("the train", "--of", "difference", "--output", "yes", engine=bare)


REFUSED: dict[str, tuple[list[str], type[Phi2DemoError], str]] = {
    "nothing": ([], SettingsError, "Give a text, or --file FILE"),
    "two texts": (["hi", "--file", "x"], SettingsError, "Give a text, or --file FILE"),
    "empty": ([" "], InputError, "The text is empty"),
    "empty output": (["hi", "--output", " "], InputError, "The output is empty, so there is nothing to explain"),
    "task": (["hi", "--task", "dance"], SettingsError, "There is no task 'dance'"),
    "method": (["hi", "--method", "guess"], SettingsError, "invalid choice: 'guess'"),
    "target": (["hi", "--target", "a:b"], SettingsError, "--target a:b: give the first output token"),
    "empty target": (["hi", "--target", "5:3"], SettingsError, r"target is \(5, 3\)"),
    "evals": (["hi", "--max-evals", "1"], SettingsError, "max_evals is 1"),
    "seed": (["hi", "--seed", "-1"], SettingsError, "seed is -1"),
    "no file": (["--file", "/nowhere/x"], InputError, "/nowhere/x cannot be read"),
    "another task's": (["hi", "--question", "what?"], SettingsError, "unrecognized arguments: --question"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_come_before_a_model_is_loaded(case: str) -> None:
    def load(settings: ModelSettings) -> PlantedEngine:
        raise AssertionError("loaded")

    argv, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        explain.main("explain", argv, load_engine=load)


def test_too_many_units_are_refused(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phi2demo.explain.scoring_plan.MAX_UNITS", 2)
    with pytest.raises(InputError, match="The text has 3 words; at most 2 can be told apart"):
        say("the quiet train", "--units", "words", "--output", "yes")


def test_the_second_adapter_is_explained(say: Say) -> None:
    def learned(token: str, text: str, prompt: Prompt) -> float:
        return -3.0 + (2.0 if prompt.variant == "second" and "train" in text else 0.0)

    with pytest.raises(SettingsError, match="--of: There is no model 'second' here"):
        say("the train", "--of", "second")
    info = replace(BARE, adapter="a", adapter_revision="1", others=(AdapterInfo("second", "b", "2", 4),))
    arguments = [
        "the train",
        "--of",
        "second",
        "--adapter",
        "a",
        "--adapter",
        "second",
        "--units",
        "words",
        "--no-trust",
    ]
    value = json.loads(say(*arguments, "--json", engine=PlantedEngine(learned, info=info)))
    assert (value["of"], value["model"]["adapter"], value["model"]["adapter_revision"]) == ("second", "b", "2")
    assert [round(unit["value"] / len(value["tokens"]), 6) for unit in value["units"]["items"]] == [0.0, 2.0]
    assert "made the adapter second write" in say(*arguments, engine=PlantedEngine(learned, info=info))


def test_the_second_adapter_is_asked_only_for_its_own_languages(say: Say, tmp_path: Path) -> None:
    (tmp_path / "tasks.json").write_text('{"tasks": {"translation": {"languages": ["en", "fr"]}}}')
    info = replace(BARE, adapter="a", adapter_revision="1", others=(AdapterInfo("second", "b", "2", 4, tmp_path),))
    engine = PlantedEngine(lambda token, text, prompt: -1.0, info=info)
    arguments = [
        "the train",
        "--task",
        "translate",
        "--of",
        "second",
        "--adapter",
        "a",
        "--adapter",
        "second",
        "--no-trust",
        "--to",
    ]
    with pytest.raises(SettingsError, match=r"not finetuned for German; choose from en \(English\), fr \(French\)"):
        say(*arguments, "de", engine=engine)
    assert "made the adapter second write" in say(*arguments, "fr", engine=engine)
