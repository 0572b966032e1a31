"""The evaluate command: compares the finetuned model with its base on a folder of data."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from phi2demo.commands import arguments as shared
from phi2demo.commands.ask import LoadEngine, load_local
from phi2demo.engine.planning import plan
from phi2demo.errors import SettingsError
from phi2demo.settings import SHIPPED_SET, launch_from

if TYPE_CHECKING:
    from phi2demo.evaluation.hub_data import HubData
    from phi2demo.evaluation.report import Report


def main(command: str, argv: Sequence[str], *, load_engine: LoadEngine = load_local) -> int:
    """Evaluate, and return 0. A command that was killed continues when it is repeated."""
    from phi2demo.evaluation.environment import hash_weights
    from phi2demo.evaluation.hub_data import fetch
    from phi2demo.evaluation.processes import joined
    from phi2demo.evaluation.run import EvaluationSettings, assist, evaluate

    parser = _parser(command)
    options = parser.parse_args(argv)
    settings = EvaluationSettings(
        data=Path(options.data) if options.data else SHIPPED_SET,
        output=Path(options.output),
        split=options.split,
        limit=options.limit,
        test_sets=options.test_sets,
        tasks=options.tasks,
        systems=options.systems,
        batch_size=options.batch_size,
        seed=options.seed,
        resamples=options.resamples,
        baselines=options.baselines,
        contamination=options.contamination,
    )
    hub_data = _hub_data(options)
    model = shared.model_settings(options)
    model_plan = plan(model)
    with joined(launch_from()) as processes:
        if hub_data is not None:
            folder = settings.output / "data"
            if processes.first:
                fetch(hub_data, folder, token=model.token)
            processes.wait()
            settings = replace(settings, data=folder, hub=fetch(hub_data, folder))
        engine = load_engine(model)
        if not processes.first:
            assist(engine, settings, processes=processes)
            return 0
        weights = hash_weights((model_plan.base_folder, model_plan.adapter_folder))
        report = evaluate(engine, settings, weights=weights, processes=processes)
    print(report.to_json().rstrip() if options.json else _tables(report, slices=options.slices))
    print(f"saved in {settings.output}", file=sys.stderr)
    return 0


def _tables(report: "Report", *, slices: bool) -> str:
    """Write the tables of all figures, and of the items that may have been seen before."""
    from phi2demo.evaluation.tables import contamination_to_markdown, results_to_markdown

    tables = results_to_markdown(report.test_sets, slices=slices), contamination_to_markdown(report.test_sets)
    return "\n\n".join(filter(None, tables))


def _hub_data(options: argparse.Namespace) -> "HubData | None":
    """Read the --hub options where --data is no folder; SettingsError where it is no id of the hub either."""
    from phi2demo.evaluation.hub_data import HubData, is_hub_id

    if options.data is None or Path(options.data).is_dir():
        for name in ("hub_config", "hub_split", "hub_columns"):
            if getattr(options, name):
                raise SettingsError(
                    f"{shared.option(name)} is for a data set of the hub, and --data names none. Give its id with --data, "
                    f"such as owner/name, or leave {shared.option(name)} out."
                )
        return None
    if not is_hub_id(options.data):
        raise SettingsError(
            f"--data {options.data} is no folder; give one that holds JSON-lines files, or the hub's id of a data set, as "
            "owner/name."
        )
    columns = dict(pair.split("=", 1) for pair in options.hub_columns if "=" in pair)
    if len(columns) < len(options.hub_columns):
        raise SettingsError("--hub-columns takes field=column,field=column.")
    return HubData(options.data, options.hub_split or options.split, options.hub_config, columns, options.limit)


def _parser(command: str) -> shared.Parser:
    from phi2demo.data.test_sets import EvaluationSplit
    from phi2demo.evaluation.outputs import SYSTEMS
    from phi2demo.evaluation.run import BATCH_SIZE
    from phi2demo.evaluation.statistics import RESAMPLES, SEED

    parser = shared.Parser(
        command, description="Evaluate the finetuned model against its base on a folder of JSON-lines files."
    )
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help="files as those of pretrain and finetune, or the hub's owner/name of a data set; "
        "default: the set that the project ships",
    )
    parser.add_argument("--hub-config", metavar="NAME", help="of a data set of the hub")
    parser.add_argument("--hub-split", metavar="NAME", help="the same; default: as --split")
    parser.add_argument(
        "--hub-columns", type=_names, default=(), metavar="FIELD=COLUMN,...", help="where names do not say what is what"
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="for report.json and every answer")
    parser.add_argument("--split", choices=get_args(EvaluationSplit), default="test", help="default: test")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N rows of each set")
    parser.add_argument(
        "--test-sets", type=_names, default=(), metavar="NAME,NAME", help="such as translation.tatoeba.en-de"
    )
    parser.add_argument("--tasks", type=_names, default=(), metavar="NAME,NAME", help="such as translation,prose")
    parser.add_argument("--systems", type=_names, default=SYSTEMS, metavar="NAME,NAME", help=f"of {', '.join(SYSTEMS)}")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, metavar="N", help=f"default: {BATCH_SIZE}")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help=f"default: {SEED}, sacrebleu's")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, metavar="N", help=f"default: {RESAMPLES}")
    parser.add_argument(
        "--no-baselines", dest="baselines", action="store_false", help="leave out the first sentences of documents"
    )
    parser.add_argument(
        "--no-contamination",
        dest="contamination",
        action="store_false",
        help="do not look the items up in the folder's training and validation files",
    )
    parser.add_argument(
        "--slices", action="store_true", help="also a table by length, genre, complexity, contamination, confidence"
    )
    parser.add_argument("--json", action="store_true", help="the report instead of its table")
    shared.add_model_arguments(parser)
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
