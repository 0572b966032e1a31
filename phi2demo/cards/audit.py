"""The parts of a card that tell of an audit: what it found in plain words, and every probe's figures."""

from typing import Any

from phi2demo.cards.facts import Facts
from phi2demo.cards.markdown import bullets, number, plain, table


def audit_summary(facts: Facts) -> str:
    """When it was made and its sentences; empty text without an audit."""
    if facts.audit is None:
        return ""
    return f"An audit of {facts.audit['made_at'][:10]} found:\n\n" + bullets(map(plain, facts.audit["summary"]))


def audit_table(facts: Facts) -> str:
    """What each probe does, and its figures; the verdicts stand in the summary."""
    if facts.audit is None:
        return ""
    rows = [
        (probe["title"], number(probe["n"]), figure["title"], _score(figure), "yes" if figure.get("flagged") else "no")
        for probe in facts.audit["probes"]
        for figure in probe["figures"]
    ]
    probes = bullets(f"**{plain(probe['title'])}.** {plain(probe.get('what', ''))}" for probe in facts.audit["probes"])
    return f"{probes}\n\n{table(('probe', 'n', 'figure', 'score (95 % interval)', 'flagged'), rows)}"


def _score(figure: dict[str, Any]) -> str:
    text = number(figure["score"])
    if figure.get("low") is not None:
        text += f" ({number(figure['low'])} to {number(figure['high'])})"
    return text
