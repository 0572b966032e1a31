"""The evaluation of a finetuned model against its base. Knows no page."""
