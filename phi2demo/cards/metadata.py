"""Metadata, citations and code snippet of a card; the hub reads the metadata as YAML with a model-index."""

import re
from typing import TYPE_CHECKING, Any

from phi2demo.cards.facts import Author, Facts, ModelFacts
from phi2demo.cards.results import SHIPPED, all_test_sets, verdict
from phi2demo.cards.training import total_grams
from phi2demo.engine.engine import visible
from phi2demo.evaluation.outputs import SystemName
from phi2demo.evaluation.report import Score
from phi2demo.evaluation.tables import Row, rows_of
from phi2demo.tasks import TASKS
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.request import TaskOptions
from phi2demo.tasks.task import AnyTask
from phi2demo.tasks.template_view import describe_template, title_of
from phi2demo.tasks.templates import CHAT, PLAIN
from phi2demo.tasks.translation import TranslationOptions

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
"""The hub's task types, by task."""


def _task_type(task: str) -> str:
    """Return the hub's task type; of a task that the adapter declares by what it answers."""
    known = TASKS.get(task)
    return _TASK_TYPES.get(task, "text-classification" if known and known.labels else "text-generation")


MAX_RESULTS = 12
"""In the front matter; the card and evaluation.md have the rest."""
SCORED_ALONE = ("generation", "prose")
"""Tasks of test sets without answers: their texts are scored."""


def make_metadata(facts: Facts) -> "ModelCardData":
    """Collect licence, languages, base, tags, data sets on the hub, emissions and results."""
    from huggingface_hub import ModelCardData

    model = facts.model
    results = eval_results(facts)
    hub_ids = [data_set.hub_id for data_set in facts.data_sets.values() if data_set.hub_id]
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
    """List the results of the finetuned model, or of the better base where no adapter was measured."""
    from huggingface_hub import EvalResult

    results = []
    for row in _main_rows(facts):
        test_set, figure = row.test_set, row.figure
        system = "finetuned" if "finetuned" in figure.scores else figure.better_base
        if system is None:
            continue
        name = test_set.name.partition(".")[2]
        results.append(
            EvalResult(
                task_type=_task_type(test_set.task),
                dataset_type=name,
                dataset_name=f"{SHIPPED.title}, {name}" if test_set.data.sha256 in facts.shipped else name,
                dataset_split=test_set.data.split,
                metric_type=figure.metric,
                metric_name=figure.title,
                metric_value=round(figure.scores[system].score, figure.digits),
                metric_args=_arguments(row, system),
            )
        )
    return results


def _main_rows(facts: Facts) -> list[Row]:
    """The first figure of each of the largest test sets, in the order of the reports; texts without a task come last."""
    test_sets = [test_set for test_set in all_test_sets(facts) if test_set.figures]
    largest = sorted(test_sets, key=lambda test_set: (test_set.task in SCORED_ALONE, -test_set.n))[:MAX_RESULTS]
    return [next(rows_of([test_set])) for test_set in test_sets if test_set in largest]


def _arguments(row: Row, system: SystemName) -> dict[str, Any]:
    """Describe a score: the system, the number of examples, its interval, and the base's score beside it."""
    scores, digits, base = row.figure.scores, row.figure.digits, row.figure.better_base
    arguments: dict[str, Any] = {"system": system, "n": row.n, **_interval(scores[system], digits)}
    if system == "finetuned" and base is not None:
        value = round(scores[base].score, digits)
        arguments["base"] = {"system": base, "value": value, **_interval(scores[base], digits)}
        arguments["against_base"] = verdict(row.figure, row.n)
    if not row.figure.higher_is_better:
        arguments["lower_is_better"] = True
    return arguments


def _interval(score: Score, digits: int) -> dict[str, float]:
    """Give the bootstrap 95 % interval; empty where there is none."""
    ends = {"low": score.low, "high": score.high}
    return {name: round(end, digits) for name, end in ends.items() if end is not None}


def _tags(facts: Facts) -> list[str]:
    tags = [facts.model.model_type]
    if facts.model.is_adapter:
        return [*tags, "lora", *(task.replace("_", "-") for task in facts.model.tasks)]
    return [*tags, "from-scratch"] if facts.record else tags


HUB = "https://huggingface.co/"
_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    sign: f"\\{sign}" for sign in "&%$#_{}"
}


def bibtex(model: ModelFacts, author: Author) -> str:
    """Write a @misc entry. A person is given as "Family, Given", several with " and "; any other name is kept whole."""
    key = re.sub(r"[^A-Za-z0-9-]", "", model.name.rpartition("/")[2]) or "model"
    fields = []
    if author.name:
        fields.append(("author", " and ".join(_tex(n) if "," in n else f"{{{_tex(n)}}}" for n in _names(author))))
    fields.append(("title", _tex(model.name)))
    if author.year:
        fields.append(("year", str(author.year)))
    if model.hub_id:
        fields.append(("howpublished", rf"\url{{{HUB}{model.hub_id}}}"))
    on = f"{model.kind} adapter on {_tex(model.base)}" if model.is_adapter else "Language model"
    fields.append(("note", on))
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields)
    return f"@misc{{{key}{author.year or ''},\n{lines}\n}}"


