"""Repeatable probes for bias and safety, on any engine: the same seed gives the same texts and the same report.

`run` runs the probes one after the other; each is a module with its texts beside it. `report` reads, compares and
renders what was written.
"""
