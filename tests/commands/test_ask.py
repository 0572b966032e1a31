""""""

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from phi2demo.commands import arguments, ask, replay
from phi2demo.engine.engine import AdapterInfo
from phi2demo.errors import InputError, ModelError, Phi2DemoError, SettingsError
from phi2demo.settings import ModelSettings
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.run import SETTINGS_UNKNOWN
from tests.tasks.scripted import BARE, INFO, ScriptedEngine

Ask = Callable[..., str]


class Loader:
    """Stands for loading a model: gives the scripted engine, and remembers what was asked for."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine, self.asked = engine, list[ModelSettings]()

    def __call__(self, settings: ModelSettings) -> ScriptedEngine:
        self.asked.append(settings)
        return self.engine


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> Loader:
    for name in ("MODEL", "ADAPTER", "REVISION", "ADAPTER_REVISION", "BASE", "DEVICE", "DTYPE"):
        monkeypatch.delenv(f"PHI2DEMO_{name}", raising=False)
    return Loader(ScriptedEngine())


@pytest.fixture
def say(loader: Loader, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command, give what it printed."""

    def run(command: str, *argv: str) -> str:
        assert ask.main(command, argv, load_engine=loader) == 0
        return capsys.readouterr().out

    return run


def test_each_command_prints_its_answer(say: Ask) -> None:
    assert say("generate", "once upon a time") == "ONCE UPON A TIME\n"
    assert say("summarize", "a text") == "A TEXT\n"
    assert say("translate", "one.\n\n  two. three.") == "ONE.\n\n  TWO. THREE.\n"
    assert say("classify", "a negative one") == "negative\n"
    assert say("answer", "some text", "--question", "what?") == "SOME TEXT\n"


def test_200_lines_in_200_lines_out(say: Ask, tmp_path: Path) -> None:
    lines = [f"line {n}, and more" if n % 9 else "  " for n in range(200)]
    source, target = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for command in ("translate", "summarize", "generate"):
        assert say(command, "--input", str(source), "--output", str(target)) == ""
        assert target.read_text(encoding="utf-8") == "\n".join(line.strip().upper() for line in lines) + "\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "out.txt"]


def test_a_line_break_in_an_answer_becomes_a_space_and_json_keeps_it(loader: Loader, tmp_path: Path, say: Ask) -> None:
    loader.engine = ScriptedEngine(lambda prompt: "one\n\n two\u2028three")
    source = tmp_path / "in.txt"
    source.write_text("a\r\n\r\nb", encoding="utf-8")
    assert say("generate", "--input", str(source)) == "one two three\n\none two three\n"
    first, blank, last = map(json.loads, say("generate", "--input", str(source), "--json").strip().split("\n"))
    assert first["text"] == last["text"] == "one\n\n two\u2028three"
    assert (blank["text"], blank["receipt"]) == ("", None)


def test_json_of_one_text_has_a_receipt_that_reads_back(say: Ask) -> None:
    answer = json.loads(say("translate", "Hello there.", "--json", "--seed", "7"))
    receipt = Receipt.from_json(json.dumps(answer["receipt"]))
    assert (answer["text"], answer["variant"], receipt.seed) == ("HELLO THERE.", "finetuned", 7)
    assert receipt.output == answer["text"]


def test_both_models_are_labelled(say: Ask, tmp_path: Path) -> None:
    assert say("generate", "hi", "--variant", "both") == "finetuned: HI\nbase: HI!\n"
    both = json.loads(say("generate", "hi", "--variant", "both", "--json"))
    assert [answer["variant"] for answer in both] == ["finetuned", "base"]
    source = tmp_path / "in.txt"
    source.write_text("a\n\nb\n", encoding="utf-8")
    lines = say("generate", "--input", str(source), "--variant", "both").split("\n")
    assert lines == ["finetuned: A", "base: A!", "", "", "finetuned: B", "base: B!", ""]
    assert len(say("generate", "--input", str(source), "--variant", "both", "--json").strip().split("\n")) == 6


def test_a_bare_base_answers_as_base(loader: Loader, say: Ask) -> None:
    loader.engine = ScriptedEngine(info=BARE)
    assert say("generate", "hi") == "HI!\n"
    with pytest.raises(SettingsError, match="There is no finetuned model here"):
        say("generate", "hi", "--variant", "both")


