"""The commands pretrain and finetune: each field of their settings is an option, its docstring the help."""

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
    """Train; returns 0. Repeating the command after it was killed continues from the last checkpoint."""
    if command == "pretrain":
        from phi2demo.training.pretrain import pretrain
        from phi2demo.training.settings import PretrainSettings

        folder = pretrain(PretrainSettings(**_parse(command, argv, PretrainSettings, pretrain.__doc__)))
    else:
        from phi2demo.training.finetune import finetune
        from phi2demo.training.settings import FinetuneSettings

        folder = finetune(FinetuneSettings(**_parse(command, argv, FinetuneSettings, finetune.__doc__)))
    print(f"saved in {folder}", file=sys.stderr)
    return 0


def _parse(command: str, argv: Sequence[str], settings: type, description: str | None) -> dict[str, Any]:
    """Return the fields whose options are given."""
    parser = shared.Parser(command, description=description, argument_default=argparse.SUPPRESS)
    hints, help_texts = get_type_hints(settings), _field_docstrings(settings)
    for field in fields(settings):
        _add_option(parser, field, hints[field.name], help_texts.get(field.name, ""))
    values = vars(parser.parse_args(argv))
    return {name: dict(value) if name == "mix" else value for name, value in values.items()}


def _add_option(parser: argparse.ArgumentParser, field: Field[Any], hint: Any, help_text: str) -> None:
    """Add the option of a field, according to its type."""
    option = shared.option(field.name)
    default = "" if field.default in (MISSING, None) else f" (default: {_default_text(field.default)})"
    text = f"{help_text}{default}".replace("%", "%%").strip()
    if hint is bool:
        parser.add_argument(option, action=argparse.BooleanOptionalAction, help=text)
    elif get_origin(hint) is Literal:
        parser.add_argument(option, choices=get_args(hint), help=text)
    elif isinstance(field.default_factory, type) and issubclass(field.default_factory, Mapping):
        parser.add_argument(
            option, action="append", type=_weight, metavar="NAME=WEIGHT", help=f"{text} May be repeated."
        )
    elif get_origin(hint) is tuple:
        parser.add_argument(option, type=_names, metavar="NAME,NAME", help=text)
    else:
        required = field.default is MISSING and field.default_factory is MISSING
        plain_type = _without_none(hint)
        parser.add_argument(option, type=plain_type, required=required, metavar=plain_type.__name__.upper(), help=text)


def _without_none(hint: Any) -> type:
    """Return the type in `type | None`."""
    choices = get_args(hint) if get_origin(hint) is UnionType else (hint,)
    (plain_type,) = (choice for choice in choices if choice is not NoneType)
    assert isinstance(plain_type, type)
    return plain_type


def _weight(text: str) -> tuple[str, float]:
    name, _, weight = text.partition("=")
    try:
        return name, float(weight)
    except ValueError:
        raise SettingsError(f"--mix {text}: give NAME=WEIGHT, as translation=2.") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _default_text(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return Path(default).name if isinstance(default, str) and Path(default).is_absolute() else str(default)


def _field_docstrings(settings: type) -> dict[str, str]:
    """Return the docstrings below the fields of a dataclass, from its source."""
    (definition,) = ast.parse(inspect.getsource(settings)).body
    assert isinstance(definition, ast.ClassDef)
    docstrings, field_name = {}, ""
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            field_name = node.target.id
        elif field_name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings[field_name] = str(node.value.value)
        else:
            field_name = ""
    return docstrings
