import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from phi2demo.engine.engine import Prompt, Score
from phi2demo.evaluation.likelihood import cut, text_bits
from tests.tasks.scripted import ScriptedEngine

LONG = "It rained all day.\n\nSo the 12 children, who stayed at home, read books. " * 40


class Counting(ScriptedEngine):
    """Each token of the output has one nat; what was asked is kept."""

    def score(  # type: ignore[override]
        self, prompts: Sequence[Prompt], outputs: Sequence[str], *, adapter_strength: float = 1.0
    ) -> list[Score]:
        self.strength = adapter_strength
        self.asked = list(zip([prompt.text for prompt in prompts], outputs, strict=True))
        counts = [self.count_tokens(output) for output in outputs]
        return [Score((0,) * count, (-1.0,) * count) for count in counts]


@pytest.mark.parametrize("part", [5, 50, 100])
def test_parts_make_the_text_and_fit(part: int) -> None:
    count = ScriptedEngine().count_tokens
    parts = cut(LONG, count=count, limit=200, part=part)
    assert "".join(parts) == LONG
    assert max(map(count, parts)) <= part
    assert cut("short", count=count, limit=200, part=part) == ["short"]


def test_a_word_longer_than_a_part_is_cut() -> None:
    parts = cut("a" * 100, count=len, limit=50, part=20)
    assert "".join(parts) == "a" * 100
    assert max(map(len, parts)) <= 20


def test_every_token_is_scored_once_after_the_part_before() -> None:
    engine = Counting()
    short, long = text_bits(engine, ["one two", LONG.strip()], use="base")
    assert short.bits == pytest.approx(2 / math.log(2))
    assert long.bits == pytest.approx(
        engine.count_tokens(LONG.strip()) / math.log(2), rel=0.02
    )  # line breaks between parts
    assert (short.tokens, long.tokens) == (2, sum(engine.count_tokens(output) for _, output in engine.asked[1:]))
    (_, *later) = engine.asked[1:]
    assert later
    for (_, before), (prompt, output) in zip(engine.asked[1:], later, strict=False):
        assert prompt == before
        assert engine.count_tokens(prompt) + engine.count_tokens(output) <= engine.info.context


def test_a_real_model_needs_the_bits_that_torch_says(tiny_base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from phi2demo.engine.local import LocalEngine
    from phi2demo.engine.planning import plan
    from phi2demo.settings import ModelSettings

    engine = LocalEngine.load(plan(ModelSettings(model=str(tiny_base), device="cpu", dtype="float32")))
    text = "The train to the coast leaves at eight."
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer.encode(text)]])
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)(ids).logits[0, :-1]
    nats = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum")
    (found,) = text_bits(engine, [text], use="base")
    assert found.bits == pytest.approx(float(nats) / math.log(2), rel=1e-4)
    assert found.tokens == ids.shape[1] - 1