def test_the_base_is_asked_as_its_folder_tells_or_as_said(loader: Loader, say: Ask, tmp_path: Path) -> None:
    (tmp_path / "pretraining.json").write_text("{}", encoding="utf-8")
    for info, given, asked in (
        (BARE, [], "Instruct: Summarize the following text in one sentence.\nhi\nOutput:"),
        (BARE, ["--base-prompt-style", "plain"], "<|endoftext|>hi\n\nIn short:"),
        (replace(BARE, base_folder=tmp_path), [], "<|endoftext|>hi\n\nIn short:"),
        (
            replace(BARE, base_folder=tmp_path),
            ["--base-prompt-style", "template"],
            "Instruct: Summarize the following text in one sentence.\nhi\nOutput:",
        ),
    ):
        loader.engine = ScriptedEngine(info=info)
        say("summarize", "hi", *given)
        assert loader.engine.batches[0][0].text == asked


def test_options_reach_the_engine(loader: Loader, say: Ask) -> None:
    options = "--max-new-tokens 9 --temperature 0.5 --top-p 0.9 --top-k 5 --repetition-penalty 1.2 --time-limit 7.5"
    say("generate", "hi", *options.split(), "--stop", "END", "--stop", ".", "--seed", "3", "--mode", "instruct")
    (used,) = loader.engine.options
    assert (used.max_new_tokens, used.temperature, used.top_p, used.top_k) == (9, 0.5, 0.9, 5)
    assert used.repetition_penalty == 1.2
    assert used.time_limit_s == pytest.approx(7.5, abs=0.5)
    assert used.stop[:2] == ("END", ".")
    ((prompt,),) = loader.engine.batches
    assert (prompt.seed, prompt.text) == (3, "Instruct: hi\nOutput:")
    say("generate", "hi", "--num-beams", "4", "--temperature", "0")
    assert loader.engine.options[1].num_beams == 4
    say("translate", "hi", "--num-beams", "2", "--reverse-weight", "0.5", "--guidance-scale", "2")
    assert loader.engine.options[2].guidance_scale == 2.0
    assert loader.engine.options[2].reverse_weight == 0.5
    say("generate", "hi", "--adapter-strength", "0.5")
    assert loader.engine.options[3].adapter_strength == 0.5


def test_a_text_in_capitals_is_read_as_typed_or_as_a_sentence(loader: Loader, say: Ask) -> None:
    for given, read in (
        ((), "WHERE IS IT?"),
        (("--sentence-case",), "Where is it?"),
        (("--no-sentence-case",), "WHERE IS IT?"),
    ):
        say("translate", "WHERE IS IT?", *given)
        ((prompt,),) = loader.engine.batches[-1:]
        assert prompt.text.endswith(f"\n{read}\nOutput:")
    with pytest.raises(SettingsError, match="unrecognized arguments: --sentence-case"):
        say("generate", "ONCE", "--sentence-case")


def test_a_label_is_chosen_at_the_strength_asked_for(loader: Loader, say: Ask) -> None:
    said = json.loads(say("classify", "a negative one", "--adapter-strength", "0.5", "--json"))
    assert loader.engine.strengths == [0.5] == [said["receipt"]["generation"]["adapter_strength"]]
    with pytest.raises(SettingsError, match="unrecognized arguments: --num-beams"):
        say("classify", "a negative one", "--num-beams", "2")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([], "from English to German"),
        (["--from", "de"], "from German to English"),
        (["--to", "en"], "from German to English"),
        (["--to", "fr"], "from English to French"),
        (["--from", "es", "--to", "it"], "from Spanish to Italian"),
    ],
)
def test_languages(loader: Loader, say: Ask, given: list[str], named: str) -> None:
    say("translate", "hi", *given)
    assert named in loader.engine.batches[0][0].text


def test_the_adapter_says_how_it_is_asked(loader: Loader, say: Ask, tmp_path: Path) -> None:
    from dataclasses import replace

    tasks = {"generation": {"modes": ["instruct"]}, "summarization": {"lengths": ["sentence"]}}
    (tmp_path / "tasks.json").write_text(json.dumps({"tasks": tasks}))
    loader.engine = ScriptedEngine(info=replace(loader.engine.info, adapter_folder=tmp_path))
    say("generate", "hi")
    assert loader.engine.batches[0][0].text == "Instruct: hi\nOutput:"
    assert json.loads(say("summarize", "hi", "--length", "short", "--json"))["receipt"]["options"]["by_parts"] is True


