from dataclasses import replace
from pathlib import Path

import pytest

from phi2demo.cards.essentials import Essentials, Source, essentials_of
from phi2demo.cards.facts import Facts
from phi2demo.cards.model_cards import FILE, Place, read_card
from phi2demo.training.record import Record
from tests.cards.reports import ADAPTER, BASE, adapter_facts, base_facts, stage


def essentials(folder: Path, facts: Facts, text: str = "") -> Essentials:
    (folder / FILE).write_text(text, encoding="utf-8")
    return essentials_of(read_card("finetuned", Place(folder, lambda recorded: facts)))


def test_of_a_measured_adapter(tmp_path: Path) -> None:
    result = essentials(tmp_path, adapter_facts())
    assert result.what == "A LoRA adapter on assets/model, finetuned for translation, sentiment."
    shape = dict(result.shape)
    assert shape["Parameters"] == "6,841,344 in the base"
    assert shape["LoRA"] == "rank 32, 884,736 parameters of its own"
    assert shape["Languages"] == "English, German"
    assert shape["Prompt template"] == "Instruct/Output"
    assert result.sources[0].licence == "CC BY 2.0 FR"
    assert result.sources[1] == Source("letters", "Not stated", "Not stated")
    assert dict(result.carbon)["In training"].endswith("kg CO2e, estimated")
    assert dict(result.carbon)["Electricity of"] == "France"


def test_results_come_from_the_cards_front_matter_with_interval_and_base(tmp_path: Path) -> None:
    result = essentials(tmp_path, adapter_facts())
    bleu, accuracy = result.figures
    assert (bleu.task, bleu.data, bleu.metric) == ("translation", "Tatoeba, English-German (tatoeba.en-de)", "BLEU")
    assert (bleu.value, bleu.low, bleu.high, bleu.base, bleu.n) == (26.4, 25.4, 27.4, 20, 1618)
    assert (bleu.against_base, accuracy.against_base) == ("better", "worse")


def test_a_card_of_others_is_taken_at_its_word(tmp_path: Path) -> None:
    text = """---
license: apache-2.0
language: de
datasets: [someone/letters]
co2_eq_emissions: {emissions: 1500, source: a meter}
model-index:
- name: theirs
  results:
  - task: {type: summarization}
    dataset: {name: Letters, type: letters}
    metrics:
    - {type: rouge, value: 41.5}
    - {type: bleu, value: n/a}
  - task: {type: translation}
    dataset: {name: Notes, type: notes}
    metrics: [{type: bleu, value: 12, args: 7}]
---
# Theirs

```
@article{theirs, title={T}}
```
"""
    result = essentials(tmp_path, Facts(replace(ADAPTER, hub_id="someone/theirs")), text)
    assert result.sources == (Source("someone/letters", "see its page on the hub"),)
    assert [(figure.data, figure.value, figure.low) for figure in result.figures] == [
        ("Letters", 41.5, None),
        ("Notes", 12, None),
    ]
    assert dict(result.carbon) == {"In training": "1.5 kg CO2e (the front matter of its card)"}
    shape = dict(result.shape)
    assert (shape["Licence"], shape["On the hub"]) == ("apache-2.0", "https://huggingface.co/someone/theirs")
    assert (result.bibtex, result.cited_by_card) == ("@article{theirs, title={T}}", True)
    assert result.apa.startswith("someone. (n.d.).")


def test_hours_and_carbon_count_the_same_runs(tmp_path: Path) -> None:
    whole = dict(essentials(tmp_path, adapter_facts()).carbon)
    assert whole["Hours"].endswith(", those of its base included")
    unknown = Record((stage(hardware=None, emissions=None),))
    text = "---\nco2_eq_emissions: {emissions: 29, source: s}\n---\n# T\n"
    apart = dict(essentials(tmp_path, adapter_facts(base_record=unknown), text).carbon)
    assert apart["In training"] == "0.029 kg CO2e (the front matter of its card)"
    assert apart["Hours"] == f"{stage().hours:.2f}"
    assert apart["Hours of its base, not in that figure"] == f"{stage().hours:.2f}"


@pytest.mark.parametrize(
    ("line", "carbon"),
    [
        ("- **Carbon Emitted:** 3.2 kg CO2e, measured", "3.2 kg CO2e, measured (its card)"),
        ("- **Carbon Emitted:** [More Information Needed]", "Not measured"),
        ("- **Carbon Emitted:** Not measured", "Not measured"),
        ("", "Not measured"),
    ],
)
def test_carbon_is_read_from_the_card_without_records(line: str, carbon: str, tmp_path: Path) -> None:
    assert dict(essentials(tmp_path, Facts(ADAPTER), f"# T\n\n{line}\n").carbon)["In training"] == carbon


def test_a_model_without_records_or_results(tmp_path: Path) -> None:
    result = essentials(tmp_path, Facts(replace(BASE, parameters=None, layers=0)))
    assert result.what == "A language model of the architecture phi: a base, which goes on with a text."
    assert (result.sources, result.figures) == ((), ())
    assert {"Layers", "Parameters"}.isdisjoint(dict(result.shape))
    assert dict(result.shape)["Languages"] == "Not stated"
    assert not result.cited_by_card


def test_a_data_set_measured_twice_shows_the_larger_run(tmp_path: Path) -> None:
    facts = adapter_facts()
    (report,) = facts.reports
    test_sets = tuple(test_set.model_copy(update={"n": 48}) for test_set in report.test_sets)
    small = report.model_copy(update={"test_sets": test_sets})
    result = essentials(tmp_path, replace(facts, reports=[small, report]))
    assert [figure.n for figure in result.figures] == [1618, 1618]


def test_a_base_that_was_trained_from_scratch_says_so(tmp_path: Path) -> None:
    assert "trained from scratch" in essentials(tmp_path, base_facts()).what
