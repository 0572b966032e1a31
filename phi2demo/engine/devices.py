"""Where the weights go and as which numbers, and whether they fit there. Knows nothing of files."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phi2demo.errors import ModelError
from phi2demo.settings import Device, Dtype

if TYPE_CHECKING:
    import torch

SMALL = 300_000_000
"""Parameters below which a CPU is held up by overhead, not by multiplying."""

ROWS_IN_WORK = 2
"""Full contexts to leave memory for: finetuned and base side by side."""

_WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Place:
    """Where and how a model is loaded."""

    device: str
    """As torch names it; 'cuda' with `spread` for all CUDA devices."""
    dtype: str
    spread: bool = False
    """Over several CUDA devices."""

    @property
    def torch_dtype(self) -> "torch.dtype":
        """The dtype itself."""
        import torch

        value = getattr(torch, self.dtype)
        assert isinstance(value, torch.dtype)
        return value


@dataclass(frozen=True)
class Demand:
    """What has to fit."""

    parameters: int
    cache_numbers: int
    """Keys and values of one full context."""

    def bytes(self, dtype: str) -> tuple[int, int]:
        """Of the weights, and of the texts in work."""
        return self.parameters * _WIDTH[dtype], ROWS_IN_WORK * self.cache_numbers * _WIDTH[dtype]


def choose_place(device: Device, dtype: Dtype, demand: Demand) -> Place:
    """The place for a model. Raises ModelError where the device asked for is missing or has too little memory."""
    kind = choose_device(device)
    number = choose_dtype(dtype, kind, demand.parameters)
    needed = sum(demand.bytes(number))
    if kind != "cuda":
        check_memory(kind, number, demand, free=free_memory())
        return Place(kind, number)
    free = free_cuda_memory()
    best = max(free, key=lambda name: free[name])
    if free[best] >= needed or len(free) == 1:
        check_memory(best, number, demand, free=free[best])
        return Place(best, number)
    check_memory(f"{len(free)} CUDA devices", number, demand, free=sum(free.values()))
    return Place("cuda", number, spread=True)


def choose_device(wanted: Device) -> str:
    """cuda, mps or cpu. Raises ModelError where an explicit choice is not there: nothing falls back silently."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(kind for kind, found in there.items() if found)
    if not there[wanted]:
        raise ModelError(
            f"--device {wanted}: this machine has no {wanted.upper()} device that torch {torch.__version__} can use. "
            "Give --device cpu or auto, or install a torch build for it."
        )
    return wanted


def choose_dtype(wanted: Dtype, device: str, parameters: int) -> str:
    """As asked; else bfloat16 where the device multiplies in it and it pays, float32 elsewhere.

    A small model stays in float32 on a CPU: it is no slower there, and greedy rows then equal the same rows alone.
    """
    if wanted != "auto":
        return wanted
    if device == "cpu":
        return "bfloat16" if parameters >= SMALL and has_bfloat16(device) else "float32"
    return "bfloat16" if has_bfloat16(device) else "float32"


def has_bfloat16(device: str) -> bool:
    """Whether cuda, mps or cpu multiplies in bfloat16, and is faster for it."""
    return cpu_multiplies_bfloat16() if device == "cpu" else _gpu_has_bfloat16(device)


def cpu_multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU has AVX512-BF16, AMX or ARM's bf16; False where the system does not say."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    lines = [line for line in text.splitlines() if line.lower().startswith(("flags", "features"))]
    flags = set(lines[0].split()) if lines else set()
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def _gpu_has_bfloat16(device: str) -> bool:
    import torch

    if device == "mps":
        return bool(torch.backends.mps.is_macos_or_newer(14, 0))
    # torch.cuda.is_bf16_supported() also counts emulation.
    return all(torch.cuda.get_device_capability(i) >= (8, 0) for i in range(torch.cuda.device_count()))


def check_memory(where: str, dtype: str, demand: Demand, *, free: int) -> None:
    """Raises ModelError where `free` bytes are too few."""
    weights, texts = demand.bytes(dtype)
    if weights + texts <= free:
        return
    ways = ["choose a smaller model"]
    if dtype == "float32":
        ways.insert(0, "give --dtype bfloat16")
    ways.insert(0, "close other programs" if where in ("cpu", "mps") else "give --device cpu")
    advice = ", or ".join(ways)
    raise ModelError(
        f"Too little memory on {where}: as {dtype} the weights take {weights / 1e9:.1f} GB and the texts in work "
        f"{texts / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free. {advice[0].upper()}{advice[1:]}."
    )


def free_memory(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes available to this process: the machine's, or its container's where that has less."""
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
    # File pages count as used but are given back on demand.
    return min(available, int(limit) - used + int(stat.get("inactive_file", 0)))


def free_cuda_memory() -> dict[str, int]:
    """Free bytes by device name."""
    import torch

    return {f"cuda:{i}": int(torch.cuda.mem_get_info(i)[0]) for i in range(torch.cuda.device_count())}
