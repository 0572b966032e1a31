"""Our decoder and searches beside those of transformers, on small random Phis."""

import inspect
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import DynamicCache, PhiConfig, PhiForCausalLM

from phi2demo.engine.decoder import MixedDecoder, PhiDecoder, read_together
from phi2demo.engine.engine import Completion, GenerationOptions
from phi2demo.engine.phi_weights import base_of, read_weights, rotary_table
from phi2demo.engine.sampling import Vocabulary, make_logits_processors
from phi2demo.engine.search import Ends, beam_search, greedy
from phi2demo.engine.watch import Watch

END, PAD = 3, 1


@pytest.fixture(autouse=True)
def without_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small random models repeat themselves, and transformers lets them."""
    monkeypatch.setattr("phi2demo.engine.watch.find_loop_end", lambda text: None)


def make_model(**config: Any) -> PeftModel:
    """Its outputs end now and then."""
    torch.manual_seed(0)
    shape = {"vocab_size": 48, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
    arguments = {"num_attention_heads": 4, "max_position_embeddings": 128, "initializer_range": 0.35}
    base = PhiForCausalLM(PhiConfig(**shape | arguments | config, bos_token_id=END, eos_token_id=END, pad_token_id=PAD))
    model = get_peft_model(base.eval(), LoraConfig(r=4, target_modules=["q_proj", "k_proj", "v_proj", "dense", "fc1"]))
    with torch.no_grad():
        base.lm_head.bias[END] += 2.0
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    return model


@pytest.fixture(scope="module", params=[{}, {"num_key_value_heads": 2, "partial_rotary_factor": 0.25}])
def model(request: pytest.FixtureRequest) -> PeftModel:
    return make_model(**request.param)


def vocabulary() -> Vocabulary:
    """Without words that every text needs but its end."""
    return Vocabulary(torch.tensor([END]), PAD)


class Tokenizer:
    """Tokens as numbers."""

    def decode(self, ids: Sequence[int], **_: object) -> str:
        return " ".join(map(str, ids))


def make_prompts(lengths: Sequence[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, padded on the left."""
    random = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    ids, mask = torch.full((len(lengths), longest), PAD), torch.zeros(len(lengths), longest, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, longest - length :] = torch.randint(4, 48, (length,), generator=random)
        mask[row, longest - length :] = 1
    return ids, mask


def decoder_for(model: PeftModel, padding: torch.Tensor, adapters: Sequence[str | None]) -> MixedDecoder:
    parts = []
    for adapter in dict.fromkeys(adapters):
        rows = torch.tensor([row for row, name in enumerate(adapters) if name == adapter])
        weights = read_weights(model, adapter=adapter, dtype=torch.float32)
        parts.append((PhiDecoder(weights, base_of(model).config, rotary_table(model), padding[rows]), rows))
    return MixedDecoder(parts)


def watch_for(options: GenerationOptions, rows: int, *, halt_at: int | None = None) -> Watch:
    looked = iter(range(10_000))
    return Watch(
        Tokenizer(),  # type: ignore[arg-type]
        options,
        prompt_tokens=[1] * rows,
        stops=[()] * rows,
        max_new_tokens=options.max_new_tokens,
        end_ids=frozenset({END}),
        halted=lambda: halt_at is not None and next(looked) >= halt_at,
        report=lambda _: None,
    )


def tokens(results: Sequence[Completion]) -> list[list[int]]:
    return [list(completion.token_ids) for completion in results]


def completions(
    model: PeftModel,
    ids: torch.Tensor,
    mask: torch.Tensor,
    options: GenerationOptions,
    adapters: Sequence[str | None],
    halt_at: int | None = None,
) -> tuple[Completion, ...]:
    watch = watch_for(options, len(ids), halt_at=halt_at)
    process = make_logits_processors(options, list(range(len(ids))), prompt_length=ids.shape[1], vocabulary=vocabulary)
    ends = Ends(frozenset({END}), PAD, options.max_new_tokens)
    with torch.inference_mode():
        decoder = decoder_for(model, (1 - mask).sum(1), adapters)
        logits = decoder.read(ids)
        if options.num_beams > 1:
            outputs = beam_search(decoder, logits, ids, process, watch, ends, beams=options.num_beams)
            results = watch.finish(outputs)
        else:
            greedy(decoder, logits, ids, process, watch, ends)
            results = watch.finish(None)
    return results.completions or ()


