"""The real model, if `python tests/real/smollm2.py` has fetched it."""

from pathlib import Path

import pytest

from .smollm2 import model_folder


@pytest.fixture(scope="session")
def smollm2() -> Path:
    folder = model_folder()
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing: python tests/real/smollm2.py fetches it")
    return folder
