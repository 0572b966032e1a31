"""A demo of a finetuned language model: try it, compare it with its base, explain, measure and train it.

data        rows of text files, cleaning, test sets, contamination
engine      the model: loading with checks, streaming generation, scoring
tasks       what users can request: prompts, options, post-processing, long documents, receipts
explain     which words led to an output: SHAP and LIME values, and how faithful they are
evaluation  metrics, statistics and reports on test sets
audit       tests for bias, toxicity, memorization and robustness
training    corpus, tokenizer, pretraining, finetuning
emissions   estimates of energy and CO2e
cards       model cards, written from measurements
benchmark   comparisons of speed
ui          the page and its API
commands    the command line
"""

__version__ = "0.1.0"
