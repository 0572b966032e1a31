"""The cards of a model as it is loaded: that in its folder, and where there is none, one made on the spot."""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from phi2demo.cards.card import make_card
from phi2demo.cards.facts import Author, Facts
from phi2demo.cards.gather import facts_of
from phi2demo.engine.engine import Variant
from phi2demo.engine.planning import ModelPlan
from phi2demo.errors import DataError, SettingsError
from phi2demo.settings import ASSETS

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

FILE = "README.md"
MAX_BYTES = 1_000_000
"""Of a card or a picture; what is longer is none."""
MEDIA_TYPES = {
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
"""Of pictures, by ending."""
MISSING = "more information needed"
"""What the hub's template says where nothing was filled in."""
_OF_TEMPLATE = re.compile(
    r"#|\*\*[^*]+\*\*:?$|- (\*\*.+\*\*|PEFT \d)|Use the code below to get|Carbon emissions can be estimated using"
)
"""Its own lines."""


@dataclass(frozen=True)
class Picture:
    """A picture of a card."""

    media_type: str
    data: bytes


@dataclass(frozen=True)
class ShownCard:
    """One card, as it is shown."""

    variant: Variant
    text: str
    """Markdown, front matter included."""
    body: str
    """Without it."""
    data: "ModelCardData"
    """What the front matter says; empty where it cannot be read."""
    facts: Facts
    """Of the model's own files."""
    made: bool
    """On the spot, because the model's folder has none."""
    notes: tuple[str, ...] = ()
    """What could not be read, and what to do."""
    folder: Path | None = None
    drawn: Mapping[str, str] = field(default_factory=dict)
    """SVG by file name, of a card made on the spot."""

    def picture(self, name: str) -> Picture | None:
        """A picture of the card's folder, by its path there; None where there is none that may be shown."""
        if name in self.drawn:
            return Picture(MEDIA_TYPES[".svg"], self.drawn[name].encode())
        media_type = MEDIA_TYPES.get(Path(name).suffix.lower())
        data = _own_file(self.folder, name) if media_type and self.folder else None
        return Picture(media_type, data) if media_type and data else None


@dataclass(frozen=True)
class Place:
    """Where a model's card may lie, and how to learn what to write one from."""

    folder: Path
    facts: Callable[[bool], Facts]
    """With the training records, or without; DataError where one is malformed."""


class ModelCards:
    """Cards by use, each read when it is first asked for; for any number of threads."""

    def __init__(self, places: Mapping[Variant, Place]) -> None:
        self._places = dict(places)
        self._cards: dict[Variant, ShownCard] = {}
        self._lock = threading.Lock()

    @classmethod
    def of_plan(cls, found: ModelPlan) -> "ModelCards":
        """Of the model that will be loaded, of its base alone, and of a second adapter."""
        alone = replace(found, adapter_source=None, adapter_config=None, second_source=None, second_config=None)
        places: dict[Variant, Place] = {}
        if found.adapter_folder is not None:
            places["finetuned"] = Place(found.adapter_folder, partial(_facts, found))
        places["base"] = Place(found.base_folder, partial(_facts, alone))
        if found.second_source is not None:
            other = replace(alone, adapter_source=found.second_source, adapter_config=found.second_config)
            places["second"] = Place(found.second_source.folder, partial(_facts, other))
        return cls(places)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Whose cards there are, in the order of the page."""
        return tuple(self._places)

    def card(self, variant: str) -> ShownCard:
        """The card; SettingsError where there is no such model."""
        known = next((each for each in self._places if each == variant), None)
        if known is None:
            raise SettingsError(f"The card of {variant!r}: choose one of {', '.join(self._places)}.")
        with self._lock:
            if known not in self._cards:
                self._cards[known] = read_card(known, self._places[known])
            return self._cards[known]


def read_card(variant: Variant, place: Place) -> ShownCard:
    """The card of a place, or one made from what is known there."""
    notes = []
    try:
        facts = place.facts(True)
    except DataError as error:
        facts = place.facts(False)
        notes.append(str(error))
    text = (_own_file(place.folder, FILE) or b"").decode("utf-8", errors="replace")
    front, body = split_front_matter(text)
    data = parse_front_matter(front)
    if data is None:
        data = parse_front_matter("")
        notes.append(f"The front matter of {FILE} cannot be read; mend its YAML. Its text is shown all the same.")
    assert data is not None
    facts = replace(facts, author=_author(facts, place.folder), license=_stated_licence(data))
    if is_unfilled(body):
        notes.append(f"{FILE} in its folder is the template of a card, not filled in.")
    elif body.strip():
        return ShownCard(variant, text, body, data, facts, False, tuple(notes), place.folder)
    card = make_card(facts)
    body = split_front_matter(card.text)[1]
    return ShownCard(variant, card.text, body, card.metadata, facts, True, tuple(notes), None, card.pictures)


def split_front_matter(text: str) -> tuple[str, str]:
    """The YAML before a card, and the card."""
    found = re.match(r"\ufeff?\s*---[ \t]*\r?\n(.*?)^---[ \t]*\r?(?:\n|\Z)", text, re.S | re.M)
    return (found[1], text[found.end() :].lstrip()) if found else ("", text.removeprefix("\ufeff"))


def is_unfilled(body: str) -> bool:
    """Whether a card is the hub's template as peft and transformers save it, which says nothing of the model."""
    lines = [line.strip() for line in re.sub(r"<!--.*?-->", "", body, flags=re.S).splitlines()]
    open_lines = [line for line in lines if MISSING in line.lower()]
    written = " ".join(line for line in lines if line not in open_lines and not _OF_TEMPLATE.match(line))
    return len(open_lines) >= 10 and len(written.split()) < 20


def parse_front_matter(front: str) -> "ModelCardData | None":
    """As the hub's own parser reads it; None where it cannot."""
    from huggingface_hub import ModelCard, ModelCardData

    if not front.strip():
        return ModelCardData()
    try:
        return ModelCard(f"---\n{front}\n---\n", ignore_metadata_errors=True).data  # type: ignore[return-value]
    except Exception:  # the hub's parser lets through whatever YAML and metadata make it run into
        return None


def _facts(found: ModelPlan, recorded: bool) -> Facts:
    return facts_of(found, recorded=recorded)


def _author(facts: Facts, folder: Path) -> Author:
    """Who stands for it: the owner on the hub, this project for what it ships, nobody known for any other folder."""
    if facts.model.hub_id:
        return Author(facts.model.hub_id.rpartition("/")[0], f"On the hub: {facts.model.hub_id}.", None)
    return Author() if folder.resolve().is_relative_to(ASSETS.resolve()) else Author("", "Not stated.", None)


def _stated_licence(data: "ModelCardData") -> str | None:
    return data.license if isinstance(data.license, str) else None


def _own_file(folder: Path, name: str) -> bytes | None:
    """A file inside the folder, or inside the hub cache that the folder is of; a link out of there is not followed."""
    roots = [folder.resolve()]
    if folder.parent.name == "snapshots":
        roots.append(folder.parent.parent.resolve() / "blobs")
    try:
        path = (folder / name).resolve(strict=True)
        inside = any(path.is_relative_to(root) for root in roots)
        return path.read_bytes() if inside and path.is_file() and path.stat().st_size <= MAX_BYTES else None
    except (OSError, ValueError):
        return None
