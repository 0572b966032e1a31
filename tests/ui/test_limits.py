"""The audit among the limits of the model: of the loaded weights, or how to make one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.tasks.declared import AdapterTasks
from phi2demo.ui.header import audit_of, limits_panel
from tests.ui.conftest import DESCRIPTION
from tests.ui.scripted import INFO

KNOWN = replace(DESCRIPTION, base_revision=INFO.base_revision, adapter_revision=INFO.adapter_revision)


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    report: dict[str, Any] = {
        "format": 1,
        "made_at": "2026-11-24T02:00:00+00:00",
        "model": {"base_revision": INFO.base_revision, "adapter_revision": INFO.adapter_revision},
        "settings": {},
        "probes": [],
        "summary": ["Told nothing, it preferred the <b>masculine</b> form in 90 %.", "Nothing was flagged."],
    }
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(report))
    return path


def test_the_audit_of_these_weights_is_shown_with_its_date(audit: Path) -> None:
    html = audit_of(KNOWN, audit)
    assert "2026-11-24" in html
    assert "Told nothing, it preferred the &lt;b&gt;masculine&lt;/b&gt; form in 90 %." in html
    assert "Nothing was flagged." in limits_panel(DESCRIPTION, AdapterTasks(), audit=html)


def test_the_languages_that_tasks_were_finetuned_on_are_said() -> None:
    declared = AdapterTasks(languages=("en", "de"), training_languages={"sentiment": ("en",), "summarization": ("en",)})
    panel = limits_panel(DESCRIPTION, declared, audit="")
    assert "It was trained on English and German. It is poor at other languages." in panel
    assert "Sentiment and Summarize were finetuned on English texts alone." in panel
    assert "was finetuned on" not in limits_panel(DESCRIPTION, AdapterTasks(), audit="")
    one = AdapterTasks(training_languages={"sentiment": ("en", "de")})
    assert "Sentiment was finetuned on English and German texts alone." in limits_panel(DESCRIPTION, one, audit="")


def test_weights_that_were_not_audited_say_so_with_the_command(audit: Path, tmp_path: Path) -> None:
    other = replace(KNOWN, adapter_revision="ffffffffffff")
    for html in (audit_of(other, audit), audit_of(KNOWN, tmp_path / "nothing.json")):
        assert "This model was not audited" in html
        assert "python -m phi2demo audit --output runs/audit" in html
        assert "masculine" not in html


def test_a_damaged_audit_says_so(audit: Path) -> None:
    audit.write_text("<script>")
    assert "audit.json is not the report of an audit" in audit_of(KNOWN, audit)
    assert "<script" not in audit_of(KNOWN, audit)


def test_an_adapter_that_is_not_known_is_not_taken_for_the_bare_base(audit: Path) -> None:
    report = json.loads(audit.read_text())
    report["model"]["adapter_revision"] = None
    audit.write_text(json.dumps(report))
    assert "not audited" in audit_of(replace(KNOWN, adapter_revision=None), audit)
    assert "not audited" in audit_of(DESCRIPTION, audit)
    assert "masculine" in audit_of(replace(KNOWN, adapter=None, adapter_revision=None), audit)


def test_the_page_knows_the_weights_that_will_be_loaded(tiny_base: Path, tiny_adapter: Path) -> None:
    from phi2demo.commands.serve import describe
    from phi2demo.engine.planning import plan
    from phi2demo.engine.weights import fingerprint
    from phi2demo.settings import ModelSettings

    told = describe(plan(ModelSettings(model=str(tiny_base), adapter=str(tiny_adapter))))
    assert told.base_revision == fingerprint(tiny_base, ("model.safetensors",))
    assert (told.adapter_revision or "").startswith(fingerprint(tiny_adapter, ("adapter_model.safetensors",)) + "-")
    assert told.is_known
    assert describe(plan(ModelSettings(model=str(tiny_base)))).adapter_revision is None
