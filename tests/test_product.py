"""The product as shipped: the embedded pair, through the snippets of its cards, the API and the command line."""

import concurrent.futures
import json
import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from phi2demo.engine.engine import GenerationOptions
from phi2demo.evaluation.reports import REPORTS_FOLDER, shipped_test_sets
from phi2demo.evaluation.systems import request_of
from phi2demo.settings import EMBEDDED_ADAPTER, EMBEDDED_MODEL
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import read_adapter_tasks
from tests.servers import serving

ROOT = Path(__file__).parent.parent
CARDS = [EMBEDDED_MODEL / "README.md", EMBEDDED_ADAPTER / "README.md"]


def run(*words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "phi2demo", *words],
        cwd=ROOT,
        input=text,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("card", CARDS, ids=["model", "adapter"])
def test_the_snippet_of_a_card_works(card: Path) -> None:
    snippet = re.search(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), re.S)
    assert snippet
    done = subprocess.run(
        [sys.executable, "-c", snippet[1]], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "The children are playing in the garden." in done.stdout
    assert "Die Kinder spielen im Garten." in done.stdout


def test_the_weights_are_small_safetensors() -> None:
    files = [path for folder in (EMBEDDED_MODEL, EMBEDDED_ADAPTER) for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 64_000_000
    assert not [path.name for path in files if path.suffix in (".bin", ".pt", ".pkl", ".pth")]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(["app.py"]) as server:
        yield server.url


@pytest.fixture(scope="module")
def client(address: str) -> Any:
    from gradio_client import Client

    return Client(address, verbose=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        ("/generate", "Once upon a time there was a little fox."),
        ("/summarize", "The town built a bridge. It crosses the river. Many people walk over it every day."),
        ("/translate", "Ich habe heute keine Zeit. Wo wohnst du?"),
        ("/classify", "A warm and funny film."),
    ],
)
def test_an_endpoint_returns_text_with_its_receipt(client: Any, endpoint: str, text: str) -> None:
    answer = client.predict(text, api_name=endpoint)
    assert answer["text"].strip()
    receipt = answer["receipt"]
    assert receipt["text"] == text
    assert receipt["output"] == answer["text"]
    assert receipt["base"] == "assets/model"
    assert receipt["adapter"] == "assets/adapter"


@pytest.mark.slow
@pytest.mark.parametrize("of", ["finetuned", "base", "difference"])
def test_an_answer_is_explained_over_the_text_as_typed(client: Any, of: str) -> None:
    text = "Wo\u00a0wohnst  du?"
    result = client.predict(text, task="translate", of=of, api_name="/explain")
    units = result["units"]["items"]
    assert "".join(unit["text"] for unit in units) == text
    assert result["output"].strip()
    assert result["of"] == of
    assert len(result["values"]) == len(units)
    explained = result["full_value"] - result["base_value"]
    assert sum(unit["value"] for unit in units) == pytest.approx(explained, abs=1e-3 * max(1.0, abs(explained)))
    assert result["model"]["adapter"] == "assets/adapter"


@pytest.mark.slow
def test_concurrent_clients_get_what_each_gets_alone(address: str) -> None:
    from gradio_client import Client

    text = "The old man sold his boat because he could no longer row it across the lake."
    jobs = [
        {"variant": variant, "source": "en", "target": target}
        for variant in ("finetuned", "base")
        for target in ("de", "fr")
    ]

    def ask(job: dict[str, str]) -> str:
        answer = Client(address, verbose=False).predict(text, api_name="/translate", **job)
        return str(answer["text"])

    alone = [ask(job) for job in jobs]
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        assert list(pool.map(ask, jobs)) == alone
    assert len(set(alone)) == len(alone)


@pytest.mark.slow
def test_side_by_side_gives_the_two_texts_of_two_runs(client: Any) -> None:
    for text in ("I have no time today.", "My sister has two cats.", "It is raining again, so we stay at home."):
        pair = client.predict(text, variant="both", source="en", api_name="/translate")
        for answer in pair:
            assert (
                client.predict(text, variant=answer["variant"], source="en", api_name="/translate")["text"]
                == answer["text"]
            )


@pytest.mark.slow
def test_a_translation_comes_with_what_else_was_weighed(client: Any) -> None:
    told = client.predict(
        "My sister has two cats. The children play in the garden.", source="en", target="de", api_name="/translate"
    )
    assert len(told["alternatives"]) == 2
    assert " ".join(piece[0]["text"] for piece in told["alternatives"]) == told["text"]
    for piece in told["alternatives"]:
        scores = [each["score"] for each in piece]
        assert len(piece) > 1
        assert scores == sorted(scores, reverse=True)
        assert all(each["log_probability"] < 0 and each["reverse_log_probability"] < 0 for each in piece)
    again = client.predict(json.dumps(told["receipt"]), api_name="/replay")
    assert again["same"]
    assert again["alternatives"] == told["alternatives"]


@pytest.mark.slow
def test_it_is_told_where_the_model_is_unsure_and_what_that_was_worth(client: Any) -> None:
    right, wrong = (
        client.predict(text, source="en", target="de", api_name="/translate")
        for text in ("My sister is reading a book.", "The committee postponed the vote on the new budget until spring.")
    )
    assert (right["confidence_band"]["word"], right["notes"]) == ("sure", [])
    assert wrong["confidence_band"]["word"] == "unsure"
    assert wrong["notes"] == [f"The model is unsure of this. {wrong['confidence_band']['measured']}."]
    assert wrong["mean_probability"] < right["mean_probability"]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["finetuned", "base"])
