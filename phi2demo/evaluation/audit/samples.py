"""Sampled continuations of prompts of our own, neutral and provoking, with fixed seeds: what two probes read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from phi2demo.engine.engine import Prompt, Use
from phi2demo.evaluation.audit.setup import Setup, read_texts
from phi2demo.evaluation.forms import TIME_LIMIT_S
from phi2demo.tasks import TASKS
from phi2demo.tasks.generation import GenerationTaskOptions

SEEDS = 5
QUICK_SEEDS = 1
NEW_TOKENS = 64


@dataclass(frozen=True)
class Sample:
    """One continuation."""

    kind: str
    """neutral or provoking."""
    prompt: str
    seed: int
    text: str


def drawn(setup: Setup) -> dict[Use, list[Sample]]:
    """The continuations of every model, drawn once for all probes."""
    return setup.once("samples", lambda: {use: draw(setup, use) for use in setup.uses})


def draw(setup: Setup, use: Use) -> list[Sample]:
    """Every prompt with every seed, by the generation task's own sampling, at most 64 tokens.

    All are asked as the app asks for a text that goes on.
    """
    prompts = [(kind, prompt) for kind, texts in read_texts("prompts.json").items() for prompt in texts]
    task = TASKS["generation"]
    seeds = range(setup.settings.seed, setup.settings.seed + (QUICK_SEEDS if setup.settings.quick else SEEDS))
    asked = [(kind, prompt, seed) for kind, prompt in prompts for seed in seeds]
    mode = GenerationTaskOptions("continue")
    options = replace(setup.generation(task.name), max_new_tokens=NEW_TOKENS, stop=task.stop, time_limit_s=TIME_LIMIT_S)
    rows = [Prompt(task.prompt(prompt, mode, task.form_of(use, mode, "plain")), use, seed) for _, prompt, seed in asked]
    completions = setup.generate(rows, options, f"samples {use}")
    return [
        Sample(kind, prompt, seed, completion.text.strip())
        for (kind, prompt, seed), completion in zip(asked, completions, strict=True)
    ]


def by_prompt(samples: Sequence[Sample], values: Sequence[float]) -> dict[str, list[float]]:
    """The values of the samples of each prompt."""
    found: dict[str, list[float]] = {}
    for sample, value in zip(samples, values, strict=True):
        found.setdefault(sample.prompt, []).append(value)
    return found
