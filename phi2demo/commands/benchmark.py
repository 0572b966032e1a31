"""benchmark: compare speed with other software, both sides in one run."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from phi2demo.benchmark import explaining, generating
from phi2demo.benchmark.setup import SHAPES, describe_machine, limit_threads, make_random
from phi2demo.commands import arguments as shared
from phi2demo.errors import SettingsError

if TYPE_CHECKING:
    from phi2demo.engine.loading import LoadedModel

COMPARISONS = {
    "explain": "stock shap against the explanations here, with the same values",
    "generate": "transformers and PEFT against the engine here, with the same texts",
}

Comparison = explaining.Comparison | generating.Comparison


def main(command: str, argv: Sequence[str]) -> int:
    """Run a comparison; return 0. A line for each text or batch goes to standard error."""
    args = _parser(command).parse_args(argv)
    if not 1 <= args.texts <= len(explaining.EXAMPLES):
        raise SettingsError(f"--texts {args.texts}: give a number from 1 to {len(explaining.EXAMPLES)}.")
    if args.shape and (args.model or args.adapter):
        raise SettingsError("--shape makes random weights: leave --model and --adapter out.")
    if args.shape and args.comparison != "explain":
        raise SettingsError(
            f"--shape is for explain alone: random weights have no tokenizer to {args.comparison} with."
        )
    limit_threads(args.threads)
    result = _compare(_load(args), args)
    print(json.dumps(result.as_dict(), ensure_ascii=False, indent=2) if args.json else _table(result))
    return 0


def _compare(loaded: "LoadedModel", args: argparse.Namespace) -> Comparison:
    from phi2demo.engine.local import LocalEngine
    from phi2demo.engine.transformers_model import TransformersModel

    engine, repeats = LocalEngine(TransformersModel(loaded)), args.repeats
    result: Comparison
    if args.comparison == "explain":
        examples = explaining.EXAMPLES[: args.texts]
        result = explaining.compare(loaded, engine, examples, max_evals=args.max_evals, repeats=repeats, report=_report)
    else:
        result = generating.compare(loaded, engine, generating.make_batches(), repeats=repeats, report=_report)
    return replace(result, machine=describe_machine(loaded.info.device, loaded.info.dtype))


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser(command: str) -> shared.Parser:
    described = "; ".join(f"{comparison}: {sides}" for comparison, sides in COMPARISONS.items())
    parser = shared.Parser(command, description=f"Time both sides in one run. {described}.")
    parser.add_argument("comparison", choices=COMPARISONS)
    parser.add_argument("--json", action="store_true", help="one object with all numbers")
    parser.add_argument(
        "--repeats",
        type=int,
        default=1,
        metavar="N",
        help="times to measure each side, of which the median is reported; default: 1",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads; default: torch's own choice")
    parser.add_argument("--max-evals", type=int, default=500, metavar="N", help="explain: masked texts; default: 500")
    parser.add_argument(
        "--texts",
        type=int,
        default=len(explaining.EXAMPLES),
        metavar="N",
        help="explain: only the first N texts, which are shorter",
    )
    parser.add_argument("--shape", choices=SHAPES, help="explain: random weights of this shape instead of a model")
    shared.add_model_arguments(parser)
    return parser


def _load(args: argparse.Namespace) -> "LoadedModel":
    """Load in float32 unless another format is asked for: in a narrower one the two sides round differently."""
    settings = shared.model_settings(args)
    dtype = "float32" if settings.dtype == "auto" else settings.dtype
    if args.shape:
        from phi2demo.engine.devices import Placement, choose_device

        return make_random(args.shape, Placement(choose_device(settings.device), dtype))
    from phi2demo.engine.loading import load
    from phi2demo.engine.planning import plan

    return load(plan(replace(settings, dtype=dtype)))


def _table(result: Comparison) -> str:
    machine = result.machine
    lines = _explain_table(result) if isinstance(result, explaining.Comparison) else _generate_table(result)
    return "\n".join([*lines, f"{machine['device']}, {machine['threads']} threads, {machine['dtype']}"])


def _explain_table(result: explaining.Comparison) -> list[str]:
    return [
        f"{'':6}{'seconds':>10}{'times faster':>14}{'off by':>10}",
        f"{'stock':6}{result.baseline_seconds:>10.1f}",
        f"{'ours':6}{result.ours_seconds:>10.1f}{result.ratio:>14.1f}{result.max_difference:>10.1e}",
        f"{len(result.texts)} texts, {result.max_evals} masked texts each, {result.model}",
    ]


def _generate_table(result: generating.Comparison) -> list[str]:
    lines = [f"{'':24}{'theirs s':>10}{'ours s':>8}{'times faster':>14}{'tokens/s':>10}{'same':>8}"]
    lines += [
        f"{batch.name:24}{batch.baseline_seconds:>10.2f}{batch.ours_seconds:>8.2f}{batch.ratio:>14.1f}"
        f"{batch.tokens_per_s:>10.0f}{f'{batch.same}/{batch.rows}':>8}"
        for batch in result.batches
    ]
    total = f"{'all':24}{result.baseline_seconds:>10.2f}{result.ours_seconds:>8.2f}{result.ratio:>14.1f}"
    return [*lines, total, result.model]
