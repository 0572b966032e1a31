"""Markdown of a card as safe HTML, which runs no code and fetches nothing. Knows no card.

Raw HTML is left out and its text kept; links lead to the web, to mail or to the text itself; pictures are those that
the caller hands over, as data in an <img>, where an SVG runs no script and fetches nothing.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

PREFIX = "card-"
"""Prefix of the ids of headings, so that they differ from all other ids of the page."""
COPY = '<button type="button" class="copy">Copy</button>'
"""Copies the text of the <pre> or paragraph beside it; assets/page.js does it."""

FindPicture = Callable[[str], tuple[str, bytes] | None]
"""Maps a path in the card to media type and bytes; None for an unknown one."""


@dataclass
class Rendered:
    """A text as HTML, with its second-level headings."""

    html: str
    sections: list[tuple[str, str]] = field(default_factory=list)
    """Pairs of id and title."""


def render(text: str, *, find_picture: FindPicture = lambda name: None, home: str = "") -> Rendered:
    """Render a Markdown text; relative links start from `home`, and become text without it."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # judged below, where it also is told
    tokens = parser.parse(text)
    sections = _mend_blocks(tokens)
    _label_cells(tokens)
    for token in tokens:
        if token.type == "inline" and token.children is not None:
            token.children = _mend_inline(token.children, find_picture, home)
    for name, rule in _RULES.items():
        parser.add_render_rule(name, rule)
    return Rendered(parser.renderer.render(tokens, parser.options, {}), sections)


def code(text: str) -> str:
    """Write a block of code with a Copy button."""
    return f'<div class="code">{COPY}<pre tabindex="0"><code>{escape(text)}</code></pre></div>\n'


def _mend_blocks(tokens: list[Token]) -> list[tuple[str, str]]:
    """Move headings one level down, give them ids, and return those of the second level."""
    sections: list[tuple[str, str]] = []
    used: set[str] = set()
    for index, token in enumerate(tokens):
        if token.type not in ("heading_open", "heading_close"):
            continue
        level = int(token.tag[1])
        token.tag = f"h{min(level + 1, 6)}"
        if token.type == "heading_open":
            title = "".join(child.content for child in tokens[index + 1].children or () if child.type != "html_inline")
            token.attrs["id"] = _unused(PREFIX + slug(title), used)
            if level == 2:
                sections.append((str(token.attrs["id"]), title))
    return sections


def _label_cells(tokens: Sequence[Token]) -> None:
    """Number tables, and label their cells with the names of their columns, which narrow screens show in place of the head.

    A head without a name becomes a plain cell, as screen readers would announce it.
    """
    names: list[str] = []
    column = tables = 0
    for token, inner in pairwise(tokens):
        if token.type == "table_open":
            tables += 1
            token.meta = {"number": tables}
        elif token.type == "thead_open":
            names = []
        elif token.type == "tr_open":
            column = 0
        elif token.type == "th_open":
            names.append("".join(child.content for child in inner.children or () if child.type != "html_inline"))
            token.tag = "th" if names[-1].strip() else "td"
        elif inner.type == "th_close":
            inner.tag = "th" if names[-1].strip() else "td"
        elif token.type == "td_open":
            token.attrs["data-label"] = names[column]
            column += 1


def slug(title: str) -> str:
    """Return the id of a heading, as the hub and GitHub make it."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def _unused(name: str, used: set[str]) -> str:
    candidates = (name, *(f"{name}-{number}" for number in range(1, len(used) + 2)))
    unused = next(candidate for candidate in candidates if candidate not in used)
    used.add(unused)
    return unused


def _mend_inline(tokens: Sequence[Token], find_picture: FindPicture, home: str) -> list[Token]:
    """Return tokens without unsafe links, and with pictures only of the card itself."""
    mended: list[Token] = []
    open_links: list[bool] = []
    for token in tokens:
        if token.type == "link_open":
            address = link(str(token.attrs.get("href", "")), home)
            open_links.append(address is not None)
            if address is not None:
                token.attrs = {"href": address}
                if not address.startswith("#"):
                    token.attrs |= {"target": "_blank", "rel": "noopener noreferrer nofollow"}
                mended.append(token)
        elif token.type == "link_close":
            if open_links.pop():
                mended.append(token)
        elif token.type == "image":
            token.meta = {"picture": _picture(str(token.attrs.get("src", "")), find_picture)}
            mended.append(token)
        else:
            mended.append(token)
    return mended


def link(address: str, home: str) -> str | None:
    """Return the safe address of a link: the web, mail, a heading, or a file beside the text on the web; else None."""
    if address.startswith("#"):
        return f"#{PREFIX}{address[1:].lower()}"
    if re.match(r"(https?://|mailto:)[^\s\x00-\x1f]+\Z", address, re.I):
        return address
    is_path = re.match(r"[\w.%-][\w./%#-]*\Z", address) is not None and "/../" not in f"/{address}/"
    return f"{home}/{address}" if home and is_path else None


def _picture(source: str, find_picture: FindPicture) -> str:
    """Return the picture as a data address; empty where it is not part of the card."""
    picture = find_picture(unquote(source)) if not re.match(r"[a-z][a-z0-9+.-]*:|//", source, re.I) else None
    return f"data:{picture[0]};base64,{b64encode(picture[1]).decode()}" if picture else ""


class _Text(HTMLParser):
    """A parser that collects the text of raw HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style") and self._hidden > 0

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def _html_block(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    reader = _Text()
    reader.feed(tokens[index].content)
    text = " ".join("".join(reader.parts).split())
    return f"<p>{escape(text)}</p>\n" if text else ""


def _html_inline(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return "<br>" if re.fullmatch(r"<br\s*/?>", tokens[index].content, re.I) else ""


def _image(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    title = escape(renderer.renderInlineAsText(token.children or [], options, env), quote=True)
    if token.meta["picture"]:
        return f'<img src="{token.meta["picture"]}" alt="{title}">'
    return f'<span class="no-picture">Picture, not shown here: {title or "without a description"}</span>'


def _fence(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return code(tokens[index].content.rstrip("\n"))


def _table_open(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    label = f"Table {tokens[index].meta['number']}"
    return f'<div class="scroll stacks" role="region" aria-label="{label}" tabindex="0"><table>\n'


def _table_close(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return "</table></div>\n"


_RULES = {
    "html_block": _html_block,
    "html_inline": _html_inline,
    "image": _image,
    "fence": _fence,
    "code_block": _fence,
    "table_open": _table_open,
    "table_close": _table_close,
}
