"""A model with a planted answer: known words of the text make the output likelier, each output token in its own way."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Event

from phi2demo.engine.engine import Completion, ModelInfo, Output, Prompt, Score, StopReason, Tokens
from phi2demo.errors import StoppedError
from phi2demo.explain.attribution import Attribution
from phi2demo.explain.job import explain
from phi2demo.explain.request import ExplainRequest
from phi2demo.tasks.generation import GenerationTaskOptions
from tests.tasks.scripted import INFO, ScriptedEngine, body

_WORD = re.compile(r"\s*\S+|\s+$")

LogProbability = Callable[[str, str, Prompt], float]
"""From an output token (its word), the text with hidden units, and the prompt."""


def rewards(weights: dict[str, float]) -> LogProbability:
    """Return an additive model: each of these words in the text adds its weight to every output token."""

    def log_probability(token: str, text: str, prompt: Prompt) -> float:
        present = set(re.findall(r"\w+", text))
        return -8.0 + sum(weight for word, weight in weights.items() if word in present)

    return log_probability


class PlantedEngine(ScriptedEngine):
    """Its tokens are words with the white space before them."""

    def __init__(self, log_probability: LogProbability, *, info: ModelInfo = INFO) -> None:
        super().__init__(info=info)
        self._log_probability = log_probability
        self._words: dict[str, int] = {}
        self.strengths: list[float] = []
        self.scored: list[tuple[Prompt, Output]] = []
        self.seconds_a_batch = 0.0

    def tokens(self, text: str | Sequence[int]) -> Tokens:
        if not isinstance(text, str):
            known = {token: word for word, token in self._words.items()}
            text = "".join(known[token] for token in text)
        matches = list(_WORD.finditer(text))
        ids = tuple(self._words.setdefault(match[0], len(self._words)) for match in matches)
        return Tokens(text, ids, tuple(match.span() for match in matches))

    def score(
        self,
        prompts: Sequence[Prompt],
        outputs: Sequence[Output],
        *,
        adapter_strength: float = 1.0,
        cancel: Event | None = None,
    ) -> list[Score]:
        self.strengths.append(adapter_strength)
        self.scored.extend(zip(prompts, outputs, strict=True))
        if (cancel or Event()).wait(self.seconds_a_batch) or (cancel and cancel.is_set()):
            raise StoppedError("Stopped.")
        scores = []
        for prompt, output in zip(prompts, outputs, strict=True):
            read = self.tokens(output)
            words = [read.text[start:end].strip() for start, end in read.spans]
            ids, values = read.ids, tuple(self._log_probability(word, body(prompt.text), prompt) for word in words)
            scores.append(Score(ids, values))
        return scores

    def _completion(self, prompt: Prompt, output: list[str], made: int, reason: StopReason | None) -> Completion:
        completion = super()._completion(prompt, output, made, reason)
        return replace(completion, token_ids=self.tokens(completion.text).ids)


def asked(text: str, output: str = " yes", **settings: object) -> ExplainRequest:
    """Request the explanation of a continuation, in words."""
    fields: dict[str, object] = {"units": "words", "max_evals": 300} | settings
    options = GenerationTaskOptions("continue")
    return ExplainRequest("generation", text, options, (output,), **fields)  # type: ignore[arg-type]


def explained(engine: PlantedEngine, request: ExplainRequest, **arguments: object) -> Attribution:
    """Explain, and return the attribution."""
    *_, last = explain(engine, request, **arguments)  # type: ignore[arg-type]
    assert last.attribution is not None
    return last.attribution


def by_unit(attribution: Attribution) -> dict[str, float]:
    """Return the totals by the word of the unit."""
    return {unit.text.strip(): float(total) for unit, total in zip(attribution.units, attribution.totals, strict=True)}
