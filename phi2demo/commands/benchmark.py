"""benchmark: measure a speed claim, both sides in one run."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from phi2demo.benchmark.explaining import Comparison, compare
from phi2demo.benchmark.machine import describe_machine, limit_threads
from phi2demo.benchmark.shapes import SHAPES, make_random
from phi2demo.benchmark.texts import EXAMPLES
from phi2demo.commands import arguments as shared
from phi2demo.errors import SettingsError

if TYPE_CHECKING:
    from phi2demo.engine.loading import LoadedModel

CLAIMS = ("explain",)


def main(command: str, argv: Sequence[str]) -> int:
    """Measure; returns 0. A line for each text goes to standard error."""
    given = _parser(command).parse_args(argv)
    if not 1 <= given.texts <= len(EXAMPLES):
        raise SettingsError(f"--texts {given.texts}: give a number from 1 to {len(EXAMPLES)}.")
    if given.shape and (given.model or given.adapter):
        raise SettingsError("--shape makes random weights: leave --model and --adapter out.")
    limit_threads(given.threads)
    loaded = _load(given)
    from phi2demo.engine.local import LocalEngine

    result = compare(
        loaded,
        LocalEngine(loaded),
        EXAMPLES[: given.texts],
        max_evals=given.max_evals,
        repeats=given.repeats,
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    result = replace(result, machine=describe_machine(loaded.info.device, loaded.info.dtype))
    print(json.dumps(result.as_dict(), ensure_ascii=False, indent=2) if given.json else _table(result))
    return 0


def _parser(command: str) -> shared.Parser:
    parser = shared.Parser(command, description="explain: stock shap against the scorer here, same values, both timed.")
    parser.add_argument("claim", choices=CLAIMS)
    parser.add_argument("--json", action="store_true", help="one object with all numbers")
    parser.add_argument("--max-evals", type=int, default=500, metavar="N", help="masked texts for a text; default: 500")
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="the median counts; default: 1")
    parser.add_argument("--texts", type=int, default=len(EXAMPLES), metavar="N", help="only the first, shorter ones")
    parser.add_argument("--threads", type=int, metavar="N", help="of the CPU; default: as torch has it")
    parser.add_argument("--shape", choices=SHAPES, help="random weights of this shape instead of a model")
    shared.add_model_arguments(parser)
    return parser


def _load(given: argparse.Namespace) -> "LoadedModel":
    """In float32 unless another format is asked for: in a narrower one the two sides round differently."""
    settings = shared.model_settings(given)
    dtype = "float32" if settings.dtype == "auto" else settings.dtype
    if given.shape:
        from phi2demo.engine.devices import Place, choose_device

        return make_random(given.shape, Place(choose_device(settings.device), dtype))
    from phi2demo.engine.loading import load, plan

    return load(plan(replace(settings, dtype=dtype)))


def _table(result: Comparison) -> str:
    lines = [f"{'':6}{'seconds':>10}{'times faster':>14}{'off by':>10}", f"{'stock':6}{result.peer_seconds:>10.1f}"]
    rows = (
        ("exact", result.ours_seconds, result.ratio, result.max_difference),
        ("fast", result.fast_seconds, result.fast_ratio, result.fast_max_difference),
    )
    lines += [f"{name:6}{seconds:>10.1f}{ratio:>14.1f}{off:>10.1e}" for name, seconds, ratio, off in rows]
    machine = result.machine
    texts = f"{len(result.texts)} texts, {result.max_evals} masked texts each, {result.model}"
    return "\n".join([*lines, texts, f"{machine['device']}, {machine['threads']} threads, {machine['dtype']}"])
