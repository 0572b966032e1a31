""""""

import re
from html import unescape

import pytest

from phi2demo.engine.engine import GenerationOptions, Variant
from phi2demo.evaluation.comparison import Comparison, check_reference, compare
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.request import Request
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.translation import TranslationOptions
from phi2demo.ui import compare_handlers
from tests.tasks.scripted import ScriptedEngine

OPTIONS = {
    "generation": GenerationTaskOptions("instruct"),
    "translation": TranslationOptions("en", "de"),
    "sentiment": SentimentOptions(),
}

GAP = '<span class="gap"> </span>'
"""A space that is not of the answer; ~ in what is expected."""


def compared(base: str, finetuned: str, reference: str | None = None, *, task: str = "generation") -> Comparison:
    said = {"base": base, "finetuned": finetuned}
    request = Request(task, "a text", OPTIONS[task], GenerationOptions(), variants=("base", "finetuned"), seed=1)
    results = Assistant(ScriptedEngine(lambda prompt: said[prompt.variant])).answer(check(request))
    return compare(request, results, check_reference(task, reference))


def body(html: str) -> str:
    found = re.search(r'<p class="marked-text">(.*)</p>', html, re.S)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("The train leaves.", "The train departs.", "The train~<del>leaves</del> <ins>departs</ins>."),
        ("Red car", "Blue car", "<del>Red</del>~<ins>Blue</ins> car"),
        ("word later.", "word.", "word~<del>later</del>."),
        ("Old text begins here", "text begins here", "<del>Old</del>~text begins here"),
        ("So it is.", "So it is!", "So it is<del>.</del><ins>!</ins>"),
        ("It was a good day", "It was a good\n\nnight", "It was a good~<del>day</del>\n\n<ins>night</ins>"),
        ("a <b>bold</b> word", "a <b>bald</b> word", "a &lt;b&gt;<del>bold</del>~<ins>bald</ins>&lt;/b&gt; word"),
        ("I like it 👍🏽", "I like it 👎🏽", "I like it~<del>👍🏽</del> <ins>👎🏽</ins>"),
        ("a long café", "a long cafe\u0301", "a long cafe\u0301"),
        ("a long cafe\u0300", "a long cafe\u0301", "a long~<del>cafe\u0300</del> <ins>cafe\u0301</ins>"),
        ("gone", "", "<del>gone</del>"),
        ("", "new", "<ins>new</ins>"),
    ],
)
def test_known_marks(before: str, after: str, expected: str) -> None:
    html = body(compare_handlers.marked(compared(before, after), "finetuned", "base"))
    assert html == expected.replace("~", GAP)
    selected = re.sub(f"{GAP}|<del>.*?</del>", "", html)
    assert unescape(plain(selected)) == after


def test_nothing_of_an_answer_becomes_markup() -> None:
    evil = "<script>alert('a & b')</script> <img src=x onerror=\"alert(1)\">"
    found = compared("plain words", evil, "</p><script>alert(2)</script>")
    for anchor in ("base", "reference"):
        html = compare_handlers.marked(found, "finetuned", anchor)
        assert "<script" not in html
        assert "<img" not in html
        assert "&lt;script&gt;" in html
        tags = set(re.findall(r"</?(\w+)", html))
        assert tags <= {"div", "span", "p", "ins", "del", "button"}


def test_many_words_that_are_gone_do_not_drown_the_answer() -> None:
    lost = [f"word{index}" for index in range(100)]
    html = body(compare_handlers.marked(compared(" ".join(lost), "Der Zug."), "finetuned", "base"))
    assert html == (
        f"<del>{' '.join(lost[:10])} … 80 more words … {' '.join(lost[-10:])}</del>{GAP}<ins>Der Zug.</ins>"
    )
    kept = " ".join(lost[:30])
    assert kept in compare_handlers.marked(compared(kept, "Der Zug."), "finetuned", "base")


def test_the_head_says_how_much_is_shared() -> None:
    found = compared("The train leaves.", "The train departs.", "The train leaves.")
    assert "75% of the words in common" in compare_handlers.marked(found, "finetuned", "base")
    assert "no difference" in compare_handlers.marked(found, "base", "reference")


@pytest.mark.parametrize(
    ("task", "variant", "anchor", "reference"),
    [
        ("generation", "base", "base", None),
        ("generation", "base", "reference", None),
        ("generation", "base", "second", None),
        ("generation", "base", "nothing", "Der Zug."),
        ("sentiment", "base", "finetuned", "positive"),
    ],
)
def test_where_there_is_nothing_to_mark(task: str, variant: Variant, anchor: str, reference: str | None) -> None:
    assert compare_handlers.marked(compared("a", "b", reference, task=task), variant, anchor) == ""


def test_the_legend_says_what_the_marks_mean_or_why_there_are_none() -> None:
    found = compared("a", "b")
    assert "is not in the base’s answer, <del>struck out</del> only there" in compare_handlers.legend(found, "base")
    assert "There is no reference answer to mark differences from" in compare_handlers.legend(found, "reference")
    assert compare_handlers.legend(found, "nothing") == ""
    assert compare_handlers.legend(compared("a", "b", task="sentiment"), "base") == ""
    assert "the reference answer" in compare_handlers.legend(compared("a", "b", "c"), "reference")


def plain(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html.replace("</span><span", "</span> · <span"))


def test_a_line_of_scores_says_which_is_best() -> None:
    found = compared("Der Hund schläft.", "Der Zug fährt um acht ab.", "Der Zug fährt um acht ab.", task="translation")
    assert plain(compare_handlers.score_line(found, "finetuned")) == "chrF 100.0 · BLEU 100.0"
    assert "chrF <strong" in compare_handlers.score_line(found, "finetuned")
    assert "<strong" not in compare_handlers.score_line(found, "base")
    assert "eff:yes" in compare_handlers.score_line(found, "base")
    even = compared("Der Zug.", "Der Zug.", "Der Zug.")
    assert "<strong" not in compare_handlers.score_line(even, "base")
    assert compare_handlers.score_line(compared("a", "b"), "base") == ""


def test_all_or_nothing_is_said_in_words() -> None:
    found = compared("", "", "negative", task="sentiment")
    said = {result.variant: plain(compare_handlers.score_line(found, result.variant)) for result in found.results}
    assert said == {result.variant: "right" if result.text == "negative" else "wrong" for result in found.results}
