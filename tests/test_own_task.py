"""A task of one's own from its declaration to its answers: trained, then asked by page, command, API, and explained."""

import json
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from phi2demo.commands import ask, evaluate, explain, replay
from phi2demo.engine.loading import EngineLoader
from phi2demo.engine.planning import plan
from phi2demo.errors import DataError, SettingsError
from phi2demo.evaluation.report import Report
from phi2demo.settings import ASSETS, ModelSettings
from phi2demo.tasks.declared import AdapterTasks, VariantTasks, read_adapter_tasks, read_tasks_file, register_declared
from phi2demo.training.record import read_record
from tests.conftest import make_base, own_tasks_forgotten

ROOT = Path(__file__).parent.parent
EXAMPLE = ASSETS / "examples" / "own_task"
TEXT = "Water drips on the desk."
(TASK,) = read_tasks_file(EXAMPLE / "tasks.json").own
LABELS = TASK.labels
QUESTION = TASK.instruction(TEXT, TASK.options_type(team="sales", days=3)).text
PROMPT = f"### Instruction:\n{QUESTION}\n\n### Input:\n{TEXT}\n\n### Response:\n"
FIELDS = ("--field", "team=sales", "--field", "days=3")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an adapter that learned the task of the example."""
    folder = tmp_path_factory.mktemp("own")
    base = make_base(folder / "base", context=512)
    options = ["--model", str(base), "--data", str(EXAMPLE / "data"), "--tasks", str(EXAMPLE / "tasks.json")]
    training = ["--template", "alpaca", "--steps", "10", "--batch-size", "8", "--learning-rate", "0.01"]
    training += ["--precision", "fp32", "--device", "cpu", "--output", str(folder / "adapter")]
    command = [sys.executable, "-m", "phi2demo", "finetune", *options, *training]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)  # accelerate allows one precision in a process
    return folder / "adapter"


def said(main: Any, *argv: str) -> str:
    """What a command prints."""
    output = StringIO()
    with redirect_stdout(output):
        main(*argv)
    return output.getvalue()


def asked(adapter: Path, *argv: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(
        said(ask.main, "ask", ["urgency", TEXT, *argv, "--json", "--adapter", str(adapter)])  # type: ignore[arg-type]
    )
    return answer


def test_the_declaration_is_saved_with_the_adapter(adapter: Path) -> None:
    saved, given = read_adapter_tasks(adapter), read_tasks_file(EXAMPLE / "tasks.json")
    assert saved.own == given.own
    assert (saved.tasks, saved.template) == (("urgency",), "alpaca")
    record = read_record(adapter)
    assert record is not None
    assert (record.last.tasks, record.last.weights) == ({"urgency": 1.0}, {"messages": 1.0})
    assert record.last.settings["tasks"] == "tasks.json"


def test_the_command_asks_and_its_receipt_replays(adapter: Path, tmp_path: Path) -> None:
    answer = asked(adapter, *FIELDS)
    assert answer["text"] in LABELS
    receipt = answer["receipt"]
    assert receipt["prompt"].endswith(PROMPT)
    assert (receipt["task"], receipt["options"], receipt["template"]) == (
        "urgency",
        {"team": "sales", "days": 3},
        "alpaca",
    )
    (tmp_path / "receipt.json").write_text(json.dumps(receipt))
    with own_tasks_forgotten():
        out = said(replay.main, "replay", [str(tmp_path / "receipt.json"), "--adapter", str(adapter)])  # type: ignore[arg-type]
    assert out == f"same: {answer['text']}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["urgenci", "x"], "There is no task 'urgenci'; this model has generation, .*, urgency"),
        (
            ["urgency", "x", "--field", "taem=sales"],
            r"--field taem=sales is no field of urgency; give team=... \(one of",
        ),
        (["urgency", "x", "--field", "days=40"], "days is 40; give a whole number from 0 to 30"),
        (["urgency", "x", "--field", "team"], "--field team is no field of urgency"),
        ([], "the following arguments are required: TASK"),
        (["--adapter", "x"], "the following arguments are required: TASK"),
    ],
)
def test_wrong_arguments_are_told_before_a_model_is_loaded(adapter: Path, argv: list[str], message: str) -> None:
    def load(settings: ModelSettings) -> Any:
        raise AssertionError("loaded")

    given = [*argv, "--adapter", str(adapter)] if argv[:1] != ["--adapter"] and argv else argv
    with pytest.raises(SettingsError, match=message):
        ask.main("ask", given, load_engine=load)


def test_the_command_explains_it(adapter: Path) -> None:
    argv = [TEXT, "--task", "urgency", *FIELDS, "--adapter", str(adapter), "--units", "words", "--no-trust", "--json"]
    found = json.loads(said(explain.main, "explain", argv))  # type: ignore[arg-type]
    assert [unit["text"].strip() for unit in found["units"]["items"]] == TEXT.split()
    assert found["output"].strip() in LABELS


@pytest.fixture
def loader(adapter: Path) -> EngineLoader:
    register_declared(adapter)
    engine = ask.load_local(ModelSettings(adapter=str(adapter)))
    started = EngineLoader(lambda: engine).start()
    started.engine(timeout_s=60)
    return started


@pytest.fixture
def declared(adapter: Path) -> AdapterTasks:
    return read_adapter_tasks(adapter)


def test_the_page_has_a_tab_with_its_fields(adapter: Path, loader: EngineLoader, declared: AdapterTasks) -> None:
    import gradio as gr

    from phi2demo.commands.serve import describe
    from phi2demo.ui.handlers import TabHandlers
    from phi2demo.ui.page import build_demo
    from phi2demo.ui.sessions import Sessions
    from phi2demo.ui.task_tab import build_task_tab

    description = describe(plan(ModelSettings(adapter=str(adapter))))
    demo = build_demo(loader, description, declared)
    written = " ".join(block.value for block in demo.blocks.values() if isinstance(block, gr.HTML) and block.value)
    assert "Give a text to a language model that was finetuned for a task of its own" in written
    assert "The adapter does not say in which languages it was finetuned." in written
    tabs = [block.label for block in demo.blocks.values() if isinstance(block, gr.Tab)]
    assert tabs == ["Urgency", "Compare", "Explain", "Evaluate"]
    assert "ask_urgency" in [function.api_name for function in demo.fns.values()]
    with gr.Blocks():
        tab = build_task_tab(declared.own[0], description, declared, Sessions())
    handlers = TabHandlers(tab, loader)
    filled = handlers.try_example(1)
    assert filled[tab.ask.fields["team"]] == "sales"
    values = {component: component.value for component in tab.ask.all()} | {
        tab.ask.text: TEXT, tab.ask.fields["team"]: "sales", tab.ask.fields["days"]: 3.0
    }  # fmt: skip
    page: Any = SimpleNamespace(session_hash="page")
    shown: dict[Any, Any] = {}
    for step in handlers.run(values, page):
        shown |= step
    column = tab.columns["finetuned"]
    assert shown[column.text] == asked(adapter, *FIELDS)["text"]
    assert json.loads(shown[column.receipt])["options"] == {"team": "sales", "days": 3}
    for step in handlers.run(values | {tab.ask.fields["days"]: None}, page):
        shown |= step
    assert "days is None; give a whole number from 0 to 30." in shown[tab.run.status]


def test_the_endpoint_takes_its_fields_as_parameters(
    loader: EngineLoader, declared: AdapterTasks, adapter: Path
) -> None:
    import gradio as gr
    from gradio.utils import get_function_description, get_function_params

    from phi2demo.ui.api import Endpoints

    endpoint = Endpoints(loader, VariantTasks(declared)).own(declared.own[0])  # type: ignore[arg-type]
    names = [name for name, *_ in get_function_params(endpoint)]
    assert names == ["text", "team", "days", "variant", "seed", "options", "base_prompt_style"]
    words, parameters, _ = get_function_description(endpoint)
    assert words == "Urgency: a task that the adapter declares."
    assert parameters["days"] == "Days left: 0 to 30."
    *_, answer = endpoint(TEXT, "sales", 3, None, None, None, None)
    assert answer["text"] == asked(adapter, *FIELDS)["text"]
    assert answer["probabilities"].keys() == set(LABELS)
    with pytest.raises(gr.Error, match="team is 'kitchen'; give one of support, sales, building"):
        next(endpoint(TEXT, "kitchen"))


def test_a_persons_own_rows_are_scored_as_they_come(loader: EngineLoader, declared: AdapterTasks) -> None:
    import gradio as gr

    from phi2demo.ui.evaluate_handlers import EvaluateEndpoint
    from phi2demo.ui.evaluate_inputs import placeholder, tasks_with_pairs

    assert tasks_with_pairs(declared) == ["urgency"]
    assert placeholder("urgency").startswith("text,team,days,output\n")
    endpoint = EvaluateEndpoint(loader, VariantTasks(declared))
    rows = [
        {"text": TEXT, "team": "sales", "days": 3, "output": LABELS[-1]},
        {"text": "Thank you.", "output": LABELS[0]},
    ]
    *_, last = endpoint.evaluate(rows, "urgency", systems=["finetuned"])
    (test_set,) = last["report"]["test_sets"]
    assert (test_set["name"], test_set["figures"][0]["metric"], test_set["n"]) == ("urgency.own", "accuracy", 2)
    assert [answer["text"] for answer in last["answers"]] == [TEXT, "Thank you."]
    with pytest.raises(gr.Error, match="Row 1: days is 'x'; give a whole number from 0 to 30"):
        next(endpoint.evaluate([rows[1] | {"days": "x"}], "urgency"))
    of_second = EvaluateEndpoint(loader, VariantTasks(AdapterTasks(("sentiment",)), {"second": declared}))
    with pytest.raises(gr.Error, match=r"not finetuned for urgency\. Start with second as the first --adapter"):
        next(of_second.evaluate(rows, "urgency"))


def test_it_is_evaluated_against_its_base(adapter: Path, tmp_path: Path) -> None:
    argv = [
        "--data",
        str(EXAMPLE / "data"),
        "--adapter",
        str(adapter),
        "--output",
        str(tmp_path / "out"),
        "--resamples",
        "100",
    ]
    assert "accuracy" in said(evaluate.main, "evaluate", argv)  # type: ignore[arg-type]
    report = Report.model_validate_json((tmp_path / "out" / "report.json").read_text())
    rows = (EXAMPLE / "data" / "messages.test.jsonl").read_text().splitlines()
    (result,) = report.test_sets
    assert (result.name, result.task, result.n) == ("urgency.messages", "urgency", len(rows))
    assert [figure.metric for figure in result.figures] == ["accuracy", "macro_f1"]
    assert set(result.figures[0].scores) == {"finetuned", "base_template", "base_plain"}


def test_rows_that_the_task_does_not_take_are_told(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "messages.test.jsonl").write_text('{"task": "urgency", "text": "x", "output": "hgih"}\n')
    argv = ["--data", str(tmp_path), "--adapter", str(adapter), "--output", str(tmp_path.parent / "message")]
    with pytest.raises(DataError, match=f"row 1 of urgency: output is 'hgih'; give one of {', '.join(LABELS)}"):
        evaluate.main("evaluate", argv)
    (tmp_path / "messages.test.jsonl").write_text('{"task": "mood", "text": "x", "output": "good"}\n')
    with pytest.raises(
        DataError, match=r"are of mood, which the model's tasks\.json does not declare; it has .*urgency"
    ):
        evaluate.main("evaluate", argv)
