"""A card's metadata as the hub reads it: YAML with the results as a model-index."""

from typing import TYPE_CHECKING, Any

from phi2demo.cards.facts import Facts
from phi2demo.cards.results import SHIPPED, base_form, measures_of, verdict
from phi2demo.cards.training import total_grams

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

_TASK_TYPES = {
    "translation": "translation",
    "summarization": "summarization",
    "sentiment": "text-classification",
    "question_answering": "question-answering",
    "prose": "text-generation",
    "generation": "text-generation",
}
"""Of the hub, by the evaluation's tasks."""


def make_metadata(facts: Facts) -> "ModelCardData":
    """Licence, languages, base, tags, data sets on the hub, emissions and results."""
    from huggingface_hub import ModelCardData

    model = facts.model
    results = eval_results(facts)
    hub_ids = [each.hub_id for each in facts.data_sets.values() if each.hub_id]
    extra: dict[str, Any] = {}
    grams = total_grams(facts)
    if grams is not None and facts.record is not None:
        emissions = facts.emissions(facts.record.last)
        extra["co2_eq_emissions"] = {
            "emissions": round(grams, 3),
            "source": "Green Algorithms (Lannelongue et al. 2021)",
            "training_type": "fine-tuning" if model.is_adapter else "pre-training",
            "geographical_location": emissions.region if emissions else None,
            "hardware_used": emissions.hardware if emissions else None,
        }
    return ModelCardData(
        license=facts.license_id,
        language=list(facts.languages) or None,
        library_name="peft" if model.is_adapter else "transformers",
        base_model=model.base if model.is_adapter else None,
        pipeline_tag="text-generation",
        tags=_tags(facts),
        datasets=list(dict.fromkeys(hub_ids)) or None,
        metrics=sorted({result.metric_type for result in results}) or None,
        model_name=model.name.rpartition("/")[2] if results else None,
        eval_results=results or None,
        **extra,
    )


def eval_results(facts: Facts) -> "list[EvalResult]":
    """Of the finetuned model; of a bare base in its better form."""
    from huggingface_hub import EvalResult

    found = []
    for measure in measures_of(facts):
        name = measure["name"].partition(".")[2]
        shipped = measure["data"]["sha256"] in facts.shipped
        for figure in measure["figures"]:
            form = "finetuned" if "finetuned" in figure["scores"] else base_form(figure)
            if form is None:
                continue
            found.append(
                EvalResult(
                    task_type=_TASK_TYPES[measure["task"]],
                    dataset_type=name,
                    dataset_name=f"{SHIPPED.title}, {name}" if shipped else name,
                    dataset_split=measure["data"]["split"],
                    metric_type=figure["metric"],
                    metric_name=figure["title"],
                    metric_value=round(figure["scores"][form]["score"], figure["digits"]),
                    metric_args=_arguments(figure, form, measure["n"]),
                )
            )
    return found


def _arguments(figure: dict[str, Any], form: str, n: int) -> dict[str, Any]:
    """What a score means: of which form, on how many examples, its interval, and the base's beside it."""
    told, digits = figure["scores"], figure["digits"]
    found: dict[str, Any] = {"form": form, "n": n, **_interval(told[form], digits)}
    base = base_form(figure)
    if form == "finetuned" and base is not None:
        found["base"] = {"form": base, "value": round(told[base]["score"], digits), **_interval(told[base], digits)}
        found["against_base"] = verdict(figure)
    if not figure["higher_is_better"]:
        found["lower_is_better"] = True
    return found | {"signature": figure["signature"]}


def _interval(score: dict[str, Any], digits: int) -> dict[str, float]:
    """Of 95 %, by bootstrap; nothing where there is none."""
    return {end: round(score[end], digits) for end in ("low", "high") if score.get(end) is not None}


def _tags(facts: Facts) -> list[str]:
    tags = [facts.model.model_type]
    if facts.model.is_adapter:
        return [*tags, "lora", *(task.replace("_", "-") for task in facts.model.tasks)]
    return [*tags, "from-scratch"] if facts.record else tags
