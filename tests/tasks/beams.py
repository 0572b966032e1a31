"""An engine whose beams end with planted outputs, and which likes what a table says."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Event

from phi2demo.engine.engine import Candidate, GenerationOptions, Output, Prompt, Score, Snapshot
from phi2demo.errors import StoppedError
from tests.tasks.scripted import ScriptedEngine, body


def candidate(text: str, tokens: int = 2) -> Candidate:
    """Token ids that stand for the text: the same for equal texts."""
    return Candidate(f" {text}", tuple(ord(letter) for letter in (text * tokens)[:tokens]), "end")


def about(prompt: Prompt) -> str:
    """The person's text in a prompt of either style."""
    if prompt.text.startswith("Instruct: "):
        return body(prompt.text)
    return prompt.text.partition(": ")[2].partition("\n")[0]


class BeamEngine(ScriptedEngine):
    """`endings` are the candidates by the text asked about; `likes` the log-probabilities.

    Those of a candidate are under its text, those of a text under (candidate, text). What is not there has -9.
    """

    def __init__(
        self, endings: Mapping[str, Sequence[Candidate]], likes: Mapping[str | tuple[str, str], float] | None = None
    ) -> None:
        super().__init__()
        self._endings, self._likes = endings, likes or {}
        self.scored: list[tuple[Prompt, Output]] = []
        self.on_score: Callable[[], None] = lambda: None

    def stream(
        self, prompts: Sequence[Prompt], options: GenerationOptions, *, cancel: Event | None = None
    ) -> Iterator[Snapshot]:
        for snapshot in super().stream(prompts, options, cancel=cancel):
            if snapshot.completions is not None and options.num_beams > 1:
                ended = [
                    replace(item, text=result[0].text, token_ids=result[0].token_ids, candidates=tuple(result))
                    for item, prompt in zip(snapshot.completions, prompts, strict=True)
                    for result in [self._endings[about(prompt)]]
                ]
                snapshot = replace(snapshot, completions=tuple(ended))
            yield snapshot

    def score(
        self,
        prompts: Sequence[Prompt],
        outputs: Sequence[Output],
        *,
        adapter_strength: float = 1.0,
        cancel: Event | None = None,
    ) -> list[Score]:
        self.on_score()
        if cancel is not None and cancel.is_set():
            raise StoppedError("Stopped.")
        self.strengths.append(adapter_strength)
        self.scored += zip(prompts, outputs, strict=True)
        return [Score((0,), (self._liked(*item),)) for item in zip(prompts, outputs, strict=True)]

    def _liked(self, prompt: Prompt, output: Output) -> float:
        if isinstance(output, str):
            return self._likes.get((about(prompt), output.strip()), -9.0)
        known = {item.token_ids: item.text.strip() for result in self._endings.values() for item in result}
        return self._likes.get(known.get(output, ""), -9.0)
