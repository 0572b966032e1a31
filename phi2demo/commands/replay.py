"""replay: make the output of a receipt again, and say whether it is the same."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from phi2demo.commands import arguments as shared
from phi2demo.commands.answers import finish
from phi2demo.commands.ask import LoadEngine, load_local
from phi2demo.commands.items import read_text
from phi2demo.settings import ModelSettings
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.run import SETTINGS_UNKNOWN, replay, request_of, task_named

DIFFERS = 1


def main(command: str, argv: Sequence[str], *, load_engine: LoadEngine = load_local) -> int:
    """Replay; returns 0 where the text is the same, 1 where it differs."""
    parser = shared.Parser(command, description="Answer the request of a receipt again.")
    parser.add_argument("receipt", metavar="RECEIPT.json", help="a receipt, or an answer with one; - is standard input")
    parser.add_argument("--json", action="store_true", help="the answer with its own receipt")
    shared.add_model_arguments(parser, second=True)
    given = parser.parse_args(argv)
    receipt = Receipt.from_json(_receipt_in(read_text(given.receipt)))
    task_named(receipt.task).check(request_of(receipt))
    engine = load_engine(_settings(shared.model_settings(given), receipt))
    (result,) = finish(replay(engine, receipt), show=sys.stderr.isatty())
    same = result.text == receipt.output
    if given.json:
        print(json.dumps({"same": same, **result.as_dict()}, ensure_ascii=False, indent=2))
    elif same:
        print(f"same: {result.text}")
    else:
        print(f"differs: {result.text}\nreceipt: {receipt.output}")
        for name in ("device", "dtype", "stop_reason", "versions"):
            then, now = getattr(receipt, name), getattr(result.receipt, name)
            if then != now:
                print(f"note: {name} was {then} in the receipt, and is {now} now", file=sys.stderr)
    if SETTINGS_UNKNOWN in result.notes and not given.json:
        print(f"note: {SETTINGS_UNKNOWN}", file=sys.stderr)
    return 0 if same else DIFFERS


def _receipt_in(text: str) -> str:
    """The receipt of an answer that --json wrote; anything else as it is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    inner = value.get("receipt") if isinstance(value, dict) else None
    return json.dumps(inner) if isinstance(inner, dict) else text


def _settings(settings: ModelSettings, receipt: Receipt) -> ModelSettings:
    """What was given; where nothing was, the receipt's own model if it is on the hub. A folder's place is not in it."""
    if not (settings.model or settings.adapter or settings.second_adapter) and "/" in receipt.base:
        settings = replace(settings, model=receipt.base, revision=receipt.base_revision)
        if receipt.adapter and "/" in receipt.adapter:
            settings = replace(settings, adapter=receipt.adapter, adapter_revision=receipt.adapter_revision)
    return settings
