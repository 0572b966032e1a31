"""benchmark: compare speed or memory with other software, both sides in one run."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from phi2demo.benchmark.setup import SHAPES, Comparison, check_count, limit_threads, load_peer, save_random
from phi2demo.commands import arguments as shared
from phi2demo.errors import SettingsError
from phi2demo.settings import ModelSettings

BENCHMARKS = {
    "decode": "tokens per second of one text, and the time to its first token, against transformers and PEFT",
    "batch": "tokens per second of sixteen texts together, against transformers and PEFT",
    "explain": "seconds of explanations with the same values, against stock shap",
    "startup": "seconds until the page and the first answer, against a start with --engine transformers",
    "memory": "resident memory over many mixed requests, against transformers and PEFT",
}
TEXTS = 6
"""Most texts that `explain` explains."""


def main(command: str, argv: Sequence[str]) -> int:
    """Run a benchmark; return 0. A line for each step goes to standard error."""
    args = _parser(command).parse_args(argv)
    settings = shared.model_settings(args)
    _check(args, settings)
    if args.threads is not None:
        limit_threads(args.threads)
    with TemporaryDirectory() as folder:
        if args.random_weights or args.shape:
            made = save_random(args.shape or "phi-2", Path(folder), layers=args.layers)
            settings = replace(settings, model=made.model, adapter=made.adapter, cache=made.cache)
        result = _measure(args, settings)
    print(json.dumps(result.as_dict(), ensure_ascii=False, indent=2) if args.json else _table(result))
    return 0


def _check(args: argparse.Namespace, settings: ModelSettings) -> None:
    if not 1 <= args.texts <= TEXTS:
        raise SettingsError(f"--texts {args.texts}: give a number from 1 to {TEXTS}.")
    is_random = args.random_weights or args.shape is not None
    if is_random and (args.model or args.adapter):
        raise SettingsError("--random-weights are a model of their own: leave --model and --adapter out.")
    if is_random and args.benchmark == "startup":
        raise SettingsError("startup starts the app as it is: leave --random-weights and --shape out.")
    if args.layers is not None:
        check_count("--layers", args.layers)
        if not is_random:
            raise SettingsError("--layers is for --random-weights; give that too.")
    if args.threads is not None and (settings.engine == "onnx" or args.benchmark in ("startup", "memory")):
        raise SettingsError("--threads limits transformers in this process, and nothing else: leave it out here.")


def _measure(args: argparse.Namespace, settings: ModelSettings) -> Comparison:
    """Run one benchmark, and import only that."""
    if args.benchmark == "startup":
        return _startup(settings, args.repeats)
    # narrower formats round differently on both sides, and ONNX Runtime has no other device here
    settings = replace(
        settings,
        dtype="float32" if settings.dtype == "auto" else settings.dtype,
        device="cpu" if settings.engine == "onnx" else settings.device,
    )
    if args.benchmark == "memory":
        from phi2demo.benchmark import memory

        return memory.compare(settings, requests=args.requests, report=_report)
    from phi2demo.engine.planning import plan
    from phi2demo.engine.process import load_engine

    loaded, engine = load_peer(settings), load_engine(plan(settings))
    if args.benchmark == "explain":
        from phi2demo.benchmark import explaining

        examples = explaining.EXAMPLES[: args.texts]
        return explaining.compare(
            loaded, engine, examples, max_evals=args.max_evals, repeats=args.repeats, report=_report
        )
    from phi2demo.benchmark import generating

    batches = generating.make_batches(args.benchmark)
    return generating.compare(loaded, engine, batches, repeats=args.repeats, report=_report)


def _startup(settings: ModelSettings, repeats: int) -> Comparison:
    from phi2demo.benchmark import startup
    from phi2demo.engine.planning import plan
    from phi2demo.tasks import TASKS
    from phi2demo.tasks.declared import read_adapter_tasks

    planned = plan(settings)
    tasks = read_adapter_tasks(planned.adapter_folder, planned.base_folder).tasks
    task = next((name for name in ("generation", "summarization", "sentiment") if name in tasks), None)
    if task is None:
        raise SettingsError("startup asks for a text, a summary or a label, which this model was not finetuned for.")
    by_transformers = shared.model_options(settings.by_transformers())
    return startup.compare(
        shared.model_options(settings),
        None if settings.engine == "transformers" else by_transformers,
        TASKS[task].command,
        repeats=repeats,
        report=_report,
    )


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser(command: str) -> shared.Parser:
    described = " ".join(f"{benchmark}: {what}." for benchmark, what in BENCHMARKS.items())
    parser = shared.Parser(command, description=f"Measure both sides in one run. {described}")
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument("--json", action="store_true", help="one object with all numbers")
    parser.add_argument(
        "--repeats",
        type=int,
        default=1,
        metavar="N",
        help="times to measure each side, of which the median is reported; default: 1",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of transformers; default: its own choice")
    parser.add_argument("--max-evals", type=int, default=500, metavar="N", help="explain: masked texts; default: 500")
    parser.add_argument(
        "--texts", type=int, default=TEXTS, metavar="N", help="explain: only the first N texts, which are shorter"
    )
    parser.add_argument("--requests", type=int, default=300, metavar="N", help="memory: requests; default: 300")
    group = parser.add_argument_group("random weights", "Instead of a model; not for startup.")
    group.add_argument("--random-weights", action="store_true", help="make a model of the shape of Phi-2")
    group.add_argument("--shape", choices=SHAPES, help="make one of this shape")
    group.add_argument("--layers", type=int, metavar="N", help="with so many layers; default: those of the shape")
    shared.add_model_arguments(parser)
    return parser


def _table(result: Comparison) -> str:
    machine = result.machine
    lines = [
        *result.table(),
        f"{result.model} by {result.engine}",
        f"{machine['device']}, {machine['threads']} threads",
    ]
    return "\n".join(lines)
