from pathlib import Path
from typing import Any

import pytest

from phi2demo.commands import train
from phi2demo.errors import SettingsError
from phi2demo.training import finetune as finetuning
from phi2demo.training import pretrain as pretraining
from phi2demo.training.settings import FinetuneSettings, PretrainSettings


@pytest.fixture
def used_settings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collect the settings that the commands would train with."""
    seen: list[Any] = []
    for module, name in ((pretraining, "pretrain"), (finetuning, "finetune")):
        monkeypatch.setattr(module, name, lambda settings: seen.append(settings) or settings.output)
    return seen


def test_given_options_reach_the_settings(used_settings: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "--data d --output o --preset mini --start b --tokens 9 --optimizer adamw --mix prose=2 --mix wmt=0.5 "
        "--checkpoint-minutes 1 --compile"
    )
    assert train.main("pretrain", arguments.split()) == 0
    (settings,) = used_settings
    assert settings == PretrainSettings(
        Path("d"),
        Path("o"),
        "mini",
        start=Path("b"),
        tokens=9,
        optimizer="adamw",
        mix={"prose": 2.0, "wmt": 0.5},
        checkpoint_minutes=1.0,
        compile=True,
    )
    assert capsys.readouterr().err == "saved in o\n"


def test_other_settings_keep_their_defaults(used_settings: list[Any]) -> None:
    for arguments in ("--steps 3", "--epochs 0.5 --targets q_proj,v_proj --schedule linear"):
        train.main("finetune", f"--data d --output o {arguments}".split())
    assert used_settings[0] == FinetuneSettings(Path("d"), Path("o"), steps=3)
    assert used_settings[1] == FinetuneSettings(
        Path("d"), Path("o"), epochs=0.5, targets=("q_proj", "v_proj"), schedule="linear"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--data d", "the following arguments are required: --output"),
        ("--data d --output o --steps many", "invalid int value: 'many'"),
        ("--data d --output o --steps 3 --mix translation=much", "--mix translation=much: give NAME=WEIGHT"),
        ("--data d --output o --steps 3 --schedule zigzag", "invalid choice: 'zigzag'"),
        ("--data d --output o", "--steps, or --epochs"),
    ],
)
def test_wrong_options_are_refused(used_settings: list[Any], arguments: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        train.main("finetune", arguments.split())
    assert used_settings == []


def test_the_help_shows_the_docstrings_of_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train.main("finetune", ["--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "Folder or hub id of the base. (default: model)" in printed
    assert "(default: all-linear)" in printed
    assert "/" not in printed.partition("--model STR")[2].partition("--revision")[0].replace("NAME,NAME", "")
