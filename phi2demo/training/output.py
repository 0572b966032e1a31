"""The folder that a run writes into, seen to be one before anything is loaded."""

import tempfile
from pathlib import Path

from phi2demo.errors import SettingsError


def make_output(folder: Path) -> None:
    """Make the folder where it is not there; SettingsError where nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingsError(
            f"--output {folder} is no folder that can be written into ({error.strerror or error}). Give another one."
        ) from error
