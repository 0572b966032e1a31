"""What every command ends in: an exit code, and one line for an error. The only place that catches all of ours."""

import os
import sys
from collections.abc import Callable

from phi2demo.errors import Phi2DemoError

FAILED = 2
INTERRUPTED = 130
PIPE_CLOSED = 141


def guard(command: Callable[[], int]) -> int:
    """The exit code of `command`: its own, 2 for an error of ours, 130 for Ctrl+C, 141 where nobody reads any more."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = command()
        sys.stdout.flush()
        return code
    except Phi2DemoError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains as it exits
        return PIPE_CLOSED