def theirs(
    model: PeftModel, ids: torch.Tensor, mask: torch.Tensor, options: GenerationOptions, adapters: Sequence[str | None]
) -> list[list[int]]:
    """Each row's own run of transformers under its adapter, without padding."""
    return [row[0] for row in all_of_theirs(model, ids, mask, options, adapters, count=1)]


def all_of_theirs(
    model: PeftModel,
    ids: torch.Tensor,
    mask: torch.Tensor,
    options: GenerationOptions,
    adapters: Sequence[str | None],
    *,
    count: int,
) -> list[list[list[int]]]:
    """So many outputs of each row, best first."""
    outputs = []
    for row, adapter in enumerate(adapters):
        prompt = ids[row][mask[row].bool()][None]
        arguments: dict[str, Any] = {
            "attention_mask": torch.ones_like(prompt),
            "logits_processor": make_logits_processors(
                options, [row], prompt_length=prompt.shape[1], vocabulary=vocabulary
            ),
            "max_new_tokens": options.max_new_tokens,
            "num_beams": options.num_beams,
            "num_return_sequences": count,
            "early_stopping": options.num_beams > 1,
            "do_sample": False,
        }
        with torch.inference_mode():
            if adapter is None:
                with model.disable_adapter():
                    generated = model.generate(prompt, **arguments)
            else:
                generated = model.generate(prompt, **arguments)
        results = generated[:, prompt.shape[1] :].tolist()
        outputs.append([tokens[: tokens.index(END) + 1] if END in tokens else tokens for tokens in results])
    return outputs


ADAPTERS = ("default", None, "default", "default", None, None, "default", "default")
LENGTHS = (5, 12, 1, 7, 7, 12, 3, 9)


