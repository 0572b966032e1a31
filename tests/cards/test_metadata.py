""""""

from dataclasses import replace
from typing import Any

import pytest

from phi2demo.cards.facts import Author, Facts
from phi2demo.cards.metadata import apa, bibtex, prompt, snippet, stated_apa, stated_bibtex, template_line
from phi2demo.engine.engine import ChatTemplate
from phi2demo.tasks.templates import Template, make_template
from tests.cards.reports import ADAPTER, BASE, adapter_facts, base_facts

ON_HUB = replace(ADAPTER, name="someone/phi_2-lora", hub_id="someone/phi_2-lora")


def test_bibtex_of_a_group() -> None:
    assert bibtex(BASE, Author("The phi2demo authors", year=2026)) == (
        "@misc{model2026,\n"
        "  author = {{The phi2demo authors}},\n"
        "  title = {assets/model},\n"
        "  year = {2026},\n"
        "  note = {Language model}\n"
        "}"
    )


def test_bibtex_of_persons_on_the_hub_with_what_tex_would_read_otherwise() -> None:
    result = bibtex(ON_HUB, Author("Example, Ada and Muster & Co.", year=None))
    assert result.startswith("@misc{phi2-lora,\n  author = {Example, Ada and {Muster \\& Co.}},")
    assert "title = {someone/phi\\_2-lora}" in result
    assert r"howpublished = {\url{https://huggingface.co/someone/phi_2-lora}}" in result
    assert "year" not in result


@pytest.mark.parametrize(
    ("name", "year", "cited"),
    [
        ("The phi2demo authors", 2026, "The phi2demo authors. (2026). *assets/model* [Language model]."),
        ("Example, Ada Mary", 2026, "Example, A. M. (2026). *assets/model* [Language model]."),
        ("Example, Ada and Muster, Max", 2025, "Example, A., & Muster, M. (2025). *assets/model* [Language model]."),
        ("A, B and C, D and Some Lab", 2025, "A, B., C, D., & Some Lab. (2025). *assets/model* [Language model]."),
        ("", None, "*assets/model* [Language model]. (n.d.)."),
    ],
)
def test_apa(name: str, year: int | None, cited: str) -> None:
    assert apa(BASE, Author(name, year=year)) == cited


def test_apa_names_the_hub_as_publisher() -> None:
    assert apa(ON_HUB, Author("someone", year=None)) == (
        "someone. (n.d.). *someone/phi_2-lora* [LoRA adapter of a language model]. Hugging Face. "
        "https://huggingface.co/someone/phi_2-lora"
    )


def with_template(template: Template, **changes: Any) -> Facts:
    return adapter_facts(model=replace(ADAPTER, template=template, **changes))


def test_the_snippet_prompts_in_the_template_of_the_adapter() -> None:
    template = replace(make_template("alpaca"), reason="declared by the adapter's tasks.json")
    facts = with_template(template)
    assert template_line(facts) == "Alpaca, declared by the adapter's tasks.json"
    assert prompt(facts).endswith(
        "### Instruction:\nTranslate the following text from English to German.\n\n"
        "### Input:\nThe children are playing in the garden.\n\n### Response:\n"
    )
    assert prompt(with_template(make_template("chatml"))).startswith("<|im_start|>user\nTranslate")


def test_the_snippet_of_a_chat_model_uses_the_tokenizers_own_template() -> None:
    chat = ChatTemplate("{prompt}\n", "{system}\n{prompt}\n")
    text = snippet(with_template(make_template("chat", "Be brief.", chat)))
    assert '{"role": "system", "content": "Be brief."}' in text
    assert "tokenizer.apply_chat_template(" in text
    assert "prompt =" not in text
    compile(text, "snippet", "exec")


def test_a_base_of_this_package_knows_no_template() -> None:
    assert template_line(base_facts()) == "Plain text, as in its pretraining"
    assert "German:" in snippet(
        base_facts(model=replace(BASE, template=make_template("chat", chat=ChatTemplate("{prompt}"))))
    )


def test_a_card_that_says_how_to_cite_it_is_taken_at_its_word() -> None:
    fence = "```bibtex\n@article{a,\n  title={B}\n}\n```"
    body = f"## Citation\n\n**BibTeX:**\n\n{fence}\n\n**APA:**\n\nA. (2020). *B*.\nC.\n\n## Next"
    assert stated_bibtex(body) == "@article{a,\n  title={B}\n}"
    assert stated_apa(body) == "A. (2020). *B*. C."


@pytest.mark.parametrize("rest", ["", "[More Information Needed]\n\n## Next", "## Next"])
def test_a_card_that_does_not_says_nothing(rest: str) -> None:
    assert stated_apa(f"**APA:**\n\n{rest}") is None
    assert stated_bibtex("```python\nprint(1)\n```") is None
