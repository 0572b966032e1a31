"""pretrain and finetune: each field of their settings is an argument."""

import argparse
import ast
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from phi2demo.commands import arguments as shared
from phi2demo.errors import SettingsError


def main(command: str, argv: Sequence[str]) -> int:
    """Train; returns 0. Repeating the command after a kill goes on from the last checkpoint."""
    if command == "pretrain":
        from phi2demo.training.pretrain import PretrainSettings, pretrain

        folder = pretrain(PretrainSettings(**_parse(command, argv, PretrainSettings, pretrain.__doc__)))
    else:
        from phi2demo.training.finetune import finetune
        from phi2demo.training.settings import FinetuneSettings

        folder = finetune(FinetuneSettings(**_parse(command, argv, FinetuneSettings, finetune.__doc__)))
    print(f"saved in {folder}", file=sys.stderr)
    return 0


def _parse(command: str, argv: Sequence[str], settings: type, description: str | None) -> dict[str, Any]:
    """The fields that were given."""
    parser = shared.Parser(command, description=description, argument_default=argparse.SUPPRESS)
    hints, help_texts = get_type_hints(settings), _docstrings(settings)
    for field in fields(settings):
        _add(parser, field, hints[field.name], help_texts.get(field.name, ""))
    given = vars(parser.parse_args(argv))
    return {name: dict(value) if name == "mix" else value for name, value in given.items()}


def _add(parser: argparse.ArgumentParser, field: Field[Any], hint: Any, help_text: str) -> None:
    """One argument, by the type of its field."""
    names = (shared.option(field.name),)
    default = "" if field.default in (MISSING, None) else f" (default: {_shown(field.default)})"
    text = f"{help_text}{default}".replace("%", "%%").strip()
    if hint is bool:
        parser.add_argument(*names, action=argparse.BooleanOptionalAction, help=text)
    elif get_origin(hint) is Literal:
        parser.add_argument(*names, choices=get_args(hint), help=text)
    elif isinstance(field.default_factory, type) and issubclass(field.default_factory, Mapping):
        parser.add_argument(
            *names, action="append", type=_weight, metavar="NAME=WEIGHT", help=f"{text} May be repeated."
        )
    elif get_origin(hint) is tuple:
        parser.add_argument(*names, type=_names, metavar="NAME,NAME", help=text)
    else:
        required = field.default is MISSING and field.default_factory is MISSING
        parser.add_argument(
            *names, type=_plain(hint), required=required, metavar=_plain(hint).__name__.upper(), help=text
        )


def _plain(hint: Any) -> type:
    """The type in `type | None`."""
    choices = get_args(hint) if get_origin(hint) is UnionType else (hint,)
    (plain,) = (choice for choice in choices if choice is not NoneType)
    assert isinstance(plain, type)
    return plain


def _weight(text: str) -> tuple[str, float]:
    name, _, weight = text.partition("=")
    try:
        return name, float(weight)
    except ValueError:
        raise SettingsError(f"--mix {text}: give NAME=WEIGHT, as translation=2.") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return Path(default).name if isinstance(default, str) and Path(default).is_absolute() else str(default)


def _docstrings(settings: type) -> dict[str, str]:
    """The docstrings under the fields of a dataclass, from its source."""
    (definition,) = ast.parse(inspect.getsource(settings)).body
    assert isinstance(definition, ast.ClassDef)
    found, last = {}, ""
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            last = node.target.id
        elif last and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found[last] = str(node.value.value)
        else:
            last = ""
    return found