@pytest.mark.parametrize(
    "options",
    [
        GenerationOptions(max_new_tokens=30),
        GenerationOptions(max_new_tokens=30, repetition_penalty=1.5),
        GenerationOptions(max_new_tokens=30, no_repeat_ngram_size=2),
        GenerationOptions(max_new_tokens=30, temperature=1.0, top_p=0.9),
        GenerationOptions(max_new_tokens=30, num_beams=2),
        GenerationOptions(max_new_tokens=30, num_beams=4),
        GenerationOptions(max_new_tokens=3, num_beams=5),
        GenerationOptions(max_new_tokens=20, num_beams=3, repetition_penalty=1.5, no_repeat_ngram_size=2),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_every_row_of_a_mixed_batch_equals_transformers_alone(
    model: PeftModel, options: GenerationOptions, seed: int
) -> None:
    ids, mask = make_prompts(LENGTHS, seed)
    expected = theirs(model, ids, mask, options, ADAPTERS)
    assert tokens(completions(model, ids, mask, options, ADAPTERS)) == expected
    if options.temperature > 0:
        assert len({len(tokens) for tokens in expected}) > 2, "rows end at different times"


@pytest.mark.parametrize("beams", [2, 5])
def test_the_candidates_of_a_row_equal_those_of_transformers_alone(model: PeftModel, beams: int) -> None:
    ids, mask = make_prompts(LENGTHS, 4)
    options = GenerationOptions(max_new_tokens=20, num_beams=beams)
    expected = all_of_theirs(model, ids, mask, options, ADAPTERS, count=beams)
    results = completions(model, ids, mask, options, ADAPTERS)
    assert [[list(candidate.token_ids) for candidate in row.candidates] for row in results] == expected
    for row in results:
        first = row.candidates[0]
        assert (row.text, row.token_ids, row.stop_reason) == (first.text, first.token_ids, first.stop_reason)
    assert {candidate.stop_reason for row in results for candidate in row.candidates} == {"end", "length"}


def test_logits_are_those_of_transformers_token_by_token(model: PeftModel) -> None:
    ids, mask = make_prompts((6, 11, 4), 0)
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    more = torch.randint(4, 48, (3, 90), generator=torch.Generator().manual_seed(1))
    cache = DynamicCache()
    with torch.inference_mode():
        decoder = decoder_for(model, (1 - mask).sum(1), ["default"] * 3)
        results = [decoder.read(chunk) for chunk in (ids[:, :4], ids[:, 4:])][-1]
        name = "cache" if "cache" in inspect.signature(base_of(model).forward).parameters else "past_key_values"
        arguments: dict[str, Any] = {name: cache, "use_cache": True, "logits_to_keep": 1}
        expected = model(input_ids=ids, attention_mask=mask, position_ids=positions, **arguments).logits[:, -1]
        assert torch.allclose(results, expected, atol=1e-4)
        for step in range(90):  # beyond the room that is made at first
            mask = torch.cat([mask, torch.ones(3, 1, dtype=torch.long)], dim=1)
            last_position = (mask.sum(1) - 1)[:, None]
            token = more[:, step : step + 1]
            expected = model(input_ids=token, attention_mask=mask, position_ids=last_position, **arguments).logits[
                :, -1
            ]
            assert torch.allclose(decoder.read(token), expected, atol=1e-4)


def test_decoders_of_the_same_weights_are_read_together_as_each_alone(model: PeftModel) -> None:
    """Of prompts of other lengths, which each decoder has read by itself."""
    weights = read_weights(model, adapter="default", dtype=torch.float32)
    prompts = [make_prompts(lengths, 7) for lengths in ((9, 4), (3,))]

    def fresh() -> list[PhiDecoder]:
        generated = []
        for ids, mask in prompts:
            generated.append(PhiDecoder(weights, base_of(model).config, rotary_table(model), (1 - mask).sum(1)))
            generated[-1].read(ids)
        return generated

    token = torch.tensor([[5], [6], [7]])
    with torch.inference_mode():
        alone, together = fresh(), fresh()
        for _ in range(3):
            expected = torch.cat([alone[0].read(token[:2]), alone[1].read(token[2:])])
            assert torch.allclose(read_together(together, token), expected, atol=1e-5)


def test_kept_and_swapped_rows_go_on_as_themselves(model: PeftModel) -> None:
    ids, mask = make_prompts((6, 6, 2), 3)
    token = torch.tensor([[5], [6], [7]])
    with torch.inference_mode():

        def fresh() -> MixedDecoder:
            generated = decoder_for(model, (1 - mask).sum(1), ["default", None, "default"])
            generated.read(ids)
            return generated

        plain = fresh()
        first, second = plain.read(token), plain.read(token)
        kept = fresh()
        assert torch.allclose(kept.read(token), first)
        kept.select_rows(torch.tensor([0, 2]))
        assert torch.allclose(kept.read(token[[0, 2]]), second[[0, 2]], atol=1e-5)
        kept.select_rows(torch.tensor([1]))
        assert kept.read(token[2:]).shape == (1, 48)
        doubled = fresh()
        doubled.expand_beams(2)
        for part, _ in doubled._parts:  # what all repetitions of a row have in common is kept once
            assert part._common[0].shape[1] * 2 == part.rows
        twice = doubled.read(torch.tensor([[5], [9], [9], [6], [7], [9]]))
        assert torch.allclose(twice[[0, 3, 4]], first, atol=1e-5)
        doubled.reorder_cache(torch.tensor([0, 0, 3, 3, 4, 4]))
        after = doubled.read(token.repeat_interleave(2, dim=0))
        assert torch.allclose(after, second.repeat_interleave(2, dim=0), atol=1e-5)


@pytest.mark.parametrize("beams", [1, 4])
def test_a_stopped_beam_search_has_no_outputs(model: PeftModel, beams: int) -> None:
    ids, mask = make_prompts((4, 6), 5)
    options = GenerationOptions(max_new_tokens=60, num_beams=beams)
    with torch.no_grad():
        bias = base_of(model).lm_head.bias
        original_bias = bias[END].item()
        bias[END] = -1e9
    results = tokens(completions(model, ids, mask, options, ["default", "default"], halt_at=7))
    with torch.no_grad():
        bias[END] = original_bias
    assert [len(tokens) for tokens in results] == [8, 8]
    assert all(not row.candidates for row in completions(model, ids, mask, options, ["default"] * 2, halt_at=2))


def test_rows_that_ended_before_the_stop_are_complete() -> None:
    watch = watch_for(GenerationOptions(num_beams=2), 2, halt_at=1)
    step = torch.zeros(4, 1, dtype=torch.long)
    assert not watch(step, step.float()).any()  # type: ignore[arg-type]
    watch.mark_ended([0])
    assert watch(step, step.float()).all()  # type: ignore[arg-type]
    ended, stopped = watch.finish([[[5, END], [6, END]], [[7], [8]]]).completions or ()
    assert (ended.stop_reason, ended.token_ids, len(ended.candidates)) == ("end", (5, END), 2)
    assert (stopped.stop_reason, stopped.token_ids, stopped.candidates) == ("stopped", (7,), ())