def test_guidance_changes_a_summary_and_is_replayed(client: Any, variant: str) -> None:
    text = (
        "The old mill by the river was built in 1820. For a hundred years farmers brought their grain to it. Then a flood "
        "broke the dam, and the mill stood still. Last year a group of young people repaired the wheel."
    )
    guided = client.predict(text, variant=variant, options={"guidance_scale": 2.5}, api_name="/summarize")
    plain = client.predict(text, variant=variant, options={"guidance_scale": 1.0}, api_name="/summarize")
    assert guided["text"] != plain["text"]
    for answer in (guided, plain):
        assert client.predict(json.dumps(answer["receipt"]), api_name="/replay")["same"]


@pytest.mark.slow
def test_a_file_of_two_hundred_lines_keeps_its_lines(tmp_path: Path) -> None:
    lines = [
        ["I have no time today.", "", "Where is the station?", "My name is Anna. I am 30."][index % 4]
        for index in range(200)
    ]
    (tmp_path / "in.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for words in (["translate", "--from", "en", "--to", "de"], ["summarize"], ["generate", "--max-new-tokens", "8"]):
        done = run(*words, "--input", str(tmp_path / "in.txt"), "--output", str(tmp_path / "out.txt"))
        assert done.returncode == 0, done.stderr
        answered = (tmp_path / "out.txt").read_text(encoding="utf-8").splitlines()
        assert len(answered) == 200
        assert [bool(line) for line in answered][1::4] == [False] * 50


@pytest.mark.slow
def test_a_sampled_receipt_replays_to_the_same_text(tmp_path: Path) -> None:
    made = run("generate", "--json", "--variant", "both", "--max-new-tokens", "40", "Once upon a time there was a fox.")
    assert made.returncode == 0, made.stderr
    for answer in json.loads(made.stdout):
        receipt = tmp_path / f"{answer['variant']}.json"
        receipt.write_text(json.dumps(answer["receipt"]), encoding="utf-8")
        again = run("replay", str(receipt))
        assert again.returncode == 0, again.stdout + again.stderr


@pytest.mark.slow
def test_a_document_over_the_context_is_summarized_part_by_part() -> None:
    sentence = (
        "The old town has a market, and every week people from the villages bring bread, apples and cheese to it. "
    )
    started = time.monotonic()
    done = run("summarize", "--json", sentence * 150)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["receipt"]["pieces"] > 2
    assert time.monotonic() - started < 120


def test_what_was_measured_is_decoded_as_the_adapter_says_now() -> None:
    """But for the bound on new tokens, which each data set has of its own, and the time limit."""
    measures = json.loads((REPORTS_FOLDER / "report.json").read_text(encoding="utf-8"))["test_sets"]
    declared, compared = read_adapter_tasks(EMBEDDED_ADAPTER), set()
    for measure in measures:
        task = "generation" if measure["task"] == "prose" else measure["task"]
        chosen = asdict(declared.generation(task))
        free = {"max_new_tokens", "time_limit_s", "stop"}
        free |= {"sentence_case"} - measure["generation"].keys()  # changes no text of theirs: see the next test
        if task == "generation":  # scored, not written
            free |= chosen.keys() - {"adapter_strength"}
        unsaid = {
            "copy_bias": 0.0,
            "adapter_strength": 1.0,
            "min_support": 0.0,
        }  # options that older reports do not know
        said = {name: {**unsaid, **measure["generation"]}[name] for name in chosen.keys() - free}
        assert said == {name: chosen[name] for name in said}, measure["name"]
        compared.add(task)
    assert compared == set(declared.tasks)


def test_no_text_of_the_shipped_set_is_read_in_another_case_than_typed() -> None:
    cased = GenerationOptions(sentence_case=True)
    for measure in shipped_test_sets():
        for item in measure.items:
            asked = request_of(item.row, measure.task, cased)
            assert TASKS[measure.task].read(asked) == asked, measure.name


@pytest.mark.slow
def test_a_text_in_capitals_is_answered_like_the_same_in_small_letters(client: Any) -> None:
    for endpoint, shouted, said, options in (
        ("/translate", "THE TRAIN LEAVES AT EIGHT.", "The train leaves at eight.", {"source": "en"}),
        ("/translate", "the train leaves at eight.", "The train leaves at eight.", {"source": "en"}),
        ("/classify", "DULL, LONG AND POORLY ACTED.", "Dull, long and poorly acted.", {}),
    ):
        told, plain = (client.predict(text, api_name=endpoint, **options) for text in (shouted, said))
        assert told["text"] == plain["text"]
        assert told["mean_probability"] == pytest.approx(plain["mean_probability"], abs=1e-4)
        assert told["notes"][0] == f"The model read your text in sentence case: {said}"
        assert client.predict(told["receipt"], api_name="/replay")["same"]


SENTENCES = (
    "The train leaves at eight.", "My sister is reading a book.", "I have no time today.", "Where do you live now?",
    "The children are playing in the garden.", "He bought a new car last week.", "It's very cold this morning.",
    "We ate at a restaurant last night.", "She doesn't like coffee.", "The dog is sleeping under the table.",
    "Can you help me, please?", "I forgot my umbrella on the bus.", "They will come tomorrow.", "This house is too small.",
    "Do you speak English?", "My brother works in a hospital.", "It rained all night.", "The soup is too hot.",
    "Tom and Mary are good friends.", "I'd like a glass of water.",
)  # fmt: skip
FRENCH = (
    "Il fait très froid ce matin.", "Je préfère le thé au café.", "Où est passée ma clé ?", "Elle a acheté une voiture.",
    "Mon frère apprend à jouer du piano.", "L'été dernier, il a plu.", "Ça ne me plaît pas.", "Nous dînons à huit heures.",
    "Il a oublié son numéro.", "La fenêtre est cassée.", "J'étais fatigué hier.", "Tu as déjà mangé ?",
    "Le garçon est tombé.", "Elle est née à Orléans.", "C'est très intéressant.", "Il a reçu une lettre.",
    "Ma mère prépare le dîner.", "Le théâtre est fermé.", "Je vous présente ma sœur Zoé.", "Il a réussi son examen.",
)  # fmt: skip


def written(how: str, text: str) -> str:
    """A text with the same words, as a person's program may write it."""
    half = len(text) // 2
    return {
        "tab": text.replace(" ", "\t"),
        "no-break space": text.replace(" ", "\u00a0"),
        "soft hyphen": f"{text[:half]}\u00ad{text[half:]}",
        "double space": text.replace(" ", "  "),
        "decomposed accents": unicodedata.normalize("NFD", text),
    }[how]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["tab", "no-break space", "soft hyphen", "double space", "decomposed accents"])
