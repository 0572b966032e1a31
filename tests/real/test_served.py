"""The app over SmolLM2 and the adapter that was trained on it: every tab's endpoint, the explanation, the evaluation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phi2demo.settings import ASSETS
from tests.servers import serving

pytestmark = pytest.mark.real

ADAPTER = ASSETS / "adapters" / "smollm2-135m"
REVIEW = "A warm and funny film that I would gladly see again."
TEXT = "The old town has a market. People from the villages bring bread, apples and cheese to it every Saturday."


@pytest.fixture(scope="module")
def client(smollm2: Path) -> Iterator[Any]:
    from gradio_client import Client

    with serving(["app.py", "--model", str(smollm2), "--adapter", str(ADAPTER)]) as server:
        yield Client(server.url, verbose=False)


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
