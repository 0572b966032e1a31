"""The parts of a card that tell of the evaluation: the report's own table, its summary, and the ablation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from phi2demo.cards.facts import DataSet, Facts, find_data_set
from phi2demo.cards.markdown import NOT_MEASURED, bullets, number, plain, table
from phi2demo.data.contamination import CONTAMINATION_LABELS
from phi2demo.engine.engine import GenerationOptions
from phi2demo.evaluation.report import SYSTEM_TITLES, contamination_to_markdown, to_markdown
from phi2demo.evaluation.slices import COMPLEXITIES, CONFIDENCE_QUINTILES, GENRES, LENGTHS
from phi2demo.tasks import TASKS

SIGNIFICANT = 0.05
EVEN = "no sure difference"
_BOUNDS = ("max_new_tokens", "time_limit_s", "stop")
"""Settings of a generation that choose no token."""
SHIPPED = DataSet("The demo's own evaluation set", "CC0-1.0", "The phi2demo authors")


def all_test_sets(facts: Facts) -> list[dict[str, Any]]:
    """Of all reports; for a base's card without the figures of an adapter that was finetuned on it."""
    test_sets: list[dict[str, Any]] = [test_set for report in facts.reports for test_set in report["test_sets"]]
    if facts.model.is_adapter:
        return test_sets
    return [_without_adapter(test_set) for test_set in test_sets]


def _without_adapter(measured: dict[str, Any]) -> dict[str, Any]:
    """A measure, or a slice of it."""
    told = {**measured, "figures": [bare for each in measured["figures"] if (bare := _of_base(each))["scores"]]}
    return told | ({"slices": list(map(_without_adapter, told["slices"]))} if "slices" in told else {})


def base_prompt_style(figure: dict[str, Any]) -> str | None:
    """The base's better form; None where only the finetuned model was measured."""
    sign = 1 if figure["higher_is_better"] else -1
    scores = {system: score["score"] for system, score in figure["scores"].items() if system != "finetuned"}
    return max(scores, key=lambda system: sign * scores[system], default=None)


def verdict(figure: dict[str, Any]) -> str | None:
    """Finetuned against the base's better form: better, worse or no sure difference; None without a base."""
    if "difference" not in figure:
        return None
    gain = figure["difference"]["value"] * (1 if figure["higher_is_better"] else -1)
    if gain == 0 or figure["difference"]["p"] >= SIGNIFICANT:
        return EVEN
    return "better" if gain > 0 else "worse"


def _of_base(figure: dict[str, Any]) -> dict[str, Any]:
    scores = {system: score for system, score in figure["scores"].items() if system != "finetuned"}
    return {key: value for key, value in figure.items() if key not in ("difference", "base")} | {"scores": scores}


def results_table(facts: Facts) -> str:
    """As the evaluation writes it."""
    test_sets = all_test_sets(facts)
    return to_markdown({"test_sets": test_sets}) if test_sets else ""


def contamination_table(facts: Facts) -> str:
    """What of the test items may have been seen before; empty where it was not looked up."""
    return contamination_to_markdown(all_test_sets(facts))


def testing_table(facts: Facts) -> str:
    """The files that were measured on."""
    rows = {}
    for test_set in all_test_sets(facts):
        file, name = test_set["data"], test_set["name"].partition(".")[2]
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
    for told in all_test_sets(facts):
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
    for test_set, figure in _figures(facts):
        found.setdefault(verdict(figure), []).append(f"{test_set['name']} {figure['title']}")
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
        f"{speed['median_tokens_per_s']:g} tokens per second ({speed['variant']}, one text, greedy, median of "
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


def systems_line(facts: Facts) -> str:
    """What the columns of the results are."""
    found = {system for _, figure in _figures(facts) for system in figure["scores"]}
    told = {
        "finetuned": "the base with this adapter, asked as the app does: by the template, prose to go on with as it is",
        "base_template": "the base, asked by the same template, which it has not seen",
        "base_plain": "the base, asked in the plain form that it was pretrained on",
    }
    return bullets(f"{title}: {told[system]}" for system, title in SYSTEM_TITLES.items() if system in found)


def _figures(facts: Facts) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for test_set in all_test_sets(facts):
        for figure in test_set["figures"]:
            yield test_set, figure


