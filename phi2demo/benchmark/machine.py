"""The machine that a benchmark runs on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from phi2demo.errors import SettingsError


def describe_machine(device: str, dtype: str) -> dict[str, Any]:
    """Processor or GPU, threads, number formats and versions."""
    import torch

    cuda = device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name(device) if cuda else _processor(),
        "kind": device,
        "dtype": dtype,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "peft", "shap")},
    }


def limit_threads(threads: int | None) -> None:
    """Let torch compute with so many threads of the CPU; None leaves its own choice."""
    import torch

    if threads is None:
        return
    if threads < 1:
        raise SettingsError(f"--threads {threads}: give a number from 1.")
    torch.set_num_threads(threads)


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
