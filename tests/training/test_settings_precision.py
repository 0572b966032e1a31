from typing import Any

import pytest
import torch

from phi2demo.engine import devices
from phi2demo.engine.devices import choose_dtype
from phi2demo.errors import SettingsError
from phi2demo.training.settings import make_accelerator


@pytest.mark.parametrize(("asked", "mixed"), [("bf16", "bf16"), ("fp32", "no")])
def test_precision_is_that_of_the_autocast(asked: Any, mixed: str) -> None:
    accelerator = make_accelerator(asked, device="cpu")
    assert accelerator.mixed_precision == mixed
    assert accelerator.device.type == "cpu"
    with accelerator.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if asked == "bf16" else torch.float32)


@pytest.mark.parametrize(("fast", "mixed"), [(True, "bf16"), (False, "no")])
def test_auto_takes_bfloat16_where_it_is_fast(monkeypatch: pytest.MonkeyPatch, fast: bool, mixed: str) -> None:
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: fast)
    assert make_accelerator("auto", device="cpu").mixed_precision == mixed
    assert choose_dtype("auto", "cpu", 3_000_000_000) == ("bfloat16" if fast else "float32"), "inference agrees"


@pytest.mark.parametrize(
    ("asked", "device", "message"),
    [
        ("fp16", "cpu", "--precision fp16 needs a CUDA device. Use --precision bf16"),
        ("fp8", "cpu", "--precision fp8: give one of auto, bf16, fp16, fp32"),
        ("auto", "tpu", "--device tpu: give cpu, cuda or mps"),
    ],
)
def test_what_cannot_be_is_refused(asked: Any, device: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make_accelerator(asked, device=device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fp16_scales_its_loss_on_a_gpu() -> None:
    assert make_accelerator("fp16").scaler is not None
