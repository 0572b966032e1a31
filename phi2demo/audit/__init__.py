"""Bias and safety probes that can be repeated, on any engine: the same seed asks the same and gives the same report.

`run` asks the probes one after the other; each is a file of its own, with its texts beside it. `report` reads what was
written and tells it in words.
"""

from phi2demo.audit.report import read_audit

__all__ = ["read_audit"]
