import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from phi2demo.explain import export
from phi2demo.explain.attribution import Attribution, OutputToken
from phi2demo.explain.request import ExplainRequest
from phi2demo.explain.units import Unit, UnitKind
from phi2demo.tasks.sentiment import SentimentOptions
from tests.explain.planted import PlantedEngine, asked, explained, rewards

HOSTILE = (
    "<script>alert(1)</script> \"quoted\" 'single' & <img src=x onerror=alert(2)> e\u0301 👩\u200d👧 größer, ça va"
)
FORMULA = "=1+1 is two"


class Reader(HTMLParser):
    """Collects text and tags."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.text, self.tags, self.attributes = "", list[str](), list[tuple[str, str | None]]()
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def attribution() -> Attribution:
    engine = PlantedEngine(rewards({"größer": 3.0, "quoted": -2.0}))
    return explained(engine, asked(HOSTILE, f" {HOSTILE}", method="lime", max_evals=200))


def test_the_heatmap_shows_the_text_as_typed_and_runs_nothing(attribution: Attribution) -> None:
    reader = Reader(export.heatmap(attribution.units, attribution.totals))
    assert reader.text == HOSTILE
    assert set(reader.tags) == {"p", "span"}
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert reader.tags.count("span") == len(attribution.units)


def test_colour_shows_sign_and_strength() -> None:
    units = (Unit("a", 0, 1), Unit("b", 1, 2), Unit("c", 2, 3))
    markup = export.heatmap(units, np.array([2.0, -1.0, 0.0]))
    assert re.findall(r'class="unit (\w+)" style="--v:([\d.]+)"', markup) == [
        ("more", "1.000"), ("less", "0.500"), ("more", "0.000"),
    ]  # fmt: skip
    assert 'style="--v:0.500"' in export.heatmap(units, np.array([2.0, -1.0, 0.0]), scale=4.0)
    assert "nan" not in export.heatmap(units, np.zeros(3))


def test_the_html_file_is_complete_and_runs_nothing(attribution: Attribution) -> None:
    page = export.page(attribution)
    reader = Reader(page)
    assert HOSTILE in reader.text
    assert not {"script", "img", "link", "iframe"} & set(reader.tags)
    assert not [name for name, value in reader.attributes if name.startswith("on") or name in ("src", "href")]
    assert "prefers-color-scheme: dark" in page
    assert page.count("<svg") == 2
    assert reader.tags.count("tr") == len(attribution.units) + 1
    for line in export.trust_lines(attribution):
        assert line in reader.text


def test_tokens_of_one_character_are_shown_once() -> None:
    tokens = (
        OutputToken(1, " a", 0, 2), OutputToken(2, "日", 2, 3), OutputToken(3, "日", 2, 3), OutputToken(4, "!", 3, 4),
        OutputToken(5, "b", 0, 1, piece=1),
    )  # fmt: skip
    markup = export.output_line(tokens, chosen=range(3, 4))
    assert Reader(markup).text == " a日!\nb"
    assert re.findall(r'data-token="(\d)"( aria-current="true")?', markup) == [
        ("0", ""), ("1", ""), ("3", ' aria-current="true"'), ("4", ""),
    ]  # fmt: skip


def test_json_has_everything(attribution: Attribution) -> None:
    value = json.loads(json.dumps(attribution.as_dict()))
    assert value["text"] == HOSTILE
    assert "".join(unit["text"] for unit in value["units"]["items"]) == HOSTILE
    assert np.shape(value["values"]) == (len(attribution.units), len(attribution.tokens))
    assert np.sum(value["values"][0]) == pytest.approx(value["units"]["items"][0]["value"])
    assert value["full_value"] - value["base_value"] == pytest.approx(8.0 * 1 + (-7.0) * 0, abs=100)
    assert value["model"]["adapter_revision"] == "bbbbbbbbbbbb"
    assert {"deletion", "insertion", "agreement", "standard_error", "calls", "seconds", "seed"} <= value["trust"].keys()


def test_csv_has_a_row_for_each_unit_and_no_formula() -> None:
    attribution = explained(PlantedEngine(rewards({"two": 3.0})), asked(FORMULA, " @cmd", trust=False))
    head, *rows = csv.reader(io.StringIO(export.to_csv(attribution)))
    assert head[:5] == ["rank", "unit", "start", "end", "value"]
    assert [row[0] for row in rows] == ["2", "3", "1"] or rows[2][0] == "1"
    assert rows[0][1] == "'=1+1"
    assert "".join(row[1].removeprefix("'") for row in rows) == FORMULA
    assert float(rows[2][4]) == pytest.approx(3)


def test_sentences_say_the_question_and_how_reliable_the_answer_is(attribution: Attribution) -> None:
    assert export.question(attribution).startswith("Which words made the finetuned model write “<script>")
    assert "LIME, log-probability in nats, hidden words dropped" in export.settings(attribution)
    lines = "\n".join(export.trust_lines(attribution))
    for part in ("Deletion: ", "Insertion: ", "Agreement: ", "Standard error: ", "Fit: ", "Cost: "):
        assert part in lines
    engine = PlantedEngine(rewards({"a": 1.0}))
    contrast = explained(
        engine, asked("a b", " yes", instead="no", of="difference", mask="...", trust=False, method="partition")
    )
    assert export.question(contrast) == "What did finetuning change about how likely “yes” is rather than “no”?"
    assert "replaced by “...”" in export.settings(contrast)
    assert "Measured: 100% of the groups were split down to single words" in "\n".join(export.trust_lines(contrast))


@pytest.mark.parametrize("units", ["words", "tokens"])
def test_a_text_in_capitals_is_explained_as_it_was_read(units: UnitKind) -> None:
    engine = PlantedEngine(rewards({"good": 3.0, "GOOD": -5.0}))
    asking = ExplainRequest("sentiment", "A GOOD FILM", SentimentOptions(), (" positive",), units=units, trust=False)
    for sentence_case, value in ((True, 3.0), (False, -5.0)):
        attribution = explained(engine, replace(asking, sentence_case=sentence_case))
        assert [unit.text.strip() for unit in attribution.units] == ["A", "GOOD", "FILM"], "as typed"
        assert attribution.totals == pytest.approx([0.0, value, 0.0])
        assert attribution.as_dict()["sentence_case"] is sentence_case
        assert ("read in sentence case" in export.settings(attribution)) is sentence_case
    attribution = explained(engine, replace(asking, text="A good film", sentence_case=True))
    assert "read in sentence case" not in export.settings(attribution)


def test_the_adapter_strength_is_named() -> None:
    for strength in (1.0, 0.5):
        attribution = explained(
            PlantedEngine(rewards({"two": 3.0})), asked("one two", adapter_strength=strength, trust=False)
        )
        assert attribution.as_dict()["adapter_strength"] == strength
        assert ("at 0.5 of its strength" in export.settings(attribution)) == (strength == 0.5)
