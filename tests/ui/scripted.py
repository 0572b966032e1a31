"""A stand-in for an engine: streams known words slowly. For tests of the page only."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
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
    base="scripted-base",
    base_revision="0123456789ab",
    adapter="scripted-adapter",
    adapter_revision="ba9876543210",
    adapter_folder=Path("adapter"),
    parameters=28_400_000,
    layers=12,
    hidden_size=384,
    context=1024,
    device="cpu",
    dtype="bfloat16",
    lora_rank=16,
)


def echo(prompt: Prompt) -> str:
    """The person's own words again, marked with who says them and with which seed."""
    text = prompt.text.removeprefix(END_OF_TEXT)
    body = text.removesuffix("\nOutput:").partition("\n")[2] or text
    return f"{prompt.variant} {prompt.seed % 97}: {body}"


@dataclass
class ScriptedEngine:
    """Says `reply(prompt)`, a word every `delay_s`. Prompts that hold "explode" raise."""

    info: ModelInfo = INFO
    delay_s: float = 0.0
    reply: Callable[[Prompt], str] = echo
    running: int = 0
    """Streams that compute now."""
    most_running: int = 0
    ended: list[str] = field(default_factory=list)
    scored: int = 0
    _vocabulary: dict[str, int] = field(default_factory=dict)

    def forget(self) -> None:
        pass

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def tokens(self, text: str | Sequence[int]) -> Tokens:
        """A token a word, with the white space before it."""
        if isinstance(text, str):
            pieces = re.findall(r"\s*\S+|\s+$", text)
            ids = tuple(self._vocabulary.setdefault(piece, len(self._vocabulary)) for piece in pieces)
        else:
            ids, known = tuple(text), list(self._vocabulary)
            pieces = [known[index] for index in ids]
        ends = [sum(map(len, pieces[: index + 1])) for index in range(len(pieces))]
        return Tokens("".join(pieces), ids, tuple(zip([0, *ends], ends, strict=False)))

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: Event | None = None
    ) -> Iterator[Snapshot]:
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        how = "closed"
        try:
            yield from self._words(prompts, options, cancel or Event())
            how = "finished"
        finally:
            self.running -= 1
            self.ended.append(how)

    def _words(self, prompts: Sequence[Prompt], options: GenerationOptions, cancel: Event) -> Iterator[Snapshot]:
        started = time.monotonic()
        if any("explode" in prompt.text for prompt in prompts):
            raise RuntimeError("scripted failure")
        words = [self.reply(prompt).split(" ")[: options.max_new_tokens] for prompt in prompts]
        stopped_by: StopReason = "end"
        shown = 0
        while shown < max(map(len, words)) and not cancel.is_set():
            cancel.wait(self.delay_s)
            shown += 1
            yield self._snapshot(words, shown, started)
        if cancel.is_set():
            stopped_by = "stopped"
        completions = tuple(
            Completion(
                text=" ".join(row[:shown]),
                token_ids=self.tokens(" ".join(row[:shown])).ids,
                prompt_tokens=self.count_tokens(prompt.text),
                stop_reason=stopped_by,
            )
            for prompt, row in zip(prompts, words, strict=True)
        )
        last = self._snapshot(words, shown, started)
        yield Snapshot(last.texts, last.new_tokens, last.seconds, last.first_token_s, completions)

    def _snapshot(self, words: list[list[str]], shown: int, started: float) -> Snapshot:
        texts = tuple(" ".join(row[:shown]) for row in words)
        return Snapshot(texts, sum(len(row[:shown]) for row in words), time.monotonic() - started, self.delay_s)

    def score(
        self,
        prompts: Sequence[Prompt],
        outputs: Sequence[Output],
        *,
        adapter_strength: float = 1.0,
        cancel: Event | None = None,
    ) -> list[Score]:
        if (cancel or Event()).wait(self.delay_s * max(1.0, len(prompts) / 16)):
            raise StoppedError("Stopped.")
        self.scored += len(prompts)
        scores = []
        for prompt, output in zip(prompts, outputs, strict=True):
            if isinstance(output, tuple):
                scores.append(Score(output, tuple(self._likely(prompt, token) for token in output)))
                continue
            happy = any(word in prompt.text for word in ("good", "great", "wonderful", "happy"))
            fits = (output.strip() == "positive") == happy
            scores.append(Score((1,), (-0.1 if fits else -2.4,)))
        return scores

    def _likely(self, prompt: Prompt, token: int) -> float:
        """A word is likely where the prompt has it too, all the more for the finetuned model; "not" speaks against it."""
        words = words_in(prompt.text)
        known = words_in(list(self._vocabulary)[token]) & words
        gained = (2.5 if prompt.variant == "finetuned" else 1.0) if known else 0.0
        return -3.0 + gained - (0.4 if "not" in words else 0.0) + 0.02 * min(len(words), 10)


def words_in(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
