"""What the README says is run and compared with what is there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import serving

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.splitlines() if line]
ANSWERS = [line for line in COMMANDS if line.startswith("python -m phi2demo ") and "DATA" not in line]


def test_the_two_commands_are_there() -> None:
    assert "pip install -r requirements.txt && python app.py" in COMMANDS
    assert "pip install -r requirements.txt -r tests/requirements.txt && pytest" in COMMANDS


@pytest.mark.parametrize("command", ANSWERS)
def test_a_command_answers(command: str, tmp_path: Path) -> None:
    """In a folder of its own, where what the command writes is not left behind."""
    (tmp_path / "assets").symlink_to(ROOT / "assets", target_is_directory=True)
    words = [sys.executable, *shlex.split(command)[1:]]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.slow
def test_the_app_answers_within_twenty_seconds() -> None:
    with serving(["app.py"], timeout_s=20):
        pass


def test_the_tree_names_what_is_there_and_every_package() -> None:
    tree = re.search(r"## What is where\n\n```\n(.*?)```", README, re.S)
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


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_a_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()
