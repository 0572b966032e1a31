"""Which hardware this process computes on."""

import platform
from pathlib import Path

from phi2demo.emissions.footprint import Hardware


def detect(device: str, processes: int) -> Hardware:
    """The hardware of this process, times `processes`; to be asked at the end of a run, when its memory is in use.

    On a GPU ("cuda", "mps"), each process has one of them and is taken to keep one CPU core busy.
    """
    import psutil
    import torch

    memory_gb = psutil.Process().memory_info().rss * processes / 1e9
    if device == "cuda":
        return Hardware(torch.cuda.get_device_name(), processes, memory_gb, gpus=processes)
    if device == "mps":
        return Hardware(cpu_name(), processes, memory_gb, gpus=processes)
    return Hardware(cpu_name(), torch.get_num_threads() * processes, memory_gb)


def cpu_name() -> str:
    """Model of the CPU, as Linux tells it; elsewhere what Python knows."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text(encoding="utf-8").splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
