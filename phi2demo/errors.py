"""Every exception of the package. A message is one line: what is wrong, the value, and what to do about it.

Phi2DemoError
├── InputError              the text or file that a request brings
├── SettingsError           an option, a command-line argument or an environment variable
├── ModelError              a base model, an adapter or a model repository
│   └── NotReadyError       the weights are still loading
├── DataError               a file for training, evaluation or a model card
├── HubUnreachableError     the Hugging Face hub does not answer
└── StoppedError            the user stopped the work

A message quotes a value by `quoted`, a name by `shortened` and names by `listed`: whatever was given, it stays readable.

The page shows a message next to the button that was pressed, the API returns it, and the command line prints it after
"error:" and exits with code 2.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Phi2DemoError(Exception):
    """Base class of all errors that are meant for the user. Only the page, the API and the command line catch it."""


class InputError(Phi2DemoError):
    """The text or the file in a request cannot be used, for example because it is empty or too long."""


class SettingsError(Phi2DemoError):
    """An option, a command-line argument or an environment variable has a value that is not allowed."""


class ModelError(Phi2DemoError):
    """A base model, an adapter or its repository cannot be used. The page shows it in place of the model's name."""


class NotReadyError(ModelError):
    """The weights are still loading. The page and the API ask the user to try again."""


class DataError(Phi2DemoError):
    """A file or data set for training, evaluation, the audit or a model card is missing, damaged or of another format."""


class HubUnreachableError(Phi2DemoError):
    """The Hugging Face hub does not answer in time, or reports a fault of its own.

    Nobody shows it: whoever asked the hub uses the local cache instead, or raises a ModelError or a DataError.
    """


class StoppedError(Phi2DemoError):
    """The user stopped the work before it was done, so there is no result; a stopped training can be resumed.

    The page keeps what is on it and says that the run was stopped; the command line prints the message.
    """


MAX_QUOTED = 60
"""Characters of a value or a name in a message."""
MAX_LISTED = 20
"""Names in a message."""


def shortened(text: str, most: int = MAX_QUOTED) -> str:
    """Return a text for a message: its beginning where it has more than `most` characters."""
    return text if len(text) <= most else f"{text[:most]}…"


def quoted(value: object) -> str:
    """Return a value for a message as Python writes it, shortened."""
    return repr(shortened(value)) if isinstance(value, str) else shortened(repr(value))


def listed(names: "Iterable[str]") -> str:
    """Return names for a message: the first ones, each shortened, and how many there are besides."""
    all_names = list(names)
    more = f" and {len(all_names) - MAX_LISTED} more" if len(all_names) > MAX_LISTED else ""
    return ", ".join(map(shortened, all_names[:MAX_LISTED])) + more
