import os
import subprocess
import sys
from pathlib import Path

import pytest

from phi2demo.__main__ import COMMANDS, main
from phi2demo.commands.exit_codes import FAILED, INTERRUPTED, PIPE_CLOSED, exit_code_of
from phi2demo.errors import InputError, SettingsError

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    start = ["-c", code] if code else ["-m", "phi2demo"]
    return subprocess.run(
        [sys.executable, *start, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_help_is_quick_and_names_every_command() -> None:
    before = os.times()
    process = command("--help")
    after = os.times()
    used_s = after.children_user + after.children_system - before.children_user - before.children_system
    assert used_s < 1.0  # of the processor: what the machine does besides does not count
    assert (process.returncode, process.stderr) == (0, "")
    assert all(f"  {name} " in process.stdout for name in COMMANDS)
    assert command().stdout == process.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main([name, "--help"])
    assert exit_info.value.code == 0
    assert f"usage: python -m phi2demo {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["sing"],
        ["generate"],
        ["generate", "hi", "--top-p", "7"],
        ["generate", "hi", "--model", "/nowhere/at/all"],
        ["translate", "hi", "--from", "en", "--to", "en"],
        ["translate", "hi", "--from", "xx"],
        ["answer", "a text"],
        ["answer", "a text", "--question", " "],
        ["replay", "/nowhere.json"],
        ["serve", "--share"],
        ["serve", "--port", "99999"],
        ["pretrain"],
        ["pretrain", "--data", "x", "--output", "y", "--preset", "giant"],
        ["finetune", "--data", "x", "--output", "y", "--mix", "translation"],
    ],
    ids=" ".join,
)
def test_an_error_is_one_line_and_exits_with_2(arguments: list[str]) -> None:
    process = command(*arguments)
    assert process.returncode == 2
    assert process.stdout == ""
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1, process.stderr


def test_app_answers_as_serve_does() -> None:
    process = subprocess.run(
        [sys.executable, "app.py", "--share"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (process.returncode, process.stderr.count("\n")) == (2, 1)
    assert process.stderr.startswith("error: --share puts this page on the internet")


def test_errors_become_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: BaseException) -> int:
        raise error

    assert exit_code_of(lambda: 1) == 1
    assert exit_code_of(lambda: fail(SettingsError("two\nlines"))) == FAILED
    assert capsys.readouterr().err == "error: two lines\n"
    assert exit_code_of(lambda: fail(InputError("é"))) == FAILED
    assert exit_code_of(lambda: fail(KeyboardInterrupt())) == INTERRUPTED
    capsys.readouterr()
    assert exit_code_of(lambda: fail(PermissionError(13, "Permission denied", "runs/report"))) == FAILED
    message = capsys.readouterr().err
    assert message.startswith("error: runs/report cannot be read or written (Permission denied); check that ")
    assert message.count("\n") == 1
    with pytest.raises(ZeroDivisionError):
        exit_code_of(lambda: fail(ZeroDivisionError()))


PRINTING = """
import sys
from phi2demo.commands.exit_codes import exit_code_of
sys.exit(exit_code_of(lambda: [print("x" * 9000) for _ in range(999)] and 0))
"""


def test_a_closed_pipe_is_quiet() -> None:
    reading, writing = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", PRINTING], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    os.read(reading, 100)
    os.close(reading)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (PIPE_CLOSED, b"")


@pytest.mark.parametrize("times", [1, 999])
def test_standard_output_without_room_is_one_line(times: int, tmp_path: Path) -> None:
    """Whether it fails at the end or while the command still writes."""
    limited = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
    with (tmp_path / "out.txt").open("w") as file:
        process = subprocess.run(
            [sys.executable, "-c", limited + PRINTING.replace("999", str(times))],
            cwd=ROOT, stdout=file, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert process.returncode == FAILED
    assert process.stderr == (
        "error: A file, or standard output, cannot be read or written (File too large); "
        "check that it exists and that the disk has space.\n"
    )
