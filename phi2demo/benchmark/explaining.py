"""Explain the same outputs with stock shap and with our scorer under the same explainer, and compare time and values.

Stock is `shap.models.TeacherForcing` with `shap.maskers.Text`; both sides use `shap.explainers.Partition`, the same
tree, batch size and number of evaluations, and the log-odds of each output token as the value.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from phi2demo.benchmark.masker import make_masker
from phi2demo.benchmark.texts import Example
from phi2demo.engine.engine import Prompt
from phi2demo.errors import SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from phi2demo.engine.loading import LoadedModel
    from phi2demo.engine.local import LocalEngine

BATCH_SIZE = 10
"""Masks of a round of the explainer: its own default for such a model."""

Explain = Callable[[Example], "NDArray[np.float64]"]
"""Values of each token of a text for each of its output, (tokens, output tokens)."""


@dataclass(frozen=True)
class Measured:
    """One text."""

    words: int
    tokens: int
    output_tokens: int
    peer_seconds: float
    ours_seconds: float
    peer_cpu_seconds: float
    ours_cpu_seconds: float
    max_difference: float
    """Between our values and the peer's, relative to the peer's largest."""


@dataclass(frozen=True)
class Comparison:
    """All texts; seconds are medians over the repeats, on the clock and of the processor in all threads."""

    ratio: float
    """The peer's seconds for all texts over ours."""
    max_difference: float
    """The greatest of all texts."""
    ours_seconds: float
    peer_seconds: float
    cpu_ratio: float
    """As `ratio`, of processor seconds: on a busy machine they waver less than the clock's."""
    ours_cpu_seconds: float
    peer_cpu_seconds: float
    texts: tuple[Measured, ...]
    max_evals: int
    batch_size: int
    repeats: int
    model: str
    machine: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(
    loaded: "LoadedModel",
    engine: "LocalEngine",
    examples: Sequence[Example],
    *,
    max_evals: int = 500,
    repeats: int = 1,
    report: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Explain all texts in turn with each side, `repeats` times; `engine` runs the model of `loaded`.

    Raises SettingsError where there is nothing to measure.
    """
    if max_evals < 4 or repeats < 1 or not examples:
        raise SettingsError(f"{max_evals} evaluations, {repeats} repeats: give at least 4 evaluations and 1 repeat.")
    sides: dict[str, Explain] = {
        "peer": _peer(loaded, max_evals),
        "ours": _ours(loaded, engine, max_evals),
    }
    for explain in sides.values():
        explain(Example("One two three four.", examples[0].output))  # compiles what numba and oneDNN compile
    measured = []
    for number, example in enumerate(examples, 1):
        measured.append(_measure(sides, engine, example, repeats))
        report(f"text {number} of {len(examples)}: {_line(measured[-1])}")
    peer, ours, peer_cpu, ours_cpu = (
        sum(getattr(text, f"{side}_{kind}") for text in measured)
        for kind in ("seconds", "cpu_seconds")
        for side in sides
    )
    return Comparison(
        ratio=peer / ours,
        max_difference=max(text.max_difference for text in measured),
        ours_seconds=ours,
        peer_seconds=peer,
        cpu_ratio=peer_cpu / ours_cpu,
        ours_cpu_seconds=ours_cpu,
        peer_cpu_seconds=peer_cpu,
        texts=tuple(measured),
        max_evals=max_evals,
        batch_size=BATCH_SIZE,
        repeats=repeats,
        model=f"{loaded.info.base}, {loaded.info.layers} layers x {loaded.info.hidden_size}",
    )


def _measure(sides: dict[str, Explain], engine: "LocalEngine", example: Example, repeats: int) -> Measured:
    import numpy as np

    seconds: dict[str, list[float]] = {side: [] for side in sides}
    cpu_seconds: dict[str, list[float]] = {side: [] for side in sides}
    values: dict[str, NDArray[np.float64]] = {}
    for _ in range(repeats):
        for side, explain in sides.items():
            engine.forget()  # the other side or the last repeat may have scored the same texts
            np.random.seed(0)  # the explainer breaks ties by chance
            started, cpu_started = time.perf_counter(), time.process_time()
            values[side] = explain(example)
            seconds[side].append(time.perf_counter() - started)
            cpu_seconds[side].append(time.process_time() - cpu_started)
    largest = float(np.abs(values["peer"]).max())
    tokens, output_tokens = values["peer"].shape
    return Measured(
        words=len(example.text.split()),
        tokens=tokens,
        output_tokens=output_tokens,
        peer_seconds=statistics.median(seconds["peer"]),
        ours_seconds=statistics.median(seconds["ours"]),
        peer_cpu_seconds=statistics.median(cpu_seconds["peer"]),
        ours_cpu_seconds=statistics.median(cpu_seconds["ours"]),
        max_difference=float(np.abs(values["ours"] - values["peer"]).max()) / largest,
    )


def _peer(loaded: "LoadedModel", max_evals: int) -> Explain:
    """Stock shap, as its documentation shows it for text generation."""
    import copy

    import shap

    model: Any = loaded.model
    inner = getattr(model, "get_base_model", None)
    tokenizer = copy.deepcopy(loaded.tokenizer)  # stock shap changes its padding
    scorer = shap.models.TeacherForcing(model if inner is None else inner(), tokenizer)
    explainer = shap.Explainer(scorer, shap.maskers.Text(tokenizer), algorithm="partition")

    def explain(example: Example) -> "NDArray[np.float64]":
        values: NDArray[np.float64] = explainer(
            [example.text], [example.output], max_evals=max_evals, batch_size=BATCH_SIZE, silent=True
        ).values[0]
        return values

    return explain


def _ours(loaded: "LoadedModel", engine: "LocalEngine", max_evals: int) -> Explain:
    """shap's explainer over our scorer, with a masker that gives what shap's own gives."""
    import numpy as np
    import shap

    masker = make_masker(loaded.tokenizer)

    def explain(example: Example) -> "NDArray[np.float64]":
        ids = tuple(loaded.tokenizer.encode(example.output))

        def log_odds(texts: Sequence[str]) -> "NDArray[np.float64]":
            prompts = [Prompt(str(text), engine.info.uses[0]) for text in texts]
            return np.array([score.log_odds for score in engine.score(prompts, [ids] * len(prompts))])

        explainer = shap.explainers.Partition(log_odds, masker)
        values: NDArray[np.float64] = explainer(
            [example.text], max_evals=max_evals, batch_size=BATCH_SIZE, silent=True
        ).values[0]
        return values

    return explain


def _line(text: Measured) -> str:
    return f"{text.words} words, {text.tokens} tokens: stock {text.peer_seconds:.2f} s, ours {text.ours_seconds:.2f} s"
