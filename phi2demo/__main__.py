"""The command line: `python -m phi2demo COMMAND ...`. Imports only what the command needs."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module

from phi2demo import __version__
from phi2demo.commands.edge import guard
from phi2demo.errors import SettingsError

COMMANDS = {
    "generate": ("ask", "continue a text, or follow an instruction"),
    "summarize": ("ask", "say in short what a text says; long documents part by part"),
    "translate": ("ask", "translate a text sentence by sentence, keeping its lines"),
    "classify": ("ask", "say whether a text is positive or negative"),
    "answer": ("ask", "answer a question from a text"),
    "explain": ("explain", "say which words of a text made the model write its output"),
    "replay": ("replay", "make the output of a receipt again, and say whether it is the same"),
    "samples": ("card", "go on with twenty prompts, for a model's card"),
    "card": ("card", "write a model's card from what was measured"),
    "serve": ("serve", "show the page, as app.py does"),
    "evaluate": ("evaluate", "measure finetuned against base on a folder of data"),
    "audit": ("audit", "probe a model for bias, listed words, memorization and robustness"),
    "benchmark": ("benchmark", "measure a speed claim, both sides in one run"),
    "pretrain": ("train", "train a base model of Phi's architecture from scratch"),
    "finetune": ("train", "train a LoRA adapter on a base with the prompts of the tasks"),
}
"""Module of `phi2demo.commands` and a line of help, by command."""


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    command, *rest = arguments
    if command == "--version":
        print(__version__)
        return 0
    if command not in COMMANDS:
        raise SettingsError(f"There is no command {command!r}; give one of {', '.join(COMMANDS)}.")
    run: Callable[[str, Sequence[str]], int] = import_module(f"phi2demo.commands.{COMMANDS[command][0]}").main
    return run(command, rest)


def _help() -> str:
    lines = "\n".join(f"  {command:<10} {text}" for command, (_, text) in COMMANDS.items())
    return (
        f"usage: python -m phi2demo COMMAND ...\n\n{lines}\n\n"
        "python -m phi2demo COMMAND --help tells more of each. Errors are one line and exit with 2."
    )


if __name__ == "__main__":
    sys.exit(guard(partial(main, sys.argv[1:])))
