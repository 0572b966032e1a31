"""Explain the same outputs with stock shap and with our scorer under the same explainer, and compare time and values.

Stock is `shap.models.TeacherForcing` with `shap.maskers.Text`; both sides use `shap.explainers.Partition`, the same
tree, batch size and number of evaluations, and the log-odds of each output token as the value.
"""

import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from phi2demo.benchmark.inputs import Example
from phi2demo.engine.engine import Prompt
from phi2demo.errors import SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from phi2demo.engine.loading import LoadedModel
    from phi2demo.engine.local import LocalEngine

_ENDS_OPEN = re.compile(r"^.*\W$")
_LETTER = re.compile(r"^[A-Za-z]")


def make_masker(tokenizer: Any) -> Any:
    """A `shap.maskers.Text`."""
    import numpy as np
    import shap

    class Text(shap.maskers.Text):
        """Only its tree and, for a tokenizer that adds nothing of its own, its masked texts are built anew."""

        def __call__(self, mask: "NDArray[np.bool_]", s: str) -> "tuple[NDArray[np.str_]]":
            self._update_s_cache(s)
            kept = self._standardize_mask(mask, s)
            added = self.keep_prefix or self.keep_suffix or getattr(self.tokenizer, "sep_token", None) is not None
            if added or not self.collapse_mask_token or self.output_type != "string" or "▁" in s:  # a space to some
                masked: tuple[NDArray[np.str_]] = super().__call__(mask, s)
                return masked
            return (np.array([masked_text(self._segments_s, kept, self.mask_token)]),)

        def clustering(self, s: str) -> "NDArray[np.float64]":
            self._update_s_cache(s)
            separator = getattr(self.tokenizer, "sep_token", None)
            tree = partition_tree(joined_marks(list(self._segments_s)), [] if separator is None else [separator])
            tree[:, 2] = tree[:, 3] / tree[:, 3].max()
            return tree

    return Text(tokenizer)


def masked_text(segments: "NDArray[np.str_]", kept: "NDArray[np.bool_]", mark: str) -> str:
    """The kept segments with `mark` for each run of others, and single spaces."""
    import numpy as np

    first = ~kept  # of each run
    first[1:] &= kept[:-1]
    return " ".join("".join(np.where(kept, segments, " " + mark)[kept | first].tolist()).split())


def joined_marks(segments: list[str]) -> list[str]:
    """Stripped segments; those that go on with a word begin with ##."""
    tokens: list[str] = []
    for at, segment in enumerate(segments):
        inside = at > 0 and not _ENDS_OPEN.match(segments[at - 1]) and _LETTER.match(segment) and tokens[at - 1] != ""
        tokens.append(("##" if inside else "") + segment.strip())
    return tokens


def partition_tree(tokens: list[str], special_tokens: list[str]) -> "NDArray[np.float64]":
    """What `shap.maskers._text.partition_tree` gives: a linkage matrix by merge score.

    There all scores are computed again after each merge; only those of the two neighbours can have changed.
    """
    import numpy as np
    from shap.maskers._text import Token, TokenGroup, merge_score, openers

    count = len(tokens)
    groups = [TokenGroup([Token(token)], at) for at, token in enumerate(tokens)]
    scores = [merge_score(left, right, special_tokens) for left, right in pairwise(groups)]
    tree = np.zeros((count - 1, 4))
    for step in range(count - 1):
        at = int(np.argmax(scores))
        left, right = groups[at], groups.pop(at + 1)
        sizes = sum(tree[group.index - count, 3] if group.index >= count else 1 for group in (left, right))
        tree[step] = left.index, right.index, 10 - scores.pop(at), sizes
        merged = groups[at] = left + right
        merged.index = count + step
        if merged[0].s in openers and right[-1].s == openers[merged[0].s]:
            merged[0].balanced = right[-1].balanced = True
        for pair in (at - 1, at):
            if 0 <= pair < len(scores):
                scores[pair] = merge_score(groups[pair], groups[pair + 1], special_tokens)
    return tree


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
    baseline_seconds: float
    ours_seconds: float
    baseline_cpu_seconds: float
    ours_cpu_seconds: float
    max_difference: float
    """Between our values and the baseline's, relative to the baseline's largest."""


@dataclass(frozen=True)
class Comparison:
    """All texts; seconds are medians over the repeats, on the clock and of the processor in all threads."""

    ratio: float
    """the baseline's seconds for all texts over ours."""
    max_difference: float
    """The greatest of all texts."""
    ours_seconds: float
    baseline_seconds: float
    cpu_ratio: float
    """As `ratio`, of processor seconds: on a busy machine they waver less than the clock's."""
    ours_cpu_seconds: float
    baseline_cpu_seconds: float
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
        "baseline": _baseline(loaded, max_evals),
        "ours": _ours(loaded, engine, max_evals),
    }
    for explain in sides.values():
        explain(Example("One two three four.", examples[0].output))  # compiles what numba and oneDNN compile
    measured = []
    for number, example in enumerate(examples, 1):
        measured.append(_measure(sides, engine, example, repeats))
        report(f"text {number} of {len(examples)}: {_line(measured[-1])}")
    baseline, ours, baseline_cpu, ours_cpu = (
        sum(getattr(text, f"{side}_{kind}") for text in measured)
        for kind in ("seconds", "cpu_seconds")
        for side in sides
    )
    return Comparison(
        ratio=baseline / ours,
        max_difference=max(text.max_difference for text in measured),
        ours_seconds=ours,
        baseline_seconds=baseline,
        cpu_ratio=baseline_cpu / ours_cpu,
        ours_cpu_seconds=ours_cpu,
        baseline_cpu_seconds=baseline_cpu,
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
    largest = float(np.abs(values["baseline"]).max())
    tokens, output_tokens = values["baseline"].shape
    return Measured(
        words=len(example.text.split()),
        tokens=tokens,
        output_tokens=output_tokens,
        baseline_seconds=statistics.median(seconds["baseline"]),
        ours_seconds=statistics.median(seconds["ours"]),
        baseline_cpu_seconds=statistics.median(cpu_seconds["baseline"]),
        ours_cpu_seconds=statistics.median(cpu_seconds["ours"]),
        max_difference=float(np.abs(values["ours"] - values["baseline"]).max()) / largest,
    )


def _baseline(loaded: "LoadedModel", max_evals: int) -> Explain:
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
            prompts = [Prompt(str(text), engine.info.variants[0]) for text in texts]
            return np.array([score.log_odds for score in engine.score(prompts, [ids] * len(prompts))])

        explainer = shap.explainers.Partition(log_odds, masker)
        values: NDArray[np.float64] = explainer(
            [example.text], max_evals=max_evals, batch_size=BATCH_SIZE, silent=True
        ).values[0]
        return values

    return explain


def _line(text: Measured) -> str:
    return (
        f"{text.words} words, {text.tokens} tokens: stock {text.baseline_seconds:.2f} s, ours {text.ours_seconds:.2f} s"
    )
