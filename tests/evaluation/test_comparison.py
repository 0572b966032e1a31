""""""

import itertools
import json
import time
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from phi2demo.engine.engine import AdapterInfo, GenerationOptions
from phi2demo.errors import InputError
from phi2demo.evaluation.comparison import Change, Comparison, check_reference, compare, differences, shared
from phi2demo.tasks import TASKS
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.receipt import Receipt
from phi2demo.tasks.request import Request, TaskOptions
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.sentiment import SentimentOptions
from phi2demo.tasks.summarization import SummaryOptions
from phi2demo.tasks.translation import TranslationOptions
from tests.tasks.scripted import INFO, ScriptedEngine

OPTIONS: dict[str, TaskOptions] = {
    "generation": GenerationTaskOptions("instruct"),
    "summarization": SummaryOptions("sentence"),
    "translation": TranslationOptions("en", "de"),
    "sentiment": SentimentOptions(),
    "question_answering": QuestionOptions("When?"),
}
THREE = replace(INFO, others=(AdapterInfo("second", "tiny-second", "cccccccccccc", 2),))
SAID = {"base": "The train leaves.", "finetuned": "Der Zug fährt um acht.", "second": "Der Zug fährt um acht ab."}


def compared(task: str, said: dict[str, str], reference: str | None, text: str = "a text") -> Comparison:
    engine = ScriptedEngine(lambda prompt: said[prompt.variant], info=THREE)
    request = Request(task, text, OPTIONS[task], GenerationOptions(), variants=("base", "finetuned", "second"), seed=1)
    return compare(request, Assistant(engine).answer(check(request)), check_reference(task, reference))


def values(found: Comparison, variant: Any) -> dict[str, float]:
    return {score.name: score.value for score in found.scores[variant]}


def test_translations_are_scored_as_sacrebleu_scores_sentences() -> None:
    reference = "Der Zug fährt um acht ab."
    found = compared("translation", SAID, reference)
    for variant, text in SAID.items():
        assert values(found, variant) == {
            "chrf": pytest.approx(sacrebleu.sentence_chrf(text, [reference]).score),
            "bleu": pytest.approx(sacrebleu.sentence_bleu(text, [reference]).score),
        }
    assert values(found, "second") == {"chrf": pytest.approx(100), "bleu": pytest.approx(100)}
    assert 0 < values(found, "base")["chrf"] < values(found, "finetuned")["chrf"] < 100
    assert "eff:yes" in found.scores["base"][1].signature


def test_a_short_translation_has_a_bleu() -> None:
    assert values(compared("translation", dict.fromkeys(SAID, "Guten Tag"), "Guten Tag"), "base")[
        "bleu"
    ] == pytest.approx(100)


def test_english_summaries_are_scored_by_rouge_and_others_by_chrf() -> None:
    reference = "The town of Marlow opened its new library on Monday."
    said = dict.fromkeys(SAID, "Marlow has a new library since Monday.")
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    expected = {name: 100 * score.fmeasure for name, score in scorer.score(reference, said["base"]).items()}
    assert values(compared("summarization", said, reference), "base") == pytest.approx(expected)
    german = "Die Stadt Marlow hat am Montag ihre neue Bibliothek eröffnet."
    assert list(values(compared("summarization", said, german), "base")) == ["chrf"]


def test_answers_are_scored_by_exact_match_and_f1() -> None:
    found = compared("question_answering", SAID | {"base": "at ten", "finetuned": "ten o'clock"}, "At ten.")
    assert values(found, "base") == {"exact_match": 100, "f1": 100}
    assert values(found, "finetuned") == {"exact_match": 0, "f1": pytest.approx(50)}


def test_a_label_is_right_or_wrong() -> None:
    found = compared("sentiment", SAID, " Negative ", text="neg neg pos")
    right = {result.variant: result.text == "negative" for result in found.results}
    assert {variant: values(found, variant)["accuracy"] for variant in right} == {
        variant: 100.0 * good for variant, good in right.items()
    }


def test_free_text_is_scored_by_chrf() -> None:
    assert list(values(compared("generation", SAID, "Der Zug."), "base")) == ["chrf"]


@pytest.mark.parametrize("typed", [None, "", "  \n"])
def test_without_a_good_answer_nothing_is_scored(typed: str | None) -> None:
    found = compared("translation", SAID, typed)
    assert (found.reference, found.scores) == (None, {})
    assert all(answer["scores"] == [] for answer in found.as_dict()["answers"])


