import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from phi2demo.commands.card import main
from phi2demo.data.files import sha256_of
from phi2demo.engine.local import LocalEngine
from phi2demo.engine.planning import plan
from phi2demo.engine.revisions import adapter_revision
from phi2demo.engine.sources import find_adapter
from phi2demo.engine.weights import fingerprint
from phi2demo.errors import DataError, SettingsError
from phi2demo.settings import EMBEDDED_ADAPTER, EMBEDDED_MODEL, ModelSettings
from phi2demo.training.record import Record, read_record, write_record

from ..cards.reports import AUDIT, stage, write_report

ROOT = Path(__file__).parent.parent.parent


def card(*arguments: str | Path, output: Path) -> str:
    assert main("card", [*map(str, arguments), "--output", str(output)]) == 0
    return (output / "README.md").read_text(encoding="utf-8")


def test_the_card_of_an_adapter(tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    text = card("--adapter", tiny_adapter, output=tmp_path / "card")
    data = ModelCard.load(tmp_path / "card" / "README.md").data
    assert (data.library_name, data.base_model) == ("peft", "tiny-base")
    assert "A LoRA adapter of rank 4 on `tiny-base`" in text
    assert str(tiny_adapter.parent) not in text
    assert "- **Prompt template:** Instruct/Output, Phi-2's own\n" in text
    assert sorted(path.name for path in (tmp_path / "card").iterdir()) == ["README.md"]


def test_the_card_and_its_snippet_use_the_chat_template_of_the_tokenizer(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    base = copy(tiny_base, tmp_path / "base")
    (base / "chat_template.jinja").write_text(
        "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    )
    text = card("--model", base, "--adapter", tiny_adapter, output=tmp_path / "card")
    assert "- **Prompt template:** Chat template, the tokenizer's own\n" in text
    assert "tokenizer.apply_chat_template(" in text


def test_the_card_of_a_base_with_its_record(tiny_base: Path, tmp_path: Path) -> None:
    base = copy(tiny_base, tmp_path / "base")
    write_record(base, Record((stage(),)))
    text = card("--model", base, "--author", "Ada Example", "--region", "Norway", output=tmp_path / "card")
    assert "**Developed by:** Ada Example" in text
    assert "Norway, 30.1 g/kWh" in text
    assert (tmp_path / "card" / "loss.svg").read_text().startswith("<svg ")
    assert read_record(tmp_path / "card") == read_record(base)


def test_figures_are_those_of_the_report(tiny_base: Path, tmp_path: Path) -> None:
    report = write_report(tmp_path / "report.json", model=measured(tiny_base))
    text = card("--model", tiny_base, "--report", report, output=tmp_path / "card")
    assert "20.0 (19.0 to 21.0)" in text
    assert len(ModelCard.load(tmp_path / "card" / "README.md").data.eval_results) == 2


def test_a_report_on_other_weights_is_refused(tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    report = write_report(tmp_path / "report.json", model=measured(tiny_base))
    with pytest.raises(DataError, match=r"was measured on other weights than tiny-adapter\."):
        card("--adapter", tiny_adapter, "--report", report, output=tmp_path / "card")


def test_a_report_on_the_weights_with_other_settings_is_refused(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    model = measured(tiny_base, tiny_adapter)
    now = adapter_revision(find_adapter(str(tiny_adapter), revision=None, token=None))
    for told in (now, now.partition("-")[0], "f" * 40, None):
        report = write_report(tmp_path / "report.json", model=model | {"adapter_revision": told})
        assert card("--adapter", tiny_adapter, "--report", report, output=tmp_path / "card")
    report = write_report(tmp_path / "report.json", model=model | {"adapter_revision": "aaaaaaaaaaaa-11111111"})
    with pytest.raises(DataError, match=r"on the weights of tiny-adapter with other settings in adapter_config\.json"):
        card("--adapter", tiny_adapter, "--report", report, output=tmp_path / "card")


def test_an_audit_is_told_where_it_is_of_these_weights(tiny_base: Path, tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    revision = plan(ModelSettings(model=str(tiny_base)))
    known = fingerprint(tiny_base, revision.base_source.files)
    path.write_text(json.dumps(AUDIT | {"model": {"base_revision": known, "adapter_revision": None}}))
    text = card("--model", tiny_base, "--audit", path, output=tmp_path / "card")
    assert "An audit found:" in text
    assert "| Names | 40 | Shift of the score |" in (tmp_path / "card" / "evaluation.md").read_text(encoding="utf-8")
    path.write_text(json.dumps(AUDIT | {"model": {"base_revision": "another", "adapter_revision": None}}))
    with pytest.raises(DataError, match=r"audit\.json was measured on other weights than tiny-base\."):
        card("--model", tiny_base, "--audit", path, output=tmp_path / "card")
    path.write_text("[]")
    with pytest.raises(DataError, match="is not the report of an audit"):
        card("--model", tiny_base, "--audit", path, output=tmp_path / "card")


def measured(*folders: Path) -> dict[str, Any]:
    hashes = {path.name: sha256_of(path) for folder in folders for path in folder.glob("*.safetensors")}
    return {"base": "b", "base_revision": "", "device": "cpu", "dtype": "float32", "weights_sha256": hashes}


def copy(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_the_other_files(tiny_base: Path, tmp_path: Path) -> None:
    files = {
        "samples": '{"prompt": "Once", "seed": 0, "text": "upon", "use": "base"}\n',
        "failures": '{"input": "a question", "output": "wrong", "reference": "right", "note": "a note"}\n',
        "ablation": '[{"mix": "more tales", "loss": 3.25}]',
    }
    given: list[str] = []
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        given += [f"--{name}", str(tmp_path / name)]
    text = card("--model", tiny_base, *given, output=tmp_path / "card")
    assert "**Once** upon" in (tmp_path / "card" / "samples.md").read_text(encoding="utf-8")
    assert "- a note\n  - Asked: a question" in text
    assert "[evaluation.md](evaluation.md)" in text
    assert "| more tales | 3.25 |" in (tmp_path / "card" / "evaluation.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [None, EMBEDDED_ADAPTER], ids=["base", "adapter"])
def test_the_snippet_runs(adapter: Path | None, tmp_path: Path) -> None:
    given = ["--adapter", adapter] if adapter else ["--model", EMBEDDED_MODEL]
    snippet = re.search(r"```python\n(.*?)```", card(*given, output=tmp_path), re.S)  # type: ignore[arg-type]
    assert snippet
    done = subprocess.run(
        [sys.executable, "-c", snippet[1]], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "The children are playing in the garden." in done.stdout


def test_samples_are_written(tiny_base: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "The train"}\n{"prompt": "The cat"}\n')
    output = tmp_path / "samples.jsonl"

    def load(settings: ModelSettings) -> LocalEngine:
        return LocalEngine.load(plan(settings))

    arguments = ["--model", str(tiny_base), "--prompts", str(prompts), "--output", str(output), "--device", "cpu"]
    assert main("samples", arguments, load_engine=load) == 0
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert [(row["prompt"], row["seed"], row["variant"]) for row in rows] == [
        ("The train", 0, "base"),
        ("The cat", 1, "base"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give --model FOLDER for the card of a base"),
        (["--model", "m", "--region", "Atlantis"], "--region Atlantis: give one of world average"),
        (["--model", "m", "--hardware", "a CPU"], "--hardware a CPU: give NAME:CORES:GB"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        main("card", [*arguments, "--output", str(tmp_path / "card")])
    assert not (tmp_path / "card").exists()


@pytest.mark.parametrize("text", ["{", "[]", "[1]", '{"note": "no rows"}'])
def test_a_malformed_ablation(tiny_base: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "ablation.json").write_text(text)
    with pytest.raises(DataError, match="is not an ablation"):
        card("--model", tiny_base, "--ablation", tmp_path / "ablation.json", output=tmp_path / "card")


def test_a_folder_of_items_needs_a_report(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--failures .* is a folder: give the --report"):
        card("--model", tiny_base, "--failures", tmp_path, output=tmp_path / "card")


def test_an_output_that_is_no_folder_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"--output .*file cannot be written into \(File exists\)\. Give a"):
        card("--model", tiny_base, output=tmp_path / "file")
