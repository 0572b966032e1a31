"""The cards of a loaded model: the card in its folder, or a generated one where there is none."""

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
from phi2demo.errors import DataError, SettingsError, quoted
from phi2demo.settings import ASSETS

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

FILE = "README.md"
MAX_BYTES = 1_000_000
"""Largest size of a card or a picture; larger files are not shown."""
MEDIA_TYPES = {
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
"""Media types of pictures, by file extension."""
MISSING = "more information needed"
"""The placeholder of the hub's template."""
_TEMPLATE_LINE = re.compile(
    r"#|\*\*[^*]+\*\*:?$|- (\*\*.+\*\*|PEFT \d)|Use the code below to get|Carbon emissions can be estimated using"
)
"""Matches lines that the template itself contains."""


@dataclass(frozen=True)
class Picture:
    """A picture of a card."""

    media_type: str
    data: bytes


@dataclass(frozen=True)
class ShownCard:
    """A card as it is shown."""

    variant: Variant
    text: str
    """Markdown with the front matter."""
    body: str
    """Markdown without the front matter."""
    data: "ModelCardData"
    """The parsed front matter; empty where it cannot be read."""
    facts: Facts
    """Facts read from the model's files."""
    is_generated: bool
    """Whether the card was generated, because the model's folder has none."""
    notes: tuple[str, ...] = ()
    """What could not be read, and what to do about it."""
    folder: Path | None = None
    generated_pictures: Mapping[str, str] = field(default_factory=dict)
    """SVG by file name, for a generated card."""

    def picture(self, name: str) -> Picture | None:
        """Return a picture by its path in the card's folder; None where there is none that may be shown."""
        if name in self.generated_pictures:
            return Picture(MEDIA_TYPES[".svg"], self.generated_pictures[name].encode())
        media_type = MEDIA_TYPES.get(Path(name).suffix.lower())
        data = _read_inside(self.folder, name) if media_type and self.folder else None
        return Picture(media_type, data) if media_type and data else None


@dataclass(frozen=True)
class Place:
    """The folder of a model's card, and the facts to generate one from."""

    folder: Path
    facts: Callable[[bool], Facts]
    """Reads the facts, with the training records or without; raises DataError for a malformed record."""


class ModelCards:
    """The cards of all variants, each read on first use; safe for several threads."""

    def __init__(self, places: Mapping[Variant, Place]) -> None:
        self._places = dict(places)
        self._cards: dict[Variant, ShownCard] = {}
        self._lock = threading.Lock()

    @classmethod
    def of_plan(cls, plan: ModelPlan) -> "ModelCards":
        """Return the cards of the model that will be loaded, of its base alone, and of further adapters."""
        alone = replace(plan, adapter_source=None, adapter_config=None, others=(), tuned_source=None)
        places: dict[Variant, Place] = {}
        if plan.adapter_folder is not None:
            finetuned = plan.tuned_alone() if plan.tuned_source else plan
            places["finetuned"] = Place(plan.adapter_folder, partial(_facts, finetuned))
        places["base"] = Place(plan.base_folder, partial(_facts, alone))
        for other in plan.others:
            adapted = replace(alone, adapter_source=other.source, adapter_config=other.config)
            places[other.variant] = Place(other.source.folder, partial(_facts, adapted))
        return cls(places)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The variants that have a card, in the order of the page."""
        return tuple(self._places)

    def card(self, variant: str) -> ShownCard:
        """Return the card of a variant; SettingsError where there is no such variant."""
        known = next((name for name in self._places if name == variant), None)
        if known is None:
            raise SettingsError(f"There is no card of {quoted(variant)}; choose one of {', '.join(self._places)}.")
        with self._lock:
            if known not in self._cards:
                self._cards[known] = read_card(known, self._places[known])
            return self._cards[known]


def read_card(variant: Variant, place: Place) -> ShownCard:
    """Read the card of a folder, or generate one from the facts."""
    notes = []
    try:
        facts = place.facts(True)
    except DataError as error:
        facts = place.facts(False)
        notes.append(str(error))
    text = (_read_inside(place.folder, FILE) or b"").decode("utf-8", errors="replace")
    front, body = split_front_matter(text)
    data = parse_front_matter(front)
    if data is None:
        data = parse_front_matter("")
        notes.append(f"The front matter of {FILE} cannot be read; correct its YAML. The text is shown nevertheless.")
    assert data is not None
    facts = replace(facts, author=_author_of(facts, place.folder), license=_stated_licence(data))
    if is_unfilled(body):
        notes.append(f"{FILE} in its folder is a card template that was not filled in.")
    elif body.strip():
        return ShownCard(variant, text, body, data, facts, False, tuple(notes), place.folder)
    card = make_card(facts)
    body = split_front_matter(card.text)[1]
    return ShownCard(variant, card.text, body, card.metadata, facts, True, tuple(notes), None, card.pictures)


def split_front_matter(text: str) -> tuple[str, str]:
    """Split a card into its YAML front matter and its text."""
    match = re.match(r"\ufeff?\s*---[ \t]*\r?\n(.*?)^---[ \t]*\r?(?:\n|\Z)", text, re.S | re.M)
    return (match[1], text[match.end() :].lstrip()) if match else ("", text.removeprefix("\ufeff"))


def is_unfilled(body: str) -> bool:
    """Return whether a card is the template that peft and transformers save, with nothing filled in."""
    lines = [line.strip() for line in re.sub(r"<!--.*?-->", "", body, flags=re.S).splitlines()]
    open_lines = [line for line in lines if MISSING in line.lower()]
    written = " ".join(line for line in lines if line not in open_lines and not _TEMPLATE_LINE.match(line))
    return len(open_lines) >= 10 and len(written.split()) < 20


def parse_front_matter(front: str) -> "ModelCardData | None":
    """Parse front matter with the hub's own parser; None where it fails."""
    from huggingface_hub import ModelCard, ModelCardData

    if not front.strip():
        return ModelCardData()
    try:
        return ModelCard(f"---\n{front}\n---\n", ignore_metadata_errors=True).data  # type: ignore[return-value]
    except Exception:  # the parser lets errors of YAML and of the metadata classes through
        return None


def _facts(plan: ModelPlan, with_records: bool) -> Facts:
    return facts_of(plan, recorded=with_records)


def _author_of(facts: Facts, folder: Path) -> Author:
    """Return the owner on the hub, this project for the models it ships, and no name for any other folder."""
    if facts.model.hub_id:
        return Author(facts.model.hub_id.rpartition("/")[0], f"On the hub: {facts.model.hub_id}.", None)
    return Author() if folder.resolve().is_relative_to(ASSETS.resolve()) else Author("", "Not stated.", None)


def _stated_licence(data: "ModelCardData") -> str | None:
    return data.license if isinstance(data.license, str) else None


def _read_inside(folder: Path, name: str) -> bytes | None:
    """Read a file inside the folder, or inside the hub cache that the folder belongs to; None for a link out of it."""
    roots = [folder.resolve()]
    if folder.parent.name == "snapshots":
        roots.append(folder.parent.parent.resolve() / "blobs")
    try:
        path = (folder / name).resolve(strict=True)
        inside = any(path.is_relative_to(root) for root in roots)
        return path.read_bytes() if inside and path.is_file() and path.stat().st_size <= MAX_BYTES else None
    except (OSError, ValueError):
        return None
