from pathlib import Path

import pytest

from phi2demo.errors import DataError, SettingsError
from phi2demo.evaluation.outputs import Answer, OutputFile, read_outputs

BATCHES = [[3, 1], [0, 4], [2]]


def filled(path: Path, batches: int) -> OutputFile:
    file = OutputFile(path, prompts_hash="this", batches=BATCHES)
    for batch in BATCHES[:batches]:
        file.add(batch, [Answer(f"answer\u2028{index}", {"new_tokens": index}) for index in batch], 1.0)
    return file


def test_answers_read_back_in_the_order_of_the_items(tmp_path: Path) -> None:
    filled(tmp_path / "x.jsonl", 3)
    file = OutputFile(tmp_path / "x.jsonl", prompts_hash="this", batches=BATCHES)
    assert file.missing == []
    assert [output.output for output in file.outputs] == [f"answer\u2028{index}" for index in range(5)]
    assert [output.seconds for output in file.outputs] == [0.5, 0.5, 1.0, 0.5, 0.5]
    assert file.outputs[3].details == {"new_tokens": 3}


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1e", "\r", "\n", "\r\n"])
def test_answers_with_any_line_break_are_read_without_the_questions(tmp_path: Path, character: str) -> None:
    path = tmp_path / "x.jsonl"
    file = OutputFile(path, prompts_hash="this", batches=[[0, 1]])
    file.add([0, 1], [Answer(f"one{character}two", {}), Answer(character, {})], 1.0)
    assert read_outputs(path) == {0: f"one{character}two", 1: character}


@pytest.mark.parametrize("text", ["{}\n[1]\n", "{}\nno JSON\n", '{}\n{"index": 1}\n', '{}\n{"index": 1, "out'])
def test_what_holds_no_answers_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"x\.jsonl holds no answers .* Run python -m phi2demo evaluate again"):
        read_outputs(tmp_path / "x.jsonl")


def test_wherever_a_run_is_killed_no_answer_is_lost_or_counted_twice(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    filled(path, 3)
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        file = OutputFile(path, prompts_hash="this", batches=BATCHES)
        lines = max(0, whole[:size].count(b"\n") - 1)
        assert file.missing == BATCHES[(lines >= 2) + (lines >= 4) + (lines >= 5) :]
        for batch in list(file.missing):
            file.add(batch, [Answer(f"answer\u2028{index}", {"new_tokens": index}) for index in batch], 1.0)
        assert path.read_bytes() == whole


def test_parts_of_other_processes_are_put_in_order(tmp_path: Path) -> None:
    """Whatever of them is torn, and also where a kill left a part that is in the file already."""
    path = tmp_path / "x.jsonl"
    filled(path, 3)
    whole = path.read_bytes()
    path.unlink()
    OutputFile(path, prompts_hash="this", batches=BATCHES)
    files = [OutputFile(path, prompts_hash="this", batches=BATCHES, part=part) for part in range(3)]
    for file, batch in zip(files, reversed(BATCHES), strict=True):
        assert file.missing == BATCHES
        file.add(batch, [Answer(f"answer\u2028{index}", {"new_tokens": index}) for index in batch], 1.0)
    kept = (tmp_path / "x.jsonl.part2").read_bytes()
    file = OutputFile(path, prompts_hash="this", batches=BATCHES, part=5)
    assert file.missing == []
    assert len(list(tmp_path.iterdir())) == 3  # only the first process puts them in order
    assert OutputFile(path, prompts_hash="this", batches=BATCHES).missing == []
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "x.jsonl.part2").write_bytes(kept)
    (tmp_path / "x.jsonl.part1").write_bytes(kept[:-5])
    (tmp_path / "x.jsonl.part3").write_bytes(b'{"ask')
    assert len(OutputFile(path, prompts_hash="this", batches=BATCHES).outputs) == 5
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_answers_to_other_questions_are_refused(tmp_path: Path) -> None:
    filled(tmp_path / "x.jsonl", 1)
    with pytest.raises(SettingsError, match=r"x\.jsonl holds answers to other questions.*--output"):
        OutputFile(tmp_path / "x.jsonl", prompts_hash="that", batches=BATCHES)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    filled(tmp_path / "x.jsonl", 3)
    lines = (tmp_path / "x.jsonl").read_bytes().splitlines(keepends=True)
    lines[2] = b"garbage\n"
    (tmp_path / "x.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(DataError, match=r"x\.jsonl, line 3"):
        OutputFile(tmp_path / "x.jsonl", prompts_hash="this", batches=BATCHES)
