"""The parts of a card that tell of the evaluation: the report's own table, its summary, and the ablation."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from phi2demo.cards.data_sets import DataSet, find_data_set
from phi2demo.cards.facts import Facts
from phi2demo.cards.markdown import NOT_MEASURED, bullets, plain, table
from phi2demo.engine.engine import GenerationOptions
from phi2demo.evaluation.report import FORM_TITLES, contamination_to_markdown, to_markdown
from phi2demo.tasks import TASKS

SIGNIFICANT = 0.05
EVEN = "no sure difference"
_BOUNDS = ("max_new_tokens", "time_limit_s", "stop")
"""Settings of a generation that choose no token."""
SHIPPED = DataSet("The demo's own evaluation set", "CC0-1.0", "The phi2demo authors")


def measures_of(facts: Facts) -> list[dict[str, Any]]:
    """Of all reports; for a base's card without the figures of an adapter that was finetuned on it."""
    measures: list[dict[str, Any]] = [measure for report in facts.reports for measure in report["measures"]]
    if facts.model.is_adapter:
        return measures
    return [_without_adapter(measure) for measure in measures]


def _without_adapter(measured: dict[str, Any]) -> dict[str, Any]:
    """A measure, or a slice of it."""
    told = {**measured, "figures": [bare for each in measured["figures"] if (bare := _of_base(each))["scores"]]}
    return told | ({"slices": list(map(_without_adapter, told["slices"]))} if "slices" in told else {})


def base_form(figure: dict[str, Any]) -> str | None:
    """The base's better form; None where only the finetuned model was measured."""
    sign = 1 if figure["higher_is_better"] else -1
    scores = {form: score["score"] for form, score in figure["scores"].items() if form != "finetuned"}
    return max(scores, key=lambda form: sign * scores[form], default=None)


def verdict(figure: dict[str, Any]) -> str | None:
    """Finetuned against the base's better form: better, worse or no sure difference; None without a base."""
    if "difference" not in figure:
        return None
    gain = figure["difference"]["value"] * (1 if figure["higher_is_better"] else -1)
    if gain == 0 or figure["difference"]["p"] >= SIGNIFICANT:
        return EVEN
    return "better" if gain > 0 else "worse"


def _of_base(figure: dict[str, Any]) -> dict[str, Any]:
    scores = {form: score for form, score in figure["scores"].items() if form != "finetuned"}
    return {key: value for key, value in figure.items() if key not in ("difference", "base")} | {"scores": scores}


def results_table(facts: Facts) -> str:
    """As the evaluation writes it."""
    measures = measures_of(facts)
    return to_markdown({"measures": measures}) if measures else ""


def contamination_table(facts: Facts) -> str:
    """What of the test items may have been seen before; empty where it was not looked up."""
    return contamination_to_markdown(measures_of(facts))


def testing_table(facts: Facts) -> str:
    """The files that were measured on."""
    rows = {}
    for measure in measures_of(facts):
        file, name = measure["data"], measure["name"].partition(".")[2]
        known = SHIPPED if file["sha256"] in facts.shipped else find_data_set(name)
        note = f" ({file['note']})" if file.get("note") else ""
        rows[file["name"]] = (
            known.title,
            f"`{file['name']}`",
            f"{file['split']}{note}",
            known.licence,
            f"`{file['sha256'][:12]}`",
        )
    return table(("data", "file", "split", "licence", "SHA-256"), rows.values())


def metric_lines(facts: Facts) -> str:
    """Each metric with its signature: what has to be the same for two scores to be comparable."""
    found: dict[str, list[str]] = {}
    for _, figure in _figures(facts):
        signatures = found.setdefault(figure["title"], [])
        if figure["signature"] not in signatures:
            signatures.append(figure["signature"])
    return bullets(f"{title}: {'; '.join(f'`{each}`' for each in signatures)}" for title, signatures in found.items())


def decoding_lines(facts: Facts) -> str:
    """How the outputs of each task were decoded, where that was measured: what differs from greedy decoding."""
    plain_settings = asdict(GenerationOptions())
    found: dict[str, list[str]] = {}
    for told in measures_of(facts):
        settings = told.get("generation") or {}
        changed = [
            f"{name} {value:g}"
            for name, value in settings.items()
            if name not in _BOUNDS and value != plain_settings.get(name)
        ]
        written = "num_beams" in settings and not TASKS[told["task"]].labels
        if not changed and not written:
            continue
        said, lines = f"`{', '.join(changed)}`" if changed else "greedy", found.setdefault(told["task"], [])
        if said not in lines:
            lines.append(said)
    return bullets(f"{task.replace('_', ' ')}: {'; '.join(lines)}" for task, lines in found.items())


