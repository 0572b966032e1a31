"""An engine with planted answers: a test gives the log-probability of every output and the completion of every prompt."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from phi2demo.audit.context import AuditContext, AuditSettings
from phi2demo.engine.engine import Completion, GenerationOptions, ModelInfo, Output, Prompt, Score, Snapshot, Tokens
from tests.tasks.scripted import BARE

_TOKEN = re.compile(r"\s*\S+|\s+$")


def noise(*parts: object) -> float:
    """Return a number from -1 to 1, uniformly distributed, the same for the same parts."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**63 - 1


def silent(prompt: Prompt) -> str:
    return " and so on"


def indifferent(prompt: Prompt, output: str) -> float:
    return 0.0


@dataclass
class PlantedEngine:
    """Its tokens are words with the space before them."""

    logprob: Callable[[Prompt, str], float] = indifferent
    """Log-probability of an output."""
    complete: Callable[[Prompt], str] = silent
    info: ModelInfo = BARE
    asked: int = 0
    """Number of rows scored and generated."""
    _vocabulary: dict[str, int] = field(default_factory=dict)

    def count_tokens(self, text: str) -> int:
        return len(_TOKEN.findall(text))

    def tokens(self, text: str | Sequence[int]) -> Tokens:
        assert isinstance(text, str)
        matches = list(_TOKEN.finditer(text))
        ids = tuple(self._vocabulary.setdefault(match[0], len(self._vocabulary)) for match in matches)
        return Tokens(text, ids, tuple(match.span() for match in matches))

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: Event | None = None
    ) -> Iterator[Snapshot]:
        self.asked += len(prompts)
        completions = []
        for prompt in prompts:
            text = "".join(_TOKEN.findall(self.complete(prompt))[: options.max_new_tokens])
            completions.append(Completion(text, self.tokens(text).ids, self.count_tokens(prompt.text), "end"))
        texts = tuple(completion.text for completion in completions)
        yield Snapshot(texts, sum(len(c.token_ids) for c in completions), 0.0, 0.0, tuple(completions))

    def score(
        self,
        prompts: Sequence[Prompt],
        outputs: Sequence[Output],
        *,
        adapter_strength: float = 1.0,
        cancel: Event | None = None,
    ) -> list[Score]:
        self.asked += len(prompts)
        return [Score((0,), (self.logprob(p, str(o)),)) for p, o in zip(prompts, outputs, strict=True)]


def make_context(engine: PlantedEngine, *, seed: int = 0, quick: bool = False, **folders: Path) -> AuditContext:
    settings = AuditSettings(output=Path("nowhere"), seed=seed, quick=quick, resamples=100, **folders)
    return AuditContext(engine, settings)
