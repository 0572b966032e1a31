""""""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, ModelCardData

from phi2demo.cards.model_cards import FILE, MAX_BYTES, ModelCards, Place, read_card, split_front_matter
from phi2demo.commands.card import main
from phi2demo.engine.planning import plan
from phi2demo.errors import SettingsError
from phi2demo.settings import EMBEDDED_ADAPTER, EMBEDDED_MODEL, ModelSettings
from tests.cards.reports import ADAPTER, adapter_facts, base_facts


def place(folder: Path, text: str | None = None) -> Place:
    if text is not None:
        (folder / FILE).write_text(text, encoding="utf-8")
    return Place(folder, lambda recorded: adapter_facts())


def test_the_card_in_the_folder_is_shown_as_it_is(tmp_path: Path) -> None:
    card = read_card("finetuned", place(tmp_path, "---\nlicense: mit\n---\n# Mine\n\nText.\n"))
    assert (card.is_generated, card.body, card.data.license, card.notes) == (False, "# Mine\n\nText.\n", "mit", ())
    assert card.facts.license == "mit"


@pytest.mark.parametrize("text", [None, "", "---\nlicense: mit\n---\n", "  \n"])
def test_without_a_text_a_card_is_made_that_the_hub_can_read(text: str | None, tmp_path: Path) -> None:
    card = read_card("finetuned", place(tmp_path, text))
    assert card.is_generated
    assert card.body.startswith("# Model Card for assets/adapter")
    path = tmp_path / "made.md"
    path.write_text(card.text, encoding="utf-8")
    assert ModelCard.load(path).data.license == ("mit" if text and "mit" in text else "unknown")
    picture = card.picture("loss.svg")
    assert picture is not None
    assert picture.data.startswith(b"<svg")


def test_an_unfilled_template_is_not_shown(tmp_path: Path) -> None:
    """A template with a line of its author's text is shown."""
    template = str(ModelCard.from_template(ModelCardData(base_model="base", license="mit"), model_id="x"))
    card = read_card("finetuned", place(tmp_path, f"{template}\n- PEFT 0.21.2\n"))
    assert card.is_generated
    assert "is a card template that was not filled in" in card.notes[0]
    assert card.facts.license == "mit"
    own = (
        "It was trained on letters of my grandmother, who wrote four hundred of them, and it answers as she would have."
    )
    assert not read_card("finetuned", place(tmp_path, f"{template}\n{own}\n")).is_generated


def test_no_author_is_claimed_for_other_folders(tmp_path: Path) -> None:
    body = read_card("finetuned", place(tmp_path)).body
    assert "**Developed by:** Not stated" in body
    assert "Ada Example" not in body
    on_hub = Place(tmp_path, lambda recorded: adapter_facts(model=replace(ADAPTER, hub_id="someone/lora")))
    assert "**Developed by:** someone" in read_card("finetuned", on_hub).body


def test_a_generated_card_equals_that_of_the_command(tiny_adapter: Path, tmp_path: Path) -> None:
    """Except for the author, whom the command gets as an option."""
    settings = ModelSettings(adapter=str(tiny_adapter))
    made = ModelCards.of_plan(plan(settings)).card("finetuned")
    assert made.is_generated
    written = ["--adapter", str(tiny_adapter), "--author", "", "--contact", "Not stated.", "--output", str(tmp_path)]
    assert main("card", written) == 0
    told = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert made.text.split("## Citation")[0] == told.split("## Citation")[0]
    assert "Not measured" in made.body
    assert "more information needed" not in made.body.lower()


def test_each_model_has_its_card(tiny_adapter: Path, tiny_base: Path, tiny_second: Path) -> None:
    both = ModelSettings(adapter=str(tiny_adapter), other_adapters=(str(tiny_second),))
    model_cards = ModelCards.of_plan(plan(both))
    assert model_cards.variants == ("finetuned", "base", "tiny-second")
    assert [model_cards.card(variant).facts.model.name for variant in model_cards.variants] == [
        "tiny-adapter",
        "tiny-base",
        "tiny-second",
    ]
    assert model_cards.card("base") is model_cards.card("base")
    bare = ModelCards.of_plan(plan(ModelSettings(model=str(tiny_base))))
    assert bare.variants == ("base",)
    with pytest.raises(SettingsError, match="There is no card of 'finetuned'; choose one of base"):
        bare.card("finetuned")


