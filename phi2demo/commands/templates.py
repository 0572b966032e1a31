"""The command `templates`: shows one text through each prompt template, and declares one of them in the adapter's folder."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import indent

from phi2demo.commands import arguments as shared
from phi2demo.commands.ask import LoadEngine, load_local
from phi2demo.commands.input_output import PIPE, read_text
from phi2demo.data.files import write_atomically
from phi2demo.engine.engine import Engine, ModelInfo
from phi2demo.errors import SettingsError
from phi2demo.settings import ModelSettings
from phi2demo.tasks.declared import FILE
from phi2demo.tasks.result import Result
from phi2demo.tasks.task import CheckedRequest
from phi2demo.tasks.template_view import (
    TRIAL_TOKENS,
    assistant_with,
    declare_template,
    templates_to_try,
    title_of,
    trial_request,
)
from phi2demo.tasks.templates import Template, make_template, missing_tokens


@dataclass(frozen=True)
class Trial:
    """The answer to the text through one template."""

    template: Template
    result: Result
    warning: str
    """Says which special tokens the tokenizer lacks; empty where it has all."""

    def as_dict(self) -> dict[str, str]:
        """Return the trial as JSON values; `reason` is there for the template in force."""
        named = {"template": self.template.given, "prompt": self.result.receipt.prompt, "answer": self.result.text}
        optional = {"reason": self.template.reason, "warning": self.warning}
        return named | {name: value for name, value in optional.items() if value}

    def as_text(self) -> str:
        """Return the trial for a terminal: prompt and answer below the name."""
        reason = f" (in force: {self.template.reason})" if self.template.reason else ""
        warning = f"\n  warning: {self.warning}" if self.warning else ""
        prompt = "\n".join(f"  | {line}".rstrip() for line in self.result.receipt.prompt.split("\n"))
        answer = indent(self.result.text or "(the model ended at once)", "  ")
        return f"{title_of(self.template)}, --template {self.template.given}{reason}{warning}\n{prompt}\n\n{answer}\n"


def main(command: str, argv: Sequence[str], *, load_engine: LoadEngine = load_local) -> int:
    """Show the text through each template, then declare the one of --save; returns 0."""
    arguments = _parser().parse_args(argv)
    settings = shared.model_settings(arguments)
    if arguments.save and settings.template is None:
        settings = replace(settings, system=None)  # it belongs to the template that is saved
    target = _target(arguments, settings) if arguments.save else None
    text = read_text(PIPE) if arguments.text == PIPE else arguments.text
    engine = load_engine(settings)
    declare = _declaration(arguments, engine.info, target) if target else None
    checked = trial_request(text, engine.info, max_new_tokens=arguments.max_new_tokens)
    trials = []
    for template in templates_to_try(engine.info):
        trials.append(_try(engine, checked, template))
        if not arguments.json:
            print(trials[-1].as_text(), flush=True)
    if arguments.json:
        print(json.dumps([trial.as_dict() for trial in trials], ensure_ascii=False, indent=2))
    if declare:
        declare()
    return 0


def _try(engine: Engine, checked: CheckedRequest, template: Template) -> Trial:
    (result,) = assistant_with(engine, template).answer(checked)
    return Trial(template, result, missing_tokens(template, engine.info.special_tokens))


def _target(arguments: Namespace, settings: ModelSettings) -> Path:
    """Return the tasks.json in the adapter's folder; SettingsError where the adapter has no folder here."""
    if settings.adapter is None:
        raise SettingsError(
            f"--save {arguments.save} writes {FILE} into an adapter's folder; give the folder with --adapter."
        )
    folder = Path(settings.adapter)
    if not folder.is_dir():
        raise SettingsError(
            f"--save {arguments.save}: {settings.adapter} is not a folder here, and files on the hub are not changed. "
            f"Start with --template {arguments.save}, or download the adapter and give its folder."
        )
    return folder / FILE


def _declaration(arguments: Namespace, info: ModelInfo, target: Path) -> Callable[[], None]:
    """Return what writes tasks.json; everything that can be checked before the trial is checked here."""
    template = make_template(arguments.save, arguments.system, info.chat)
    try:
        before = target.read_text(encoding="utf-8") if target.is_file() else ""
        content = declare_template(before, template.given, template.system)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{target} cannot be read ({error}). Correct it, or remove it.") from error

    def write() -> None:
        try:
            write_atomically(target, content)
        except OSError as error:
            raise SettingsError(
                f"{target} cannot be written ({error.strerror}). Make its folder writable, or start with "
                f"--template {arguments.save}."
            ) from error
        print(f"{target} now says that the template is {template.given}.", file=sys.stderr)

    return write


def _parser() -> shared.Parser:
    parser = shared.Parser(
        "templates",
        description="Show one text through each prompt template, with the finetuned model's answers: which looks as trained?",
    )
    parser.add_argument("text", metavar="TEXT", help="what the model is asked; - reads standard input")
    parser.add_argument("--save", metavar="NAME", help=f"write this template into {FILE} in the adapter's folder")
    parser.add_argument("--json", action="store_true", help="write a JSON list")
    parser.add_argument(
        "--max-new-tokens", type=int, default=TRIAL_TOKENS, metavar="N", help=f"default: {TRIAL_TOKENS}"
    )
    shared.add_model_arguments(parser)
    return parser
