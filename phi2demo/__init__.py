"""phi2demo: show, compare, explain and measure a finetuned language model.

tasks       what a person can ask for: templates, options, clean-up, long documents, receipts
engine      the model: loading with checks, streaming generation, scoring
explain     which words made the output: SHAP, LIME, and how far to believe them
training    the embedded model and any adapter: corpus, tokenizer, pretraining, finetuning
ui          the page
commands    the command line

Importing this package loads no weights and starts no server.
"""

__version__ = "0.1.0"
