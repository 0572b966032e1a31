import os
import threading
from pathlib import Path

import pytest

from phi2demo.commands.input_output import open_output
from phi2demo.errors import InputError


def write(target: Path | str, text: str = "new\n") -> None:
    with open_output(str(target)) as file:
        file.write(text)


def test_a_file_is_replaced_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old\n")
    with open_output(str(target)) as file:
        file.write("new\n")
        file.flush()
        assert (target.read_text(), (tmp_path / "out.txt.partial").read_text()) == ("old\n", "new\n")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.txt", "new\n")]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_one(tmp_path: Path, there: bool) -> None:
    (tmp_path / "far").mkdir()
    real, link = tmp_path / "far" / "real.txt", tmp_path / "link.txt"
    if there:
        real.write_text("old\n")
    link.symlink_to(real)
    write(link)
    assert link.is_symlink()
    assert real.read_text() == "new\n"


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_written_into_and_stays_one(tmp_path: Path, linked: bool) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    write(link if linked else pipe)
    assert pipe.is_fifo()  # else its reader waits for ever
    reader.join(timeout=30)
    assert read == ["new\n"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


def test_standard_output_under_its_name_is_not_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("-", "/dev/stdout"):
        write(name)
        assert capsys.readouterr().out == "new\n"


def test_what_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target, reason in ((tmp_path, "Is a directory"), (tmp_path / "file" / "out.txt", "Not a directory")):
        message = rf"{target} cannot be written \({reason}\); check the path\."
        with pytest.raises(InputError, match=message), open_output(str(target)):
            pytest.fail("the work began")
