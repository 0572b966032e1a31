"""The command line, `python -m phi2demo COMMAND ...`. Imports only what the command needs."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module

from phi2demo import __version__
from phi2demo.commands.exit_codes import exit_code_of
from phi2demo.errors import SettingsError, quoted

COMMANDS = {
    "generate": ("ask", "continue a text, or follow an instruction"),
    "summarize": ("ask", "summarize a text; long documents part by part"),
    "translate": ("ask", "translate a text sentence by sentence, keeping its lines"),
    "classify": ("ask", "choose the label of a text: positive, negative, or others of the model"),
    "answer": ("ask", "answer a question about a text"),
    "ask": ("ask", "any task of the model by its id, also one that its tasks.json declares"),
    "explain": ("explain", "show which words of a text led to the output"),
    "templates": ("templates", "show one text through each prompt template"),
    "replay": ("replay", "repeat the request of a receipt, and compare the outputs"),
    "samples": ("card", "generate from twenty prompts, for a model card"),
    "card": ("card", "write a model card from reports and records"),
    "serve": ("serve", "start the page, as app.py does"),
    "evaluate": ("evaluate", "compare finetuned and base model on a folder of data"),
    "audit": ("audit", "test a model for bias, toxicity, memorization and robustness"),
    "benchmark": ("benchmark", "measure speed and memory against other software"),
    "pretrain": ("train", "train a base model of Phi's architecture from scratch"),
    "finetune": ("train", "train a LoRA adapter with the prompts of the tasks"),
}
"""The module in `phi2demo.commands` and the help text of each command."""


def main(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code. Raises SettingsError for an unknown one."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    command, *rest = arguments
    if command == "--version":
        print(__version__)
        return 0
    if command not in COMMANDS:
        raise SettingsError(f"There is no command {quoted(command)}; give one of {', '.join(COMMANDS)}.")
    run: Callable[[str, Sequence[str]], int] = import_module(f"phi2demo.commands.{COMMANDS[command][0]}").main
    return run(command, rest)


def _help() -> str:
    lines = "\n".join(f"  {command:<10} {text}" for command, (_, text) in COMMANDS.items())
    return (
        f"usage: python -m phi2demo COMMAND ...\n\n{lines}\n\n"
        "python -m phi2demo COMMAND --help describes each. Errors are one line and exit with code 2."
    )


if __name__ == "__main__":
    sys.exit(exit_code_of(partial(main, sys.argv[1:])))
