"""Estimates of the energy and greenhouse gas of a training run and of the running app. Knows no model."""