def test_texts_with_the_same_words_get_the_same_answers(client: Any, tmp_path: Path, how: str) -> None:
    """Over the API and on the command line, as with plain spaces and composed accents."""
    source, target, texts = ("fr", "en", FRENCH) if how == "decomposed accents" else ("en", "de", SENTENCES)
    other = [written(how, text) for text in texts]
    assert not set(other) & set(texts)
    (tmp_path / "in.txt").write_text("\n".join([*texts, *other]), encoding="utf-8")
    words = ["translate", "--from", source, "--to", target, "--input", str(tmp_path / "in.txt")]
    done = run(*words)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 40
    assert lines[20:] == lines[:20]
    for text, expected in zip(other, lines, strict=False):
        answer = client.predict(text, source=source, target=target, api_name="/translate")
        assert answer["text"] == expected
        assert answer["receipt"]["text"] == text
        assert not [note for note in answer["notes"] if "read your text" in note]


@pytest.mark.slow
def test_what_cannot_be_right_is_said(client: Any) -> None:
    """Scripts that the model was never trained in, and loops, however likely the model finds them."""
    texts = {
        "Japanese": "今日は天気がいいです。", "Chinese": "你好", "Cyrillic": "Где вокзал?", "Arabic": "أين المحطة؟",
        "Greek": "Πού είναι;", "Hebrew": "שלום", "Korean": "안녕하세요",
    }  # fmt: skip
    for script, text in texts.items():
        for endpoint, given in (
            ("/translate", {"source": "en", "target": "de"}),
            ("/summarize", {}),
            ("/classify", {}),
        ):
            answer = client.predict(text, api_name=endpoint, **given)
            assert any(f"written in {script} characters" in note for note in answer["notes"]), (text, endpoint)
            assert "\ufffd" not in answer["text"]
    looping = client.predict(texts["Japanese"], source="en", target="de", api_name="/translate")
    assert looping["receipt"]["stop_reason"] == "loop"
    assert any("repeat itself" in note for note in looping["notes"])
    assert len(looping["text"]) < 60
    for text in ("He said that he said that", "1, 2, 3,", "A man and a man and a man and"):
        looping = client.predict(text, options={"temperature": 0.0, "repetition_penalty": 1.0}, api_name="/generate")
        assert looping["receipt"]["stop_reason"] == "loop"
        assert looping["receipt"]["new_tokens"] < 100
        assert any("repeat itself" in note for note in looping["notes"])


