"""The command `audit`: repeatable probes for bias and safety."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from phi2demo.commands import arguments as shared
from phi2demo.commands.ask import LoadEngine, load_local
from phi2demo.engine.planning import plan
from phi2demo.settings import SHIPPED_SET


def main(command: str, argv: Sequence[str], *, load_engine: LoadEngine = load_local) -> int:
    """Run the audit and return 0. After an interruption, the same command resumes with the unfinished probe."""
    from phi2demo.audit.context import AuditSettings
    from phi2demo.audit.report import to_markdown
    from phi2demo.audit.run import REPORT, audit, check_probes
    from phi2demo.evaluation.environment import hash_weights

    arguments = _parser(command).parse_args(argv)
    settings = AuditSettings(
        output=Path(arguments.output),
        data=Path(arguments.data) if arguments.data else None,
        items=Path(arguments.items),
        probes=check_probes(arguments.probes),
        compare=Path(arguments.compare) if arguments.compare else None,
        quick=arguments.quick,
        seed=arguments.seed,
        resamples=arguments.resamples,
    )
    model = shared.model_settings(arguments)
    model_plan = plan(model)
    engine = load_engine(model)
    report = audit(engine, settings, weights=hash_weights((model_plan.base_folder, model_plan.adapter_folder)))
    print(json.dumps(report, ensure_ascii=False, indent=1) if arguments.json else to_markdown(report))
    print(f"saved in {settings.output / REPORT}", file=sys.stderr)
    return 0


def _parser(command: str) -> shared.Parser:
    from phi2demo.audit.run import PROBES
    from phi2demo.evaluation.statistics import RESAMPLES, SEED

    parser = shared.Parser(command, description="Test a model for bias, toxicity, memorization and robustness.")
    parser.add_argument(
        "--output", required=True, metavar="FOLDER", help="folder for audit.json; older reports are kept there"
    )
    parser.add_argument(
        "--data", metavar="FOLDER", help="training files, as for pretrain; needed to measure memorization"
    )
    parser.add_argument(
        "--items",
        metavar="FOLDER",
        default=SHIPPED_SET,
        help="reviews and translations for robustness; default: the shipped set",
    )
    parser.add_argument(
        "--probes",
        type=_names,
        default=(),
        metavar="NAME,NAME",
        help=f"some of {', '.join(PROBES)}; default: all",
    )
    parser.add_argument(
        "--compare", metavar="FILE", help="an older audit.json to compare with; default: the one in --output"
    )
    parser.add_argument("--quick", action="store_true", help="use about a fifth of the texts; intervals are wide")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help=f"default: {SEED}")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, metavar="N", help=f"default: {RESAMPLES}")
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead of tables")
    shared.add_model_arguments(parser)
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
