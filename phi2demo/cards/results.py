"""The parts of a card about the evaluation: tables, summary, slices, ablations, failures, samples and audit."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from phi2demo.cards.facts import DataSet, Facts, find_data_set
from phi2demo.cards.markdown import NOT_MEASURED, bullets, number, plain, table
from phi2demo.data.contamination import CONTAMINATION_LABELS
from phi2demo.engine.engine import GenerationOptions
from phi2demo.evaluation.outputs import SYSTEM_TITLES
from phi2demo.evaluation.report import SIGNIFICANT, Figure, Slice, SliceRule, TestSetResult, systems_in
from phi2demo.evaluation.slices import COMPLEXITIES, CONFIDENCE_QUINTILES, GENRES, LENGTHS, Dimension
from phi2demo.evaluation.tables import contamination_to_markdown, results_to_markdown, rows_of, score_cell
from phi2demo.tasks import TASKS

EVEN = "no sure difference"
_BOUNDS = ("max_new_tokens", "time_limit_s", "stop")
"""Settings of a generation that do not affect which tokens are chosen."""
MAX_INPUT = 300
"""Characters of a failure's input that a card shows."""
SHIPPED = DataSet("The demo's own evaluation set", "CC0-1.0", "The phi2demo authors")


def all_test_sets(facts: Facts) -> list[TestSetResult]:
    """Collect the test sets of all reports; for a base's card without the figures of an adapter that was finetuned on it."""
    test_sets = [test_set for report in facts.reports for test_set in report.test_sets]
    return test_sets if facts.model.is_adapter else [test_set.without_adapter() for test_set in test_sets]


def verdict(figure: Figure, n: int) -> str | None:
    """Compare the finetuned model with the better base: better, worse or no sure difference; None without a base."""
    result = figure.verdict(n)
    return EVEN if result in ("unclear", "too few") else result


def results_table(facts: Facts, *, detailed: bool = False) -> str:
    """List the first figure of each test set, or all where `detailed`; empty where nothing was measured."""
    test_sets = all_test_sets(facts)
    if not detailed:
        test_sets = [test_set.model_copy(update={"figures": test_set.figures[:1]}) for test_set in test_sets]
    return results_to_markdown(test_sets)


def count_line(facts: Facts) -> str:
    """State how many test sets and items were measured."""
    test_sets = all_test_sets(facts)
    plural = "" if len(test_sets) == 1 else "s"
    return f"{len(test_sets)} test set{plural} with {sum(test_set.n for test_set in test_sets):,} items"


def metric_names(facts: Facts) -> str:
    """Name each metric once."""
    return ", ".join(dict.fromkeys(row.figure.title for row in rows_of(all_test_sets(facts))))


def contamination_table(facts: Facts) -> str:
    """List the test items that the model may have seen before; empty where they were not looked up."""
    return contamination_to_markdown(all_test_sets(facts))


def testing_table(facts: Facts) -> str:
    """List the files of the test sets."""
    rows = {}
    for test_set in all_test_sets(facts):
        file, name = test_set.data, test_set.name.partition(".")[2]
        data_set = SHIPPED if file.sha256 in facts.shipped else find_data_set(name)
        note = f" ({file.note})" if file.note else ""
        rows[file.name] = (
            data_set.title,
            f"`{file.name}`",
            f"{file.split}{note}",
            data_set.licence,
            f"`{file.sha256[:12]}`",
        )
    return table(("data", "file", "split", "licence", "SHA-256"), rows.values())


def metric_lines(facts: Facts) -> str:
    """List each metric with its signature, which has to be the same for two scores to be comparable."""
    signatures: dict[str, dict[str, None]] = {}
    for row in rows_of(all_test_sets(facts)):
        signatures.setdefault(row.figure.title, {})[row.figure.signature] = None
    return bullets(f"{title}: {'; '.join(f'`{text}`' for text in texts)}" for title, texts in signatures.items())


