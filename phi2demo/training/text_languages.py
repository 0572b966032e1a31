"""Which languages the texts that a task is taught with are in, by a sample of them. Knows no model."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from phi2demo.tasks.languages import LANGUAGES, detect_language
from phi2demo.training.corpus import Source

SAMPLE = 200
"""Texts of each data set that are looked at, at most, evenly taken."""
LEAST_TEXTS = 10
"""Of which the language could be told, for anything to be said."""
LEAST_SHARE = 0.05
"""Of those, in a language, for the task to be taught in it: less is likely a quotation or a mistake."""
FIELDS = {"summarization": "document", "sentiment": "text", "question_answering": "context"}
"""By task, which field of a row is the text; a translation says its languages itself."""


def text_languages(sources: Sequence[Source], task: str) -> tuple[str, ...]:
    """Codes of the languages that a task's training texts are in; empty where that cannot be told.

    Also where one of them is none that the app has a name for: a list without it would be wrong.
    """
    field = FIELDS[task]
    texts = chain.from_iterable(
        rows[:: -(-len(rows) // SAMPLE)] for source in sources if (rows := source.rows["train"])
    )
    found = Counter(code for row in texts if (code := detect_language(str(row[field]))))
    told = [code for code, count in found.items() if count >= LEAST_SHARE * found.total()]
    if found.total() < LEAST_TEXTS or any(code not in LANGUAGES for code in told):
        return ()
    return tuple(code for code in LANGUAGES if code in told)
