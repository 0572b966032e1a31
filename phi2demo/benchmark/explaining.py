"""Explain the same outputs with stock shap and with this package, and compare time and values.

Our side is `explain.job.explain`, as the page and the commands call it. The other side is stock shap:
`shap.models.TeacherForcing` scores, `shap.maskers.Text` hides words, `shap.explainers.Partition` attributes. Both sides
have the same prompts, words, tree over them and number of evaluations; the value is the log-odds of each output token.
Our side also makes the units and the tree, and times a short trial for its estimate.
"""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi2demo.benchmark.setup import Comparison, check_count, describe_engine, describe_machine, describe_model
from phi2demo.engine.engine import Engine
from phi2demo.explain.estimate import TrialTiming, make_plan
from phi2demo.explain.job import explain
from phi2demo.explain.request import ExplainRequest
from phi2demo.explain.scoring_plan import units_by_kind
from phi2demo.explain.shapley import BATCH
from phi2demo.tasks.generation import GenerationTaskOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from phi2demo.engine.loading import LoadedModel


@dataclass(frozen=True)
class Example:
    """A text, and the output that is explained."""

    text: str
    output: str


EXAMPLES = (
    Example(
        "The last ferry to the island leaves at nine tonight, but the harbour office warns that strong winds may delay it.",
        " The last ferry may be late because of the wind.",
    ),
    Example(
        "My grandmother kept bees behind the house for forty years. She never wore a veil, and she spoke to the hives "
        "every morning before breakfast. When she died, my uncle sold the hives to a neighbour, and the garden has been "
        "quiet since then.",
        " She kept bees for forty years, and they were sold when she died.",
    ),
    Example(
        "The old lighthouse on the northern cliff was built by fishermen who had lost too many boats to the rocks. Every "
        "evening a keeper climbed the stairs and lit the lamp. When electricity came to the island, the last keeper "
        "stayed on for ten more years, because nobody wanted him to leave. Today a small museum shows his coat, his "
        "boots and the book in which he wrote down every storm.",
        " The lighthouse is now a museum about its last keeper.",
    ),
    Example(
        "The film begins slowly, with long shots of an empty town and almost no music. I was ready to leave after twenty "
        "minutes. Then the daughter comes home, and everything changes: the dialogue is quick and funny, the two leading "
        "actors are wonderful together, and the story takes a turn that I did not see coming. The ending is a little too "
        "neat, and one song is repeated far too often, but these are small faults. I have seen many films about families "
        "this year, and this is the one that I would watch again tomorrow.",
        " positive",
    ),
    Example(
        "For a simple soup you need two onions, three carrots, a stick of celery and a handful of lentils. Chop the "
        "vegetables into small pieces and fry them gently in oil until they are soft, which takes about ten minutes. Add "
        "the lentils, a litre of water and a spoon of salt, and let the pot stand on a low flame for half an hour. Do not "
        "cover it completely, or it will boil over. Taste the soup before you serve it. Some people like a little lemon "
        "juice or pepper at the end, and others stir in a spoon of yoghurt. It keeps for three days in a cold place and "
        "tastes even better on the second day, when the lentils have become soft.",
        " Fry the vegetables, add lentils and water, and cook for half an hour.",
    ),
    Example(
        "The town council met on Tuesday evening to decide what should happen to the old railway station, which has stood "
        "empty since the line was closed eleven years ago. Three plans were on the table. The first would turn the "
        "building into a library with a small café. The second would sell it to a company that wants to build flats. The "
        "third, brought forward by a group of young people, would make it a place for music and sport. More than a "
        "hundred citizens came to listen, and many of them spoke. Most were against the sale. After three hours the mayor "
        "said that the council needed better numbers, above all for the roof, which has been leaking for years. The "
        "decision was put off until the spring. Until then the station will stay closed, but the waiting room may be used "
        "for an exhibition of old photographs.",
        " The council put off its decision about the old railway station until the spring.",
    ),
)


PEER_BATCH = 10
"""Prompts that stock shap scores at once: the default of its explainer for such a model. It is slower with larger batches,
because it copies the logits of all prompt tokens."""

Explain = Callable[[ExplainRequest], "NDArray[np.float64]"]
"""From a request to values (words, output tokens)."""


@dataclass(frozen=True)
class Measured:
    """The figures of one text; seconds are medians over the repeats."""

    words: int
    output_tokens: int
    peer_seconds: float
    ours_seconds: float
    peer_cpu_seconds: float
    ours_cpu_seconds: float
    max_difference: float
    """The largest difference between our values and the peer's, relative to the peer's largest value."""


@dataclass(frozen=True, kw_only=True)
class ExplainingComparison(Comparison):
    """Seconds for all texts; CPU seconds are those of the processor in all threads."""

    max_difference: float
    """The largest of all texts."""
    cpu_ratio: float
    """As `ratio`, of CPU seconds: these vary less on a busy machine."""
    ours_cpu_seconds: float
    peer_cpu_seconds: float
    texts: tuple[Measured, ...]
    max_evals: int

    def table(self) -> list[str]:
        """See `Comparison.table`."""
        return [
            f"{'':6}{'seconds':>10}{'times faster':>14}{'off by':>10}",
            f"{'stock':6}{self.peer:>10.1f}",
            f"{'ours':6}{self.ours:>10.1f}{self.ratio:>14.1f}{self.max_difference:>10.1e}",
            f"{len(self.texts)} texts, {self.max_evals} masked texts each",
        ]


