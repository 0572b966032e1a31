"""Model cards from what was measured. Writes no file: a card is text and pictures."""
