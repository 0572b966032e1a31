"""evaluate: measure finetuned against base on a folder of data."""

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
    """Evaluate; returns 0. Repeating the command after a kill goes on where it was."""
    from phi2demo.evaluation.environment import hash_weights
    from phi2demo.evaluation.hub_data import fetch
    from phi2demo.evaluation.processes import joined
    from phi2demo.evaluation.run import EvaluationSettings, assist, evaluate

    parser = _parser(command)
    given = parser.parse_args(argv)
    settings = EvaluationSettings(
        data=Path(given.data) if given.data else SHIPPED_SET,
        output=Path(given.output),
        split=given.split,
        limit=given.limit,
        test_sets=given.test_sets,
        tasks=given.tasks,
        systems=given.systems,
        batch_size=given.batch_size,
        seed=given.seed,
        resamples=given.resamples,
        baselines=given.baselines,
        contamination=given.contamination,
    )
    wanted = _hub_data(given)
    model = shared.model_settings(given)
    found = plan(model)
    with joined(launch_from()) as processes:
        if wanted is not None:
            folder = settings.output / "data"
            if processes.first:
                fetch(wanted, folder, token=model.token)
            processes.wait()
            settings = replace(settings, data=folder, hub=fetch(wanted, folder))
        engine = load_engine(model)
        if not processes.first:
            assist(engine, settings, processes=processes)
            return 0
        weights = hash_weights((found.base_folder, found.adapter_folder))
        report = evaluate(engine, settings, weights=weights, processes=processes)
    print(report.to_json().rstrip() if given.json else _tables(report, slices=given.slices))
    print(f"saved in {settings.output}", file=sys.stderr)
    return 0


def _tables(report: "Report", *, slices: bool) -> str:
    """Every figure, and which items may have been seen before."""
    from phi2demo.evaluation.tables import contamination_to_markdown, results_to_markdown

    tables = results_to_markdown(report.test_sets, slices=slices), contamination_to_markdown(report.test_sets)
    return "\n\n".join(filter(None, tables))


def _hub_data(given: argparse.Namespace) -> "HubData | None":
    """What --data means where it is no folder; SettingsError where it is no id of the hub either."""
    from phi2demo.evaluation.hub_data import HubData, is_hub_id

    if given.data is None or Path(given.data).is_dir():
        for name in ("hub_config", "hub_split", "hub_columns"):
            if getattr(given, name):
                raise SettingsError(
                    f"{shared.option(name)} is for a data set of the hub, and --data names none. Give its id with --data, "
                    f"as owner/name, or leave {shared.option(name)} out."
                )
        return None
    if not is_hub_id(given.data):
        raise SettingsError(
            f"--data {given.data} is no folder; give one that holds JSON-lines files, or the hub's id of a data set, as "
            "owner/name."
        )
    columns = dict(each.split("=", 1) for each in given.hub_columns if "=" in each)
    if len(columns) < len(given.hub_columns):
        raise SettingsError("--hub-columns takes field=column,field=column.")
    return HubData(given.data, given.hub_split or given.split, given.hub_config, columns, given.limit)


def _parser(command: str) -> shared.Parser:
    from phi2demo.data.test_sets import EvaluationSplit
    from phi2demo.evaluation.run import BATCH_SIZE
    from phi2demo.evaluation.statistics import RESAMPLES, SEED
    from phi2demo.evaluation.systems import SYSTEMS

    parser = shared.Parser(command, description="Measure finetuned against base on a folder of JSON-lines files.")
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
        "--test-sets", type=_names, default=(), metavar="NAME,NAME", help="as translation.tatoeba.en-de"
    )
    parser.add_argument("--tasks", type=_names, default=(), metavar="NAME,NAME", help="as translation,prose")
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
