import re

from phi2demo.engine.engine import Candidate
from phi2demo.tasks.candidates import Ranked
from phi2demo.tasks.result import Alternative
from phi2demo.ui.alternatives import SHOWN, alternatives


def ranked(text: str, forward: float, score: float, *, tokens: int = 4) -> Ranked:
    return Ranked(Candidate(f" {text}", tuple(range(tokens)), "end"), text, forward, -6.25, score)


PIECE = (ranked("Der Hund schläft.", -2.0, -1.0), ranked("Er schläft.", -1.5, -5.0))


def test_nothing_is_shown_where_nothing_was_weighed() -> None:
    assert alternatives(()) == alternatives(((), ())) == ""


def test_the_best_is_first_and_the_likeliest_is_marked() -> None:
    html = alternatives((PIECE,))
    rows = re.findall(r"<tr.*?</tr>", html)[1:]
    assert [re.sub("(<.*?>)+", "|", row) for row in rows] == [
        "|Der Hund schläft. |chosen|\N{MINUS SIGN}2.0|\N{MINUS SIGN}6.2|\N{MINUS SIGN}1.0|",
        "|Er schläft. |most probable per token|\N{MINUS SIGN}1.5|\N{MINUS SIGN}6.2|\N{MINUS SIGN}5.0|",
    ]
    assert "chosen, most probable per token" in alternatives((PIECE[:1],))


def test_what_is_nearly_certain_has_no_minus_zero() -> None:
    html = alternatives(
        (
            (
                Alternative(Candidate(" Tom", (1,), "end"), "Tom", -0.01),
                Alternative(Candidate(" He", (2,), "end"), "He", -5),
            ),
        )
    )
    assert "<td>0.0 (99%)</td>" in html


def test_likely_is_meant_a_token() -> None:
    long = ranked("Der große Hund schläft.", -2.4, -2.0, tokens=12)
    assert re.search(r"Der große Hund schläft\. <small>most probable per token", alternatives(((*PIECE, long),)))


def test_a_long_text_shows_its_first_sentences() -> None:
    html = alternatives([PIECE] * (SHOWN + 3))
    assert html.count("<tbody>") == SHOWN
    assert "3 more parts" in html


def test_what_was_only_listed_tells_shares_and_remarks() -> None:
    found = (("four", (1,), -2.0), ("214", (2, 3), -0.5), ("long", (4,), -20.0))
    piece = [Alternative(Candidate(f" {text}", ids, "end"), text, value) for text, ids, value in found]
    html = alternatives((piece,), lambda output: "" if output == "214" else "not <in> the text")
    rows = re.findall(r"<tr.*?</tr>", html)
    assert [re.sub("(<.*?>)+", "|", row) for row in rows] == [
        "|Candidate|Log-probability|",
        "|four |chosen, not &lt;in&gt; the text|\N{MINUS SIGN}2.0 (14%)|",
        "|214 |most probable|\N{MINUS SIGN}0.5 (61%)|",
        "|long |not &lt;in&gt; the text|\N{MINUS SIGN}20.0|",
    ]
    assert "given the output (back)" not in html


def test_outputs_are_escaped() -> None:
    assert "<script" not in alternatives(((ranked("<script>x</script>", -1, -1), PIECE[0]),))
