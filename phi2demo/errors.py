"""Every exception of the package. A message is one line: what is wrong, the value, and what to do about it.

Phi2DemoError
├── InputError              the text or file that a request brings
├── SettingsError           an option, a command-line argument or an environment variable
├── ModelError              a base model, an adapter or a model repository
│   └── NotReadyError       the weights are still loading
├── DataError               a file for training, evaluation or a model card
├── HubUnreachableError     the Hugging Face hub does not answer
└── StoppedError            the user stopped the work

The page shows a message next to the button that was pressed, the API returns it, and the command line prints it after
"error:" and exits with code 2.
"""


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
