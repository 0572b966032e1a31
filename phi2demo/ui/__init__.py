"""The page and its API. Knows no prompt text and no torch."""
