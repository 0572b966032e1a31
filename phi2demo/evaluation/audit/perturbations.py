"""Slips of the hand that leave the meaning: typos, case, a missing full stop. Text in, text out."""

import random
from collections.abc import Callable

TYPOS_PER_CHARACTER = 0.05
_END_MARKS = ".!?…"

Perturb = Callable[[str, int], str]
"""Of a text and a seed."""


def with_typos(text: str, seed: int) -> str:
    """Letters swapped with the next, dropped or doubled: one for every 20 characters, at least one.

    The noise of Belinkov and Bisk, "Synthetic and Natural Noise Both Break Neural Machine Translation" (2018), thinner.
    The same text and seed give the same typos.
    """
    choice = random.Random(f"{seed} {text}")
    letters = [at for at, character in enumerate(text) if character.isalpha()]
    count = min(len(letters), max(1, round(TYPOS_PER_CHARACTER * len(text))))
    characters = list(text)
    for at in sorted(choice.sample(letters, count), reverse=True):
        kind = choice.choice(("swap", "drop", "double"))
        after = characters[at + 1] if at + 1 < len(characters) else ""
        if kind == "swap" and after.isalpha() and after != characters[at]:
            characters[at : at + 2] = [after, characters[at]]
        elif kind == "drop" and len(text) > 1:
            del characters[at]
        else:
            characters.insert(at, characters[at])
    return "".join(characters)


PERTURBATIONS: dict[str, Perturb] = {
    "typos": with_typos,
    "lower case": lambda text, seed: text.lower(),
    "upper case": lambda text, seed: text.upper(),
    "no end mark": lambda text, seed: text.rstrip(_END_MARKS) or text,
}
"""By name, as the report says it."""
