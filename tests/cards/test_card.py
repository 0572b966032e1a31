import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from phi2demo.cards.card import CURVE, make_card
from phi2demo.cards.facts import Author, Facts, Failure, Sample
from phi2demo.emissions.footprint import Hardware, estimate
from phi2demo.engine.engine import GenerationOptions
from phi2demo.evaluation.slices import CONFIDENCE_QUINTILES
from phi2demo.tasks.declared import AdapterTasks
from phi2demo.training.record import Record
from tests.cards.reports import (
    ADAPTER,
    AUDIT,
    BASE,
    HARDWARE,
    adapter_facts,
    base_facts,
    figure,
    one_test_set,
    report,
    sliced_report,
    stage,
)

TEMPLATE = Path(huggingface_hub.__file__).parent / "templates" / "modelcard_template.md"
BARE = [Facts(BASE), Facts(ADAPTER)]
ALL = [base_facts(), adapter_facts(), *BARE]
NAMES = ["base", "adapter", "bare base", "bare adapter"]


def section(text: str, heading: str) -> str:
    level = heading.split(" ")[0]
    match = re.search(rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.S | re.M)
    assert match, heading
    return match[1].strip()


def page(facts: Facts, name: str = "evaluation.md") -> str:
    """A page beside the card."""
    return make_card(facts).pages[name]


@pytest.mark.parametrize("facts", ALL, ids=NAMES)
def test_every_section_of_the_hub_template_is_there_and_filled(facts: Facts) -> None:
    text = make_card(facts).text
    headings = [
        line.replace(" [optional]", "") for line in TEMPLATE.read_text().splitlines() if re.match(r"#{2,} ", line)
    ]
    assert len(headings) > 25
    for heading in headings:
        assert section(text, heading), heading
    assert "more information needed" not in text.lower()
    assert "{{" not in text.replace("{{Ada Example}}", "").replace("{{The phi2demo authors}}", "")
    assert "{%" not in text
    assert "None" not in text


