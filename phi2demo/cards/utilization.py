"""What share of a GPU's arithmetic a pretraining run used: model FLOP/s of Chowdhery et al., "PaLM" (2022), appendix B.

A token takes 6 N + 12 L H T floating-point operations forward and back, of N parameters, L layers, H hidden size and T
tokens in a row.
"""

from phi2demo.training.presets import PRESETS, Preset
from phi2demo.training.record import Stage

DENSE_BF16 = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
}
"""FLOP/s without sparsity, from NVIDIA's data sheets; the first that the GPU's name contains is the one."""


def utilization(stage: Stage) -> float | None:
    """Of the rate of all its GPUs, over the whole run, compiling and validating included; None where it is not known."""
    name = stage.hardware.name if stage.hardware else ""
    rate = next((rate for words, rate in DENSE_BF16.items() if words in name), None)
    preset = PRESETS.get(str(stage.settings.get("preset")))
    phases = stage.settings.get("phases")
    if stage.hardware is None or rate is None or preset is None or not phases or not stage.tokens_per_s:
        return None
    flop = sum(float(phase["share"]) * token_flop(preset, phase["length"]) for phase in phases)
    return stage.tokens_per_s * flop / (rate * stage.hardware.gpus)


def token_flop(preset: Preset, length: int) -> float:
    """Operations of one token in rows of `length`; of the parameters only the matrices count."""
    parameters = 12 * preset.layers * preset.hidden**2 + preset.vocab_size * preset.hidden
    return 6 * parameters + 12 * preset.layers * preset.hidden * length
