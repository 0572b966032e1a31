"""The README and assets/docs, held against the code: commands run, options and files exist, figures are the report's."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import pytest

from phi2demo.__main__ import COMMANDS, main
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import read_adapter_tasks
from tests.servers import serving

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "assets" / "docs").glob("*.md"))]
TEXTS = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z_-]*")
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b")
"""A word in capitals, as DATA or FOLDER, stands for something that the reader has."""
OTHER_PROGRAMS = {"--nproc_per_node"}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def command_lines(*texts: str) -> list[str]:
    lines = [line for text in texts for block in blocks(text, "bash") for line in block.splitlines() if line]
    return list(dict.fromkeys(lines))


RUNNABLE = [
    line
    for line in command_lines(*TEXTS.values())
    if line.startswith("python -m phi2demo ") and not PLACEHOLDER.search(line)
]


@cache
def options_of(command: str) -> frozenset[str]:
    """Every option that a command's help names; `explain` has more of them for each task."""
    calls = [[command, "--help"]]
    if command == "explain":
        calls += [[command, "--task", task.command, "--help"] for task in TASKS.values()]
    output = io.StringIO()
    for call in calls:
        with redirect_stdout(output), pytest.raises(SystemExit):
            main(call)
    return frozenset(OPTION.findall(output.getvalue()))


def commands_in(text: str) -> list[tuple[str, str]]:
    """The commands in code blocks and code spans, each with its arguments."""
    result = []
    for code in (*command_lines(text), *re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))):
        line = re.sub(r"^.*-m phi2demo ", "", code.replace("python app.py", "serve"))
        command, _, arguments = line.partition(" ")
        if command in COMMANDS:
            result.append((command, arguments))
    return result


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_two_commands_are_there() -> None:
    lines = command_lines(TEXTS[README])
    assert "pip install -r requirements.txt && python app.py" in lines
    assert "pip install -r requirements.txt -r tests/requirements.txt && pytest" in lines


def test_the_readme_is_short() -> None:
    assert len(TEXTS[README].splitlines()) <= 220
    assert README.stat().st_size <= 12 * 1024


@pytest.mark.parametrize("command", RUNNABLE)
def test_a_command_answers(command: str, tmp_path: Path) -> None:
    """It runs in a folder of its own, which keeps what it writes."""
    (tmp_path / "assets").symlink_to(ROOT / "assets", target_is_directory=True)
    words = [sys.executable, *shlex.split(command)[1:]]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_option_exists(document: Path) -> None:
    text = TEXTS[document]
    known = frozenset().union(*map(options_of, COMMANDS)) | OTHER_PROGRAMS
    assert set(OPTION.findall(text)) <= known
    for command, arguments in commands_in(text):
        unknown = set(OPTION.findall(arguments)) - options_of(command)
        assert not unknown, f"{command} has no option {unknown}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for path, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", TEXTS[document]):
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{document.name} links to {path}, which is not there"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
            assert anchor in map(slug, headings), f"{path} has no heading for #{anchor}"


def test_the_readme_leads_to_every_document() -> None:
    for document in DOCUMENTS[1:]:
        assert f"(assets/docs/{document.name}" in TEXTS[README]


def test_the_tree_names_what_is_there_and_every_package() -> None:
    tree = re.search(r"## What is where\n\n```\n(.*?)```", TEXTS[README], re.S)
    assert tree
    folder, named = ROOT, set[Path]()
    for line in tree[1].splitlines():
        words = line.split()
        folder = folder if line.startswith("  ") else ROOT
        paths = [folder / word for word in words if re.fullmatch(r"[\w.-]+(/|\.py|\.md|\.css|\.js)", word)][:2]
        named.update(paths)
        if not line.startswith("  ") and words[0].endswith("/"):
            folder = ROOT / words[0]
    for path in named:
        assert path.exists(), f"the README's tree names {path}, which is not there"
    packages = {path.parent for path in (ROOT / "phi2demo").glob("*/__init__.py")}
    assert packages <= named


def test_the_example_of_tasks_json_can_be_read(tmp_path: Path) -> None:
    (example,) = blocks(TEXTS[README], "json")
    (tmp_path / "tasks.json").write_text(example, encoding="utf-8")
    assert read_adapter_tasks(tmp_path).tasks == tuple(json.loads(example)["tasks"])


def test_every_dependency_has_its_reason() -> None:
    table = TEXTS[README].split("## Why each dependency")[1].split("\n## ")[0]
    named = {name for line in table.splitlines()[4:] for name in line.split("|")[1].split(",") if line.startswith("|")}
    required = re.findall(r"^[\w-]+", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M)
    assert {name.strip() for name in named} == set(required)


def test_the_results_are_those_of_the_report() -> None:
    report = json.loads((ROOT / "assets" / "evaluation" / "report.json").read_text(encoding="utf-8"))
    test_sets = {test_set["name"]: test_set for test_set in report["test_sets"]}
    table = TEXTS[README].split("## Results")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(.*?)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", table, re.M)
    assert len(rows) >= 8
    for name, metric, n, finetuned, base in rows:
        figure = test_sets[name]["figures"][0]
        better = "" if figure["higher_is_better"] else ", lower is better"
        assert (metric, n) == (figure["title"] + better, f"{test_sets[name]['n']:,}")
        for shown, system in ((finetuned, "finetuned"), (base, figure["base"])):
            values = [f"{figure['scores'][system][key]:.{figure['digits']}f}" for key in ("score", "low", "high")]
            assert shown == "{} ({} to {})".format(*values)


@pytest.mark.slow
def test_the_app_answers_within_twenty_seconds() -> None:
    with serving(["app.py"], timeout_s=20):
        pass


@pytest.mark.slow
def test_the_api_is_as_the_documents_say() -> None:
    from gradio_client import Client

    api = TEXTS[ROOT / "assets" / "docs" / "api.md"]
    with serving(["app.py"]) as server:
        client = Client(server.url, verbose=False)
        endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
        parameters = {
            name: [parameter["parameter_name"] for parameter in endpoint["parameters"]]
            for name, endpoint in endpoints.items()
        }
        rows = re.findall(r"^\| `(/\w+)` \| (.*) \|$", api, re.M)
        assert {name: re.findall(r"`(\w+)`", cell) for name, cell in rows} == parameters
        for text in (TEXTS[README], api):
            (example,) = blocks(text, "python")
            code = example.replace("http://127.0.0.1:7860", server.url)
            subprocess.run([sys.executable, "-c", code], check=True, timeout=180, capture_output=True)
