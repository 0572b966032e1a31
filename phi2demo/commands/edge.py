"""What every command ends in: an exit code, and one line for an error. The only place that catches all."""

import os
import sys
from collections.abc import Callable

from phi2demo.errors import Phi2DemoError

FAILED = 2
INTERRUPTED = 130
PIPE_CLOSED = 141


def guard(command: Callable[[], int]) -> int:
    """The exit code of `command`: its own, 130 for Ctrl+C, 141 where nobody reads any more.

    2 for an error of ours, and for one of the system: a disk that is full, a folder that cannot be written into.
    """
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
        _drop_unwritten()
        return PIPE_CLOSED
    except OSError as error:
        _drop_unwritten()
        print(f"error: {' '.join(_told(error).split())}", file=sys.stderr)
        return FAILED


def _drop_unwritten() -> None:
    """What standard output did not take: else Python complains as it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _told(error: OSError) -> str:
    where = "A file, or standard output," if error.filename is None else error.filename
    return f"{where} cannot be read or written ({error.strerror or error}); check that it is there and has room."
