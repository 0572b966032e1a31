"""The essentials of a model card, shown above it: what the model is, its data, results, carbon and citation."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phi2demo.cards.facts import Facts, find_data_set
from phi2demo.cards.markdown import NOT_MEASURED
from phi2demo.cards.metadata import HUB, apa, bibtex, stated_apa, stated_bibtex, template_line
from phi2demo.cards.model_cards import ShownCard
from phi2demo.cards.training import totals
from phi2demo.data.languages import language_name


@dataclass(frozen=True)
class Source:
    """A set of texts that the model was trained on."""

    title: str
    licence: str
    attribution: str = ""
    note: str = ""


@dataclass(frozen=True)
class CardScore:
    """A score that the card of a model states."""

    data: str
    task: str
    metric: str
    value: float
    n: int | None = None
    low: float | None = None
    """Lower end of the 95 % interval."""
    high: float | None = None
    base: float | None = None
    """The score of the base, in its better prompt style."""
    against_base: str = ""
    """better, worse, or no sure difference."""
    lower_is_better: bool = False


@dataclass(frozen=True)
class Essentials:
    """The essentials of one model."""

    name: str
    what: str
    """What the model is, in a sentence."""
    shape: tuple[tuple[str, str], ...]
    """Rows of name and value."""
    sources: tuple[Source, ...]
    figures: tuple[CardScore, ...]
    """One for each data set."""
    carbon: tuple[tuple[str, str], ...]
    bibtex: str
    apa: str
    """In Markdown."""
    cited_by_card: bool
    """Whether the card itself contains the citation."""


def essentials_of(card: ShownCard) -> Essentials:
    """Collect the essentials from the model's files and its card's front matter."""
    facts = card.facts
    card_bibtex, card_apa = stated_bibtex(card.body), stated_apa(card.body)
    return Essentials(
        name=facts.model.name,
        what=_what(facts),
        shape=tuple(_shape(card)),
        sources=_sources(card),
        figures=_figures(card),
        carbon=_carbon(card),
        bibtex=card_bibtex or bibtex(facts.model, facts.author),
        apa=card_apa or apa(facts.model, facts.author),
        cited_by_card=bool(card_bibtex) and not card.is_generated,
    )


def _what(facts: Facts) -> str:
    model = facts.model
    if model.is_adapter:
        tasks = ", ".join(task.replace("_", " ") for task in model.tasks)
        return f"{model.adapter_title} on {model.base}" + (f", finetuned for {tasks}." if tasks else ".")
    trained = ", trained from scratch" if facts.record else ""
    return f"A language model of the architecture {model.model_type}{trained}: a base, which goes on with a text."


def _shape(card: ShownCard) -> list[tuple[str, str]]:
    """Describe the model by its files, never by what a card claims."""
    model, languages = card.facts.model, card.facts.languages
    rows = [("Architecture", model.model_type)]
    if model.layers:
        rows.append(("Layers", f"{model.layers} x {model.hidden_size:,}"))
    if model.parameters:
        rows.append(("Parameters", f"{model.parameters:,}" + (" in the base" if model.is_adapter else "")))
    if model.is_adapter:
        adapter = f", {model.adapter_parameters:,} parameters of its own" if model.adapter_parameters else ""
        rank = f"rank {model.rank or 'not stated'}" if model.rank or model.kind == "LoRA" else "no rank"
        rows.append((model.kind, f"{rank}{adapter}"))
    if model.context:
        rows.append(("Reads", f"{model.context:,} tokens, answer included"))
    rows.append(("Prompt template", template_line(card.facts)))
    rows.append(("Languages", ", ".join(map(language_name, languages)) or _listed(card.data.language) or "Not stated"))
    rows.append(("Licence", str(card.data.license or card.facts.license_id)))
    if model.hub_id:
        rows.append(("On the hub", HUB + model.hub_id))
    return rows


def _sources(card: ShownCard) -> tuple[Source, ...]:
    """Return the data sets of the training record, or else those that the card's front matter names."""
    if data_sets := card.facts.data_sets.values():
        sources = (Source(known.title, known.licence, known.attribution, known.note) for known in data_sets)
        return tuple(dict.fromkeys(sources))
    return tuple(Source(name, "see its page on the hub") for name in _names(card.data.datasets))


def _figures(card: ShownCard) -> tuple[CardScore, ...]:
    """Return the first metric of each data set; of several measurements the one with the most examples."""
    figures: dict[str, CardScore] = {}
    for result in card.data.eval_results or []:
        if isinstance(result.metric_value, bool) or not isinstance(result.metric_value, int | float):
            continue
        details: Mapping[str, Any] = result.metric_args if isinstance(result.metric_args, Mapping) else {}
        base = details.get("base")
        title = find_data_set(result.dataset_name).title
        figure = CardScore(
            data=result.dataset_name if title == result.dataset_name else f"{title} ({result.dataset_name})",
            task=result.task_type.replace("-", " "),
            metric=result.metric_name or result.metric_type,
            value=float(result.metric_value),
            n=_whole(details.get("n")),
            low=_number(details.get("low")),
            high=_number(details.get("high")),
            base=_number(base.get("value")) if isinstance(base, Mapping) else None,
            against_base=str(details.get("against_base") or ""),
            lower_is_better=details.get("lower_is_better") is True,
        )
        before = figures.get(result.dataset_name)
        if before is None or (before.metric == figure.metric and (figure.n or 0) > (before.n or 0)):
            figures[result.dataset_name] = figure
    return tuple(figures.values())


def _carbon(card: ShownCard) -> tuple[tuple[str, str], ...]:
    """Sum up the training records, base included; without them, use the card's figure for this model alone."""
    facts = card.facts
    sums = totals(facts)
    if sums["co2e"] != NOT_MEASURED:
        return (
            ("In training", f"{sums['co2e']}, estimated"),
            ("Hours", sums["hours"] + (", those of its base included" if facts.base_record else "")),
            ("Electricity of", sums["region"]),
        )
    rows = [("In training", _stated_carbon(card))]
    for title, record in (("Hours", facts.record), ("Hours of its base, not in that figure", facts.base_record)):
        if record:
            rows.append((title, f"{sum(stage.hours for stage in record.stages):.2f}"))
    if facts.record or facts.base_record:
        rows.append(("Electricity of", sums["region"]))
    return tuple(rows)


def _stated_carbon(card: ShownCard) -> str:
    """Read the line "Carbon Emitted" of the hub's template, or else the front matter."""
    line = re.search(r"^\W*Carbon Emitted\W*:\W*(\d.*)$", card.body, re.M | re.I)
    if line:
        return f"{line[1].strip()} (its card)"
    stated = getattr(card.data, "co2_eq_emissions", None)
    grams = _number(stated.get("emissions") if isinstance(stated, Mapping) else stated)
    return NOT_MEASURED if grams is None else f"{grams / 1000:.4g} kg CO2e (the front matter of its card)"


def _names(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return list(map(str, value)) if isinstance(value, list) else []


def _listed(value: object) -> str:
    return ", ".join(language_name(name) for name in _names(value))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
