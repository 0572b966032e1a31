"""The model: loading with checks, streaming generation, scoring. Knows no task and no page."""
