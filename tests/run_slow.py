"""Run the slow groups of tests: fetch what they need, then run them. `python tests/run_slow.py [MARKER ...]`; default: real."""

import subprocess
import sys

from real import smollm2

GROUPS = {"real": smollm2.main}
"""What fetches the models or programs that a group needs, by its marker."""


def main(markers: list[str]) -> int:
    for marker in markers:
        GROUPS[marker]()
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-m", " or ".join(markers)], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(GROUPS)))