def compare(
    loaded: "LoadedModel",
    engine: Engine,
    examples: Sequence[Example],
    *,
    max_evals: int = 500,
    repeats: int = 1,
    report: Callable[[str], None] = lambda line: None,
) -> ExplainingComparison:
    """Explain each text with each side in turn, `repeats` times; `engine` runs the model of `loaded`.

    Raises SettingsError where there are no repeats, or fewer evaluations than an explanation takes.
    """
    check_count("--repeats", repeats)
    requests = [_request(example, engine, max_evals) for example in examples]
    sides: dict[str, Explain] = {"peer": _peer(loaded, engine), "ours": _ours(engine)}
    for explain_side in sides.values():  # compiles what numba and oneDNN compile
        explain_side(_request(Example("One two three four.", examples[0].output), engine, max_evals))
    measured = []
    for number, request in enumerate(requests, 1):
        text = _measure(sides, engine, request, repeats)
        measured.append(text)
        report(
            f"text {number} of {len(requests)}: {text.words} words, {text.output_tokens} output tokens: "
            f"stock {text.peer_seconds:.2f} s, ours {text.ours_seconds:.2f} s"
        )
    peer, ours, peer_cpu, ours_cpu = (
        sum(getattr(text, f"{side}_{clock}") for text in measured)
        for clock in ("seconds", "cpu_seconds")
        for side in sides
    )
    return ExplainingComparison(
        ratio=peer / ours,
        ours=ours,
        peer=peer,
        unit="seconds",
        repeats=repeats,
        model=describe_model(engine.info),
        engine=describe_engine(engine.info),
        machine=describe_machine(engine.info.device),
        max_difference=max(text.max_difference for text in measured),
        cpu_ratio=peer_cpu / ours_cpu,
        ours_cpu_seconds=ours_cpu,
        peer_cpu_seconds=peer_cpu,
        texts=tuple(measured),
        max_evals=max_evals,
    )


def _request(example: Example, engine: Engine, max_evals: int) -> ExplainRequest:
    """Ask why `output` continues `text`, without the trust figures, which stock shap does not have."""
    return ExplainRequest(
        "generation",
        example.text,
        GenerationTaskOptions("continue"),
        (example.output,),
        of=engine.info.variants[0],
        method="partition",
        units="words",
        value="log-odds",
        mask="...",
        max_evals=max_evals,
        trust=False,
    )


def _measure(sides: dict[str, Explain], engine: Engine, request: ExplainRequest, repeats: int) -> Measured:
    import numpy as np

    seconds: dict[str, list[float]] = {side: [] for side in sides}
    cpu_seconds: dict[str, list[float]] = {side: [] for side in sides}
    values: dict[str, NDArray[np.float64]] = {}
    for _ in range(repeats):
        for side, explain_side in sides.items():
            engine.forget()  # the last repeat scored the same texts
            started, cpu_started = time.perf_counter(), time.process_time()
            values[side] = explain_side(request)
            seconds[side].append(time.perf_counter() - started)
            cpu_seconds[side].append(time.process_time() - cpu_started)
    words, output_tokens = values["peer"].shape
    difference = np.abs(values["ours"] - values["peer"]).max() / np.abs(values["peer"]).max()
    return Measured(
        words=words,
        output_tokens=output_tokens,
        peer_seconds=statistics.median(seconds["peer"]),
        ours_seconds=statistics.median(seconds["ours"]),
        peer_cpu_seconds=statistics.median(cpu_seconds["peer"]),
        ours_cpu_seconds=statistics.median(cpu_seconds["ours"]),
        max_difference=float(difference),
    )


def _ours(engine: Engine) -> Explain:
    def explain_side(request: ExplainRequest) -> "NDArray[np.float64]":
        *_, last = explain(engine, request)
        assert last.attribution is not None
        return last.attribution.values

    return explain_side


def _peer(loaded: "LoadedModel", engine: Engine) -> Explain:
    """Return stock shap, set up as its documentation shows it for text generation."""
    import numpy as np
    import shap

    model: Any = loaded.model
    inner = getattr(model, "get_base_model", None)
    tokenizer = copy.deepcopy(loaded.tokenizer)  # stock shap changes its padding
    scorer = shap.models.TeacherForcing(model if inner is None else inner(), tokenizer, batch_size=PEER_BATCH)

    def explain_side(request: ExplainRequest) -> "NDArray[np.float64]":
        variant, (output,) = request.variants[0], request.outputs

        def log_odds(texts: Sequence[str]) -> "NDArray[np.float64]":
            prompts = np.array([request.asked.prompt(str(text), variant) for text in texts])
            scores: NDArray[np.float64] = scorer(prompts, np.array([output] * len(texts)))
            return scores

        masker = shap.maskers.Text(r"(?=\s)", mask_token=request.mask)  # words, with the space before them
        masker.clustering = make_plan(request, units_by_kind(engine, request), TrialTiming(0.0, 0.0)).tree
        np.random.seed(request.seed)  # the explainer breaks ties by chance
        explainer = shap.explainers.Partition(log_odds, masker)
        values: NDArray[np.float64] = explainer(
            [request.text], max_evals=request.max_evals, batch_size=BATCH, silent=True
        ).values[0]
        return values

    return explain_side