_TITLES = {
    "length": "text length",
    "genre": "genre",
    "complexity": "complexity",
    "contamination": "contamination",
    "confidence": "mean token probability",
}
_NAMES = {
    "length": LENGTHS,
    "genre": GENRES,
    "complexity": COMPLEXITIES,
    "contamination": CONTAMINATION_LABELS,
    "confidence": CONFIDENCE_QUINTILES,
}
"""Of the slices, in their order; others come behind them."""


def slices_tables(facts: Facts) -> str:
    """A table for each way to slice: a row for each measure's first metric, a column for each slice.

    Empty text where nothing was sliced.
    """
    sliced = [test_set for test_set in all_test_sets(facts) if test_set.get("slices")]
    parts = [_table(by, title, sliced) for by, title in _TITLES.items()]
    return "\n\n".join(part for part in parts if part)


def slicing_lines(facts: Facts) -> str:
    """What the slices mean, as the reports say it."""
    told = next((report["slicing"] for report in facts.reports if report.get("slicing")), None)
    if told is None:
        return ""
    lines = []
    if told.get("length", {}).get("up_to"):
        ends = "; ".join(_bounds(kind, told["length"]) for kind in told["length"]["up_to"])
        lines.append(f"Length is in {told['length']['rule']}: {ends}.")
    if told.get("complexity", {}).get("from"):
        steps = ", ".join(
            f"{name} from {least:g}"
            for name, least in zip(told["complexity"]["names"][1:], told["complexity"]["from"], strict=False)
        )
        lines.append(f"Complexity is {told['complexity']['rule']}: {steps}.")
    if told.get("contamination", {}).get("rule"):
        lines.append(f"Contamination is {told['contamination']['rule']}.")
    if told.get("confidence", {}).get("rule"):
        lines.append(f"How sure the model is, is told by {told['confidence']['rule']}.")
    if told.get("least_to_rank"):
        lines.append(f"A slice of fewer than {told['least_to_rank']} examples is shown and not ranked.")
    return " ".join(lines)


def _bounds(kind: str, told: dict[str, Any]) -> str:
    steps = (f"{name} up to {most}" for name, most in zip(told["names"], told["up_to"][kind], strict=False))
    return f"of {kind} {', '.join(steps)}, then {told['names'][-1]}"


def _table(by: str, title: str, test_sets: Sequence[dict[str, Any]]) -> str:
    names = {each["name"] for test_set in test_sets for each in test_set["slices"] if each["by"] == by}
    if not names:
        return ""
    known = _NAMES[by]
    head = sorted(names, key=lambda name: (known.index(name) if name in known else len(known), name))
    rows = []
    for test_set in test_sets:
        found = {each["name"]: each for each in test_set["slices"] if each["by"] == by and each["figures"]}
        if found:
            metric = next(iter(found.values()))["figures"][0]["title"]
            rows.append((test_set["name"], metric, *(_cell(found.get(name)) for name in head)))
    return table((f"by {title}", "metric", *head), rows)


def _cell(told: dict[str, Any] | None) -> str:
    """Finetuned against the base's better form, and on how many examples."""
    if told is None:
        return "none"
    figure = told["figures"][0]
    systems = [system for system in ("finetuned", base_prompt_style(figure)) if system in figure["scores"]]
    scores = " against ".join(f"{figure['scores'][system]['score']:.{figure['digits']}f}" for system in systems)
    return f"{scores} (n {told['n']}{'' if told['enough'] else ', too few'})"


def audit_summary(facts: Facts) -> str:
    """When it was made and its sentences; empty text without an audit."""
    if facts.audit is None:
        return ""
    return f"An audit of {facts.audit['made_at'][:10]} found:\n\n" + bullets(map(plain, facts.audit["summary"]))


def audit_table(facts: Facts) -> str:
    """What each probe does, and its figures; the verdicts stand in the summary."""
    if facts.audit is None:
        return ""
    rows = [
        (probe["title"], number(probe["n"]), figure["title"], _score(figure), "yes" if figure.get("flagged") else "no")
        for probe in facts.audit["probes"]
        for figure in probe["figures"]
    ]
    probes = bullets(f"**{plain(probe['title'])}.** {plain(probe.get('what', ''))}" for probe in facts.audit["probes"])
    return f"{probes}\n\n{table(('probe', 'n', 'figure', 'score (95 % interval)', 'flagged'), rows)}"


def _score(figure: dict[str, Any]) -> str:
    text = number(figure["score"])
    if figure.get("low") is not None:
        text += f" ({number(figure['low'])} to {number(figure['high'])})"
    return text
