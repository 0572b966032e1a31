"""audit: bias and safety probes that can be repeated."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from phi2demo.commands import arguments as shared
from phi2demo.commands.ask import LoadEngine, load_local
from phi2demo.engine.planning import plan


def main(command: str, argv: Sequence[str], *, load_engine: LoadEngine = load_local) -> int:
    """Audit; returns 0. Repeating the command after a kill goes on with the probe that it was at."""
    from phi2demo.audit.context import AuditSettings
    from phi2demo.audit.report import to_markdown
    from phi2demo.audit.run import REPORT, audit, check_probes
    from phi2demo.evaluation.environment import hash_weights

    given = _parser(command).parse_args(argv)
    settings = AuditSettings(
        output=Path(given.output),
        data=Path(given.data) if given.data else None,
        items=Path(given.items),
        probes=check_probes(given.probes),
        compare=Path(given.compare) if given.compare else None,
        quick=given.quick,
        seed=given.seed,
        resamples=given.resamples,
    )
    model = shared.model_settings(given)
    found = plan(model)
    engine = load_engine(model)
    report = audit(engine, settings, weights=hash_weights((found.base_folder, found.adapter_folder)))
    print(json.dumps(report, ensure_ascii=False, indent=1) if given.json else to_markdown(report))
    print(f"saved in {settings.output / REPORT}", file=sys.stderr)
    return 0


def _parser(command: str) -> shared.Parser:
    from phi2demo.audit.context import SHIPPED_SET
    from phi2demo.audit.run import PROBES
    from phi2demo.evaluation.statistics import RESAMPLES, SEED

    parser = shared.Parser(command, description="Probe a model for bias, listed words, memorization and robustness.")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="for audit.json; older ones are kept there")
    parser.add_argument("--data", metavar="FOLDER", help="training files, as those of pretrain: for memorization")
    parser.add_argument(
        "--items", metavar="FOLDER", default=SHIPPED_SET, help="reviews and translations; default: the shipped set"
    )
    parser.add_argument("--probes", type=_names, default=(), metavar="NAME,NAME", help=f"of {', '.join(PROBES)}")
    parser.add_argument("--compare", metavar="FILE", help="an older audit.json; default: the one in --output")
    parser.add_argument("--quick", action="store_true", help="about a fifth of the texts, wide intervals")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help=f"default: {SEED}")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, metavar="N", help=f"default: {RESAMPLES}")
    parser.add_argument("--json", action="store_true", help="the report instead of its tables")
    shared.add_model_arguments(parser)
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
