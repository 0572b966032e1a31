"""The speed claims, each as a command that measures both sides in one run."""
