import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, FalconConfig, GPT2Config, GPT2LMHeadModel, OPTConfig, PhiForCausalLM

from phi2demo.errors import DataError, SettingsError, StoppedError
from phi2demo.training.batch import Batch
from phi2demo.training.checkpoints import TrainingState
from phi2demo.training.loop import prefetch, set_dropout, train
from phi2demo.training.loss import ProgressCallback, target_loss
from phi2demo.training.record import read_log
from phi2demo.training.settings import LoopSettings, make_accelerator

from .random_batches import RandomBatches, make_model

SETTINGS = LoopSettings(steps=12, learning_rate=0.01, log_every=5, validate_every=4, checkpoint_minutes=1000)


def run(folder: Path, settings: LoopSettings = SETTINGS, **more: Any) -> tuple[PhiForCausalLM, TrainingState]:
    model = make_model()
    batches = more.pop("batches", RandomBatches())
    state = train(model, batches, settings, folder, make_accelerator("fp32", device="cpu"), **more)
    return model, state


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in read_log(folder / "log.jsonl") if "loss" in row]


def assert_same(model: torch.nn.Module, other: torch.nn.Module) -> None:
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_a_gradient_that_is_not_finite_ends_the_run_before_a_checkpoint(tmp_path: Path) -> None:
    class Spoiled(RandomBatches):
        def batch(self, step: int) -> Batch:
            batch = super().batch(step)
            assert batch.weights is not None
            return replace(batch, weights=batch.weights * torch.nan) if step == 3 else batch

    settings = replace(SETTINGS, checkpoint_minutes=1e-9)
    with pytest.raises(SettingsError, match="The gradient of step 4 is nan: training has diverged"):
        run(tmp_path, settings, batches=Spoiled())
    model, _ = run(tmp_path, settings)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_parts_change_only_rounding(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    run(tmp_path / "parts", replace(SETTINGS, part_tokens=20))
    whole, parts = losses(tmp_path / "whole"), losses(tmp_path / "parts")
    assert [step for step, _ in whole] == [5, 10, 12]
    assert [loss for _, loss in parts] == pytest.approx([loss for _, loss in whole], rel=1e-4)


def test_validation_does_not_change_training(tmp_path: Path) -> None:
    def validate(show_progress: ProgressCallback) -> dict[str, float]:
        torch.rand(3)
        return {"all": 1.0}

    model, _ = run(tmp_path / "with", validate=validate)
    other, _ = run(tmp_path / "without")
    assert_same(model, other)
    assert model.training
    steps = [row["step"] for row in read_log(tmp_path / "with" / "log.jsonl") if "validation" in row]
    assert steps == [4, 8, 12]


NAMES = ("broken", "unbroken")


class Validations:
    """Held-out losses by step."""

    def __init__(self, *losses: float) -> None:
        self._losses = list(losses)

    def __call__(self, show_progress: ProgressCallback) -> dict[str, float]:
        return {"all": self._losses.pop(0)}


PATIENT = replace(SETTINGS, validate_every=2, patience=2)


def test_training_ends_when_the_validation_loss_stops_falling_and_keeps_the_best_weights(tmp_path: Path) -> None:
    model, state = run(tmp_path / "early", PATIENT, validate=Validations(3.0, 2.0, 2.1, 2.0, 1.0))
    assert (state.step, state.lowest_step, state.lowest_loss) == (8, 4, 2.0)
    best_weights: dict[str, torch.Tensor] = {}

    def keep_weights(step: int) -> None:
        if step == 4:
            best_weights.update({name: p.detach().clone() for name, p in watched.named_parameters()})

    watched = make_model()
    train(watched, RandomBatches(keep_weights), SETTINGS, tmp_path / "whole", make_accelerator("fp32", device="cpu"))
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, best_weights[name])


def test_without_patience_the_last_weights_are_kept(tmp_path: Path) -> None:
    model, state = run(tmp_path / "with", validate=Validations(1.0, 2.0, 3.0))
    other, _ = run(tmp_path / "without")
    assert state.step == 12
    assert_same(model, other)