def test_the_adapter_says_how_its_tokens_are_chosen(loader: Loader, say: Ask, tmp_path: Path) -> None:
    """What is said on the command line counts more."""
    from dataclasses import replace

    decoding = {"num_beams": 5, "copy_bias": 1.5}
    (tmp_path / "tasks.json").write_text(json.dumps({"tasks": {"summarization": {"decoding": decoding}}}))
    loader.engine = ScriptedEngine(info=replace(loader.engine.info, adapter_folder=tmp_path))
    say("summarize", "hi")
    say("summarize", "hi", "--num-beams", "2")
    say("summarize", "hi", "--copy-bias", "0")
    used = [(options.num_beams, options.copy_bias) for options in loader.engine.options]
    assert used == [(5, 1.5), (2, 1.5), (5, 0.0)]


def test_which_model(loader: Loader, say: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHI2DEMO_ADAPTER", "from/environment")
    monkeypatch.setenv("PHI2DEMO_DEVICE", "nonsense")
    say("generate", "hi", "--model", "some/model", "--revision", "r1", "--device", "cpu", "--dtype", "float32")
    (settings,) = loader.asked
    assert settings == ModelSettings("some/model", "from/environment", "r1", None, "cpu", "float32", settings.token)


REFUSED = {
    "nothing": ([], SettingsError, "Give a text"),
    "two things": (["hi", "--input", "x"], SettingsError, "Give a text"),
    "empty": ([""], InputError, "empty"),
    "spaces": (["  "], InputError, "empty"),
    "unknown option": (["hi", "--colour", "red"], SettingsError, "unrecognized arguments: --colour red"),
    "abbreviation": (["hi", "--temp", "1"], SettingsError, "unrecognized"),
    "out of range": (["hi", "--temperature", "9"], SettingsError, "temperature is 9.0"),
    "no number": (["hi", "--top-k", "many"], SettingsError, "invalid int value: 'many'"),
    "beams": (["hi", "--num-beams", "2", "--temperature", "1"], SettingsError, "Beam search"),
    "seed": (["hi", "--seed", "-1"], SettingsError, "The seed is -1"),
    "no file": (["--input", "/nowhere/x"], InputError, "/nowhere/x cannot be read"),
    "device": (["hi", "--device", "tpu"], SettingsError, "invalid choice: 'tpu'"),
    "empty model": (["hi", "--model", ""], SettingsError, "--model is empty"),
    "surrogate": (["a\udcff"], InputError, "not valid Unicode"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_come_before_a_model_is_loaded(loader: Loader, say: Ask, case: str) -> None:
    argv, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        say("generate", *argv)
    assert loader.asked == []


def test_a_bad_line_is_named(loader: Loader, say: Ask, tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_bytes(b"good\n\nnot \x00 good\n")
    with pytest.raises(InputError, match=r"^line 3: The text holds NUL bytes"):
        say("generate", "--input", str(source))
    assert loader.asked == []
    source.write_bytes(b"good\n\xff\xfe\n")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        say("generate", "--input", str(source))


def test_what_was_answered_before_an_error_is_kept_aside(say: Ask, tmp_path: Path) -> None:
    source, target = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("one\n" + "far too long " * 300 + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"^line 2: The text has \d+ tokens"):
        say("generate", "--input", str(source), "--output", str(target))
    assert not target.exists()
    assert (tmp_path / "out.txt.partial").read_text() == "ONE\n"


def test_an_output_that_cannot_be_written(say: Ask, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        say("generate", "hi", "--output", str(tmp_path / "no" / "folder" / "x"))


def test_pipes(say: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    for argv, expected in ((["-"], "A\nB\n"), (["--input", "-", "--output", "-"], "A\nB\n")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n")))
        assert say("translate", *argv).rstrip() == expected.rstrip()


class Terminal(io.StringIO):
    """A screen that keeps every write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)

    def isatty(self) -> bool:
        return True


def test_text_streams_to_a_terminal(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    ask.main("generate", ["once upon a time"], load_engine=loader)
    assert screen.getvalue() == "ONCE UPON A TIME\n"
    assert [text for text in screen.writes if text.strip()] == ["ONCE", " UPON", " A", " TIME"]


def test_summaries_of_summaries_do_not_stream(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    loader.engine = ScriptedEngine(lambda prompt: " " + " ".join(prompt.text.split()[-4:-1]))
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    ask.main("summarize", ["Some words are here. " * 300], load_engine=loader)
    assert [text for text in screen.writes if text.strip()] == ["words are here."]


def test_notes_go_to_standard_error(loader: Loader, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask.main("translate", ["one two three", "--max-new-tokens", "2"], load_engine=loader)
    printed = capsys.readouterr()
    assert printed.out == "ONE TWO\n"
    assert printed.err == (
        "note: It ends where the limit of new tokens was reached; raise it (Options, or --max-new-tokens).\n"
    )
    source = tmp_path / "in.txt"
    source.write_text("a\nb c d\n", encoding="utf-8")
    ask.main("translate", ["--input", str(source), "--max-new-tokens", "2"], load_engine=loader)
    assert "note: line 2: It ends where" in capsys.readouterr().err


def receipt_file(say: Ask, folder: Path, *argv: str) -> Path:
    path = folder / "receipt.json"
    path.write_text(say("generate", "once upon a time", "--json", *argv), encoding="utf-8")
    return path


def test_replay_says_the_same(loader: Loader, say: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = receipt_file(say, tmp_path, "--temperature", "1", "--stop", "END")
    assert replay.main("replay", [str(path)], load_engine=loader) == 0
    assert capsys.readouterr().out == "same: ONCE UPON A TIME\n"
    path.write_text(json.dumps(json.loads(path.read_text())["receipt"]))
    assert replay.main("replay", [str(path), "--json"], load_engine=loader) == 0
    assert json.loads(capsys.readouterr().out)["same"] is True


def test_replay_takes_all_that_json_writes(
    loader: Loader, say: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, lines = receipt_file(say, tmp_path, "--variant", "both"), tmp_path / "in.txt"
    assert replay.main("replay", [str(path)], load_engine=loader) == 0
    assert capsys.readouterr().out == "same: ONCE UPON A TIME\nsame: ONCE UPON A TIME!\n"
    lines.write_text("one\n\ntwo\n")
    path.write_text(say("generate", "--input", str(lines), "--json"))
    assert replay.main("replay", [str(path), "--json"], load_engine=loader) == 0
    assert [(item["same"], item["text"]) for item in json.loads(capsys.readouterr().out)] == [
        (True, "ONE"), (True, "TWO"),
    ]  # fmt: skip
    loader.engine = ScriptedEngine(lambda prompt: " ONE")
    assert replay.main("replay", [str(path)], load_engine=loader) == replay.DIFFERS
    assert capsys.readouterr().out == "same: ONE\ndiffers: ONE\nreceipt: TWO\n"


def test_replay_says_where_it_differs(
    loader: Loader, say: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = receipt_file(say, tmp_path)
    loader.engine = ScriptedEngine(lambda prompt: " something else")
    assert replay.main("replay", [str(path)], load_engine=loader) == replay.DIFFERS
    assert capsys.readouterr().out == "differs: something else\nreceipt: ONCE UPON A TIME\n"


def test_replay_says_what_an_old_receipt_leaves_open(
    loader: Loader, say: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = receipt_file(say, tmp_path)
    loader.engine = ScriptedEngine(info=replace(INFO, adapter_revision=f"{INFO.adapter_revision}-11111111"))
    assert replay.main("replay", [str(path)], load_engine=loader) == 0
    printed = capsys.readouterr()
    assert printed.out == "same: ONCE UPON A TIME\n"
    assert printed.err == f"note: {SETTINGS_UNKNOWN}\n"


def test_replay_refuses_another_model_and_what_is_no_receipt(loader: Loader, say: Ask, tmp_path: Path) -> None:
    path = receipt_file(say, tmp_path)
    loader.engine = ScriptedEngine(info=BARE)
    with pytest.raises(ModelError, match="tiny-adapter bbbbbbbbbbbb"):
        replay.main("replay", [str(path)], load_engine=loader)
    for garbage in ("", "{}", "[]", "null", '{"receipt": {"format": 1}}', "[" * 100_000):
        path.write_text(garbage)
        with pytest.raises(InputError):
            replay.main("replay", [str(path)], load_engine=loader)


def test_replay_says_of_which_adapter_a_task_is_that_nobody_declares(loader: Loader, say: Ask, tmp_path: Path) -> None:
    path = receipt_file(say, tmp_path)
    answer = json.loads(path.read_text())
    answer["receipt"]["task"] = "urgency"
    path.write_text(json.dumps(answer))
    asked = len(loader.asked)
    with pytest.raises(
        SettingsError, match=r"the task 'urgency', .* with adapter tiny-adapter bbbb.*\. Start with --adapter"
    ):
        replay.main("replay", [str(path)], load_engine=loader)
    assert len(loader.asked) == asked, "no model was loaded for it"


def test_replay_loads_a_model_of_the_hub_that_the_receipt_names(loader: Loader, say: Ask, tmp_path: Path) -> None:
    path = receipt_file(say, tmp_path)
    answer = json.loads(path.read_text())
    answer["receipt"]["base"] = "microsoft/phi-2"
    path.write_text(json.dumps(answer))
    replay.main("replay", [str(path)], load_engine=loader)
    replay.main("replay", [str(path), "--model", "other"], load_engine=loader)
    assert [(s.model, s.revision) for s in loader.asked[-2:]] == [("microsoft/phi-2", "aaaaaaaaaaaa"), ("other", None)]


def test_errors_are_ours() -> None:
    assert issubclass(SettingsError, Phi2DemoError)


def test_three_models_are_labelled(loader: Loader, say: Ask) -> None:
    loader.engine = ScriptedEngine(
        info=replace(INFO, others=(AdapterInfo("second", "tiny-second", "cccccccccccc", 2),))
    )
    said = say(
        "generate",
        "hi",
        "--variant",
        "all",
        "--adapter",
        "first",
        "--adapter",
        "second",
        "--adapter-revision",
        "",
        "--adapter-revision",
        "main",
    )
    assert said == "finetuned: HI\nbase: HI!\nsecond: HI!\n"
    assert (loader.asked[-1].other_adapters, loader.asked[-1].other_revisions) == (("second",), ("main",))
    assert say("generate", "hi", "--variant", "second", "--adapter", "first", "--adapter", "second") == "HI!\n"
    assert (
        say("generate", "hi", "--variant", "both", "--adapter", "first", "--adapter", "second")
        == "finetuned: HI\nbase: HI!\n"
    )


def test_a_task_that_the_second_adapter_alone_declares_is_asked(
    tiny_base: Path, tiny_adapter: Path, tiny_second: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (Path(shutil.copytree(adapter, tmp_path / adapter.name)) for adapter in (tiny_adapter, tiny_second))
    entry = {
        "instruction": "Pick one for {who}.\n{text}",
        "fields": {"who": {}},
        "output": "label",
        "labels": ["a", "b"],
    }
    (second / "tasks.json").write_text(json.dumps({"tasks": {"pick": entry}}))
    model = ["--model", str(tiny_base), "--adapter", str(first), "--adapter", str(second), "--device", "cpu"]
    asked = ["pick", "Which?", "--field", "who=Tom", *model, "--json", "--variant"]
    assert ask.main("ask", [*asked, "tiny-second"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["text"] in ("a", "b")
    assert answer["receipt"]["prompt"] == "Instruct: Pick one for Tom.\nWhich?\nOutput:"
    assert (answer["variant"], answer["receipt"]["adapter"], answer["notes"]) == ("tiny-second", "tiny-second", [])
    assert ask.main("ask", [*asked, "finetuned"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == ["This adapter was not finetuned for pick."]


def test_what_each_adapter_was_finetuned_for_counts_for_its_own_answer(
    loader: Loader, say: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tasks.json").write_text('{"tasks": {"translation": {"languages": ["en", "fr"]}}}')
    second = AdapterInfo("second", "tiny-second", "cccccccccccc", 2, tmp_path)
    loader.engine = ScriptedEngine(info=replace(INFO, others=(second,)))
    asked = ("generate", "hi", "--adapter", "first", "--adapter", "second", "--variant")
    assert ask.main(asked[0], [*asked[1:], "all"], load_engine=loader) == 0
    assert capsys.readouterr().err == "note: second: This adapter was not finetuned for generation.\n"
    source = tmp_path / "in.txt"
    source.write_text("hi\n")
    lines = ["--input", str(source), *asked[2:], "all", "--json"]
    answers = [json.loads(line) for line in say("generate", *lines).splitlines()]
    assert [len(answer["notes"]) for answer in answers] == [0, 0, 1]
    with pytest.raises(SettingsError, match="not finetuned for German"):
        ask.main("translate", ["hi", "--to", "de", *asked[2:], "second"], load_engine=loader)
    assert say("translate", "hi", *asked[2:], "second") == "HI!\n"


def test_an_adapter_that_is_not_given_is_said_before_loading(loader: Loader, say: Ask) -> None:
    with pytest.raises(SettingsError, match=r"--variant: There is no model 'second' here; .* with another --adapter"):
        say("generate", "hi", "--variant", "second")
    assert loader.asked == []


def test_commands_that_ask_one_adapter_load_one() -> None:
    environment = {"PHI2DEMO_ADAPTER": os.pathsep.join(("first", "second"))}
    for several, loaded in ((True, ("second",)), (False, ())):
        parser = arguments.Parser("test")
        arguments.add_model_arguments(parser, several=several)
        settings = arguments.model_settings(parser.parse_args([]), environment, several=several)
        assert (settings.adapter, settings.other_adapters) == ("first", loaded)
