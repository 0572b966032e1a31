"""Explanations: which parts of a text made the model write its output, and how reliable that is. Knows no torch and no page.

Start with `job.explain`: it takes a `request.ExplainRequest`, and its last step holds an `attribution.Attribution`.
"""
