import json
from pathlib import Path

import pytest

from phi2demo.commands.curve import main
from phi2demo.errors import DataError, InputError, SettingsError
from phi2demo.settings import ASSETS

SHIPPED = ASSETS / "evaluation" / "flores.json"
NAME = "translation.flores101_devtest.en-de"


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """As if a model of a tenth of the training had been measured, with worse scores."""
    told = json.loads(SHIPPED.read_text(encoding="utf-8"))
    told["model"] |= {"base_revision": "earlier", "adapter_revision": "earlier"}
    told["model"]["training"] = {name: tokens // 10 for name, tokens in told["model"]["training"].items()}
    for measure in told["measures"]:
        for figure in measure["figures"]:
            figure["scores"]["finetuned"]["score"] -= 2
    path = tmp_path / "earlier.json"
    path.write_text(json.dumps(told), encoding="utf-8")
    return path


def test_tables_and_picture(earlier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "curve.svg"
    assert main("curve", [str(SHIPPED), str(earlier), "--target", f"{NAME}:chrf=35", "--picture", str(picture)]) == 0
    told = capsys.readouterr().out
    (row,) = [line for line in told.splitlines() if line.startswith(f"| {NAME} | chrF |")]
    assert "| +2.0 |" in row
    assert row.endswith("times the most |")
    assert picture.read_text(encoding="utf-8").startswith("<svg ")


@pytest.mark.parametrize(
    "target", ["45", "bleu=45", f"{NAME}:bleu=nan", f"{NAME}:bleu=inf", f"{NAME}:bleu=", f"{NAME}:=45"]
)
def test_a_target_that_is_none(target: str) -> None:
    with pytest.raises(SettingsError, match=r"give MEASURE:METRIC=SCORE, as translation\.tatoeba\.en-de:bleu=45"):
        main("curve", [str(SHIPPED), "--target", target])


def test_one_model_is_no_curve() -> None:
    with pytest.raises(DataError, match="no measure in common"):
        main("curve", [str(SHIPPED)])


def test_a_picture_that_cannot_be_written(earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="check the path"):
        main("curve", [str(SHIPPED), str(earlier), "--picture", str(tmp_path / "nowhere" / "curve.svg")])
