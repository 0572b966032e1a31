"""Descriptions of what figures depend on besides data and settings: weights, machine, versions, and the speed."""

import os
import platform
import statistics
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from phi2demo import __version__
from phi2demo.data.files import sha256_of
from phi2demo.engine.engine import Engine, GenerationOptions, Prompt
from phi2demo.tasks.declared import templates_of

PACKAGES = ("torch", "transformers", "peft", "tokenizers", "sacrebleu", "rouge-score", "numpy")
SPEED_RUNS = 5
SPEED_TOKENS = 128
SPEED_PROMPT = "Once upon a time"


def describe_environment() -> dict[str, Any]:
    """Describe Python, machine, threads and versions, as JSON values."""
    import torch

    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "versions": package_versions(),
    }


def package_versions() -> dict[str, str]:
    """Look up the versions of this package and of those that outputs and scores depend on, as far as they are installed."""
    versions = {"phi2demo": __version__}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def describe_model(engine: Engine) -> dict[str, Any]:
    """Describe the model as loaded, as JSON values, without folders and without a second adapter, which is not evaluated."""
    template, info = templates_of(engine.info).first, asdict(engine.info)
    left_out = ("base_folder", "adapter_folder", "others", "architecture", "special_tokens", "chat")
    described = {name: value for name, value in info.items() if name not in left_out}
    return described | {"template": template.given, "system": template.system or None}


def hash_weights(folders: Iterable[Path | None]) -> dict[str, str]:
    """Hash each safetensors file with SHA-256; the keys are `folder name/file name`."""
    return {
        f"{folder.name}/{file.name}": sha256_of(file)
        for folder in folders
        if folder is not None
        for file in sorted(folder.glob("*.safetensors"))
    }


def measure_speed(engine: Engine) -> dict[str, Any]:
    """Measure tokens per second of one row with greedy decoding, including a short prompt: the median of five after a warm-up."""
    options = GenerationOptions(max_new_tokens=SPEED_TOKENS)
    rates, tokens = [], []
    for _ in range(SPEED_RUNS + 1):
        *_, last = engine.stream([Prompt(SPEED_PROMPT, engine.info.variants[0])], options)
        tokens.append(last.new_tokens)
        rates.append(last.new_tokens / max(last.seconds, 1e-9))
    return {
        "variant": engine.info.variants[0],
        "new_tokens": tokens[1:],
        "tokens_per_s": [round(rate, 1) for rate in rates[1:]],
        "median_tokens_per_s": round(statistics.median(rates[1:]), 1),
    }