def test_a_run_that_ended_early_is_not_continued(tmp_path: Path) -> None:
    model, _ = run(tmp_path, PATIENT, validate=Validations(2.0, 2.1, 2.2))
    again, state = run(tmp_path, PATIENT, batches=None)
    assert state.step == 6
    assert_same(model, again)


def test_early_stopping_is_the_same_after_an_interruption(tmp_path: Path) -> None:
    def interrupt(step: int) -> None:
        if step == 4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(StoppedError):
        run(tmp_path, PATIENT, batches=RandomBatches(interrupt), validate=Validations(2.0, 1.0))
    model, state = run(tmp_path, PATIENT, validate=Validations(1.5, 1.5))
    assert (state.step, state.lowest_step) == (8, 4)
    unbroken, _ = run(tmp_path / "unbroken", PATIENT, validate=Validations(2.0, 1.0, 1.5, 1.5))
    assert_same(model, unbroken)


@pytest.mark.parametrize("step", [4, 12])
def test_a_stop_during_a_validation_is_followed_and_the_validation_repeated(tmp_path: Path, step: int) -> None:
    """The signal comes in the second of three parts, in the middle of the run or after its last step."""

    class Parts:
        def __init__(self, *, interrupted: bool = False) -> None:
            self.validations, self._interrupted = 0, interrupted

        def __call__(self, show_progress: ProgressCallback) -> dict[str, float]:
            for done in range(3):
                show_progress(done, 3)
                if self._interrupted and self.validations == step // 4 - 1 and done == 1:
                    signal.raise_signal(signal.SIGINT)
            show_progress(3, 3)
            self.validations += 1
            return {"all": 1.0}

    with pytest.raises(StoppedError, match=rf"Stopped after step {step} of 12"):
        run(tmp_path / "broken", validate=Parts(interrupted=True))
    model, state = run(tmp_path / "broken", validate=Parts())
    unbroken, _ = run(tmp_path / "unbroken", validate=Parts())
    assert not state.unmeasured
    assert_same(model, unbroken)
    validations = [[row for row in read_log(tmp_path / name / "log.jsonl") if "validation" in row] for name in NAMES]
    assert validations[0] == validations[1]
    assert [row["step"] for row in validations[0]] == [4, 8, 12]


def test_the_time_of_loading_is_not_counted(tmp_path: Path) -> None:
    _, state = run(tmp_path)
    rows = read_log(tmp_path / "log.jsonl")
    assert 0 < rows[0]["elapsed_s"] < rows[-1]["elapsed_s"] <= state.elapsed_s
    assert state.tokens == rows[-1]["tokens"] == sum(RandomBatches().batch(step).tokens for step in range(12))


@pytest.mark.parametrize(("number", "dropout"), [(signal.SIGINT, 0.0), (signal.SIGTERM, 0.0), (signal.SIGINT, 0.2)])
def test_a_signal_saves_and_the_same_command_continues(tmp_path: Path, number: signal.Signals, dropout: float) -> None:
    settings = replace(SETTINGS, dropout=dropout)

    def interrupt(step: int) -> None:
        if step == 6:
            signal.raise_signal(number)

    usual = signal.getsignal(number)
    with pytest.raises(StoppedError, match=r"Stopped after step 7 of 12.*Repeat the same command to continue"):
        run(tmp_path / "broken", settings, batches=RandomBatches(interrupt))
    assert signal.getsignal(number) is usual
    model, state = run(tmp_path / "broken", settings)
    unbroken, _ = run(tmp_path / "unbroken", settings)
    assert state.step == 12
    assert_same(model, unbroken)
    assert losses(tmp_path / "broken") == losses(tmp_path / "unbroken")


def test_dropout_applies_in_training_only_and_workers_change_nothing(tmp_path: Path) -> None:
    batch, seen = RandomBatches().batch(0), []

    def validate(show_progress: ProgressCallback) -> dict[str, float]:
        with torch.no_grad():
            seen.append([float(target_loss(model, batch, torch.device("cpu"))) for _ in range(2)])
        return {"all": 1.0}

    settings = replace(SETTINGS, dropout=0.5)
    model = make_model()
    train(model, RandomBatches(), settings, tmp_path / "a", make_accelerator("fp32", device="cpu"), validate=validate)
    assert all(one == other for one, other in seen)
    again, _ = run(tmp_path / "b", replace(settings, workers=2))
    assert_same(model, again)
    run(tmp_path / "without")
    assert losses(tmp_path / "a") == losses(tmp_path / "b") != losses(tmp_path / "without")


