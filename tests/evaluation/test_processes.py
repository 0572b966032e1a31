"""Real processes under torchrun: equal to one, and nothing lost or counted twice when one of them is killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from phi2demo.errors import SettingsError
from phi2demo.evaluation.processes import ALONE, Processes, joined
from phi2demo.evaluation.run import EvaluationSettings, evaluate
from phi2demo.settings import Launch, keep_one_gpu, launch_from
from tests.tasks.scripted import ScriptedEngine

ROOT = Path(__file__).parents[2]

SCRIPTED = """
import os, signal, sys
from pathlib import Path
from phi2demo.evaluation.run import EvaluationSettings, assist, evaluate
from phi2demo.evaluation.processes import joined
from phi2demo.settings import launch_from
from tests.tasks.scripted import ScriptedEngine

data, output, killed, batches = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])

class Killed(ScriptedEngine):
    def stream(self, prompts, options, *, cancel=None):
        if processes.index == killed and len(self.batches) >= batches:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().stream(prompts, options, cancel=cancel)

with joined(launch_from()) as processes:
    engine = Killed()
    settings = EvaluationSettings(data, output, resamples=100, batch_size=2, baselines=False)
    if processes.first:
        evaluate(engine, settings, weights={}, processes=processes)
    else:
        assist(engine, settings, processes=processes)
asked = sum(map(len, engine.batches))
os.write(1, f"ASKED {asked}\\n".encode())  # in one piece: under torchrun the parts of a print mix with those of others
"""


def launch(arguments: list[str], *, processes: int) -> subprocess.CompletedProcess[str]:
    """Started as a person does; every process computes with one thread, as torchrun has it."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *(launcher if processes > 1 else []), *arguments]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes) as process:
        try:
            out, err = process.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # else the launcher's processes would go on
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def outputs(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Every answer by file, without its time."""
    result = {}
    for path in sorted((folder / "outputs").iterdir()):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        result[path.name] = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    return result


def figures(folder: Path) -> list[Any]:
    test_sets = json.loads((folder / "report.json").read_text())["test_sets"]
    return [{name: m[name] for name in ("name", "n", "unanswered", "figures", "slices")} for m in test_sets]


@pytest.mark.slow
def test_two_processes_equal_one(data: Path, tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    given = ["-m", "phi2demo", "evaluate", "--data", str(data), "--model", str(tiny_base), "--device", "cpu"]
    given += ["--adapter", str(tiny_adapter), "--batch-size", "1", "--resamples", "100", "--no-baselines"]
    given += ["--limit", "3", "--test-sets", "translation.pairs.en-de,sentiment.reviews,prose.tales"]
    for processes, name in ((1, "one"), (2, "two")):
        done = launch([*given, "--output", str(tmp_path / name)], processes=processes)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("| sentiment.reviews | accuracy |") == 1  # the first alone reports
    assert outputs(tmp_path / "two") == outputs(tmp_path / "one")
    assert figures(tmp_path / "two") == figures(tmp_path / "one")
    told = [json.loads((tmp_path / name / "report.json").read_text())["environment"] for name in ("one", "two")]
    assert [item["processes"] for item in told] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize(("killed", "afterwards"), [(0, 1), (1, 3)])
def test_kill_9_of_either_and_rerun_by_another_number(data: Path, tmp_path: Path, killed: int, afterwards: int) -> None:
    """The answers of both are kept, whoever was killed and however many go on."""
    script = [str(tmp_path / "scripted_run.py")]
    (tmp_path / "scripted_run.py").write_text(SCRIPTED)
    broken = launch([*script, str(data), str(tmp_path / "report"), str(killed), "5"], processes=2)
    assert broken.returncode != 0
    assert "SIGKILL" in broken.stderr or f"-{signal.SIGKILL.value}" in broken.stderr
    kept = sum(len(path.read_bytes().splitlines()) - 1 for path in (tmp_path / "report" / "outputs").iterdir())
    assert kept >= 10  # five batches of two at least, by the one that was killed
    again = launch([*script, str(data), str(tmp_path / "report"), "-1", "0"], processes=afterwards)
    assert again.returncode == 0, again.stderr
    engine = ScriptedEngine()
    settings = EvaluationSettings(data, tmp_path / "fresh", resamples=100, batch_size=2, baselines=False)
    evaluate(engine, settings, weights={})
    assert outputs(tmp_path / "report") == outputs(tmp_path / "fresh")
    assert figures(tmp_path / "report") == figures(tmp_path / "fresh")
    assert asked(again) < sum(map(len, engine.batches))
    assert len(again.stdout.splitlines()) == afterwards


def asked(done: subprocess.CompletedProcess[str]) -> int:
    """Prompts, over all processes."""
    return sum(int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("ASKED"))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_all_there_is_to_do(count: int) -> None:
    things = list(range(11))
    shares = [Processes(index, count).share(things) for index in range(count)]
    assert sorted(item for share in shares for item in share) == things
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_process_is_alone_and_waits_for_none() -> None:
    with joined(launch_from({})) as processes:
        assert processes == ALONE
        processes.wait()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "x"}, "RANK is 'x'"),
        ({"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}, "RANK is 2 of a WORLD_SIZE of 2"),
        ({"WORLD_SIZE": "2"}, "MASTER_ADDR is not"),
    ],
)
def test_a_launch_that_is_none_is_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=f"{message}.*torchrun"):
        launch_from(environment)


@pytest.mark.parametrize(
    ("visible", "local", "count", "expected"),
    [(None, 0, 2, "0"), (None, 3, 2, "1"), ("4,6", 1, 2, "6"), ("4, 6", 1, 2, "6"), ("4,6", 0, 0, "4,6")],
)
def test_each_process_sees_one_gpu(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, local: int, count: int, expected: str
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    keep_one_gpu(Launch(local, 8, local), count)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == expected


def test_an_answer_does_not_depend_on_what_was_asked_before(
    data: Path, tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    """Else shares and resumed runs differ in the last digits: scoring keeps what prompts have in common."""
    from phi2demo.data.test_sets import read_test_sets, select
    from phi2demo.engine.local import LocalEngine
    from phi2demo.engine.planning import plan
    from phi2demo.evaluation.run import ask, make_jobs
    from phi2demo.settings import ModelSettings

    settings = ModelSettings(model=str(tiny_base), adapter=str(tiny_adapter), device="cpu", dtype="float32")
    engine = LocalEngine.load(plan(settings))
    test_sets = select(read_test_sets(data)[0], names=["sentiment.reviews", "prose.tales"])
    whole, rest = (
        make_jobs(engine, test_sets, ("base_plain", "finetuned"), output=tmp_path / name, seed=0, batch_size=2)
        for name in ("whole", "rest")
    )
    ask(whole, ALONE)
    for job in rest:
        first, *_ = job.batches
        engine.forget()
        job.open().add(first, job.system.answer([job.test_set.items[index] for index in first]), 0.0)
    ask(rest, ALONE)
    assert outputs(tmp_path / "rest") == outputs(tmp_path / "whole")
