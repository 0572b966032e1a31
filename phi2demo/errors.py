"""The errors a person can do something about. Every message says what was wrong, the value, and what to do.

Phi2DemoError
├── InputError       the text or file that a person gave
├── SettingsError    an option, a command-line argument or an environment variable
├── ModelError       a base, an adapter or a hub that cannot be used
│   └── NotReadyError    the weights are still loading
├── DataError        a training or evaluation file
└── StoppedError     nothing: the person stopped it
"""


class Phi2DemoError(Exception):
    """Base of all errors shown to a person: caught by the page and by the command line, nowhere else."""


class InputError(Phi2DemoError):
    """The text or the file that a person gave cannot be used."""


class SettingsError(Phi2DemoError):
    """An option, a command-line argument or an environment variable is out of range."""


class ModelError(Phi2DemoError):
    """A base model, an adapter or a hub cannot be used."""


class NotReadyError(ModelError):
    """The weights are still loading."""


class DataError(Phi2DemoError):
    """A training or evaluation file cannot be used."""


class StoppedError(Phi2DemoError):
    """What was asked for was stopped before it was done; it has no result."""
