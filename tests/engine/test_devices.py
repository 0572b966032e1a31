from pathlib import Path
from typing import Any

import pytest
import torch

from phi2demo.engine import devices
from phi2demo.engine.devices import (
    MemoryDemand,
    Placement,
    check_memory,
    choose_device,
    choose_dtype,
    choose_placement,
    cpu_has_bfloat16,
    free_memory,
)
from phi2demo.errors import ModelError

PHI_2 = MemoryDemand(parameters=2_779_683_840, cache_numbers=2 * 32 * 2560 * 2048)
GB = 10**9


def machine(
    patch: pytest.MonkeyPatch, *, cuda: dict[str, int] | None = None, capability: tuple[int, int] = (8, 0)
) -> None:
    """CUDA devices with their free bytes."""
    free_bytes = cuda or {}
    patch.setattr(torch.cuda, "is_available", lambda: bool(free_bytes))
    patch.setattr(torch.cuda, "device_count", lambda: len(free_bytes))
    patch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    patch.setattr(torch.cuda, "mem_get_info", lambda index: (free_bytes[f"cuda:{index}"], 0))
    patch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_auto_takes_cuda_then_mps_then_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda={"cuda:0": GB})
    assert choose_device("auto") == "cuda"
    assert choose_device("cpu") == "cpu"
    machine(monkeypatch)
    assert choose_device("auto") == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == "mps"


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_requested_device_never_falls_back(monkeypatch: pytest.MonkeyPatch, device: Any) -> None:
    machine(monkeypatch)
    with pytest.raises(ModelError, match=rf"--device {device}: this machine has no {device.upper()}.*--device cpu"):
        choose_device(device)


@pytest.mark.parametrize(
    ("native", "parameters", "expected"),
    [
        (True, 30_000_000, "float32"),
        (True, 300_000_000, "bfloat16"),
        (False, 30_000_000, "float32"),
        (False, 3_000_000_000, "float32"),
    ],
)
def test_dtype_on_a_cpu(monkeypatch: pytest.MonkeyPatch, native: bool, parameters: int, expected: str) -> None:
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: native)
    assert choose_dtype("auto", "cpu", parameters) == expected
    assert choose_dtype("bfloat16", "cpu", parameters) == "bfloat16"


@pytest.mark.parametrize(("capability", "expected"), [((8, 0), "bfloat16"), ((7, 5), "float32"), ((9, 0), "bfloat16")])
def test_dtype_on_cuda(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str) -> None:
    machine(monkeypatch, cuda={"cuda:0": GB}, capability=capability)
    assert choose_dtype("auto", "cuda", 30_000_000) == expected
    assert choose_dtype("float16", "cuda", 30_000_000) == "float16"


@pytest.mark.parametrize(("newer", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_dtype_on_mps(monkeypatch: pytest.MonkeyPatch, newer: bool, expected: str) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor: newer)
    assert choose_dtype("auto", "mps", 30_000_000) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu avx512_bf16 sse\n", True),
        ("flags : fpu amx_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags : fpu avx512f avx2\nmodel name : bf16\n", False),
        ("", False),
    ],
)
def test_bfloat16_is_read_from_the_cpu_flags(tmp_path: Path, text: str, expected: bool) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_has_bfloat16(tmp_path / "cpuinfo") is expected
    assert cpu_has_bfloat16(tmp_path / "absent") is False


def test_a_model_that_fits_one_gpu_goes_to_the_freest(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda={"cuda:0": 4 * GB, "cuda:1": 8 * GB})
    assert choose_placement("auto", "auto", PHI_2) == Placement("cuda:1", "bfloat16")


def test_a_model_that_fits_no_single_gpu_is_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda={"cuda:0": 5 * GB, "cuda:1": 5 * GB})
    assert choose_placement("cuda", "auto", PHI_2) == Placement("cuda", "bfloat16", spread=True)


@pytest.mark.parametrize("free", [{"cuda:0": 4 * GB}, {"cuda:0": 2 * GB, "cuda:1": 2 * GB}])
def test_too_little_memory_on_cuda(monkeypatch: pytest.MonkeyPatch, free: dict[str, int]) -> None:
    machine(monkeypatch, cuda=free)
    with pytest.raises(
        ModelError, match=r"Too little memory on .*(?i:cuda).* 5\.6 GB.* 1\.3 GB.*only 4\.0 GB.*--device cpu"
    ) as caught:
        choose_placement("cuda", "bfloat16", PHI_2)
    assert "bfloat16, or" not in str(caught.value)


def test_too_little_memory_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "free_memory", lambda: 3 * GB)
    with pytest.raises(
        ModelError, match=r"memory on cpu: as float32 .* 11\.1 GB.*3\.0 GB are free\. Close other"
    ) as caught:
        choose_placement("cpu", "float32", PHI_2)
    assert "--dtype bfloat16" in str(caught.value)


def test_memory_that_is_just_enough_is_enough() -> None:
    demand = MemoryDemand(parameters=100, cache_numbers=10)
    check_memory("cpu", "float32", demand, free=480)
    with pytest.raises(ModelError, match="Too little memory"):
        check_memory("cpu", "float32", demand, free=479)


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    import psutil

    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("600000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 100000\n")
    assert free_memory(tmp_path) == 500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) > 1_000_000
    assert free_memory(tmp_path / "absent") <= psutil.virtual_memory().total
