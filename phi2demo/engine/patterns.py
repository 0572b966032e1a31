"""A check that regular expressions from a file come to an end: tried in a process of their own, which the clock ends.

A pattern such as (a+)+b takes longer than the universe on a name of sixty letters, and nothing can interrupt Python's
matcher in a thread, which holds every other thread up as well.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

from phi2demo.errors import ModelError, quoted

CPU_S = 0.3
"""Seconds of computing that all patterns may take together; those of real adapters take a hundredth of it."""
WALL_S = 10.0
"""Seconds after which the process is ended where the system cannot measure computing, or is very busy."""
MAX_LENGTH = 100_000
"""Most characters of all patterns together."""

_TRIAL = f"""
import json, re, signal, sys
patterns, names = json.load(sys.stdin)
if hasattr(signal, "setitimer"):
    signal.setitimer(signal.ITIMER_VIRTUAL, {CPU_S})
for pattern in patterns:
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        sys.exit(f"{{error}}"[:200])
    for name in names:
        compiled.match(name)
        compiled.fullmatch(name)
"""


def check_patterns(patterns: Sequence[str], names: Sequence[str], *, adapter: str) -> None:
    """Raise ModelError where a pattern of `adapter` is no regular expression, or takes too long on one of `names`."""
    if not patterns:
        return
    if sum(map(len, patterns)) > MAX_LENGTH:
        raise _refused(adapter, patterns, f"are longer than {MAX_LENGTH:,} characters")
    try:
        trial = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _TRIAL],
            input=json.dumps([list(patterns), list(names)]),
            capture_output=True,
            text=True,
            timeout=WALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _refused(adapter, patterns, "do not come to an end") from None
    if trial.returncode == 1 and trial.stderr:
        raise _refused(adapter, patterns, f"cannot be read ({trial.stderr.strip().splitlines()[-1]})")
    if trial.returncode:
        raise _refused(adapter, patterns, "do not come to an end")


def _refused(adapter: str, patterns: Sequence[str], why: str) -> ModelError:
    longest = max(patterns, key=len)
    example = longest if len(longest) <= 60 else f"{longest[:60]}..."
    return ModelError(
        f"adapter_config.json of {adapter} has regular expressions that {why}, such as {quoted(example)}. "
        "Name the modules in it one by one."
    )
