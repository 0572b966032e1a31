"""Tell an output that repeats itself over and over, as a model does that has lost its way. Knows no model.

Probability does not tell it: each turn makes the next one likelier (Holtzman et al., "The Curious Case of Neural Text
Degeneration", 2020).
"""

import re

LONGEST_TURN = 120
"""Bytes of what is repeated."""
CHECK_EVERY = 8
"""Tokens between two looks at an output that is being written."""
TAIL_TOKENS = 400
"""Of an output that is being written, as many of its last tokens are looked at."""

_LOOP = re.compile(
    rb"(?P<a>.)(?P=a){29}|(?P<b>..)(?P=b){14}|(?P<c>.{3})(?P=c){9}|(?P<d>.{4})(?P=d){7}|(?P<e>.{5})(?P=e){5}"
    rb"|(?P<f>.{6,19}?)(?P=f){4}|(?P<g>.{20,39}?)(?P=g){3}|(?P<h>.{40,%d}?)(?P=h){2}" % LONGEST_TURN,
    re.DOTALL,
)
"""The same again and again: 30 bytes and more, in five turns and more of up to 19 bytes, four of up to 39, three of more.

Bytes of UTF-8: a character of Chinese is as much as three letters. Of 300,000 texts that people wrote, 8 hold such a passage
("Bang! bang! bang! bang! bang! b").
"""


def loop_end(text: str) -> int | None:
    """Where `text` has become a loop, as the place after the turn that made it one; None where it is none.

    A row of dashes or dots is none: what is repeated holds a letter or a digit.
    """
    encoded = text.encode(errors="replace")
    found = _LOOP.search(encoded)
    while found is not None:
        if any(map(str.isalnum, found[0].decode(errors="ignore"))):
            return len(encoded[: found.end()].decode(errors="ignore"))
        found = _LOOP.search(encoded, found.end())
    return None
