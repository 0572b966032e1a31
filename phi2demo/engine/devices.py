"""The device and the number format of a model, and whether it fits into memory there. Knows nothing of files."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phi2demo.errors import ModelError
from phi2demo.settings import Device, Dtype

if TYPE_CHECKING:
    import torch

SMALL_PARAMETERS = 300_000_000
"""Number of parameters below which bfloat16 is no faster on a CPU, since overhead takes most of the time."""

RESERVED_CONTEXTS = 2
"""Number of full contexts that must fit beside the weights: the finetuned and the base model side by side."""

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Placement:
    """Where a model is loaded, and in which number format."""

    device: str
    """torch's name of the device; 'cuda' with `spread` for all CUDA devices."""
    dtype: str
    spread: bool = False
    """Whether the layers are spread over several CUDA devices."""

    @property
    def torch_dtype(self) -> "torch.dtype":
        """Return torch's object for `dtype`."""
        import torch

        value = getattr(torch, self.dtype)
        assert isinstance(value, torch.dtype)
        return value


@dataclass(frozen=True)
class MemoryDemand:
    """The numbers that have to fit into memory."""

    parameters: int
    cache_numbers: int
    """Numbers in the keys and values of one full context."""

    def bytes(self, dtype: str) -> tuple[int, int]:
        """Return the bytes of the weights, and of the contexts to be computed at once."""
        return self.parameters * _BYTES[dtype], RESERVED_CONTEXTS * self.cache_numbers * _BYTES[dtype]


def choose_placement(device: Device, dtype: Dtype, demand: MemoryDemand) -> Placement:
    """Choose where a model is loaded. Raises ModelError where the device is missing or has too little memory."""
    kind = choose_device(device)
    dtype_name = choose_dtype(dtype, kind, demand.parameters)
    needed = sum(demand.bytes(dtype_name))
    if kind != "cuda":
        check_memory(kind, dtype_name, demand, free=free_memory())
        return Placement(kind, dtype_name)
    free = free_cuda_memory()
    freest = max(free, key=lambda name: free[name])
    if free[freest] >= needed or len(free) == 1:
        check_memory(freest, dtype_name, demand, free=free[freest])
        return Placement(freest, dtype_name)
    check_memory(f"{len(free)} CUDA devices", dtype_name, demand, free=sum(free.values()))
    return Placement("cuda", dtype_name, spread=True)


def choose_device(device: Device) -> str:
    """Return cuda, mps or cpu. Raises ModelError where a requested one is missing, without any fallback."""
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(kind for kind, is_available in available.items() if is_available)
    if not available[device]:
        raise ModelError(
            f"--device {device}: this machine has no {device.upper()} device that torch {torch.__version__} can use. "
            "Give --device cpu or auto, or install a torch build for it."
        )
    return device


def choose_dtype(dtype: Dtype, device: str, parameters: int) -> str:
    """Return `dtype`; for "auto" bfloat16 where the device computes faster in it, else float32.

    A small model stays in float32 on a CPU: that is no slower there, and a row then gives the same greedy output alone
    and in a batch.
    """
    if dtype != "auto":
        return dtype
    if device == "cpu" and parameters < SMALL_PARAMETERS:
        return "float32"
    return "bfloat16" if has_bfloat16(device) else "float32"


def has_bfloat16(device: str) -> bool:
    """Return whether cuda, mps or cpu multiplies bfloat16 in hardware, so that it is faster than float32."""
    import torch

    if device == "cpu":
        return cpu_has_bfloat16()
    if device == "mps":
        return bool(torch.backends.mps.is_macos_or_newer(14, 0))
    # torch.cuda.is_bf16_supported() also returns True where bfloat16 is only emulated.
    return all(torch.cuda.get_device_capability(index) >= (8, 0) for index in range(torch.cuda.device_count()))


def cpu_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the CPU has AVX512-BF16, AMX or ARM's bf16; False where the system does not say."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    lines = [line for line in text.splitlines() if line.lower().startswith(("flags", "features"))]
    flags = set(lines[0].split()) if lines else set()
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def check_memory(device: str, dtype: str, demand: MemoryDemand, *, free: int) -> None:
    """Raise ModelError where a model needs more than `free` bytes."""
    weights, contexts = demand.bytes(dtype)
    if weights + contexts <= free:
        return
    advice = ["close other programs" if device in ("cpu", "mps") else "give --device cpu"]
    if dtype == "float32":
        advice.append("give --dtype bfloat16")
    sentence = ", or ".join([*advice, "choose a smaller model"])
    raise ModelError(
        f"Too little memory on {device}: as {dtype} the weights take {weights / 1e9:.1f} GB and the texts "
        f"{contexts / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free. {sentence[0].upper()}{sentence[1:]}."
    )


def free_memory(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes available to this process: those of the machine, or of its container where that has fewer."""
    import psutil

    available = int(psutil.virtual_memory().available)
    try:
        limit = (group / "memory.max").read_text(encoding="utf-8").strip()
        used = int((group / "memory.current").read_text(encoding="utf-8"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return available
    if limit == "max":
        return available
    # File pages count as used, but the system gives them back on demand.
    return min(available, int(limit) - used + int(stat.get("inactive_file", 0)))


def free_cuda_memory() -> dict[str, int]:
    """Return the free bytes of each CUDA device by its name."""
    import torch

    return {f"cuda:{index}": int(torch.cuda.mem_get_info(index)[0]) for index in range(torch.cuda.device_count())}
