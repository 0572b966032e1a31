"""Exit codes of the command line, and one line for each error. The only place that catches every expected error."""

import os
import sys
from collections.abc import Callable

from phi2demo.errors import Phi2DemoError

FAILED = 2
INTERRUPTED = 130
PIPE_CLOSED = 141


def exit_code_of(command: Callable[[], int]) -> int:
    """Run a command and return its exit code; expected errors are printed as one line.

    FAILED for an error of this package or of the system (a full disk, a folder without write access), INTERRUPTED for
    Ctrl+C, PIPE_CLOSED where the reader of standard output is gone.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = command()
        sys.stdout.flush()
        return code
    except Phi2DemoError as error:
        _print_error(str(error))
        return FAILED
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _drop_unwritten()
        return PIPE_CLOSED
    except OSError as error:
        _drop_unwritten()
        target = "A file, or standard output," if error.filename is None else error.filename
        reason = error.strerror or error
        _print_error(
            f"{target} cannot be read or written ({reason}); check that it exists and that the disk has space."
        )
        return FAILED


def _print_error(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)


def _drop_unwritten() -> None:
    """Drop what could not be written to standard output; otherwise Python prints a warning as it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
