"""curve: what more training brought, by reports of models that were trained more and less."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from phi2demo.commands import arguments as shared
from phi2demo.commands.items import open_output
from phi2demo.errors import SettingsError


def main(command: str, argv: Sequence[str]) -> int:
    """Print the tables, and draw them where asked; returns 0."""
    from phi2demo.cards.learning_picture import draw_learning
    from phi2demo.evaluation.learning_curve import learning_curves
    from phi2demo.evaluation.learning_words import to_markdown
    from phi2demo.evaluation.results import load_report

    given = _parser(command).parse_args(argv)
    told = learning_curves([load_report(Path(path)) for path in given.reports], targets=dict(given.target))
    if given.picture:
        with open_output(given.picture) as output:
            output.write(draw_learning(told, title="Learning curves"))
    print(to_markdown(told))
    return 0


def add_target_argument(parser: argparse.ArgumentParser) -> None:
    """Scores to reach."""
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        type=_target,
        metavar="MEASURE:METRIC=SCORE",
        help="drawn into its learning curve, with the training that it would take, as translation.tatoeba.en-de:bleu=45; "
        "may be repeated",
    )


def _target(text: str) -> tuple[tuple[str, str], float]:
    name, _, score = text.rpartition("=")
    measure, _, metric = name.rpartition(":")
    try:
        if not measure or not metric or not math.isfinite(float(score)):
            raise ValueError
        return (measure, metric), float(score)
    except ValueError:
        raise SettingsError(
            f"--target {text}: give MEASURE:METRIC=SCORE, as translation.tatoeba.en-de:bleu=45."
        ) from None


def _parser(command: str) -> argparse.ArgumentParser:
    parser = shared.Parser(
        command,
        description="Scores of several models against how much they were trained, as checkpoints, smaller bases or "
        "earlier adapters: what ten times as much brought, and how much more a target would take.",
    )
    parser.add_argument(
        "reports", nargs="+", metavar="REPORT", help="report.json of evaluate, one or more for each model"
    )
    add_target_argument(parser)
    parser.add_argument("--picture", metavar="FILE", help="SVG")
    return parser
