"""The entry of the app and of a Hugging Face Space: `python app.py`. Options: `python app.py --help`."""

import sys
from functools import partial

from phi2demo.commands.exit_codes import exit_code_of
from phi2demo.commands.serve import serve

if __name__ == "__main__":
    sys.exit(exit_code_of(partial(serve, sys.argv[1:])))