def decoding_lines(facts: Facts) -> str:
    """List how the outputs of each task were decoded: the settings that differ from greedy decoding."""
    plain_settings = asdict(GenerationOptions())
    lines: dict[str, dict[str, None]] = {}
    for test_set in all_test_sets(facts):
        settings = test_set.generation or {}
        changed = [
            f"{name} {value:g}"
            for name, value in settings.items()
            if name not in _BOUNDS and value != plain_settings.get(name)
        ]
        task = TASKS.get(test_set.task)
        written = "num_beams" in settings and not (task and task.labels)
        if changed or written:
            line = f"`{', '.join(changed)}`" if changed else "greedy"
            lines.setdefault(test_set.task, {})[line] = None
    return bullets(f"{task.replace('_', ' ')}: {'; '.join(texts)}" for task, texts in lines.items())


def summary(facts: Facts) -> str:
    """Count the figures on which the finetuned model beats its base, and name those on which it does not."""
    names: dict[str | None, list[str]] = {"better": [], "worse": [], EVEN: []}
    for row in rows_of(all_test_sets(facts)):
        names.setdefault(verdict(row.figure, row.n), []).append(f"{row.test_set.name} {row.figure.title}")
    better, worse, even = names["better"], names["worse"], names[EVEN]
    count = len(better) + len(worse) + len(even)
    if not count:
        return ""
    text = (
        f"Finetuned against the better base: better on {len(better)} of {count} figures (paired test, p below "
        f"{SIGNIFICANT:g}), worse on {len(worse)}, no sure difference on {len(even)}."
    )
    return text + (f" Worse: {', '.join(worse)}." if worse else "")


def speed_line(facts: Facts) -> str:
    """State the tokens per second, from the first report that has them."""
    for report in facts.reports:
        if speed := report.speed:
            return (
                f"{speed.median_tokens_per_s:g} tokens per second ({speed.variant}, one text, greedy, median of "
                f"{len(speed.tokens_per_s)}) on {report.model.device} in {report.model.dtype}, "
                f"{report.environment.threads} threads, {report.environment.system}"
            )
    return NOT_MEASURED


def environment_lines(facts: Facts) -> str:
    """State where and when the figures were measured, in one line for each different report."""
    lines = []
    for report in facts.reports:
        environment, settings = report.environment, report.settings
        versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
        lines.append(
            f"Measured on {report.made_at[:10]} with Python {environment.python}, {versions}; batches of "
            f"{settings.batch_size}, {settings.resamples:,} resamples, seed {settings.seed}. "
            f"{environment.note}".strip()
        )
    return "\n".join(dict.fromkeys(lines))


def ablation_tables(facts: Facts) -> str:
    """Write the rows of each ablation, after its note."""
    return "\n\n".join(map(_ablation, facts.ablations))


def _ablation(ablation: Mapping[str, Any]) -> str:
    rows = ablation["rows"]
    head = list(dict.fromkeys(name for row in rows for name in row))
    text = table(head, [[row.get(name, "") or " " for name in head] for row in rows])
    return f"{ablation.get('note', '')}\n\n{text}".strip()


def failures_list(facts: Facts) -> str:
    """List each failure with its input, the answer, the right answer, and a note."""
    blocks = []
    for failure in facts.failures:
        lines = [
            f"Asked: {plain(_shortened(failure.input))}",
            f"Answered: {plain(failure.output)}",
            f"Right: {plain(failure.reference)}",
        ]
        head = plain(failure.note) if failure.note else "Wrong"
        blocks.append(f"- {head}\n" + "\n".join(f"  - {line}" for line in lines))
    return "\n".join(blocks)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_INPUT else f"{text[:MAX_INPUT].rstrip()} …"


def samples_list(facts: Facts) -> str:
    """List every sample with its seed and its prompt in bold."""
    ended = "(nothing: the text ended there)"
    return "\n".join(
        f"{index}. (seed {s.seed}) **{plain(s.prompt)}** {plain(s.text or ended)}"
        for index, s in enumerate(facts.samples, 1)
    )


