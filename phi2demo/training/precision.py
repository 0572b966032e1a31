"""The device and the number format that a model is trained in."""

from typing import TYPE_CHECKING, Literal, get_args

from phi2demo.errors import SettingsError

if TYPE_CHECKING:
    from accelerate import Accelerator

Precision = Literal["auto", "bf16", "fp16", "fp32"]


def make_accelerator(precision: Precision, *, device: str | None = None) -> "Accelerator":
    """An Accelerator that computes under autocast in `precision`, on weights in float32; `device` "cpu" forces the CPU.

    "auto" is bf16 where the device computes in it, else fp32; never fp16, in which the attention of Phi-2 can overflow.
    """
    import torch
    from accelerate import Accelerator

    if precision not in get_args(Precision):
        raise SettingsError(f"--precision {precision}: give one of {', '.join(get_args(Precision))}.")
    if device not in (None, "cpu", "cuda", "mps"):
        raise SettingsError(f"--device {device}: give cpu, cuda or mps.")
    on_gpu = torch.cuda.is_available() and device != "cpu"
    if device == "cuda" and not on_gpu:
        raise SettingsError("--device cuda: no CUDA device is found here. Use --device cpu.")
    if precision == "fp16" and not on_gpu:
        raise SettingsError("--precision fp16 needs a CUDA device. Use --precision bf16 or fp32 here.")
    if precision == "auto":
        fast = torch.cuda.is_bf16_supported() if on_gpu else cpu_has_bfloat16()
        precision = "bf16" if fast else "fp32"
    names = {"bf16": "bf16", "fp16": "fp16", "fp32": "no"}
    return Accelerator(mixed_precision=names[precision], cpu=device == "cpu")


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies in bfloat16 (AVX512-BF16 or AMX); without it bfloat16 is slower than float32."""
    import torch

    flags = torch.backends.cpu.get_cpu_capability()
    return "AVX512" in flags and bool(torch.cpu._is_avx512_bf16_supported())