@pytest.mark.parametrize(
    ("task", "typed", "message"),
    [
        ("sentiment", "maybe", "good answer is 'maybe'; for this task it is positive or negative"),
        ("sentiment", "good " * 30, "good answer is 'good good .*…'"),
        ("translation", "a\x00b", "The good answer holds NUL bytes"),
        ("translation", 5, "The good answer is of type int"),
        ("translation", "a" * 1_000_001, "The good answer has 1,000,001 characters"),
    ],
)
def test_what_cannot_be_a_good_answer_is_refused(task: str, typed: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_reference(task, typed)


@pytest.mark.parametrize("task", TASKS)
def test_json_holds_everything_and_its_receipts_read_back(task: str) -> None:
    said = SAID if task != "sentiment" else {}
    found = compared(task, said, "positive" if task == "sentiment" else "Der Zug fährt.")
    value = json.loads(json.dumps(found.as_dict()))
    assert (value["format"], value["task"], value["text"]) == (2, task, "a text")
    assert [item["variant"] for item in value["answers"]] == ["base", "finetuned", "second"]
    for item, result in zip(value["answers"], found.results, strict=True):
        assert Receipt.from_json(json.dumps(item["receipt"])) == result.receipt
        assert item["scores"][0]["signature"]
    pairs = [(item["from"], item["to"]) for item in value["differences"]]
    assert pairs == [
        ("base", "finetuned"), ("base", "second"), ("finetuned", "second"),
        ("reference", "base"), ("reference", "finetuned"), ("reference", "second"),
    ]  # fmt: skip
    for item in value["differences"]:
        text = "".join(change["text"] for change in item["changes"] if change["kind"] != "gone")
        assert text == next(answer["text"] for answer in value["answers"] if answer["variant"] == item["to"])


def test_what_differs_between_two_answers() -> None:
    found = compared("translation", SAID, None)
    assert [(change.kind, change.text) for change in found.changes("second", "finetuned")] == [
        ("same", "Der Zug fährt um acht"), ("new", " ab"), ("same", "."),
    ]  # fmt: skip
    (last,) = [item for item in found.as_dict()["differences"] if (item["from"], item["to"]) == ("finetuned", "second")]
    assert last["shared"] == pytest.approx(12 / 13, abs=1e-4)


SIGNS = {"same": "={}", "gone": "-{}", "new": "+{}"}


def shown(before: str, after: str) -> list[str]:
    return [SIGNS[change.kind].format(change.text) for change in differences(before, after)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("", "", []),
        ("", "new words", ["+new words"]),
        ("old words", "", ["-old words"]),
        ("  \n", "a", ["+a"]),
        ("one two", "one two", ["=one two"]),
        ("The train leaves.", "The train departs.", ["=The train", "- leaves", "+ departs", "=."]),
        ("Red car", "Blue car", ["-Red", "+Blue", "= car"]),
        ("word later.", "word.", ["=word", "- later", "=."]),
        ("a b", "a\n\nb  ", ["=a\n\nb"]),
        ("Yes", "yes", ["-Yes", "+yes"]),
        ("isn't it?", "isn’t it?", ["-isn't", "+isn’t", "= it?"]),
        ("It costs 3.50 now", "It costs 3.60 now", ["=It costs", "- 3.50", "+ 3.60", "= now"]),
        ("snake_case-name ok", "snake_case ok", ["-snake_case-name", "+snake_case", "= ok"]),
        ("«Oui», dit-il", "«Non», dit-il", ["=«", "-Oui", "+Non", "=», dit-il"]),
        ("<script>alert(1)</script>", "<script>alert(2)</script>", ["=<script>alert(", "-1", "+2", "=)</script>"]),
    ],
)
def test_known_differences(before: str, after: str, expected: list[str]) -> None:
    assert shown(before, after) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("I 👍 it", "I 👎 it", ["=I", "- 👍", "+ 👎", "= it"]),
        ("ok 👍🏽!", "ok 👍🏿!", ["=ok", "- 👍🏽", "+ 👍🏿", "=!"]),
        ("👩‍👩‍👧 here", "👩‍👩‍👦 here", ["-👩‍👩‍👧", "+👩‍👩‍👦", "= here"]),
        ("from 🇩🇪 now", "from 🇩🇰 now", ["=from", "- 🇩🇪", "+ 🇩🇰", "= now"]),
        ("press 1️⃣ twice", "press 2️⃣ twice", ["=press", "- 1️⃣", "+ 2️⃣", "= twice"]),
        ("e\u0301te\u0301 long", "été court", ["=été", "- long", "+ court"]),
        ("प्रेम है", "प्रेमी है", ["-प्रेम", "+प्रेमी", "= है"]),
        ("a\u0301 b", "a\u0300 b", ["-a\u0301", "+a\u0300", "= b"]),
    ],
)
def test_what_is_read_as_one_character_is_never_cut(before: str, after: str, expected: list[str]) -> None:
    assert shown(before, after) == expected


def test_unlike_sentences_do_not_share_their_articles() -> None:
    assert shown("the cat sat on the mat", "a dog ran on a rug") == ["-the cat sat on the mat", "+a dog ran on a rug"]
    long = "quite a long passage that both of the texts have in common"
    assert shown(f"aaa {long} bbb", f"ccc {long} ddd") == ["-aaa", "+ccc", f"= {long}", "- bbb", "+ ddd"]


TEXTS = st.text(alphabet=st.sampled_from("ab e\u0301'-.\n👍🏽\u200d🇩🇪<é"), max_size=40)


@given(TEXTS, TEXTS)
def test_same_and_new_are_the_second_text_same_and_gone_the_words_of_the_first(before: str, after: str) -> None:
    changes = differences(before, after)
    assert "".join(change.text for change in changes if change.kind != "gone") == after.rstrip()
    first = "".join(change.text for change in changes if change.kind != "new")
    assert normal(first) == normal(before)
    assert all(change.text for change in changes)
    assert all(one.kind != other.kind for one, other in itertools.pairwise(changes))


def normal(text: str) -> str:
    return unicodedata.normalize("NFC", "".join(text.split()))


def test_the_share_of_words_in_common() -> None:
    assert shared(differences("", "")) == 1.0
    assert shared(differences("a b", "a b")) == 1.0
    assert shared(differences("a", "b")) == 0.0
    assert shared(differences("The train leaves.", "The train departs.")) == pytest.approx(6 / 8)
    assert shared((Change("new", "a b c"),)) == 0.0


def test_a_book_takes_seconds_not_minutes() -> None:
    before = " ".join(f"the {index % 997} and" for index in range(10_000))
    after = " ".join(f"the {index % 991} and" for index in range(10_000))
    started = time.process_time()
    changes = differences(before, after)
    assert time.process_time() - started < 20
    assert "".join(change.text for change in changes if change.kind != "gone") == after