def systems_line(facts: Facts) -> str:
    """Explain the columns of the results."""
    is_pretrained_here = (facts.base_record if facts.model.is_adapter else facts.record) is not None
    meanings = {
        "finetuned": "the base with this adapter, asked as the app does: by the template, prose to go on with as it is",
        "base_template": "the base, asked by the same template"
        + (", which it has not seen" if is_pretrained_here else ""),
        "base_plain": "the base, asked in the plain prompt style that it was pretrained on",
    }
    systems = systems_in(all_test_sets(facts))
    return bullets(f"{SYSTEM_TITLES[system]}: {meanings[system]}" for system in systems)


_TITLES: dict[Dimension, str] = {
    "length": "text length",
    "genre": "genre",
    "complexity": "complexity",
    "contamination": "contamination",
    "confidence": "mean token probability",
}
_NAMES: dict[Dimension, tuple[str, ...]] = {
    "length": LENGTHS,
    "genre": GENRES,
    "complexity": COMPLEXITIES,
    "contamination": CONTAMINATION_LABELS,
    "confidence": CONFIDENCE_QUINTILES,
}
"""Names of the slices, in order; others come after them."""


def slices_tables(facts: Facts) -> str:
    """Make a table for each dimension: a row for the first metric of each test set, a column for each slice.

    Empty where there are no slices.
    """
    sliced = [test_set for test_set in all_test_sets(facts) if test_set.slices]
    tables = [_slices_table(by, title, sliced) for by, title in _TITLES.items()]
    return "\n\n".join(filter(None, tables))


def slicing_lines(facts: Facts) -> str:
    """Explain the slices, as the reports do."""
    slicing = next((report.slicing for report in facts.reports if report.slicing), None)
    if slicing is None:
        return ""
    lines = []
    if slicing.length and slicing.length.up_to:
        ends = "; ".join(_bounds(kind, slicing.length) for kind in slicing.length.up_to)
        lines.append(f"Length is in {slicing.length.rule}: {ends}.")
    if slicing.complexity and slicing.complexity.lower_bounds:
        labels = zip(slicing.complexity.names[1:], slicing.complexity.lower_bounds, strict=False)
        steps = ", ".join(f"{name} from {bound:g}" for name, bound in labels)
        lines.append(f"Complexity is {slicing.complexity.rule}: {steps}.")
    if slicing.contamination:
        lines.append(f"Contamination is {slicing.contamination.rule}.")
    if slicing.confidence:
        lines.append(f"Confidence is measured by {slicing.confidence.rule}.")
    lines.append(f"A slice of fewer than {slicing.least_to_rank} examples is shown and not ranked.")
    return " ".join(lines)


def _bounds(kind: str, lengths: SliceRule) -> str:
    steps = (f"{name} up to {bound}" for name, bound in zip(lengths.names, lengths.up_to[kind], strict=False))
    return f"of {kind} {', '.join(steps)}, then {lengths.names[-1]}"


def _slices_table(by: Dimension, title: str, test_sets: Sequence[TestSetResult]) -> str:
    names = {part.name for test_set in test_sets for part in test_set.slices if part.by == by}
    if not names:
        return ""
    order = _NAMES[by]
    head = sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))
    rows = []
    for test_set in test_sets:
        slices = {part.name: part for part in test_set.slices if part.by == by and part.figures}
        if slices:
            metric = next(iter(slices.values())).figures[0].title
            rows.append((test_set.name, metric, *(_cell(slices.get(name)) for name in head)))
    return table((f"by {title}", "metric", *head), rows)


def _cell(part: Slice | None) -> str:
    """Write the scores of the finetuned model and the better base, and the number of examples."""
    if part is None:
        return "none"
    figure = part.figures[0]
    scores = [figure.scores[system] for system in ("finetuned", figure.better_base) if system in figure.scores]
    texts = " against ".join(score_cell(score, figure.digits).text for score in scores)
    return f"{texts} (n {part.n}{'' if part.enough else ', too few'})"


def audit_summary(facts: Facts) -> str:
    """List the findings of the audit; empty without one."""
    return bullets(map(plain, facts.audit["summary"])) if facts.audit else ""


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
