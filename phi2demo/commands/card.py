"""The commands `card`, which writes a model card, and `samples`, which generates the samples that a card shows."""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from phi2demo.commands import arguments as shared
from phi2demo.commands.ask import LoadEngine, load_local
from phi2demo.commands.input_output import open_output
from phi2demo.errors import SettingsError

if TYPE_CHECKING:
    from phi2demo.cards.facts import Author
    from phi2demo.emissions.footprint import Hardware


def main(command: str, argv: Sequence[str], *, load_engine: LoadEngine = load_local) -> int:
    """Run the command and return 0."""
    return write_card(argv) if command == "card" else write_samples(argv, load_engine)


def write_card(argv: Sequence[str]) -> int:
    """Write README.md, what belongs beside it and the training record into a folder; returns 0."""
    from phi2demo.cards.card import make_card
    from phi2demo.cards.gather import Inputs, gather
    from phi2demo.emissions.footprint import check_region
    from phi2demo.training.record import write_record

    arguments = _card_parser().parse_args(argv)
    if arguments.model is None and arguments.adapter is None:
        raise SettingsError(
            "Give --model FOLDER for the card of a base model, or --adapter FOLDER for the card of an adapter."
        )
    inputs = Inputs(
        model=shared.model_settings(arguments, {}),
        name=arguments.name,
        reports=tuple(map(Path, arguments.report)),
        audit=_path(arguments.audit),
        ablations=tuple(map(Path, arguments.ablation)),
        samples=_path(arguments.samples),
        failures=_path(arguments.failures),
        region=check_region(arguments.region) if arguments.region else None,
        license=arguments.license,
        hardware=_hardware(arguments.hardware),
        author=_author(arguments),
    )
    facts = gather(inputs)
    card = make_card(facts)
    folder = Path(arguments.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in {**card.pictures, **card.pages, "README.md": card.text}.items():
            (folder / name).write_text(text, encoding="utf-8")
        if facts.record:
            write_record(folder, facts.record)
    except OSError as error:
        raise SettingsError(
            f"--output {folder} cannot be written into ({error.strerror}). Give a folder with write access."
        ) from error
    print(folder / "README.md")
    return 0


def write_samples(argv: Sequence[str], load_engine: LoadEngine) -> int:
    """Continue each prompt, with the seeds 0, 1, 2, ..., and write a JSON line for each; returns 0."""
    from phi2demo.cards.examples import PROMPTS, make_samples, read_prompts
    from phi2demo.tasks.declared import read_variant_tasks

    parser = shared.Parser("samples", description="Generate one sample for each prompt, for a model card.")
    parser.add_argument(
        "--prompts", metavar="FILE", default=PROMPTS, help="JSON lines with a prompt; default: twenty prompts"
    )
    parser.add_argument("--output", metavar="FILE", help="file for JSON lines; default: standard output")
    shared.add_model_arguments(parser)
    arguments = parser.parse_args(argv)
    prompts = read_prompts(Path(arguments.prompts))
    engine = load_engine(shared.model_settings(arguments))
    with open_output(arguments.output) as output:
        for sample in make_samples(engine, prompts, read_variant_tasks(engine.info).first):
            print(sample.to_json(), file=output)
    return 0


def _card_parser() -> argparse.ArgumentParser:
    from phi2demo.cards.facts import AUTHOR

    parser = shared.Parser(
        "card", description="Write the model card of an adapter or a base from its records and reports."
    )
    parser.add_argument(
        "--output", required=True, metavar="FOLDER", help="folder for README.md, its pictures and the record"
    )
    parser.add_argument(
        "--name", help="name that the code example loads; default: hub id, path in the repository or folder name"
    )
    parser.add_argument(
        "--report", action="append", default=[], metavar="FILE", help="report.json of evaluate; may be repeated"
    )
    parser.add_argument("--audit", metavar="FILE", help="audit.json of the audit command")
    parser.add_argument(
        "--ablation",
        metavar="FILE",
        action="append",
        default=[],
        help="JSON list with an object for each table row; may be repeated",
    )
    parser.add_argument("--samples", metavar="FILE", help="JSON lines of the samples command")
    parser.add_argument(
        "--failures",
        metavar="FILE",
        help="JSON lines with input, output, reference and note; or a folder of evaluated items that may be published, "
        "of which the worst answers are shown",
    )
    parser.add_argument("--region", help="region of the electricity that was used; default: as recorded")
    parser.add_argument(
        "--hardware", metavar="NAME:CORES:GB", help="hardware of runs that did not record it, as CPU model:cores:memory"
    )
    parser.add_argument(
        "--license", metavar="ID", help="license id of the hub; default: share-alike where a source requires it"
    )
    parser.add_argument("--author", default=AUTHOR, help=f'author, a person as "Family, Given"; default: {AUTHOR}')
    parser.add_argument("--contact", help="how to reach the author")
    shared.add_model_arguments(parser)
    return parser


def _author(arguments: argparse.Namespace) -> "Author":
    from phi2demo.cards.facts import Author

    year = datetime.now(UTC).year
    return (
        Author(arguments.author, arguments.contact, year) if arguments.contact else Author(arguments.author, year=year)
    )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _hardware(text: str | None) -> "Hardware | None":
    from phi2demo.emissions.footprint import Hardware

    if text is None:
        return None
    try:
        name, cores, memory_gb = text.rsplit(":", 2)
        return Hardware(name, int(cores), float(memory_gb))
    except ValueError:
        raise SettingsError(f"--hardware {text}: give NAME:CORES:GB, such as AMD EPYC:3:4.") from None
