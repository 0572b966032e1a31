"""Measure a finetuned model against its base: tasks x metrics. Knows nothing of the page."""