def apa(model: ModelFacts, author: Author) -> str:
    """Write the citation of software in APA style (7th edition), in Markdown; without an author the title comes first."""
    title = f"*{model.name}* [{f'{model.kind} adapter of a language model' if model.is_adapter else 'Language model'}]"
    year = f"({author.year or 'n.d.'})"
    head = f"{_closed(_apa_names(author))} {year}. {title}." if author.name else f"{title}. {year}."
    return f"{head} Hugging Face. {HUB}{model.hub_id}" if model.hub_id else head


def stated_bibtex(body: str) -> str | None:
    """Find the first BibTeX entry in a card's code blocks."""
    match = re.search(r"^(`{3,}|~{3,})[^\n]*\n\s*(@\w+\s*\{.*?)\n?^\1", body, re.S | re.M)
    return match[2].rstrip() if match else None


def stated_apa(body: str) -> str | None:
    """Find the paragraph after a card's "APA:"; None where it says that there is none."""
    match = re.search(r"^\W*APA\W*\n+(?=\S)(.+?)(?:\n\s*\n|\Z)", body, re.S | re.M)
    text = " ".join(match[1].split()) if match else ""
    return None if not text or text.startswith("#") or "More Information Needed" in text else text


def _names(author: Author) -> list[str]:
    return author.name.split(" and ")


def _apa_names(author: Author) -> str:
    names = [_initials(name) for name in _names(author)]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])}, & {names[-1]}"


def _initials(name: str) -> str:
    """Shorten `Example, Ada Mary` to `Example, A. M.`."""
    family, comma, given = name.partition(",")
    return (
        f"{family}, {' '.join(f'{part[0]}.' for part in given.split())}"
        if comma and given.strip()
        else name.strip(", ")
    )


def _closed(names: str) -> str:
    return names if names.endswith(".") else f"{names}."


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)


TEXT = "The children are playing in the garden."


LINE_LENGTH = 120
"""Characters of a line of Python that a formatter leaves alone."""


def snippet(facts: Facts) -> str:
    """Write Python that loads the model from the folder where its path starts; an adapter uses its base's tokenizer."""
    note = "  # with peft installed" if facts.model.is_adapter else ""
    name = facts.model.name
    return (
        f"from transformers import AutoModelForCausalLM, AutoTokenizer{note}\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{facts.model.base}")\n'
        f'model = AutoModelForCausalLM.from_pretrained("{name}")\n'
        f"{_batch(facts)}\n"
        "print(tokenizer.decode(model.generate(**batch, max_new_tokens=20)[0], skip_special_tokens=True))"
    )


def template_line(facts: Facts) -> str:
    """Say which prompt template is in force, and why."""
    if _is_pretrained(facts):
        return f"{title_of(PLAIN)}, as in its pretraining"
    return describe_template(facts.model.template)


def _batch(facts: Facts) -> str:
    """Write the lines that make the model's input: by the tokenizer's chat template, or from a prompt."""
    template = facts.model.template
    if template.name != CHAT or _is_pretrained(facts):
        return f'{_assignment("prompt", _quoted(prompt(facts)))}\nbatch = tokenizer(prompt, return_tensors="pt")'
    task, options = _example(facts)
    said = [("user", task.instruction(TEXT, options).whole)]
    messages = [("system", template.system), *said] if template.system else said
    roles = ", ".join(f'{{"role": "{role}", "content": {_quoted(text)}}}' for role, text in messages)
    return (
        f"{_assignment('messages', f'[{roles}]')}\n"
        "batch = tokenizer.apply_chat_template(\n"
        '    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"\n'
        ")"
    )


def _assignment(name: str, value: str) -> str:
    line = f"{name} = {value}"
    return line if len(line) <= LINE_LENGTH else f"{name} = (\n    {value}\n)"


def prompt(facts: Facts) -> str:
    """Write an example prompt: in the template in force, or as in the training text of a base, where that is known."""
    task, options = _example(facts)
    is_plain = _is_pretrained(facts) or task.prompt_style_of("finetuned", options, "template") == "plain"
    return visible(task.prompt(TEXT, options, PLAIN if is_plain else facts.model.template))


def _is_pretrained(facts: Facts) -> bool:
    """Whether this is a base that this package pretrained, and that knows no template."""
    return facts.record is not None and not facts.model.is_adapter


def _example(facts: Facts) -> tuple[AnyTask, TaskOptions]:
    """Return a task that the model was trained for: a translation where it knows another language."""
    declared = facts.model.adapter_tasks
    if facts.model.is_adapter:
        others = [code for code in declared.languages if code != "en"] if "translation" in declared.tasks else []
        if not others and "generation" not in declared.tasks:
            return declared.task(declared.tasks[0]), declared.default_options(declared.tasks[0])
    else:
        others = [code for code in facts.languages if code != "en"] if facts.record else []
    if others:
        return TASKS["translation"], TranslationOptions("en", others[0])
    return TASKS["generation"], GenerationTaskOptions("continue" if facts.model.is_adapter else "instruct")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