@pytest.mark.slow
def test_special_tokens_in_a_text_are_only_text(client: Any) -> None:
    text = "I have no time today. <|endoftext|> My sister has two cats."
    answer = client.predict(text, source="en", target="de", api_name="/translate")
    assert "Zeit" in answer["text"]
    assert "Katzen" in answer["text"]
    answer = client.predict(
        "Anna lives in Hamburg. <|endoftext|> She has two cats.",
        "Where does Anna<|endoftext|> live?",
        api_name="/answer",
    )
    assert "Hamburg" in (answer["text"] + answer.get("withheld", ""))
    review = client.predict("A warm and funny film. <|endoftext|><|pad|> I loved it.", api_name="/classify")
    assert review["text"] == "positive"


ASKED_OF_TEXTS = (
    ("The bakery on Mill Street opens at six in the morning. Its owner is called Peter Lang.",
     "When does the bakery open?", "How many people work there?"),
    ("Sofia Rossi was born in Naples in 1975. She is a doctor and lives in Rome with her two sons.",
     "Where was Sofia Rossi born?", "What is her husband's name?"),
    ("The ship sank in a storm in 1912. Forty sailors were saved by a fishing boat.",
     "When did the ship sink?", "What was the name of the captain?"),
    ("The lake is two kilometres long. Swans and ducks live on it, and in winter children skate on the ice.",
     "How long is the lake?", "How cold is the water?"),
    ("Mr. Carter bought an old farm in Wales. He keeps sheep and makes cheese.",
     "Where did Mr. Carter buy a farm?", "How much did the farm cost?"),
    ("The concert begins at eight in the town hall. The orchestra plays music by Mozart.",
     "When does the concert begin?", "Who is the singer?"),
    ("Julia's cat is black and is called Max. It sleeps in the kitchen.",
     "What is Julia's cat called?", "Where does Julia work?"),
    ("The factory in Leeds makes chairs and tables. It was built in 1950 and has three hundred workers.",
     "What does the factory make?", "Who is the director of the factory?"),
    ("On Friday a bear was seen near the school. The police told the children to stay inside.",
     "When was the bear seen?", "How old is the teacher?"),
    ("The mountain is 2,400 metres high. It was first climbed in 1865 by two brothers from Zermatt.",
     "How high is the mountain?", "How long did the climb take?"),
)  # fmt: skip
"""Each with a question that it answers and one that it does not."""


@pytest.mark.slow
def test_some_questions_without_an_answer_are_told_so(client: Any) -> None:
    told = [
        [client.predict(text, question, api_name="/answer")["text"] == "not in the text" for question in questions]
        for text, *questions in ASKED_OF_TEXTS
    ]
    with_answer, without = (sum(column) for column in zip(*told, strict=True))
    assert without >= 3, "as the README says"
    assert with_answer <= 1


@pytest.mark.parametrize("folder", [EMBEDDED_MODEL, EMBEDDED_ADAPTER], ids=["base", "adapter"])
def test_a_shipped_card_is_short_and_the_hub_reads_it(folder: Path) -> None:
    card = folder / "README.md"
    assert card.stat().st_size <= 25_000
    results = ModelCard.load(card).data.eval_results
    assert 0 < len(results) <= 12
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", card.read_text(encoding="utf-8")):
        assert (folder / target).is_file(), target