def test_dropout_stays_out_of_the_attention() -> None:
    sizes = {"vocab_size": 64, "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 32}
    gpt2 = GPT2LMHeadModel(GPT2Config(**sizes, attn_pdrop=0.5, resid_pdrop=0.5))
    set_dropout(gpt2, 0.2)
    layers = {path: layer.p for path, layer in gpt2.named_modules() if isinstance(layer, torch.nn.Dropout)}
    assert {path for path, share in layers.items() if share == 0} == {"transformer.h.0.attn.attn_dropout"}
    assert set(layers.values()) == {0.0, 0.2}


def test_dropout_that_is_no_layer_is_turned_off() -> None:
    """An OPT holds its shares as attributes, a Falcon reads them from its config."""
    sizes = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    opt = OPTConfig(**sizes, ffn_dim=64, max_position_embeddings=32, word_embed_proj_dim=32, dropout=0.5)
    falcon = FalconConfig(**sizes, hidden_dropout=0.5, attention_dropout=0.5)
    ids = torch.arange(2, 9)[None]
    for config in (opt, falcon):
        model = AutoModelForCausalLM.from_config(config).train()
        set_dropout(model, 0.0)
        assert torch.equal(model(ids).logits, model(ids).logits)


def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    model, _ = run(tmp_path)
    again, state = run(tmp_path, batches=None)
    assert state.step == 12
    assert_same(model, again)


@pytest.mark.parametrize(
    ("changes", "option"), [({"steps": 13}, "--steps"), ({"learning_rate": 0.02, "seed": 1}, "--learning-rate, --seed")]
)
def test_changed_settings_are_refused(tmp_path: Path, changes: dict[str, Any], option: str) -> None:
    run(tmp_path)
    with pytest.raises(SettingsError, match=rf"made with other settings \({option}\).*another --output folder"):
        run(tmp_path, replace(SETTINGS, **changes))


def test_a_changed_identity_is_refused_and_a_free_setting_is_not(tmp_path: Path) -> None:
    run(tmp_path, identity={"mix": {"a": 1}})
    run(tmp_path, replace(SETTINGS, checkpoint_minutes=5, part_tokens=64), identity={"mix": {"a": 1}})
    with pytest.raises(SettingsError, match=r"\(--mix\)"):
        run(tmp_path, identity={"mix": {"a": 2}})


def test_two_checkpoints_are_kept_and_a_half_written_one_is_ignored(tmp_path: Path) -> None:
    settings = replace(SETTINGS, checkpoint_minutes=1e-9)
    model, _ = run(tmp_path, settings)
    folder = tmp_path / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000011", "step-00000012"]
    (folder / "part").mkdir()
    (folder / "part" / "model.safetensors").write_bytes(b"half")
    again, state = run(tmp_path, settings)
    assert state.step == 12
    assert_same(model, again)


@pytest.mark.parametrize("file", ["state.json", "model.safetensors", "optimizer.safetensors"])
def test_a_damaged_checkpoint_is_reported(tmp_path: Path, file: str) -> None:
    run(tmp_path)
    path = tmp_path / "checkpoints" / "step-00000012" / file
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"step-00000012 cannot be read .* Remove that folder"):
        run(tmp_path)


class Numbered:
    """Makes batches that hold their step."""

    def batch(self, step: int) -> Batch:
        return Batch(torch.full((2, 3), step), torch.full((2, 3), step))


def test_workers_give_the_same_batches_in_the_same_order() -> None:
    made = {
        workers: [int(b.input_ids[0, 0]) for b in prefetch(Numbered(), 3, 11, workers=workers)] for workers in (0, 2)
    }
    assert made[0] == made[2] == list(range(3, 11))


def test_no_batch_is_made_before_it_is_needed() -> None:
    class Never:
        def batch(self, step: int) -> Batch:
            raise AssertionError(step)

    prefetch(Never(), 0, 5, workers=0)
