import base64
import io
import json
import re
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from phi2demo.engine.engine import Prompt
from phi2demo.engine.loading import EngineLoader
from phi2demo.evaluation.reports import REPORTS_FOLDER, SET_REPORT
from phi2demo.evaluation.run import EvaluationSettings, evaluate
from phi2demo.tasks import register
from phi2demo.tasks.declared import VariantTasks
from phi2demo.tasks.sentiment import Sentiment
from phi2demo.ui.evaluate_handlers import EvaluateEndpoint
from phi2demo.ui.evaluate_reports import MAX_REPORT_BYTES, files_of
from phi2demo.ui.evaluate_tab import ID
from phi2demo.ui.sessions import Sessions
from tests.ui.conftest import DESCRIPTION
from tests.ui.evaluating import PAGE, EvaluatePage
from tests.ui.scripted import INFO, ScriptedEngine

ENGLISH, GERMAN = "word{} goes home at night", "Wort{} geht nachts nach Hause"
PAIRS = "source,target\n" + "".join(f"{ENGLISH.format(index)},{GERMAN.format(index)}\n" for index in range(6))
EVIL = "<script>window.hacked=1</script> <img src=x onerror=\"hacked=1\"> 'q' 👩‍🚀 e\u0301"


def planted(prompt: Prompt) -> str:
    """The finetuned model translates; the base says the same whatever is asked. Reviews are judged by their words."""
    if prompt.variant == "base":
        return "nothing of the kind"
    shown_report = re.search(r"[wW]or[dt](\d+)", prompt.text)
    return GERMAN.format(shown_report[1]) if shown_report else "once more"


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(reply=planted)


