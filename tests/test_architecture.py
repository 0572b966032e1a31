"""Imports point one way, and importing the package costs nothing."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "phi2demo"

MAY_IMPORT = {
    "errors": set[str](),
    "settings": {"errors"},
    "data": {"errors", "settings"},
    "engine": {"errors", "settings"},
    "tasks": {"errors", "settings", "data", "engine"},
    "emissions": {"errors"},
    "training": {"errors", "settings", "data", "engine", "tasks", "emissions"},
    "evaluation": {"errors", "settings", "data", "engine", "tasks", "training"},
    "explain": {"errors", "settings", "data", "engine", "tasks"},
    "cards": {"errors", "settings", "data", "engine", "tasks", "explain", "evaluation", "training", "emissions"},
    "ui": {"errors", "settings", "data", "engine", "tasks", "explain", "evaluation", "cards", "emissions"},
    "benchmark": {"errors", "settings", "data", "engine", "tasks", "explain", "evaluation", "training"},
    "commands": {
        "errors", "settings", "data", "engine", "tasks", "explain", "evaluation", "training", "emissions", "ui", "cards",
        "benchmark",
    },
    "__main__": {"errors", "commands"},
}  # fmt: skip
"""By room; a room may always import itself."""

NEVER = {
    "engine": {"gradio", "shap", "lime", "sentencex", "lingua"},
    "tasks": {"gradio", "shap", "lime", "torch", "transformers", "peft"},
    "emissions": {"gradio", "shap", "lime", "transformers", "peft"},
    "training": {"gradio", "shap", "lime"},
    "commands": {"torch", "transformers", "peft", "gradio"},
}
"""Packages that a room may not even import inside a function."""

HEAVY = ("torch", "transformers", "peft", "accelerate", "gradio", "shap", "lime")

WITH_TORCH = {
    "phi2demo.engine.copying",
    "phi2demo.engine.decoder",
    "phi2demo.engine.generator",
    "phi2demo.engine.guidance",
    "phi2demo.engine.halting",
    "phi2demo.engine.local",
    "phi2demo.engine.packed_scoring",
    "phi2demo.engine.phi",
    "phi2demo.engine.phi_weights",
    "phi2demo.engine.sampling",
    "phi2demo.engine.scorer",
    "phi2demo.engine.scoring",
    "phi2demo.engine.search",
    "phi2demo.engine.watch",
    "phi2demo.training.optimizers",
}
"""What is made of torch itself, imported once a model is really loaded or trained."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a file imports, inside functions too, but not what only type checkers see."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unseen = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and id(node) not in unseen:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and id(node) not in unseen:
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(name: str) -> str:
    """`phi2demo.tasks.run` is in the room `tasks`; names of `phi2demo` itself are in none."""
    parts = name.split(".")
    room = parts[1] if parts[0] == "phi2demo" and len(parts) > 1 else ""
    return room if room in MAY_IMPORT else ""


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    room = room_of(name_of(path))
    assert room or name_of(path) == "phi2demo", f"{path} is in no room: add it to MAY_IMPORT"
    rooms = {room_of(name) for name in imports(path)} - {"", room}
    assert rooms <= MAY_IMPORT.get(room, set())
    packages = {name.partition(".")[0] for name in imports(path)}
    assert not packages & NEVER.get(room, set())


def test_nothing_but_the_command_line_imports_the_page() -> None:
    users = {name_of(path) for path in modules() if "ui" in {room_of(name) for name in imports(path)}}
    assert {name for name in users if room_of(name) != "ui"} == {"phi2demo.commands.serve"}


def test_app_is_small_and_only_starts_the_page() -> None:
    source = ROOT / "app.py"
    assert len(source.read_text(encoding="utf-8").splitlines()) <= 40
    assert {room_of(name) for name in imports(source)} - {""} == {"commands"}


REPORT = """
import json, sys
from importlib import import_module
heavy, found = json.loads(sys.argv[1]), {}
for name in json.loads(sys.argv[2]):
    import_module(name)
    if loaded := [package for package in heavy if package in sys.modules]:
        found[name] = loaded
        heavy = [package for package in heavy if package not in loaded]
print(json.dumps(found))
"""


def test_importing_loads_nothing_heavy() -> None:
    names = [name_of(path) for path in modules()]
    light = [name for name in names if room_of(name) != "ui" and name not in WITH_TORCH and name != "phi2demo.__main__"]
    done = subprocess.run(
        [sys.executable, "-c", REPORT, json.dumps(HEAVY), json.dumps(light)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert json.loads(done.stdout) == {}
