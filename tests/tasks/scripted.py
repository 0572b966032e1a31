"""An engine that follows a script instead of weights: deterministic, and it remembers what it was asked."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from threading import Event

from phi2demo.engine.engine import (
    END_OF_TEXT,
    Completion,
    GenerationOptions,
    ModelInfo,
    Output,
    Prompt,
    Score,
    Snapshot,
    StopReason,
    Tokens,
)
from phi2demo.errors import StoppedError

INFO = ModelInfo(
    base="tiny-base",
    base_revision="aaaaaaaaaaaa",
    adapter="tiny-adapter",
    adapter_revision="bbbbbbbbbbbb",
    adapter_folder=None,
    parameters=1000,
    layers=2,
    hidden_size=64,
    context=256,
    device="cpu",
    dtype="float32",
    lora_rank=4,
)
BARE = replace(INFO, adapter=None, adapter_revision=None, lora_rank=None)

Script = Callable[[Prompt], str]


def body(prompt: str) -> str:
    """The person's text in a prompt: what follows the line of the instruction; a plain prompt is all of it."""
    if prompt.startswith(END_OF_TEXT):
        return prompt.removeprefix(END_OF_TEXT)
    inner = prompt.removeprefix("Instruct: ").removesuffix("\nOutput:")
    return inner.partition("\n")[2] or inner


def shout(prompt: Prompt) -> str:
    """Upper case, marked by the weights that said it."""
    text = f" {body(prompt.text).upper()}"
    return text if prompt.variant == "finetuned" else f"{text}!"


class ScriptedEngine:
    """Words are tokens; `script` says what a row becomes, one token a snapshot."""

    def __init__(self, script: Script = shout, *, info: ModelInfo = INFO, stop_reason: StopReason = "end") -> None:
        self._info, self._script, self._stop_reason = info, script, stop_reason
        self.batches: list[list[Prompt]] = []
        """That were answered."""
        self.scorings: list[list[Prompt]] = []
        self.options: list[GenerationOptions] = []
        self.strengths: list[float] = []
        """That scores were asked with."""
        self.running = 0
        """Streams that are neither finished nor closed."""
        self.snapshots = 0
        self.seconds_per_token = 0.0
        self.on_snapshot: Callable[[], None] = lambda: None

    @property
    def info(self) -> ModelInfo:
        return self._info

    def forget(self) -> None:
        pass

    def count_tokens(self, text: str) -> int:
        return len(re.findall(r"\w+|[^\w\s]|\n", text))

    def tokens(self, text: str | Sequence[int]) -> Tokens:
        """A token a letter: which words ids stand for is not known here."""
        return Tokens(str(text), tuple(range(len(text))), tuple((index, index + 1) for index in range(len(text))))

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: Event | None = None
    ) -> Iterator[Snapshot]:
        self.batches.append(list(prompts))
        self.options.append(options)
        outputs = [re.findall(r"\s*\S+|\s+$", self._script(prompt)) for prompt in prompts]
        limit = min(options.max_new_tokens, max(map(len, outputs)))
        started, made, reason = time.monotonic(), 0, None
        self.running += 1
        try:
            while made < limit and reason is None:
                made += 1
                time.sleep(self.seconds_per_token)
                self.snapshots += 1
                texts = tuple("".join(output[:made]) for output in outputs)
                yield Snapshot(texts, made * len(prompts), time.monotonic() - started, first_token_s=0.0)
                self.on_snapshot()
                if cancel is not None and cancel.is_set():
                    reason = "stopped"
                elif time.monotonic() - started > options.time_limit_s:
                    reason = "time"
            completions = tuple(self._completion(p, o, made, reason) for p, o in zip(prompts, outputs, strict=True))
            texts = tuple(completion.text for completion in completions)
            tokens = sum(len(completion.token_ids) for completion in completions)
            yield Snapshot(texts, tokens, time.monotonic() - started, 0.0, completions)
        finally:
            self.running -= 1

    def score(
        self,
        prompts: Sequence[Prompt],
        outputs: Sequence[Output],
        *,
        adapter_strength: float = 1.0,
        cancel: Event | None = None,
    ) -> list[Score]:
        """Likes a text by how often its first letters are in the prompt, token ids by the words of the prompt."""
        if cancel is not None and cancel.is_set():
            raise StoppedError("Stopped.")
        self.scorings.append(list(prompts))
        self.strengths.append(adapter_strength)
        scores = []
        for prompt, output in zip(prompts, outputs, strict=True):
            if isinstance(output, tuple):
                scores.append(Score(output, (-1.0 / (1 + len(prompt.text.split())),) * len(output)))
                continue
            liked = body(prompt.text).lower().count(output.strip()[:3]) - (1 if prompt.variant == "base" else 0)
            scores.append(Score((1, 2), (-3.0, float(liked))))
        return scores

    def _completion(self, prompt: Prompt, output: list[str], made: int, reason: StopReason | None) -> Completion:
        text = "".join(output[:made])
        if made >= len(output):
            reason = self._stop_reason
        return Completion(
            text, tuple(range(min(made, len(output)))), self.count_tokens(prompt.text), reason or "length"
        )
