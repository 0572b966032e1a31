"""The app over SmolLM2 and the adapter that was trained on it: page, endpoints, explanation, evaluation, and other tasks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phi2demo.commands import ask
from phi2demo.settings import ASSETS
from tests.browser.test_page import answer as shown_answer
from tests.browser.test_page import ask as fill_and_run
from tests.browser.test_page import open_tab, status, until
from tests.servers import serving

pytestmark = pytest.mark.real

ADAPTER = ASSETS / "adapters" / "smollm2-135m"
REVIEW = "A warm and funny film that I would gladly see again."
TEXT = "The old town has a market. People from the villages bring bread, apples and cheese to it every Saturday."


@pytest.fixture(scope="module")
def url(smollm2: Path) -> Iterator[str]:
    with serving(["app.py", "--model", str(smollm2), "--adapter", str(ADAPTER)]) as server:
        yield server.url


@pytest.fixture(scope="module")
def client(url: str) -> Any:
    from gradio_client import Client

    return Client(url, verbose=False)


def test_finetuned_and_base_answer_through_the_tokenizers_chat_template(client: Any) -> None:
    for answer in client.predict(TEXT, variant="both", api_name="/summarize"):
        assert answer["text"].strip()
        receipt = answer["receipt"]
        assert receipt["template"] == "chat"
        assert receipt["prompt"].startswith("<|im_start|>system\n")
        assert receipt["prompt"].endswith(f"{TEXT}<|im_end|>\n<|im_start|>assistant\n")
        assert receipt["stop_reason"] == "end"


def test_each_task_of_the_adapter_is_answered(client: Any) -> None:
    assert client.predict(REVIEW, api_name="/classify")["text"] == "positive"
    answer = client.predict(TEXT, question="When is the market?", api_name="/answer")
    assert "Saturday" in answer["text"]
    replayed = client.predict(answer["receipt"], api_name="/replay")
    assert replayed["same"]


def test_an_answer_is_explained(client: Any) -> None:
    explanation = client.predict(REVIEW, task="classify", units="words", max_evals=64, trust=False, api_name="/explain")
    assert "".join(unit["text"] for unit in explanation["units"]["items"]) == REVIEW
    total = sum(map(sum, explanation["values"]))
    assert total == pytest.approx(explanation["full_value"] - explanation["base_value"], abs=1e-3)


def test_rows_of_ones_own_are_measured(client: Any) -> None:
    rows = [{"text": REVIEW, "label": "positive"}, {"text": "A dull and endless film.", "label": "negative"}]
    measured = client.predict(rows, task="classify", systems=["finetuned", "base_template"], api_name="/evaluate")
    assert measured["complete"]
    assert len(measured["answers"]) == 2


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["generate", "Write one sentence about a dog.", "--mode", "instruct"], "generation"),
        (["translate", "The dog sleeps.", "--from", "en", "--to", "de"], "translation"),
    ],
)
def test_what_the_adapter_was_not_finetuned_for_is_no_endpoint_and_is_told(
    command: list[str], name: str, client: Any, smollm2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert {"/classify", f"/{command[0]}"} & endpoints.keys() == {"/classify"}
    model = ["--model", str(smollm2), "--adapter", str(ADAPTER), "--max-new-tokens", "24", "--variant", "both"]
    assert ask.main(command[0], [*command[1:], *model, "--json"]) == 0
    finetuned, base = json.loads(capsys.readouterr().out)
    assert f"This adapter was not finetuned for {name}." in finetuned["notes"]
    assert f"This adapter was not finetuned for {name}." not in base["notes"]
    assert finetuned["text"].strip()
    assert base["text"].strip()


def test_a_person_asks_on_the_page(new_page: Any, url: str) -> None:
    page = new_page(url)
    titles = [tab.inner_text().strip() for tab in page.get_by_role("tab").all()]
    assert titles == ["Summarize", "Sentiment", "Ask", "Compare", "Explain", "Evaluate", "Model"]
    open_tab(page, "Sentiment")
    fill_and_run(page, REVIEW)
    until(lambda: status(page) == "Done", timeout_s=60)
    assert shown_answer(page) == "positive"
    open_tab(page, "Ask")
    page.get_by_label("Your question").fill("When is the market?")
    fill_and_run(page, TEXT)
    until(lambda: status(page) == "Done", timeout_s=60)
    assert "Saturday" in shown_answer(page)
