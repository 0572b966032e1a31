"""The command line: one module for each group of commands. Reads arguments and files; knows nothing of torch or the page."""
