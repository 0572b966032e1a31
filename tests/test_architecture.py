"""Imports point one way, and importing the package costs nothing."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from phi2demo import errors

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "phi2demo"

MAY_IMPORT = {
    "errors": "",
    "settings": "errors",
    "data": "errors settings",
    "engine": "errors settings",
    "emissions": "errors settings",
    "tasks": "errors settings data engine",
    "explain": "errors settings data engine tasks",
    "training": "errors settings data engine tasks emissions",
    "evaluation": "errors settings data engine tasks emissions",
    "audit": "errors settings data engine tasks emissions evaluation",
    "cards": "errors settings data engine tasks emissions evaluation audit training",
    "benchmark": "errors settings data engine tasks emissions evaluation audit training explain cards",
    "ui": "errors settings data engine tasks emissions evaluation audit explain cards",
    "commands": "errors settings data engine tasks emissions evaluation audit training explain cards benchmark ui",
    "__main__": "errors commands",
}
"""Which packages a package may import besides itself."""

NEVER = {
    "engine": {"gradio", "shap", "lime", "sentencex", "lingua"},
    "tasks": {"gradio", "shap", "lime", "torch", "transformers", "peft"},
    "emissions": {"gradio", "shap", "lime", "transformers", "peft"},
    "training": {"gradio", "shap", "lime"},
    "commands": {"torch", "transformers", "peft", "gradio"},
}
"""Libraries that a package may not even import inside a function."""

HEAVY = ("torch", "transformers", "peft", "accelerate", "gradio", "shap", "lime")

WITH_TORCH = {
    "phi2demo.engine.batch",
    "phi2demo.engine.decoder",
    "phi2demo.engine.cancellation",
    "phi2demo.engine.local",
    "phi2demo.engine.onnx_model",
    "phi2demo.engine.phi",
    "phi2demo.engine.phi_weights",
    "phi2demo.engine.sampling",
    "phi2demo.engine.scoring",
    "phi2demo.engine.search",
    "phi2demo.engine.transformers_model",
    "phi2demo.engine.watch",
    "phi2demo.training.optimizers",
}
"""What is made of torch itself, imported once a model is really loaded or trained."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a file imports, inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(name: str) -> str:
    """`phi2demo.tasks.run` is in the package `tasks`; names of `phi2demo` itself are in none."""
    parts = name.split(".")
    package = parts[1] if parts[0] == "phi2demo" and len(parts) > 1 else ""
    return package if package in MAY_IMPORT else ""


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    package = package_of(name_of(path))
    assert package or name_of(path) == "phi2demo", f"{path} is in no package of MAY_IMPORT"
    imported = {package_of(name) for name in imports(path)} - {"", package}
    assert imported <= set(MAY_IMPORT.get(package, "").split())
    libraries = {name.partition(".")[0] for name in imports(path)}
    assert not libraries & NEVER.get(package, set())


def test_no_module_imports_itself_by_way_of_others() -> None:
    known = {name_of(path) for path in modules()}
    edges = {name_of(path): {name for name in imports(path) if name in known} - {name_of(path)} for path in modules()}
    while leaves := {name for name, imported in edges.items() if not imported & edges.keys()}:
        edges = {name: imported for name, imported in edges.items() if name not in leaves}
    assert not edges, f"these modules import each other, directly or not: {', '.join(sorted(edges))}"


def test_no_tab_imports_another() -> None:
    tabs = ("task", "explain", "compare", "evaluate", "model")
    for path in (PACKAGE / "ui").glob("*.py"):
        own = next((tab for tab in tabs if path.stem.startswith(f"{tab}_")), None)
        if own:
            names = [name.removeprefix("phi2demo.ui.") for name in imports(path) if name.startswith("phi2demo.ui.")]
            assert not [name for name in names for tab in tabs if tab != own and name.startswith(f"{tab}_")], path.name


def test_nothing_but_the_command_line_imports_the_page() -> None:
    users = {name_of(path) for path in modules() if "ui" in {package_of(name) for name in imports(path)}}
    assert {name for name in users if package_of(name) != "ui"} == {"phi2demo.commands.serve"}


def test_app_is_small_and_only_starts_the_page() -> None:
    source = ROOT / "app.py"
    assert len(source.read_text(encoding="utf-8").splitlines()) <= 40
    assert {package_of(name) for name in imports(source)} - {""} == {"commands"}


def test_only_the_settings_read_or_change_the_environment() -> None:
    names = {"environ", "environb", "getenv", "putenv", "unsetenv"}
    users = {name_of(path) for path in modules() if names & {name.removeprefix("os.") for name in names_in(path)}}
    assert users == {"phi2demo.settings"}


def names_in(path: Path) -> Iterator[str]:
    """Every attribute of a name that a file uses, such as `os.environ`, and all that it imports."""
    yield from imports(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


def test_every_exception_is_in_errors_unless_it_is_private_to_its_module() -> None:
    """A private one may steer what happens inside a module; no other module can name it."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            bases = [ast.unparse(base) for base in node.bases] if isinstance(node, ast.ClassDef) else []
            if any(base.endswith(("Error", "Exception")) for base in bases):
                assert name_of(path) == "phi2demo.errors" or node.name.startswith("_"), f"{node.name} in {path.name}"


def test_all_errors_are_one_tree() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert {value for value in classes if not issubclass(value, errors.Phi2DemoError)} == set()
    assert all(value.__name__ in (errors.__doc__ or "") for value in classes)


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
    light = [
        name for name in names if package_of(name) != "ui" and name not in WITH_TORCH and name != "phi2demo.__main__"
    ]
    done = subprocess.run(
        [sys.executable, "-c", REPORT, json.dumps(HEAVY), json.dumps(light)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert json.loads(done.stdout) == {}
