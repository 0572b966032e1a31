import argparse
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.commands import arguments, serve
from phi2demo.engine.engine import Engine, GenerationOptions, Prompt
from phi2demo.engine.loading import EngineLoader
from phi2demo.engine.planning import plan
from phi2demo.errors import ModelError, SettingsError
from phi2demo.settings import ModelSettings, ServerSettings
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks
from tests.tasks.own_tasks import urgency
from tests.tasks.scripted import INFO, ScriptedEngine

Parse = Callable[..., argparse.Namespace]


def parse(*argv: str) -> argparse.Namespace:
    parser = arguments.Parser("serve")
    arguments.add_server_arguments(parser)
    return parser.parse_args(argv)


def test_the_command_line_wins_over_the_environment() -> None:
    environment = {"PHI2DEMO_HOST": "1.2.3.4", "PHI2DEMO_PORT": "99", "PHI2DEMO_AUTH": "a:b", "PHI2DEMO_SHARE": "1"}
    assert arguments.server_settings(parse(), environment) == ServerSettings("1.2.3.4", 99, True, "a:b")
    given = parse("--host", "0.0.0.0", "--port", "0", "--auth", "u:p")
    assert arguments.server_settings(given, environment) == ServerSettings("0.0.0.0", 0, True, "u:p")
    assert arguments.server_settings(parse("--share", "--public"), {}) == ServerSettings(share=True, public=True)
    assert arguments.server_settings(parse("--port", "8"), {"PHI2DEMO_PORT": "nonsense"}).port == 8
    assert arguments.server_settings(parse("--time-limit", "8"), {"PHI2DEMO_TIME_LIMIT": "9"}).time_limit_s == 8
    assert arguments.server_settings(parse(), {"SPACE_ID": "someone/space"}).host == "0.0.0.0"


@pytest.mark.parametrize(
    "argv", [["--port", "-1"], ["--port", "70000"], ["--auth", "nobody"], ["--share"], ["--time-limit", "-1"]]
)
def test_wrong_arguments(argv: list[str]) -> None:
    with pytest.raises(SettingsError):
        arguments.server_settings(parse(*argv), {})


class Page:
    """Stands for the page: keeps what it was built and launched with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.built: tuple[Any, ...] = ()
        self.also: dict[str, Any] = {}
        self.launched: list[ServerSettings] = []
        self.error: OSError | None = None
        monkeypatch.setattr("phi2demo.ui.page.build_demo", self._build)
        monkeypatch.setattr("phi2demo.ui.page.launch", self._launch)

    def _build(self, *given: object, **also: object) -> "Page":
        self.built, self.also = given, also
        return self

    def _launch(self, demo: object, settings: ServerSettings) -> None:
        assert demo is self
        self.launched.append(settings)
        if self.error:
            raise self.error


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    monkeypatch.setattr(serve, "_load", lambda plan: ScriptedEngine())
    return Page(monkeypatch)


@pytest.mark.filterwarnings("ignore")  # of gradio's import
def test_the_page_is_built_around_the_model(page: Page, tiny_base: Path, tiny_adapter: Path) -> None:
    assert serve.main("serve", ["--adapter", str(tiny_adapter), "--port", "7861", "--device", "cpu"]) == 0
    loader, description, adapter_tasks = page.built
    assert isinstance(loader, EngineLoader)
    engine: Engine = loader.engine(timeout_s=5)
    assert engine.info.adapter == "tiny-adapter"
    assert (description.base, description.adapter, description.context) == ("tiny-base", "tiny-adapter", 256)
    assert (description.device, description.dtype, description.is_embedded) == ("cpu", "auto", False)
    assert adapter_tasks == AdapterTasks()
    assert page.launched == [replace(ServerSettings(), port=7861)]
    assert page.also["model_cards"].variants == ("finetuned", "base")
    *_, last = engine.stream([Prompt("a")], GenerationOptions())
    assert last.completions
    assert page.also["meter"].reading.calls == 1


@pytest.mark.filterwarnings("ignore")
def test_a_page_for_others_is_built_with_a_tighter_time_limit(page: Page, tiny_base: Path) -> None:
    for argv, seconds in (((), 3600), (("--host", "0.0.0.0"), 300), (("--time-limit", "60"), 60)):
        assert serve.serve(["--model", str(tiny_base), *argv]) == 0
        assert page.also["longest_s"] == seconds


@pytest.mark.filterwarnings("ignore")
def test_a_second_adapter_is_described(page: Page, tiny_adapter: Path, tiny_second: Path, tmp_path: Path) -> None:
    tiny_second = Path(shutil.copytree(tiny_second, tmp_path / tiny_second.name))
    declared = AdapterTasks(("sentiment",))
    (tiny_second / "tasks.json").write_text(declared.to_json())
    argv = ["--adapter", str(tiny_adapter), "--adapter", str(tiny_second), "--port", "7861"]
    assert serve.main("serve", argv) == 0
    _, description, _ = page.built
    assert description.variants == ("finetuned", "base", "tiny-second")
    assert page.also["others"] == {"tiny-second": declared}


@pytest.mark.filterwarnings("ignore")
def test_a_merged_models_own_tasks_are_on_its_page(page: Page, tiny_base: Path, tmp_path: Path) -> None:
    merged = Path(shutil.copytree(tiny_base, tmp_path / "merged"))
    declared = AdapterTasks(("urgency", "sentiment"), own=(urgency(),))
    (merged / "tasks.json").write_text(declared.to_json())
    assert serve.main("serve", ["--model", str(merged), "--port", "7861"]) == 0
    _, description, adapter_tasks = page.built
    assert (description.variants, set(adapter_tasks.tasks)) == (("base",), {"urgency", "sentiment"})
    assert "urgency" in TASKS


def test_special_tokens_that_the_tokenizer_lacks_are_in_the_log(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = ScriptedEngine(info=replace(INFO, template="chatml"))
    monkeypatch.setattr("phi2demo.engine.local.LocalEngine.load", lambda plan: engine)
    serve._load(plan(ModelSettings(model=str(tiny_base))))
    assert "The tokenizer has no token <|im_start|> or <|im_end|>" in caplog.text


@pytest.mark.parametrize(
    ("option", "value"), [("--template", "foo"), ("--template", "chat"), ("--system", "Be brief.")]
)
def test_a_template_that_cannot_be_used_is_refused_at_the_start(tiny_base: Path, option: str, value: str) -> None:
    with pytest.raises(SettingsError, match="template"):
        serve.serve(["--model", str(tiny_base), option, value])


@pytest.mark.filterwarnings("ignore")
def test_a_port_that_is_taken_is_said(page: Page, tiny_base: Path) -> None:
    page.error = OSError("Cannot find empty port in range: 7860-7860")
    with pytest.raises(SettingsError, match="Cannot find empty port"):
        serve.serve(["--model", str(tiny_base)])


def test_a_model_that_is_not_there_is_said_before_the_page_is_up(page: Page) -> None:
    with pytest.raises(ModelError, match="/nowhere/at/all"):
        serve.serve(["--model", "/nowhere/at/all"])
    assert page.launched == []
