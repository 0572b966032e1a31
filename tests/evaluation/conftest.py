"""The small data folder that tests of the data use too."""

from tests.data.conftest import data, write

__all__ = ["data", "write"]