def test_the_embedded_pair_shows_the_cards_that_lie_in_its_folders() -> None:
    model_cards = ModelCards.of_plan(plan(ModelSettings()))
    for variant, folder in (("finetuned", EMBEDDED_ADAPTER), ("base", EMBEDDED_MODEL)):
        card = model_cards.card(variant)
        assert card.text == (folder / FILE).read_text(encoding="utf-8")
        assert card.data.eval_results
        assert card.picture("loss.svg")


def test_unreadable_front_matter_is_reported_and_the_text_shown(tmp_path: Path) -> None:
    card = read_card("finetuned", place(tmp_path, "---\nlicense: [\n---\n# Mine\n"))
    assert card.body == "# Mine\n"
    assert card.data.license is None
    assert "front matter of README.md cannot be read" in card.notes[0]


def test_a_broken_model_index_does_not_hide_the_card(tmp_path: Path) -> None:
    card = read_card("finetuned", place(tmp_path, "---\nmodel-index: 3\n---\n# Mine\n"))
    assert card.body == "# Mine\n"


def test_a_malformed_record_is_reported_and_the_rest_shown(tiny_base: Path, tmp_path: Path) -> None:
    for path in tiny_base.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "pretraining.json").write_text(json.dumps({"stages": [3]}))
    card = ModelCards.of_plan(plan(ModelSettings(model=str(tmp_path)))).card("base")
    assert card.is_generated
    assert "pretraining.json is no training record" in card.notes[0]


def test_only_pictures_of_the_folder_are_shown(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.svg").write_text("<svg>secret</svg>")
    (folder / "link.svg").symlink_to(tmp_path / "secret.svg")
    (folder / "notes.txt").write_text("a text")
    (folder / "big.png").write_bytes(b"0" * (MAX_BYTES + 1))
    (folder / "good.PNG").write_bytes(b"picture")
    card = read_card("finetuned", place(folder, "# Mine"))
    result = card.picture("good.PNG")
    assert result is not None
    assert (result.media_type, result.data) == ("image/png", b"picture")
    for name in (
        "link.svg",
        "../secret.svg",
        str(tmp_path / "secret.svg"),
        "notes.txt",
        "big.png",
        "none.svg",
        "\0.svg",
    ):
        assert card.picture(name) is None, name


def test_a_card_that_links_out_of_its_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("# secret")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / FILE).symlink_to(tmp_path / "secret.md")
    assert "secret" not in read_card("finetuned", place(folder)).text


def test_the_hub_cache_keeps_its_files_as_links(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (blobs / "1234").write_text("# From the hub\n")
    (snapshot / FILE).symlink_to(Path("../../blobs/1234"))
    assert read_card("finetuned", place(snapshot)).body == "# From the hub\n"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("---\na: 1\n---\n# T", ("a: 1\n", "# T")),
        ("\ufeff---\r\na: 1\r\n---\r\n\r\n# T", ("a: 1\r\n", "# T")),
        ("# T\n\n---\n\nb\n\n---\n", ("", "# T\n\n---\n\nb\n\n---\n")),
        ("---\n---\n# T", ("", "# T")),
        ("---\nnot ended", ("", "---\nnot ended")),
    ],
)
def test_front_matter(text: str, parts: tuple[str, str]) -> None:
    assert split_front_matter(text) == parts


def test_cards_of_several_bases_do_not_mix() -> None:
    folder = Path("/nowhere")
    model_cards = ModelCards({"base": Place(folder, lambda recorded: base_facts())})
    assert model_cards.card("base").facts.model.name == "assets/model"