def summary(facts: Facts) -> str:
    """On how many figures the finetuned model beats its base, and on which it does not."""
    found: dict[str | None, list[str]] = {"better": [], "worse": [], EVEN: []}
    for measure, figure in _figures(facts):
        found.setdefault(verdict(figure), []).append(f"{measure['name']} {figure['title']}")
    better, worse, even = found["better"], found["worse"], found[EVEN]
    count = len(better) + len(worse) + len(even)
    if not count:
        return ""
    text = (
        f"Finetuned against the base's better form: better on {len(better)} of {count} figures (paired test, p below "
        f"{SIGNIFICANT:g}), worse on {len(worse)}, no sure difference on {len(even)}."
    )
    text += f" Worse: {', '.join(worse)}." if worse else ""
    return text + (f" No sure difference: {', '.join(even)}." if even else "")


def speed_line(facts: Facts) -> str:
    """How fast tokens come, as the first report has it that says so."""
    report = next((each for each in facts.reports if each.get("speed")), None)
    if report is None:
        return NOT_MEASURED
    environment, speed, model = report["environment"], report["speed"], report["model"]
    return (
        f"{speed['median_tokens_per_s']:g} tokens per second ({speed['use']}, one text, greedy, median of "
        f"{len(speed['tokens_per_s'])}) on {model['device']} in {model['dtype']}, {environment['threads']} threads, "
        f"{environment['system']}"
    )


def environment_lines(facts: Facts) -> str:
    """Where and when the figures are from: a line for each report that says another thing."""
    lines = []
    for report in facts.reports:
        environment, settings = report["environment"], report["settings"]
        versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
        lines.append(
            f"Measured on {report['made_at'][:10]} with Python {environment['python']}, {versions}; batches of "
            f"{settings['batch_size']}, {settings['resamples']:,} resamples, seed {settings['seed']}. "
            f"{environment.get('note', '')}".strip()
        )
    return "\n".join(dict.fromkeys(lines))


def ablation_tables(facts: Facts) -> str:
    """The rows of each ablation as they are given, after its note."""
    return "\n\n".join(map(_ablation, facts.ablations))


def _ablation(ablation: Mapping[str, Any]) -> str:
    rows = ablation["rows"]
    head = list(dict.fromkeys(name for row in rows for name in row))
    text = table(head, [[row.get(name, "") or " " for name in head] for row in rows])
    return f"{ablation.get('note', '')}\n\n{text}".strip()


def failures_list(facts: Facts) -> str:
    """Each with what was asked, what came, what would have been right, and a word on it."""
    blocks = []
    for failure in facts.failures:
        lines = [
            f"Asked: {plain(failure.input)}",
            f"Answered: {plain(failure.output)}",
            f"Right: {plain(failure.reference)}",
        ]
        head = plain(failure.note) if failure.note else "Wrong"
        blocks.append(f"- {head}\n" + "\n".join(f"  - {line}" for line in lines))
    return "\n".join(blocks)


def samples_list(facts: Facts) -> str:
    """Every sample with its seed; the prompt stands out."""
    ended = "(nothing: the text ended there)"
    return "\n".join(
        f"{at}. (seed {s.seed}) **{plain(s.prompt)}** {plain(s.text or ended)}" for at, s in enumerate(facts.samples, 1)
    )


def forms_line(facts: Facts) -> str:
    """What the columns of the results are."""
    found = {form for _, figure in _figures(facts) for form in figure["scores"]}
    told = {
        "finetuned": "the base with this adapter, asked as the app does: by the template, prose to go on with as it is",
        "base_template": "the base, asked by the same template, which it has not seen",
        "base_plain": "the base, asked in the plain form that it was pretrained on",
    }
    return bullets(f"{title}: {told[form]}" for form, title in FORM_TITLES.items() if form in found)


def _figures(facts: Facts) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for measure in measures_of(facts):
        for figure in measure["figures"]:
            yield measure, figure
