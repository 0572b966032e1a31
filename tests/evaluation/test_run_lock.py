import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from phi2demo.errors import SettingsError
from phi2demo.evaluation.processes import LOCK, run_lock

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from phi2demo.evaluation.processes import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        with (
            pytest.raises(SettingsError, match=rf"Another run writes into .*process {os.getpid()} on .*--output"),
            run_lock(tmp_path),
        ):
            pass
        with run_lock(tmp_path / "other"):
            pass
    with run_lock(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_processes_of_one_run_share_it_and_another_run_is_still_refused(tmp_path: Path) -> None:
    with run_lock(tmp_path) as lock:
        with pytest.raises(SettingsError, match="Another run"), run_lock(tmp_path, joining=True):
            pass
        lock.share()
        with (
            run_lock(tmp_path, joining=True),
            pytest.raises(SettingsError, match="Another run"),
            run_lock(tmp_path),
        ):
            pass
    with run_lock(tmp_path):
        pass


def test_the_lock_of_a_killed_run_is_taken_over(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(SettingsError, match=f"process {holder.pid} on "), run_lock(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait(20)
    assert (tmp_path / LOCK).read_text().startswith(f"process {holder.pid} ")
    with run_lock(tmp_path):
        assert (tmp_path / LOCK).read_text().startswith(f"process {os.getpid()} ")


def test_a_run_that_fails_leaves_no_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), run_lock(tmp_path):
        raise KeyboardInterrupt
    with run_lock(tmp_path):
        pass


def test_what_is_no_folder_to_write_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "locked" / LOCK).mkdir(parents=True)
    for name, reason in (("file", "File exists"), ("file/below", "Not a directory"), ("locked", "Is a directory")):
        message = rf"Nothing can be written into --output .*{name} \({reason}\)\. Give a folder"
        with pytest.raises(SettingsError, match=message), run_lock(tmp_path / name):
            pytest.fail("it was held")
