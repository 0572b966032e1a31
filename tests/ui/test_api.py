"""The endpoints, as a client calls them."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from phi2demo.tasks import TASKS
from phi2demo.ui.api import Endpoints
from phi2demo.ui.compare_handlers import CompareEndpoint
from phi2demo.ui.evaluate_handlers import EvaluateEndpoint
from phi2demo.ui.explain_api import ExplainEndpoint
from phi2demo.ui.files import MAX_BYTES
from tests.browser.conftest import served


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    from gradio_client import Client

    with served("--delay", "0.02") as url:
        client = Client(url, verbose=False, analytics_enabled=False)
        yield client
        client.close()


@pytest.fixture(scope="module")
def error() -> type[Exception]:
    from gradio_client.exceptions import AppError

    return AppError


def test_every_task_is_an_endpoint_with_a_description(client: Any) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    tasks = ["/generate", "/summarize", "/translate", "/classify", "/answer"]
    assert list(endpoints) == [*tasks, "/replay", "/compare", "/explain", "/evaluate", "/card"]
    for endpoint in endpoints.values():
        assert endpoint["description"]


def test_every_parameter_and_what_comes_back_is_described() -> None:
    from gradio.utils import get_function_description

    answering = [getattr(Endpoints, TASKS[task].command) for task in TASKS]
    others = [Endpoints.replay, CompareEndpoint.compare, ExplainEndpoint.explain, EvaluateEndpoint.evaluate]
    for endpoint in (*answering, *others):
        description, parameters, returns = get_function_description(endpoint)
        assert description
        assert "\n" not in description
        assert [name for name, words in parameters.items() if not words.endswith(".")] == ["self"]
        assert len(returns) == 1
    described = get_function_description(Endpoints.answer)
    assert all(name in described[1]["options"] for name in ("num_beams", "min_support", "sentence_case"))
    assert "withheld: an answer that" in described[2][0]


def test_each_endpoint_gives_text_with_its_receipt(client: Any) -> None:
    for name, inputs in {
        "generate": {"text": "Once"},
        "summarize": {"text": "A long story.", "length": "short"},
        "translate": {"text": "Good morning.", "source": "en", "target": "fr"},
        "classify": {"text": "a great film"},
        "answer": {"text": "It opens at ten.", "question": "When?"},
    }.items():
        answer = client.predict(**inputs, api_name=f"/{name}")
        assert answer["text"] == answer["receipt"]["output"]
        assert answer["receipt"]["text"] == inputs["text"]
        assert answer["variant"] == "finetuned"
        assert isinstance(answer["notes"], list)
    assert client.predict("a great film", api_name="/classify")["probabilities"]["positive"] > 0.9


def test_a_declared_task_is_an_endpoint_and_can_be_compared_and_explained(error: type[Exception]) -> None:
    from gradio_client import Client

    with served("--own", "--delay", "0.02") as url:
        client = Client(url, verbose=False, analytics_enabled=False)
        endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
        assert list(endpoints) == [
            "/translate", "/ask_urgency", "/replay", "/compare", "/explain", "/evaluate", "/card"
        ]  # fmt: skip
        taken = {item["parameter_name"]: item["type"] for item in endpoints["/ask_urgency"]["parameters"]}
        assert taken["team"] == {"enum": ["support", "sales", "building"]}
        answer = client.predict("The lift is stuck.", team="building", days=3, api_name="/ask_urgency")
        assert answer["receipt"]["options"] == {"team": "building", "days": 3}
        assert client.predict(answer["receipt"], api_name="/replay")["same"]
        asked: dict[str, Any] = {"task": "urgency", "task_options": {"days": 4}}
        compared = client.predict("The lift is stuck.", reference="High", **asked, api_name="/compare")
        assert compared["options"] == {"team": "support", "days": 4}
        assert compared["reference"] == "high"
        explained = client.predict("The lift is stuck.", "high", trust=False, **asked, api_name="/explain")
        assert "".join(unit["text"] for unit in explained["units"]["items"]) == "The lift is stuck."
        with pytest.raises(error, match="days is 31; give a whole number from 0 to 30"):
            client.predict("The lift is stuck.", days=31, api_name="/ask_urgency")
        client.close()


def test_the_card_is_markdown(client: Any, error: type[Exception]) -> None:
    assert client.predict(api_name="/card").startswith("---\nlicense: mit\n")
    assert "# Model Card for assets/model" in client.predict(variant="base", api_name="/card")
    with pytest.raises(error, match="choose one of finetuned, base"):
        client.predict(variant="other", api_name="/card")


def test_both_gives_a_list(client: Any) -> None:
    answers = client.predict(text="Once", variant="both", seed=7, api_name="/generate")
    assert [answer["variant"] for answer in answers] == ["finetuned", "base"]
    assert {answer["receipt"]["seed"] for answer in answers} == {7}


def test_the_base_is_asked_as_said(client: Any, error: type[Exception]) -> None:
    for given, prompt_style in (
        ({}, "template"),
        ({"base_prompt_style": "plain"}, "plain"),
        ({"base_prompt_style": "template"}, "template"),
    ):
        answer = client.predict("Good morning.", variant="base", **given, api_name="/translate")
        assert answer["receipt"]["prompt_style"] == prompt_style
        compared = client.predict("Good morning.", task="translate", **given, api_name="/compare")
        assert {item["variant"]: item["receipt"]["prompt_style"] for item in compared["answers"]}[
            "base"
        ] == prompt_style
        explained = client.predict(
            "Good morning.", "Guten Morgen.", task="translate", of="base", trust=False, **given, api_name="/explain"
        )
        assert explained["base_prompt_style"] == prompt_style
    with pytest.raises(error, match="base_prompt_style is 'other'"):
        client.predict("Good morning.", variant="base", base_prompt_style="other", api_name="/translate")


def test_a_comparison_has_every_answer_with_its_scores(client: Any) -> None:
    result = client.predict(
        "Good morning.",
        task="translate",
        task_options={"source": "en", "target": "fr"},
        reference="Bonjour.",
        seed=7,
        api_name="/compare",
    )
    assert [answer["variant"] for answer in result["answers"]] == ["base", "finetuned"]
    assert all([score["name"] for score in answer["scores"]] == ["chrf", "bleu"] for answer in result["answers"])
    assert [(item["from"], item["to"]) for item in result["differences"]] == [
        ("base", "finetuned"), ("reference", "base"), ("reference", "finetuned"),
    ]  # fmt: skip


def test_options_reach_the_model(client: Any) -> None:
    answer = client.predict(text="a b c d e f", options={"max_new_tokens": 3}, api_name="/generate")
    assert answer["receipt"]["new_tokens"] == 3


def test_a_receipt_replays(client: Any) -> None:
    import json

    receipt = client.predict(text="Once", api_name="/generate")["receipt"]
    again = client.predict(json.dumps(receipt), api_name="/replay")
    assert client.predict(receipt, api_name="/replay")["text"] == again["text"]
    assert again["same"] is True
    assert again["text"] == receipt["output"]


def test_a_receipt_of_an_unknown_variant_is_refused(client: Any, error: type[Exception]) -> None:
    receipt = client.predict(text="Once", api_name="/generate")["receipt"]
    with pytest.raises(error, match="of the variant 'dancing'; its model has finetuned, base"):
        client.predict(receipt | {"variant": "dancing"}, api_name="/replay")


def test_partial_answers_stream(client: Any) -> None:
    job = client.submit(text=" ".join(f"word{index}" for index in range(50)), api_name="/generate")
    last = job.result()
    partial = job.outputs()[:-1]
    assert partial
    assert partial[0]["receipt"] is None
    assert last["text"].endswith("word49")


@pytest.mark.parametrize(
    ("name", "inputs", "says"),
    [
        ("generate", {"text": "x", "options": {"temperature": 9}}, "temperature is 9"),
        ("generate", {"text": "x", "options": {"warmth": 1}}, "options has 'warmth'"),
        ("generate", {"text": "x", "options": [1]}, "options is \\[1\\]"),
        ("generate", {"text": "x", "options": {"top_k": "many"}}, "top_k is 'many'"),
        ("generate", {"text": "x", "seed": -1}, "seed is -1"),
        ("generate", {"text": "x", "seed": "one"}, "seed is 'one'"),
        (
            "generate",
            {"text": "x", "variant": "most"},
            "There is no model 'most' here; choose one of finetuned, base, both, all",
        ),
        ("generate", {"text": "x", "variant": ["base"]}, "There is no model \\['base'\\] here"),
        ("generate", {"text": "x", "mode": "sing"}, "mode is 'sing'"),
        ("generate", {"text": " "}, "is empty"),
        ("generate", {"text": None}, "give a string"),
        ("generate", {"text": "a\x00b"}, "NUL bytes"),
        ("generate", {"text": "a" * MAX_BYTES}, "at most 1,000,000"),
        ("translate", {"text": "x", "source": "en", "target": "en"}, "Both languages are English"),
        ("translate", {"text": "x", "source": ["en"], "target": "de"}, "source language is"),
        ("answer", {"text": "x", "question": ""}, "question is empty"),
        ("replay", {"receipt": "words"}, "not a receipt"),
        ("compare", {"text": "x", "task": "sing"}, "task is 'sing'"),
        ("compare", {"text": "x", "task": "classify", "reference": "so so"}, "positive or negative"),
        ("explain", {"text": " "}, "The text is empty"),
        ("explain", {"text": "x", "output": " "}, "The output is empty"),
        ("explain", {"text": "x", "output": "a\x00b"}, "NUL bytes"),
        ("explain", {"text": "x", "output": "y", "task": "sing"}, "task is 'sing'"),
        ("explain", {"text": "x", "output": "y", "task_options": {"warmth": 1}}, "task_options has 'warmth'"),
        ("explain", {"text": "x", "output": "y", "task_options": [1]}, "task_options is \\[1\\]"),
        ("explain", {"text": "x", "output": "y", "of": "all"}, "There is no adapter 'all' here"),
        ("explain", {"text": "x", "of": "all"}, "There is no adapter 'all' here"),
        ("explain", {"text": "x", "output": "y", "target": [3]}, "target is \\(3,\\)"),
        ("explain", {"text": "x", "output": "y", "target": [5, 6]}, "the output has 1 tokens"),
        ("explain", {"text": "x", "output": "y", "max_evals": 1}, "max_evals is 1"),
        ("explain", {"text": "x", "output": "y", "method": "tarot"}, "method is 'tarot'"),
        ("explain", {"text": "word " * 1100, "output": "y"}, "Explain a shorter part|Shorten it"),
        ("generate", {"text": "explode"}, "Something went wrong on our side"),
    ],
)
def test_what_cannot_be_answered_says_why(
    client: Any, error: type[Exception], name: str, inputs: dict[str, Any], says: str
) -> None:
    with pytest.raises(error, match=says):
        client.predict(**inputs, api_name=f"/{name}")


def test_four_at_once_get_their_own(client: Any) -> None:
    def call(index: int) -> tuple[str, str]:
        variant = ("finetuned", "base")[index % 2]
        return variant, client.predict(text=f"text {index}", variant=variant, seed=0, api_name="/generate")["text"]

    with ThreadPoolExecutor(4) as pool:
        for index, (variant, text) in enumerate(pool.map(call, range(4))):
            assert text == f"{variant} 0: text {index}"


def test_a_cancelled_call_frees_the_model(client: Any) -> None:
    job = client.submit(text="word " * 1000, options={"max_new_tokens": 1000}, api_name="/generate")
    time.sleep(1)
    job.cancel()
    started = time.monotonic()
    client.predict(text="next", api_name="/generate")
    assert time.monotonic() - started < 5


def test_an_explanation_has_a_value_for_every_unit(client: Any) -> None:
    result = client.predict(text="The train leaves.", output="train", units="words", max_evals=64, api_name="/explain")
    assert [unit["text"] for unit in result["units"]["items"]] == ["The", " train", " leaves."]
    values = [unit["value"] for unit in result["units"]["items"]]
    assert max(values) == values[1]
    assert result["output"] == " train"
    assert result["trust"]["calls"] > 0
    assert result["of"] == "finetuned"


def test_without_an_output_the_model_is_asked_first(client: Any) -> None:
    result = client.predict(
        text="It opens at ten.",
        task="answer",
        task_options={"question": "When?"},
        of="difference",
        target=[1, 2],
        units="words",
        trust=False,
        api_name="/explain",
    )
    assert result["task"] == "question_answering"
    assert result["target"] == [1, 2]
    assert len(result["tokens"]) == 1
    assert result["options"] == {"question": "When?"}
    assert result["trust"]["deletion"] is None


def test_own_pairs_are_measured(client: Any, error: type[Exception]) -> None:
    rows = [{"text": "a great film", "label": "positive"}, {"text": "a dull film", "label": "positive"}]
    job = client.submit(rows, task="classify", systems=["finetuned", "base_template"], api_name="/evaluate")
    result = job.result()
    (test_set,) = result["report"]["test_sets"]
    assert result["complete"] is True
    assert (test_set["name"], test_set["n"]) == ("sentiment.own", 2)
    assert test_set["figures"][0]["scores"]["finetuned"]["score"] == 50.0
    assert [answer["outputs"]["finetuned"] for answer in result["answers"]] == ["positive", "negative"]
    for wrong, says in (
        ({"rows": [{"text": "x"}], "task": "classify"}, "Row 1: label is missing"),
        ({"rows": [], "task": "classify"}, "at least one"),
        ({"rows": rows, "task": "generate"}, "task is 'generation'"),
        ({"rows": rows, "task": "classify", "systems": ["best"]}, "at least one of finetuned"),
        ({"rows": [{"source": "a", "target": "b"}], "target": "en"}, "both 'en'"),
        ({"rows": [{"source": "a", "target": "b"}], "target": "xx"}, "target is 'xx'"),
    ):
        with pytest.raises(error, match=says):
            client.predict(**wrong, api_name="/evaluate")


def test_no_call_takes_longer_than_one_request_may(error: type[Exception]) -> None:
    from gradio_client import Client

    with served("--delay", "0.01") as url:
        receipt = Client(url, verbose=False, analytics_enabled=False).predict("Good morning.", api_name="/translate")[
            "receipt"
        ]
    assert receipt["generation"]["time_limit_s"] == 1800
    with served("--delay", "0.01", "--time-limit", "3") as url:
        client = Client(url, verbose=False, analytics_enabled=False)
        for name in ("generate", "summarize", "translate", "answer", "compare"):
            inputs = {"text": "Good morning."} | ({"question": "When?"} if name == "answer" else {})
            answer = client.predict(**inputs, api_name=f"/{name}")
            made = answer["answers"][0] if name == "compare" else answer
            assert made["receipt"]["generation"]["time_limit_s"] == 3
            with pytest.raises(error, match="time_limit_s is 4; one request may take at most 3 seconds here"):
                client.predict(**inputs, options={"time_limit_s": 4}, api_name=f"/{name}")
        again = client.predict(receipt, api_name="/replay")
        assert (again["same"], again["receipt"]["generation"]["time_limit_s"]) == (True, 3)
        text = " ".join(f"word{index}" for index in range(60))
        for output in ({"output": "word3"}, {}):
            with pytest.raises(error, match="Allow fewer masked texts"):
                client.predict(text, **output, method="lime", max_evals=20_000, api_name="/explain")
        client.close()
