"""A model card with every section of the Hugging Face template, from facts. Writes no file and contacts no hub."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from phi2demo.cards import results, training
from phi2demo.cards.facts import Facts
from phi2demo.cards.markdown import GLOSSARY, NOT_MEASURED, NOT_RECORDED, bullets
from phi2demo.cards.metadata import apa, bibtex, make_metadata, snippet, template_line
from phi2demo.cards.results import audit_summary, audit_table, slices_tables, slicing_lines
from phi2demo.cards.svg import draw_curve
from phi2demo.data.languages import language_name

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

CURVE = "loss.svg"


@dataclass(frozen=True)
class Card:
    """A card and the files beside it."""

    text: str
    """Markdown with the metadata as front matter."""
    metadata: "ModelCardData"
    pictures: dict[str, str] = field(default_factory=dict)
    """SVG by file name."""
    pages: dict[str, str] = field(default_factory=dict)
    """Markdown by file name: what is too long for the card."""


def make_card(facts: Facts) -> Card:
    """Write the card of an adapter or a base; the same facts give the same text."""
    metadata = make_metadata(facts)
    title = f"Training loss of {facts.model.name}"
    curve = draw_curve(facts.record, title=title) if facts.record else None
    values = _values(facts) | {"curve": CURVE if curve else None}
    card = _render("card.md", values)
    values["glossary"] = _terms_in(card)
    wanted = {
        "training.md": values["data"],
        "evaluation.md": values["results"] or values["ablation"] or values["examination"],
        "samples.md": values["samples"],
    }
    return Card(
        f"---\n{metadata.to_yaml()}\n---\n\n{_render('card.md', values)}",
        metadata,
        {CURVE: curve} if curve else {},
        {name: _render(name, values) for name, content in wanted.items() if content},
    )


def _render(template: str, values: dict[str, Any]) -> str:
    import jinja2

    text = resources.files("phi2demo.cards").joinpath(template).read_text(encoding="utf-8")
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    return re.sub(r"\n{3,}", "\n\n", environment.from_string(text).render(**values).strip()) + "\n"


def _terms_in(card: str) -> str:
    """List the terms of the glossary that a card uses."""
    return _terms(term for term in GLOSSARY if re.search(rf"\b{re.escape(term.partition(',')[0])}\b", card, re.I))


def _terms(terms: Iterable[str]) -> str:
    return bullets(f"**{term}:** {GLOSSARY[term]}" for term in terms)


def _values(facts: Facts) -> dict[str, Any]:
    """Return the values of the template's variables."""
    model, record = facts.model, facts.record
    return {
        "model": model,
        "facts": facts,
        "contact": facts.author.contact,
        "languages": ", ".join(language_name(code) for code in facts.languages) or "Not stated",
        "tasks": ", ".join(task.replace("_", " ") for task in model.tasks),
        "snippet": snippet(facts),
        "template": template_line(facts),
        "data": training.data_table(facts),
        "all_data": training.data_table(facts, detailed=True),
        "task_shares": training.task_shares(record) if record else "",
        "emphasis": training.emphasis(record) if record else "",
        "stages": training.stage_list(record) if record else "",
        "settings": training.settings_table(record) if record else "",
        "speeds": training.speeds_table(record) if record else "",
        "losses": training.losses_table(record) if record else "",
        "hardware": training.hardware_lines(facts),
        "software": training.software_line(facts),
        "emissions": training.emissions_table(facts),
        "totals": training.totals(facts),
        "emissions_method": training.emissions_method(facts),
        "testing": results.testing_table(facts),
        "contamination": results.contamination_table(facts),
        "metrics": results.metric_lines(facts),
        "decoding": results.decoding_lines(facts),
        "systems": results.systems_line(facts),
        "test_sets": results.count_line(facts),
        "metric_names": results.metric_names(facts),
        "results": results.results_table(facts),
        "all_results": results.results_table(facts, detailed=True),
        "summary": results.summary(facts),
        "slices": slices_tables(facts),
        "slicing": slicing_lines(facts),
        "environment": results.environment_lines(facts),
        "speed": results.speed_line(facts),
        "ablation": results.ablation_tables(facts),
        "audit": audit_summary(facts),
        "examination": audit_table(facts),
        "failures": results.failures_list(facts),
        "samples": results.samples_list(facts),
        "sampling": _sampling(facts),
        "bibtex": bibtex(model, facts.author),
        "apa": apa(model, facts.author),
        "glossary": "",
        "all_terms": _terms(GLOSSARY),
        "author_name": facts.author.name or "Not stated",
        "not_measured": f"{NOT_MEASURED}.",
        "not_recorded": f"{NOT_RECORDED}.",
    }


def _sampling(facts: Facts) -> str:
    """Describe how the samples were generated."""
    variants = {sample.variant for sample in facts.samples}
    if variants == {"base"}:
        return "The base goes on with each prompt as it is."
    if variants == {"finetuned"}:
        return "The finetuned model is asked to go on with each prompt, as the app asks it."
    return ""
