"""Texts before a model sees them: how they are cleaned. Knows no model and no task."""
