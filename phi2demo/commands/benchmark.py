"""benchmark: measure a speed claim, both sides in one run."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from phi2demo.benchmark import explaining, generating
from phi2demo.benchmark.inputs import EXAMPLES, SHAPES, describe_machine, limit_threads, make_random
from phi2demo.commands import arguments as shared
from phi2demo.errors import SettingsError

if TYPE_CHECKING:
    from phi2demo.engine.loading import LoadedModel

COMPARISONS = {
    "explain": "stock shap against the scorer here: same values",
    "generate": "transformers and PEFT against the engine here: same texts",
}

Comparison = explaining.Comparison | generating.Comparison


def main(command: str, argv: Sequence[str]) -> int:
    """Measure; returns 0. A line for each text or batch goes to standard error."""
    given = _parser(command).parse_args(argv)
    if not 1 <= given.texts <= len(EXAMPLES):
        raise SettingsError(f"--texts {given.texts}: give a number from 1 to {len(EXAMPLES)}.")
    if given.shape and (given.model or given.adapter):
        raise SettingsError("--shape makes random weights: leave --model and --adapter out.")
    if given.shape and given.comparison != "explain":
        raise SettingsError(
            f"--shape is for explain alone: random weights have no tokenizer to {given.comparison} with."
        )
    limit_threads(given.threads)
    loaded = _load(given)
    result: Comparison
    match given.comparison:
        case "explain":
            result = _explain(loaded, given)
        case _:
            result = _generate(loaded, given)
    result = replace(result, machine=describe_machine(loaded.info.device, loaded.info.dtype))
    print(json.dumps(result.as_dict(), ensure_ascii=False, indent=2) if given.json else _table(result))
    return 0


def _explain(loaded: "LoadedModel", given: argparse.Namespace) -> explaining.Comparison:
    from phi2demo.engine.local import LocalEngine

    return explaining.compare(
        loaded,
        LocalEngine(loaded),
        EXAMPLES[: given.texts],
        max_evals=given.max_evals,
        repeats=given.repeats,
        report=_report,
    )


def _generate(loaded: "LoadedModel", given: argparse.Namespace) -> generating.Comparison:
    from phi2demo.engine.local import LocalEngine

    batches = generating.make_batches()
    return generating.compare(loaded, LocalEngine(loaded), batches, repeats=given.repeats, report=_report)


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser(command: str) -> shared.Parser:
    described = "; ".join(f"{comparison}: {what}" for comparison, what in COMPARISONS.items())
    parser = shared.Parser(command, description=f"Both sides in one run, timed. {described}.")
    parser.add_argument("comparison", choices=COMPARISONS)
    parser.add_argument("--json", action="store_true", help="one object with all numbers")
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="the median counts; default: 1")
    parser.add_argument("--threads", type=int, metavar="N", help="of the CPU; default: as torch has it")
    parser.add_argument("--max-evals", type=int, default=500, metavar="N", help="explain: masked texts; default: 500")
    parser.add_argument(
        "--texts", type=int, default=len(EXAMPLES), metavar="N", help="explain: the first, shorter ones"
    )
    parser.add_argument("--shape", choices=SHAPES, help="explain: random weights of this shape instead of a model")
    shared.add_model_arguments(parser)
    return parser


def _load(given: argparse.Namespace) -> "LoadedModel":
    """In float32 unless another format is asked for: in a narrower one the two sides round differently."""
    settings = shared.model_settings(given)
    dtype = "float32" if settings.dtype == "auto" else settings.dtype
    if given.shape:
        from phi2demo.engine.devices import Placement, choose_device

        return make_random(given.shape, Placement(choose_device(settings.device), dtype))
    from phi2demo.engine.loading import load
    from phi2demo.engine.planning import plan

    return load(plan(replace(settings, dtype=dtype)))


def _table(result: Comparison) -> str:
    machine = result.machine
    where = f"{machine['device']}, {machine['threads']} threads, {machine['dtype']}"
    match result:
        case explaining.Comparison():
            lines = _explain_table(result)
        case _:
            lines = _generate_table(result)
    return "\n".join([*lines, where])


def _explain_table(result: explaining.Comparison) -> list[str]:
    lines = [f"{'':6}{'seconds':>10}{'times faster':>14}{'off by':>10}", f"{'stock':6}{result.baseline_seconds:>10.1f}"]
    rows = (("exact", result.ours_seconds, result.ratio, result.max_difference),)
    lines += [f"{name:6}{seconds:>10.1f}{ratio:>14.1f}{off:>10.1e}" for name, seconds, ratio, off in rows]
    return [*lines, f"{len(result.texts)} texts, {result.max_evals} masked texts each, {result.model}"]


def _generate_table(result: generating.Comparison) -> list[str]:
    lines = [f"{'':24}{'theirs s':>10}{'ours s':>8}{'times faster':>14}{'tokens/s':>10}{'same':>8}"]
    lines += [
        f"{each.name:24}{each.baseline_seconds:>10.2f}{each.ours_seconds:>8.2f}{each.ratio:>14.1f}"
        f"{each.tokens_per_s:>10.0f}{f'{each.same}/{each.rows}':>8}"
        for each in result.batches
    ]
    all_of = f"{'all':24}{result.baseline_seconds:>10.2f}{result.ours_seconds:>8.2f}{result.ratio:>14.1f}"
    return [*lines, all_of, result.model]
