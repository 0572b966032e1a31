"""replay: make the output of receipts again, and say whether it is the same."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from phi2demo.commands import arguments as shared
from phi2demo.commands.ask import LoadEngine, finish, load_local
from phi2demo.commands.input_output import read_text
from phi2demo.engine.planning import plan
from phi2demo.evaluation.confidence import ConfidenceBands
from phi2demo.settings import ModelSettings
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import read_variant_tasks
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.result import Result
from phi2demo.tasks.run import SETTINGS_UNKNOWN, Assistant, check, request_of

DIFFERS = 1


def main(command: str, argv: Sequence[str], *, load_engine: LoadEngine = load_local) -> int:
    """Replay; returns 0 where every text is the same, 1 where one differs."""
    parser = shared.Parser(command, description="Answer the request of a receipt again, or of each of several.")
    parser.add_argument(
        "receipt", metavar="RECEIPT.json", help="a receipt, or what --json wrote, also of several; - is standard input"
    )
    parser.add_argument("--json", action="store_true", help="the answer with its own receipt; of several a list")
    shared.add_model_arguments(parser, several=True)
    arguments = parser.parse_args(argv)
    receipts = [Receipt.from_json(text) for text in _receipts_in(read_text(arguments.receipt))]
    settings = _settings(shared.model_settings(arguments, several=True), receipts[0])
    if any(receipt.task not in TASKS for receipt in receipts):
        shared.register_planned(plan(settings))
    for receipt in receipts:
        check(request_of(receipt))
    engine = load_engine(settings)
    assistant = Assistant(engine, read_variant_tasks(engine.info), ConfidenceBands(engine.info))
    answers = []
    for receipt in receipts:
        (result,) = finish(assistant.replay(receipt), show=sys.stderr.isatty())
        answers.append({"same": result.text == receipt.output, **result.as_dict()})
        if not arguments.json:
            _tell(result, receipt)
    if arguments.json:
        print(json.dumps(answers if len(answers) > 1 else answers[0], ensure_ascii=False, indent=2))
    return 0 if all(text["same"] for text in answers) else DIFFERS


def _tell(result: Result, receipt: Receipt) -> None:
    if result.text == receipt.output:
        print(f"same: {result.text}")
    else:
        print(f"differs: {result.text}\nreceipt: {receipt.output}")
        for name in ("engine", "device", "dtype", "stop_reason", "versions"):
            then, now = getattr(receipt, name), getattr(result.receipt, name)
            if then != now:
                print(f"note: {name} was {then} in the receipt, and is {now} now", file=sys.stderr)
    if SETTINGS_UNKNOWN in result.notes:
        print(f"note: {SETTINGS_UNKNOWN}", file=sys.stderr)


def _receipts_in(text: str) -> list[str]:
    """The receipts of the answers that --json wrote, one, a list or a line each; anything else as it is."""
    try:
        values = _values(text)
    except (ValueError, RecursionError):
        return [text]
    inner = [value["receipt"] if isinstance(value, dict) and "receipt" in value else value for value in values]
    return [json.dumps(receipt) for receipt in inner if receipt is not None] or [text]  # a blank line has none


def _values(text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    return value if isinstance(value, list) else [value]


def _settings(settings: ModelSettings, receipt: Receipt) -> ModelSettings:
    """What was given; where nothing was, the receipt's own model if it is on the hub. A folder's place is not in it."""
    if not (settings.model or settings.adapter) and "/" in receipt.base:
        settings = replace(settings, model=receipt.base, revision=receipt.base_revision)
        if receipt.adapter and "/" in receipt.adapter:
            settings = replace(settings, adapter=receipt.adapter, adapter_revision=receipt.adapter_revision)
    return settings