@pytest.fixture(scope="module")
def model_cards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped set in small, and the report of it with its answers."""
    folder = tmp_path_factory.mktemp("evaluation") / "model_cards"
    (folder / "set").mkdir(parents=True)
    pairs = [
        {
            "source": ENGLISH.format(index),
            "target": GERMAN.format(index) if index else EVIL,
            "source_lang": "en",
            "target_lang": "de",
        }
        for index in range(24)
    ]
    reviews = [{"text": f"a {'good' if index % 2 else 'dull'} film {index}", "label": index % 2} for index in range(6)]
    for name, rows in (("everyday.en-de", pairs), ("moods", reviews)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "set" / f"{name}.test.jsonl").write_text(text, encoding="utf-8")
    settings = EvaluationSettings(
        folder / "set", folder / "set_report", resamples=100, baselines=False, systems=("finetuned", "base_plain"),
        test_sets=("translation.everyday.en-de", "sentiment.moods"),
    )  # fmt: skip
    evaluate(ScriptedEngine(reply=planted), settings, weights={})
    return folder


@pytest.fixture
def page(loader: EngineLoader, sessions: Sessions, model_cards: Path) -> EvaluatePage:
    return EvaluatePage(loader, sessions, model_cards)


def opened(page: EvaluatePage) -> EvaluatePage:
    page.state |= page.reports.opened(page.state[page.tab.shown_report])
    return page


def test_the_report_of_the_loaded_weights_is_there_when_the_tab_opens(page: EvaluatePage) -> None:
    opened(page)
    assert "These figures are of the loaded weights." in page.html("about")
    assert "scripted-base 0123456789ab with scripted-adapter" in page.html("about")
    assert "English to German, everyday" in page.html("plot")
    assert "clearly better on 1, clearly worse on 0 of 2 test sets" in page.html("plot")
    assert "too few to tell" in page.html("plot")  # of six reviews
    assert page.html("table").count("<tbody>") == 2
    assert "n 24" in page.html("slices")
    assert "too few to rank" in page.html("slices")


def test_figures_of_other_weights_are_said_to_be(model_cards: Path, sessions: Sessions) -> None:
    other = EngineLoader(lambda: ScriptedEngine(replace(INFO, adapter_revision="ffffffffffff"))).start()
    other.engine(timeout_s=5)
    page = opened(EvaluatePage(other, sessions, model_cards))
    assert "other weights than the loaded ones" in page.html("about")
    assert "ffffffffffff" in page.html("about")


def test_while_the_weights_load_it_says_so_and_then_whose_they_are(model_cards: Path, sessions: Sessions) -> None:
    import threading

    ready = threading.Event()
    loader = EngineLoader(lambda: (ready.wait(10), ScriptedEngine())[1]).start()
    page = opened(EvaluatePage(loader, sessions, model_cards))
    assert "still loading" in page.html("about")
    ready.set()
    loader.engine(timeout_s=5)
    page.state |= page.reports.tick(page.state[page.tab.shown_report])
    assert "of the loaded weights" in page.html("about")


def test_no_report_says_which_command_makes_one(loader: EngineLoader, sessions: Sessions, tmp_path: Path) -> None:
    page = opened(EvaluatePage(loader, sessions, tmp_path))
    assert "python -m phi2demo evaluate" in page.html("plot")
    assert page.state[page.tab.shown_report] is None
    assert page.tab.live.tasks is None  # no items are shipped, so there is nothing to run on
    assert "run" not in [value for _, value in page.tab.source.choices]


def test_single_items_worst_best_and_change(page: EvaluatePage) -> None:
    opened(page)
    shown_report = page.state[page.tab.shown_report]
    worst = page.html("examples.list")
    assert worst.index("item 1<") < worst.index("item 2<")
    assert worst.count("<article") == 5
    assert "<script>" not in worst
    assert "&lt;script&gt;" in worst
    best = page.reports.examples(shown_report, "translation.everyday.en-de", "best", 5)[page.tab.examples.list]
    assert "chrF 100" in best
    assert "item 1<" not in best
    change = page.reports.examples(shown_report, "translation.everyday.en-de", "change", 50)
    assert change[page.tab.examples.list].count("<article") == 24
    assert change[page.tab.examples.more].visible is False
    moods = page.reports.examples(shown_report, "sentiment.moods", "worst", 5)
    assert "right" in moods[page.tab.examples.list]


def test_a_report_of_ones_own_and_a_file_that_is_none(page: EvaluatePage, model_cards: Path, tmp_path: Path) -> None:
    opened(page)
    own, wrong = tmp_path / "own.json", tmp_path / "wrong.json"
    document = json.loads((model_cards / "set_report" / "report.json").read_text(encoding="utf-8"))
    document["model"] |= {"base": EVIL[:200], "adapter_revision": "eeeeeeeeeeee"}
    document["test_sets"][0]["name"] = EVIL[:200]
    own.write_text(json.dumps(document), encoding="utf-8")
    wrong.write_text('{"measures": [{}]}', encoding="utf-8")
    page.state |= page.reports.open_report(str(own))
    assert "Read own.json" in page.html("run.status")
    assert "other weights" in page.html("about")
    for name in ("about", "plot", "table", "slices"):
        assert "<script>" not in page.html(name)
        assert "<img" not in page.html(name)
    assert "&lt;script&gt;" in page.html("plot")
    before = page.html("plot")
    page.state |= page.reports.open_report(str(wrong))
    assert "not an evaluation report" in page.html("run.status")
    assert page.html("plot") == before
    page.state |= page.reports.open_report(str(own))
    assert "Read own.json" in page.html("run.status"), "the same file of another visitor"


def test_of_a_report_of_ones_own_only_its_figures_are_kept(
    page: EvaluatePage, model_cards: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.json"
    document = json.loads((model_cards / "set_report" / "report.json").read_text(encoding="utf-8"))
    document["settings"]["live"] = True  # made on a page, but whose?
    own.write_text(json.dumps(document | {"unknown": [{}] * 1000}), encoding="utf-8")
    page.state |= page.reports.open_report(str(own))
    assert "These figures are of the loaded weights." in page.html("about")
    shown_report = page.state[page.tab.shown_report]
    assert not shown_report.live
    assert json.loads(page.reports.download_of("json")(shown_report)) == document


def test_a_report_that_is_too_large_is_refused_unread(
    page: EvaluatePage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json, "loads", lambda text: pytest.fail("it was parsed"))
    large = tmp_path / "large.json"
    large.write_text('{"measures": [], "x": [' + "{}," * 1_500_000 + "{}]}", encoding="utf-8")
    page.state |= page.reports.open_report(str(large))
    assert "large.json has 4.3 MB; a report of at most 4 MB is read" in page.html("run.status")
    assert page.state[page.tab.shown_report] is None


def test_what_changes_nothing_skips_every_output(page: EvaluatePage) -> None:
    """An empty dictionary would be an error: gradio takes it for the value of one output."""
    nothing = (
        page.reports.choose(None),
        page.reports.choose("no such report"),
        page.reports.open_report(None),
        page.reports.open_pairs(None),
        page.reports.examples(None, None, "worst", 5),
    )
    assert all(updates == gr.skip() for updates in nothing)


def test_reports_several_times_as_large_as_those_that_ship_can_be_opened() -> None:
    sizes = [path.stat().st_size for path in (*REPORTS_FOLDER.glob("*.json"), REPORTS_FOLDER / SET_REPORT)]
    assert 5 * max(sizes) < MAX_REPORT_BYTES


def test_a_live_run_on_the_shipped_items_gives_the_planted_figures(page: EvaluatePage, sessions: Sessions) -> None:
    page.fill(source_of="run", tasks=["translation"], count=6.0)
    page.run()
    assert "status done" in page.html("run.status")
    shown_report = page.state[page.tab.shown_report]
    assert shown_report.live
    assert sum(test_set.n for test_set in shown_report.report.test_sets) == 6
    test_sets = {test_set.name: test_set for test_set in shown_report.report.test_sets}
    scores = test_sets["translation.everyday.en-de"].figures[1].scores
    assert scores["finetuned"].score > 60
    assert scores["base_plain"].score < 20
    assert "fewer than 20 items per test set, too few to tell" in page.html("plot")
    assert page.html("examples.list").count("<article") > 0
    assert len(sessions) == 0


def test_partial_figures_and_time_left_come_on_the_way(page: EvaluatePage, engine: ScriptedEngine) -> None:
    engine.delay_s = 0.15
    page.fill(source_of="own", pairs=PAIRS)
    seen = list(page.handlers.run(page.state, PAGE))
    plots = [step[page.tab.plot] for step in seen if page.tab.plot in step]
    assert any("So far" in plot and "100.0" in plot for plot in plots)
    statuses = [step[page.tab.run.status] for step in seen if page.tab.run.status in step]
    assert any("of 12 answers" in item and "left" in item and "<progress" in item for item in statuses)


def test_own_pairs_are_measured(page: EvaluatePage) -> None:
    page.fill(source_of="own", pairs=PAIRS)
    page.run()
    shown_report = page.state[page.tab.shown_report]
    (test_set,) = shown_report.report.test_sets
    assert (test_set.name, test_set.n) == ("translation.own.en-de", 6)
    assert test_set.figures[1].scores["finetuned"].score == pytest.approx(100)
    assert "Wort3 geht" in files_of(shown_report)["answers.jsonl"]


def test_own_pairs_may_have_the_further_labels_of_the_model(page: EvaluatePage, loader: EngineLoader) -> None:
    register((Sentiment(("positive", "neutral", "negative")),))
    page.fill(source_of="own", own_task="sentiment", pairs="text,label\nSo so.,Neutral\nDull.,0\n")
    page.run()
    assert [example.references for example in page.state[page.tab.shown_report].examples] == [
        ("neutral",),
        ("negative",),
    ]
    page.fill(pairs="text,label\nSo so.,so\n")
    page.run()
    assert "label is &#x27;so&#x27;; give positive or 1, or neutral, or negative or 0" in page.html("run.status")
    rows = [{"text": "So so.", "label": "neutral"}]
    *_, last = EvaluateEndpoint(loader, VariantTasks()).evaluate(rows, "classify")
    assert [answer["references"] for answer in last["answers"]] == [["neutral"]]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"source_of": "own", "pairs": "source,target\na,\n"}, "Line 2: target is missing"),
        ({"source_of": "own", "pairs": "source,target\na,b\n", "target": "en"}, "choose two languages"),
        ({"source_of": "own", "pairs": ""}, "There are no pairs"),
        ({"source_of": "run", "tasks": []}, "No task is selected"),
        ({"source_of": "run", "count": 2.5}, "number of items is 2.5"),
        ({"source_of": "run", "count": 500}, "number of items is 500"),
        ({"source_of": "run", "systems": []}, "No model is selected"),
        ({"source_of": "run", "seed": -1}, "The seed is -1"),
        ({"source_of": "own", "pairs": "source,target\nword1 explode,b\n"}, "Something went wrong"),
    ],
)
def test_what_cannot_be_asked_is_said(
    page: EvaluatePage, sessions: Sessions, values: dict[str, Any], says: str
) -> None:
    opened(page)
    page.fill(**values)
    page.run()
    assert "status error" in page.html("run.status")
    assert says in page.html("run.status")
    assert len(sessions) == 0
    if "pairs" in values:
        assert page.state[page.tab.live.pairs] == values["pairs"]


@pytest.mark.parametrize(("typed", "says"), [(0, "is 0"), (1000, "is 1000"), (None, "is missing")])
def test_a_number_of_items_out_of_range_is_refused_by_name(page: EvaluatePage, typed: int | None, says: str) -> None:
    page.fill(source_of="run", count=page.tab.live.count.preprocess(typed))
    page.run()
    assert f"The number of items {says}; give a whole number from 1 to 100." in page.html("run.status")


def test_stop_ends_it_within_a_second_and_shows_what_was_done(
    page: EvaluatePage, engine: ScriptedEngine, sessions: Sessions
) -> None:
    engine.delay_s = 0.1
    page.fill(source_of="own", pairs=PAIRS)
    page.tab.run.begin(PAGE)
    steps = page.handlers.run(page.state, PAGE)
    while "So far" not in page.html("plot"):
        page.follow(iter([next(steps)]))
    stopped = time.monotonic()
    page.handlers.stop(page.state[page.tab.running], PAGE)
    page.follow(steps)
    assert time.monotonic() - stopped < 1.0
    assert "Stopped after" in page.html("run.status")
    assert page.state[page.tab.shown_report].report.test_sets[0].n == 4
    assert engine.running == 0
    assert len(sessions) == 0


def test_a_closed_page_frees_the_model(page: EvaluatePage, engine: ScriptedEngine, sessions: Sessions) -> None:
    engine.delay_s = 0.1
    page.fill(source_of="own", pairs=PAIRS)
    page.tab.run.begin(PAGE)
    steps = page.handlers.run(page.state, PAGE)
    while not engine.running:
        next(steps)
    sessions.close("page")
    started = time.monotonic()
    steps.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 1.0
    assert engine.running == 0
    assert len(sessions) == 0


def test_others_have_their_turn_in_a_long_run(
    loader: EngineLoader, engine: ScriptedEngine, sessions: Sessions, model_cards: Path
) -> None:
    engine.delay_s = 0.05
    page = EvaluatePage(loader, sessions, model_cards, turn_s=0.1)
    page.fill(source_of="own", pairs=PAIRS)
    page.state |= page.tab.run.begin(PAGE)
    for step in page.handlers.run(page.state, PAGE):
        page.state |= step
    assert page.state[page.tab.running] is not None  # the place in the queue is free, the run is not over
    assert page.state[page.tab.shown_report] is None
    assert sessions.present("page", ID)  # so that Stop reaches it
    page.follow(page.handlers.go_on(page.state, PAGE))
    assert page.state[page.tab.shown_report].report.test_sets[0].n == 6
    assert page.state[page.tab.running] is None
    assert len(sessions) == 0
    (nothing,) = page.handlers.go_on(page.state, PAGE)
    assert nothing[page.tab.run.button].interactive
    assert page.tab.run.status not in nothing


def test_stop_between_two_turns_shows_at_once_what_was_done(
    loader: EngineLoader, engine: ScriptedEngine, sessions: Sessions, model_cards: Path
) -> None:
    engine.delay_s = 0.05
    page = EvaluatePage(loader, sessions, model_cards, turn_s=0.1)
    page.fill(source_of="own", pairs=PAIRS)
    for step in (page.tab.run.begin(PAGE), *page.handlers.run(page.state, PAGE)):
        page.state |= step
    for step in page.handlers.go_on(page.state, PAGE):
        page.state |= step
    page.state |= page.handlers.stop(page.state[page.tab.running], PAGE)
    assert re.search(r"Stopped after \d of 12 answers", page.html("run.status"))
    assert page.state[page.tab.shown_report].report.test_sets[0].n == 4
    assert page.state[page.tab.running] is None
    assert page.state[page.tab.run.cancel_trigger] > 0
    left = page.handlers.refused(None, PAGE)
    assert left[page.tab.run.button].interactive
    assert page.tab.run.status not in left
    assert len(sessions) == 0


def test_a_call_takes_no_longer_than_it_may(loader: EngineLoader, engine: ScriptedEngine) -> None:
    rows = [{"source": ENGLISH.format(index), "target": GERMAN.format(index)} for index in range(40)]
    *_, whole = EvaluateEndpoint(loader, VariantTasks()).evaluate(rows[:4])
    assert whole["complete"] is True
    engine.delay_s = 0.1
    started = time.monotonic()
    *_, part = EvaluateEndpoint(loader, VariantTasks(), longest_s=2.0).evaluate(rows)
    assert time.monotonic() - started < 5
    assert part["complete"] is False
    assert 0 < len(part["answers"]) < 40


def test_a_run_that_loses_its_place_shows_what_was_done(
    loader: EngineLoader, engine: ScriptedEngine, sessions: Sessions, model_cards: Path
) -> None:
    engine.delay_s = 0.05
    page = EvaluatePage(loader, sessions, model_cards, turn_s=0.1)
    page.fill(source_of="own", pairs=PAIRS)
    for step in page.handlers.run(page.state, PAGE):
        page.state |= step
    nothing = page.handlers.refused(page.state[page.tab.running], PAGE)  # the base has not answered yet
    assert page.tab.shown_report not in nothing
    for step in page.handlers.go_on(page.state, PAGE):
        page.state |= step
    page.state |= page.handlers.refused(page.state[page.tab.running], PAGE)
    assert "too many are waiting" in page.html("run.status")
    assert page.state[page.tab.shown_report].report.test_sets[0].n == 4
    assert len(sessions) == 0


def test_an_estimate_comes_before_and_makes_way(page: EvaluatePage, sessions: Sessions) -> None:
    page.fill(source_of="own", pairs=PAIRS)
    page.follow(page.handlers.estimate(page.state, PAGE))
    assert "12 answers, under a second on this machine." in page.html("run.estimate_line")
    page.fill(source_of="report")
    page.follow(page.handlers.estimate(page.state, PAGE))
    assert page.html("run.estimate_line") == ""
    page.fill(source_of="own", pairs="source,target\n")
    page.follow(page.handlers.estimate(page.state, PAGE))
    assert "no pair below" in page.html("run.estimate_line")
    assert sessions.begin("page", f"{ID} estimate")
    sessions.begin("page", ID)
    assert list(page.handlers.estimate(page.state, PAGE)) == []


def test_a_bare_base_has_one_column_and_no_comparison(model_cards: Path, sessions: Sessions) -> None:
    bare = replace(INFO, adapter=None, adapter_revision=None, lora_rank=None)
    loader = EngineLoader(lambda: ScriptedEngine(bare, reply=planted)).start()
    loader.engine(timeout_s=5)
    page = EvaluatePage(loader, sessions, model_cards, description=replace(DESCRIPTION, adapter=None))
    assert [value for _, value in page.tab.live.systems.choices] == ["base_template", "base_plain"]
    page.fill(source_of="own", pairs=PAIRS)
    page.run()
    assert "Scores by test set" in page.html("plot")
    assert "Difference" not in page.html("table")
    assert "finetuned" not in page.html("plot").lower()


def test_files_of_pairs_and_templates(page: EvaluatePage, tmp_path: Path) -> None:
    good, bad = tmp_path / "pairs.csv", tmp_path / "pairs.png"
    good.write_bytes("\ufeffsource,target\nä,ö\n".encode())
    bad.write_bytes(b"\x89PNG")
    for _ in range(2):
        page.state |= page.reports.open_pairs(str(good))
        assert page.state[page.tab.live.pairs] == "source,target\nä,ö\n"
    page.state |= page.reports.open_pairs(str(bad))
    assert "pairs.png is not one of" in page.html("run.status")
    large = tmp_path / "large.csv"
    large.write_bytes(b"a" * (2 * 1024 * 1024))
    page.state |= page.reports.open_pairs(str(large))
    assert "has 2.0 MB; at most 1 MB" in page.html("run.status")
    assert page.state[page.tab.live.pairs] == "source,target\nä,ö\n"
    assert page.reports.template_of(as_json=False)("sentiment").startswith("text,label\n")
    changed = page.reports.own_task("question_answering")
    assert changed[page.tab.live.languages].visible is False
    assert "context,question,answer" in changed[page.tab.live.pairs].placeholder


def test_everything_can_be_taken_away(page: EvaluatePage) -> None:
    opened(page)
    shown_report = page.state[page.tab.shown_report]
    packed = base64.b64decode(page.reports.download_of("zip")(shown_report))
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert sorted(archive.namelist()) == ["answers.jsonl", "report.json", "table.csv"]
        assert json.loads(archive.read("report.json"))["format"] == 2
        assert len(archive.read("answers.jsonl").splitlines()) == 30
    assert page.reports.download_of("csv")(shown_report).startswith("test_set,")
    with pytest.raises(gr.Error, match="have expired"):
        page.reports.download_of("json")(None)
    with pytest.raises(gr.Error, match="not available here"):
        page.reports.download_of("jsonl")(replace(shown_report, examples=()))


def test_the_sources_show_what_is_set_for_them(page: EvaluatePage) -> None:
    changed = page.reports.switch("own")
    assert {name: changed[group].visible for name, group in page.tab.groups.items()} == {
        "report": False, "run": False, "own": True,
    }  # fmt: skip
    assert all(changed[item].visible for item in page.tab.asking)
