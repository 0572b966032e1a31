"""Train the embedded model and adapters. Imports neither gradio nor shap: it also runs on machines without them."""
