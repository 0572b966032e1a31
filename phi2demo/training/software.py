"""With which software a run has computed."""

import platform
from importlib.metadata import version

PACKAGES = ("torch", "transformers", "peft", "accelerate", "tokenizers")


def versions() -> dict[str, str]:
    """Of Python and of the packages that train."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
