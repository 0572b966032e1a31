""""""

from dataclasses import replace

import pytest

from phi2demo.cards.facts import Author
from phi2demo.cards.metadata import apa, bibtex, stated_apa, stated_bibtex
from tests.cards.reports import ADAPTER, BASE

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
    found = bibtex(ON_HUB, Author("Example, Ada and Muster & Co.", year=None))
    assert found.startswith("@misc{phi2-lora,\n  author = {Example, Ada and {Muster \\& Co.}},")
    assert "title = {someone/phi\\_2-lora}" in found
    assert r"howpublished = {\url{https://huggingface.co/someone/phi_2-lora}}" in found
    assert "year" not in found


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


def test_a_card_that_says_how_to_cite_it_is_taken_at_its_word() -> None:
    fence = "```bibtex\n@article{a,\n  title={B}\n}\n```"
    body = f"## Citation\n\n**BibTeX:**\n\n{fence}\n\n**APA:**\n\nA. (2020). *B*.\nC.\n\n## Next"
    assert stated_bibtex(body) == "@article{a,\n  title={B}\n}"
    assert stated_apa(body) == "A. (2020). *B*. C."


@pytest.mark.parametrize("rest", ["", "[More Information Needed]\n\n## Next", "## Next"])
def test_a_card_that_does_not_says_nothing(rest: str) -> None:
    assert stated_apa(f"**APA:**\n\n{rest}") is None
    assert stated_bibtex("```python\nprint(1)\n```") is None
