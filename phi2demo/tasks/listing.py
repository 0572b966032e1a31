"""What else a model could have said: the outputs of its beams, each with how likely it is. Knows nothing of torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from phi2demo.engine.engine import Candidate, Completion, Engine, GenerationOptions, Output, Prompt
from phi2demo.errors import InputError

if TYPE_CHECKING:
    from phi2demo.tasks.task import AnyTask, TaskOptions

WHOLE = ("end", "stop string")
"""Why an output ended that came to its end."""


@dataclass(frozen=True)
class Listed:
    """One of the outputs that an answer was chosen among."""

    candidate: Candidate
    text: str
    """Cleaned."""
    log_probability: float
    """Of the candidate given the prompt, in nats: the model's own, without guidance, bias and penalties."""

    def as_dict(self) -> dict[str, str | float]:
        """For JSON."""
        return {"text": self.text, "log_probability": self.log_probability}


def by_text(candidates: Sequence[Candidate], shown: Callable[[str], str]) -> dict[str, Candidate]:
    """Those that came to their end, by what is shown of them, where that is anything; of equal ones the likeliest."""
    found: dict[str, Candidate] = {}
    for each in candidates:
        if each.stop_reason in WHOLE and (text := shown(each.text)):
            found.setdefault(text, each)
    return found


@dataclass(frozen=True)
class Choice:
    """A prompt, its outputs that differ once cleaned, and the answer that was chosen among them."""

    prompt: Prompt
    outputs: Mapping[str, Candidate]
    chosen: Completion

    @classmethod
    def of(cls, task: "AnyTask", options: "TaskOptions", prompt: Prompt, completion: Completion) -> "Choice":
        """Of the candidates that came to their end, the likeliest of equal ones.

        Of none where there are not two, or where the answer itself was cut short.
        """
        outputs = by_text(completion.candidates, lambda output: task.clean(task.kept(output, options)))
        chosen = any(each.token_ids == completion.token_ids for each in outputs.values())
        return cls(prompt, outputs if chosen and len(outputs) > 1 else {}, completion)

    def listed(self, totals: Sequence[float]) -> tuple[Listed, ...]:
        """With the log-probabilities of the outputs: the chosen one first, then the likeliest."""
        found = [Listed(each, text, total) for (text, each), total in zip(self.outputs.items(), totals, strict=True)]
        found.sort(key=lambda each: (each.candidate.token_ids != self.chosen.token_ids, -each.log_probability))
        return tuple(found)


def list_outputs(
    engine: Engine, choices: Sequence[Choice], options: GenerationOptions, *, cancel: Event | None = None
) -> list[tuple[Listed, ...]]:
    """What each answer was chosen among, all scored together with the options' `adapter_strength`.

    Nothing where there is no choice, or it does not fit the context. Raises StoppedError within a second of `cancel`.
    """
    prompts = [choice.prompt for choice in choices for _ in choice.outputs]
    outputs: list[Output] = [each.token_ids for choice in choices for each in choice.outputs.values()]
    if not prompts:
        return [() for _ in choices]
    try:
        scores = iter(engine.score(prompts, outputs, adapter_strength=options.adapter_strength, cancel=cancel))
    except InputError:  # a long text with a long answer: it was answered, so it is no error of the person's
        if len(choices) == 1:
            return [()]
        return [found for each in choices for found in list_outputs(engine, [each], options, cancel=cancel)]
    return [choice.listed([next(scores).total for _ in choice.outputs]) for choice in choices]
