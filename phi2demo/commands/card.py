"""The card command, which writes a model's card from what was measured, and the samples command, for its generations."""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from phi2demo.commands import arguments as shared
from phi2demo.commands.ask import LoadEngine, load_local
from phi2demo.commands.items import open_output
from phi2demo.errors import SettingsError

if TYPE_CHECKING:
    from phi2demo.cards.facts import Author
    from phi2demo.emissions.footprint import Hardware


def main(command: str, argv: Sequence[str], *, load_engine: LoadEngine = load_local) -> int:
    """Run `write_card` or `write_samples`, and return 0."""
    return write_card(argv) if command == "card" else write_samples(argv, load_engine)


def write_card(argv: Sequence[str]) -> int:
    """Write README.md, its pictures and the training record into a folder."""
    from phi2demo.cards.card import make_card
    from phi2demo.cards.gather import Inputs, gather
    from phi2demo.emissions.footprint import check_region
    from phi2demo.training.record import write_record

    options = _card_parser().parse_args(argv)
    if options.model is None and options.adapter is None:
        raise SettingsError("Give --model FOLDER for the card of a base, --adapter FOLDER for that of an adapter.")
    inputs = Inputs(
        model=shared.model_settings(options, {}),
        name=options.name,
        reports=tuple(map(Path, options.report)),
        audit=_path(options.audit),
        ablations=tuple(map(Path, options.ablation)),
        samples=_path(options.samples),
        failures=_path(options.failures),
        region=check_region(options.region) if options.region else None,
        license=options.license,
        hardware=_hardware(options.hardware),
        author=_author(options),
    )
    facts = gather(inputs)
    card = make_card(facts)
    folder = Path(options.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in {**card.pictures, "README.md": card.text}.items():
            (folder / name).write_text(text, encoding="utf-8")
        if facts.record:
            write_record(folder, facts.record)
    except OSError as error:
        raise SettingsError(
            f"Nothing can be written into --output {folder} ({error.strerror}). Give a folder that can be written into."
        ) from error
    print(folder / "README.md")
    return 0


def write_samples(argv: Sequence[str], load_engine: LoadEngine) -> int:
    """Continue each prompt, with the seeds 0, 1, 2, ..., and write a JSON line for each."""
    from phi2demo.cards.examples import PROMPTS, make_samples, read_prompts
    from phi2demo.tasks.declared import read_adapter_tasks

    parser = shared.Parser("samples", description="Sample generations for a card, with seeds; all of them are written.")
    parser.add_argument("--prompts", metavar="FILE", default=PROMPTS, help="JSON lines with prompt; default: twenty")
    parser.add_argument("--output", metavar="FILE", help="JSON lines; default: standard output")
    shared.add_model_arguments(parser)
    options = parser.parse_args(argv)
    prompts = read_prompts(Path(options.prompts))
    engine = load_engine(shared.model_settings(options))
    with open_output(options.output) as output:
        for sample in make_samples(engine, prompts, read_adapter_tasks(engine.info.adapter_folder)):
            print(sample.to_json(), file=output)
    return 0


def _card_parser() -> argparse.ArgumentParser:
    from phi2demo.cards.facts import AUTHOR

    parser = shared.Parser("card", description="Write the card of an adapter, or of a base, from what was measured.")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="for README.md, its pictures and the record")
    parser.add_argument("--name", help="what the snippet loads; default: hub id, path in the repository or folder name")
    parser.add_argument(
        "--report", action="append", default=[], metavar="FILE", help="report.json of evaluate; may be repeated"
    )
    parser.add_argument("--audit", metavar="FILE", help="audit.json of the audit command")
    parser.add_argument(
        "--ablation",
        metavar="FILE",
        action="append",
        default=[],
        help="JSON list of objects, a row each; may be repeated",
    )
    parser.add_argument("--samples", metavar="FILE", help="JSON lines of the samples command")
    parser.add_argument(
        "--failures",
        metavar="FILE",
        help="JSON lines with input, output, reference and note; or the folder of items that a report is on and that "
        "are free to show: the worst answers to them",
    )
    parser.add_argument("--region", help="whose electricity was used; default: as recorded")
    parser.add_argument(
        "--hardware", metavar="NAME:CORES:GB", help="of runs that did not record theirs, as CPU model:cores:memory"
    )
    parser.add_argument("--license", metavar="ID", help="of the hub; default: share-alike where a source asks for it")
    parser.add_argument("--author", default=AUTHOR, help=f'a person as "Family, Given"; default: {AUTHOR}')
    parser.add_argument("--contact", help="of the author")
    shared.add_model_arguments(parser)
    return parser


def _author(options: argparse.Namespace) -> "Author":
    from phi2demo.cards.facts import Author

    year = datetime.now(UTC).year
    return Author(options.author, options.contact, year) if options.contact else Author(options.author, year=year)


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
        raise SettingsError(f"--hardware {text}: give NAME:CORES:GB, as AMD EPYC:3:4.") from None
