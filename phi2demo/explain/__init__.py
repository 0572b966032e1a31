"""Which words of a person's text made the model write its output, and how sure that is. Knows nothing of torch or the page.

Start with `run.explain`; it takes a `request.ExplainRequest` and ends in an `attribution.Attribution`.
"""
