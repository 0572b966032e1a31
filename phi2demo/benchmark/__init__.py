"""Comparisons of speed and memory with other software: both sides are measured in one run."""