@pytest.mark.parametrize("facts", ALL, ids=NAMES)
def test_the_hub_reads_the_metadata_back(facts: Facts, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    card = make_card(facts)
    path.write_text(card.text, encoding="utf-8")
    data = ModelCard.load(path).data
    assert data.to_dict() == card.metadata.to_dict()
    assert data.library_name == ("peft" if facts.model.is_adapter else "transformers")
    assert data.base_model == ("assets/model" if facts.model.is_adapter else None)
    assert data.pipeline_tag == "text-generation"
    assert "phi" in data.tags


def test_the_results_are_read_back_from_the_model_index(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(make_card(adapter_facts()).text, encoding="utf-8")
    name, results = model_index_to_eval_results(ModelCard.load(path).data.to_dict()["model-index"])
    assert name == "adapter"
    found = {(item.task_type, item.dataset_type, item.metric_type): item.metric_value for item in results}
    assert found == {
        ("translation", "tatoeba.en-de", "bleu"): 26.4,
        ("text-classification", "reviews", "accuracy"): 50,
    }
    assert {item.dataset_split for item in results} == {"test"}
    assert results[0].metric_args == {
        "system": "finetuned",
        "n": 1618,
        "low": 25.4,
        "high": 27.4,
        "base": {"system": "base_plain", "value": 20, "low": 19, "high": 21},
        "against_base": "better",
    }
    assert [item.metric_args["against_base"] for item in results] == ["better", "worse"]


def test_a_base_tells_its_own_results_only(tmp_path: Path) -> None:
    card = make_card(base_facts(reports=[report()]))
    assert "26.4" not in card.text
    assert "20.0 (19.0 to 21.0)" in section(card.text, "### Results")
    assert section(card.text, "#### Summary") == "Not measured."
    (bleu,) = [item for item in card.metadata.eval_results or () if item.metric_type == "bleu"]
    assert (bleu.metric_value, bleu.metric_args["system"]) == (20, "base_plain")


def test_what_was_measured_is_told() -> None:
    text = make_card(adapter_facts()).text
    assert "26.4 (25.4 to 27.4)" in section(text, "### Results")
    summary = section(text, "#### Summary")
    assert "better on 1 of 3 figures" in summary
    assert "Worse: sentiment.reviews accuracy." in summary
    assert "no sure difference on 1." in summary
    assert "BLEU, chrF, accuracy" in section(text, "#### Metrics")
    assert "2 test sets with 3,236 items" in section(text, "#### Testing Data")
    evaluation = page(adapter_facts())
    assert "`signature of BLEU`" in section(evaluation, "## Metrics")
    assert "Tatoeba, English-German" in section(evaluation, "## Test sets")
    assert "| chrF |" in section(evaluation, "## Results")
    assert "| chrF |" not in text
    assert "40.5 tokens per second (finetuned" in section(text, "#### Speeds, Sizes, Times")
    assert "torch 2.13.0" in section(text, "#### Software")


def test_how_the_outputs_were_decoded_is_told() -> None:
    assert "decoded" not in section(page(adapter_facts()), "## Metrics")
    told = report()
    beams = GenerationOptions(max_new_tokens=40, num_beams=6, reverse_weight=0.3, stop=("END",))
    told["test_sets"][0]["generation"] = asdict(beams)
    told["test_sets"][1]["generation"] = asdict(GenerationOptions())
    greedy = {**one_test_set("question_answering.qa"), "generation": asdict(GenerationOptions(time_limit_s=3600.0))}
    old = {**one_test_set("translation.old"), "generation": {"num_beams": 4, "max_new_tokens": 9}}
    prose = {**one_test_set("prose.tales"), "generation": {"adapter_strength": 0.5}}
    whole = {**one_test_set("generation.tales"), "generation": {"adapter_strength": 1.0}}
    told["test_sets"] += [greedy, old, prose, whole]
    said = section(page(adapter_facts(reports=[told])), "## Metrics")
    assert "- translation: `num_beams 6, reverse_weight 0.3`; `num_beams 4`" in said
    assert "- question answering: greedy" in said
    assert "- prose: `adapter_strength 0.5`" in said
    assert "sentiment:" not in said
    assert "generation:" not in said


def test_what_a_report_notes_of_where_it_was_made_is_told() -> None:
    told = report()
    assert "seed 12345.\n" in page(adapter_facts(reports=[told]))
    told["environment"]["note"] = "Its answers are those of a GPU."
    assert "seed 12345. Its answers are those of a GPU.\n" in page(adapter_facts(reports=[told]))


def test_the_share_of_a_gpus_rate_is_told_where_it_is_known() -> None:
    gpu = Hardware("NVIDIA H100 80GB HBM3", 1, 2.0, gpus=1)
    phases = [{"rows": 96, "length": 1024, "share": 1.0}]
    known = stage(settings={"preset": "mini", "phases": phases}, hardware=gpu, tokens=720_000_000, hours=0.2)
    speeds = section(make_card(base_facts(record=Record((known,)))).text, "#### Speeds, Sizes, Times")
    assert "| share of the GPU's dense bfloat16 rate | 22.4% |" in speeds
    assert "dense bfloat16" not in make_card(base_facts()).text


def test_a_metric_of_which_less_is_better() -> None:
    told = report()
    told["test_sets"] = told["test_sets"][:1]
    bits: dict[str, Any] = told["test_sets"][0]["figures"][0]
    bits |= {"higher_is_better": False, "difference": {"value": -0.5, "low": -1.0, "high": 0.0, "p": 0.001}}
    assert "better on 1 of 2" in section(make_card(adapter_facts(reports=[told])).text, "#### Summary")


def test_the_training_data_with_licence_rows_cleaning_and_shares() -> None:
    rows = section(make_card(adapter_facts()).text, "### Training Data").splitlines()
    assert "| Tatoeba, English-German | CC BY 2.0 FR | 1,234 | 75.0% | 75.0% |" in rows
    rows = page(adapter_facts(), "training.md").splitlines()
    tatoeba = next(row for row in rows if "`tatoeba.en-de`" in row)
    for part in ("CC BY 2.0 FR", "tatoeba.org", "1,234", "56 duplicate", "75.0% | 75.0%"):
        assert part in tatoeba
    letters = next(row for row in rows if "letters" in row)
    assert "Not stated" in letters
    assert "25.0%" in letters


def test_larger_weights_in_the_loss_are_listed() -> None:
    tasks = {"translation": 0.9, "question_answering": 0.05, "replay": 0.05}
    weighted = stage(
        "finetuning", tasks=tasks, settings={"emphasis": {"question_answering": 1.5, "summarization": 3.0}}
    )
    told = section(make_card(adapter_facts(record=Record((weighted,)))).text, "### Training Procedure")
    assert "weights multiply that share: question answering 1.5, all others 1." in told
    assert "Replay is prose as it is" in told
    plain = section(make_card(adapter_facts()).text, "### Training Procedure")
    assert "counts so many times" not in plain
    assert "Replay" not in plain


def test_shares_of_two_stages_count_by_their_tokens() -> None:
    first, second = stage(tokens=3000), stage(tokens=1000, weights={"letters": 1.0})
    facts = base_facts(record=Record((first, second)))
    text = make_card(facts).text
    assert next(row for row in page(facts, "training.md").splitlines() if "`tatoeba.en-de`" in row).endswith(
        "| 56.2% |"
    )
    assert "Stage 2: pretraining, 1,000 tokens" in section(text, "### Training Procedure")
    assert "| setting | stage 1 (pretraining) | stage 2 (pretraining) |" in text


def test_emissions_of_base_and_adapter_add_up() -> None:
    facts = adapter_facts()
    impact = section(make_card(facts).text, "## Environmental Impact")
    one = estimate(HARDWARE, 2.0, region="France")
    assert (
        f"| adapter | 2.00 | {one.power_w:.0f} | {one.energy_kwh:.4g} | France, 56 g/kWh | {one.co2e_kg:.4g} |"
        in impact
    )
    assert f"**Carbon Emitted:** {2 * one.co2e_kg:.4g} kg CO2e" in impact
    assert "**Hours used:** 4.00" in impact
    told = make_card(facts).metadata.to_dict()["co2_eq_emissions"]
    assert told["emissions"] == pytest.approx(one.co2e_kg * 1000, abs=0.001)


def test_emissions_by_another_region() -> None:
    impact = section(make_card(base_facts(region="Poland")).text, "## Environmental Impact")
    assert "Poland, 661.9 g/kWh" in impact
    assert "France" not in impact


def test_a_run_without_hardware_has_no_emissions_unless_the_author_states_it() -> None:
    record = Record((stage(hardware=None, emissions=None),))
    unknown = make_card(base_facts(record=record))
    assert "**Carbon Emitted:** Not measured" in unknown.text
    assert "co2_eq_emissions" not in unknown.metadata.to_dict()
    stated = make_card(base_facts(record=record, hardware=Hardware("Old CPU", cores=1, memory_gb=1)))
    assert "Old CPU, 1 CPU core, 1.0 GB of memory (as the author states" in stated.text
    assert "co2_eq_emissions" in stated.metadata.to_dict()


def test_what_was_not_measured_says_so() -> None:
    text = make_card(Facts(ADAPTER)).text
    for heading in ("### Results", "#### Testing Data", "#### Metrics", "#### Summary"):
        assert section(text, heading).partition("\n")[0] == "Not measured."
    assert section(text, "#### Training Hyperparameters") == "Not recorded."
    assert "Not measured" in section(text, "## Environmental Impact")
    assert "Phi-2" not in text  # of a model that was not trained here nothing of the kind is known


def test_a_licence_follows_from_the_data_unless_stated() -> None:
    assert make_card(base_facts()).metadata.license == "unknown"
    shared = base_facts(record=Record((stage(weights={"squad_v1.1_dev": 1.0}),)))
    assert make_card(shared).metadata.license == "cc-by-sa-4.0"
    assert make_card(base_facts(license="mit")).metadata.license == "mit"
    assert make_card(base_facts()).metadata.language == ["en", "de"]


def test_pictures_and_samples_and_failures_and_ablation() -> None:
    card = make_card(
        adapter_facts(
            samples=[Sample("Once", 3, "a <b>fox</b>\nran | away_", "finetuned"), Sample("End", 4, "")],
            failures=[Failure("Where?", "Nein", "Wo?", "A wrong word")],
            ablations=(
                {"note": "On held-out text.", "rows": [{"mix": "a", "loss": 3.25}, {"mix": "b", "tokens": 1000}]},
                {"note": "By shape.", "rows": [{"layers": 6}]},
            ),
        )
    )
    assert card.pictures.keys() == {CURVE}
    assert f"]({CURVE})" in card.text
    assert r"1. (seed 3) **Once** a \<b\>fox\</b\><br>ran \| away\_" in card.pages["samples.md"]
    assert "(seed 4) **End** (nothing: the text ended there)" in card.pages["samples.md"]
    assert "2 samples, not selected" in card.text
    assert "- A wrong word\n  - Asked: Where?\n  - Answered: Nein\n  - Right: Wo?" in card.text
    assert (
        "On held-out text.\n\n| mix | loss | tokens |\n| --- | --- | --- |\n| a | 3.25 |  |\n| b |  | 1,000 |\n\n"
        "By shape.\n\n| layers |\n| --- |\n| 6 |" in card.pages["evaluation.md"]
    )


def test_an_answer_with_any_line_break_stays_in_its_place() -> None:
    text = "Nein\r- one\u2028two\x85three\x0cfour\n\n five"
    card = make_card(adapter_facts(failures=[Failure("Where?", text, "Wo?")]))
    assert "\n  - Answered: Nein<br>- one<br>two<br>three<br>four<br>five\n  - Right: Wo?" in card.text


def test_two_reports_are_told_together() -> None:
    other = report(made_at="2026-12-01T00:00:00")
    other["test_sets"] = [item | {"name": f"{item['name']}2"} for item in other["test_sets"]]
    card = make_card(adapter_facts(reports=[report(), other]))
    assert len(card.metadata.eval_results or ()) == 4
    assert "Measured on 2026-11-23" in card.pages["evaluation.md"]
    assert "Measured on 2026-12-01" in card.pages["evaluation.md"]


def test_the_front_matter_has_the_twelve_largest_test_sets_and_texts_without_a_task_last() -> None:
    told = report()
    bits = figure("bits_per_character", "bits per character", 1.0, 2.0, p=0.01)
    told["test_sets"] = [one_test_set("prose.tales", bits) | {"n": 9999}]
    told["test_sets"] += [
        one_test_set(f"sentiment.set{n}", figure("accuracy", "accuracy", 5, 6, p=1)) | {"n": n} for n in range(1, 14)
    ]
    results = make_card(adapter_facts(reports=[told])).metadata.eval_results or ()
    assert [result.dataset_name for result in results] == [f"set{n}" for n in range(2, 14)]


def test_the_same_facts_give_the_same_card() -> None:
    assert make_card(adapter_facts()).text == make_card(adapter_facts()).text


def test_citations() -> None:
    text = section(make_card(adapter_facts()).text, "## Citation")
    assert "@misc{adapter2026,\n  author = {{Ada Example}},\n  title = {assets/adapter},\n  year = {2026}," in text
    assert "Ada Example. (2026). *assets/adapter* [LoRA adapter of a language model]." in text


def test_of_an_unknown_adapter_nothing_is_claimed() -> None:
    """Neither tasks nor authors nor a training that nobody recorded."""
    model = replace(ADAPTER, name="someone/adapter", adapter_tasks=AdapterTasks(), hub_id="someone/adapter")
    card = make_card(Facts(model, author=Author("", year=None)))
    assert "finetuned for:" not in card.text
    assert "**Developed by:** Not stated" in card.text
    assert "phi2demo authors" not in card.text
    assert "cross-entropy" not in card.text
    assert section(card.text, "### Training Procedure").startswith("Not recorded.")
    assert "(n.d.). Hugging Face. https://huggingface.co/someone/adapter" in card.text
    assert card.metadata.tags == ["phi", "lora"]


def test_slices_are_tables() -> None:
    facts = adapter_facts(reports=[sliced_report()])
    text = section(page(facts), "## Results by slice")
    assert "| by text length | metric | short | medium | long |" in text
    assert (
        "| translation.tatoeba.en-de | BLEU | 30.0 against 20.0 (n 25) | none | 10.0 against 20.0 (n 3, too few) |"
        in text
    )
    assert "| by genre | metric | news |" in text
    assert "by complexity" not in text
    assert "Length is in words: of sentences short up to 8, medium up to 20, then long." in text
    assert "A slice of fewer than 20 examples is shown and not ranked." in text
    assert "Not measured" not in section(make_card(facts).text, "#### Factors")


def test_what_the_model_may_have_seen_of_the_test_files_is_told() -> None:
    told = sliced_report()
    held = {"reviews.train.jsonl": 12}
    told["test_sets"][0]["contamination"] = {"in training": 12, "in validation": 0, "in neither": 1606, "files": held}
    told["slicing"]["contamination"] = {"rule": "whether it stands there", "names": []}
    figures = told["test_sets"][0]["figures"]
    told["test_sets"][0]["slices"] += [
        {"by": "contamination", "name": name, "n": n, "enough": n >= 20, "figures": figures}
        for name, n in (("in neither", 1606), ("in training", 12))
    ]
    text = page(adapter_facts(reports=[told]))
    data = section(text, "## Test sets")
    assert "| translation.tatoeba.en-de | 12 | 0 | 1,606 | reviews.train.jsonl 12 |" in data
    assert "Not looked up: sentiment.reviews." in data
    assert "| by contamination | metric | in training | in neither |" in section(text, "## Results by slice")
    assert "Contamination is whether it stands there." in section(text, "## Results by slice")
    assert "(validation).\n\nNot measured." in section(page(adapter_facts()), "## Test sets")


def test_quintiles_of_confidence_stand_in_their_order() -> None:
    told = sliced_report()
    part = told["test_sets"][0]["slices"][0]
    told["test_sets"][0]["slices"] += [
        part | {"by": "confidence", "name": name} for name in reversed(CONFIDENCE_QUINTILES)
    ]
    text = section(page(adapter_facts(reports=[told])), "## Results by slice")
    assert "| by mean token probability | metric | least sure | less sure | middling | surer | surest |" in text


def test_the_slices_of_every_report_are_shown() -> None:
    own = sliced_report()
    own["test_sets"][0] |= {
        "name": "translation.everyday",
        "data": {**own["test_sets"][0]["data"], "sha256": "cd" * 32},
    }
    text = page(adapter_facts(reports=[sliced_report(), own], shipped=frozenset({"cd" * 32})))
    slices = section(text, "## Results by slice")
    assert "translation.everyday" in slices
    assert "translation.tatoeba.en-de" in slices
    assert "| The demo's own evaluation set | `tatoeba.en-de.test.jsonl` | test | CC0-1.0 |" in text


def test_the_shipped_sets_results_are_in_the_model_index_under_its_title(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(make_card(adapter_facts(shipped=frozenset({"ab" * 32}))).text, encoding="utf-8")
    _, results = model_index_to_eval_results(ModelCard.load(path).data.to_dict()["model-index"])
    assert {item.dataset_name for item in results} == {
        "The demo's own evaluation set, tatoeba.en-de",
        "The demo's own evaluation set, reviews",
    }


def test_a_base_has_slices_of_its_own_figures() -> None:
    text = section(page(base_facts(reports=[sliced_report()])), "## Results by slice")
    assert "| 20.0 (n 25) | none | 20.0 (n 3, too few) |" in text


def test_without_slices_it_says_so() -> None:
    assert "complexity: Not measured." in section(make_card(adapter_facts()).text, "#### Factors")


def test_an_audit_fills_bias_and_examination() -> None:
    text = make_card(adapter_facts(audit=AUDIT)).text
    bias = section(text, "## Bias, Risks, and Limitations")
    assert "An audit found:\n\n- Names from \\<one\\> country are judged worse." in bias
    assert "not measured for this card" not in bias
    assert section(text, "## Model Examination").startswith("The audit's probes")
    examination = section(page(adapter_facts(audit=AUDIT)), "## Audit")
    assert "| Names | 40 | Shift of the score | 0.12 (0.05 to 0.2) | yes |" in examination
    assert examination.startswith("- **Names.** The name is swapped.\n\n| probe | n |")
    assert section(make_card(adapter_facts()).text, "## Model Examination").startswith("Not measured.")
