"""How to cite a model, in BibTeX and by APA's rules. Takes facts, or finds what a card says itself."""

import re

from phi2demo.cards.facts import Author, ModelFacts

HUB = "https://huggingface.co/"
_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    sign: f"\\{sign}" for sign in "&%$#_{}"
}


def bibtex(model: ModelFacts, author: Author) -> str:
    """A @misc entry. A person is given as "Family, Given", several with " and "; any other name is kept whole."""
    key = re.sub(r"[^A-Za-z0-9-]", "", model.name.rpartition("/")[2]) or "model"
    fields = []
    if author.name:
        fields.append(("author", " and ".join(_tex(n) if "," in n else f"{{{_tex(n)}}}" for n in _names(author))))
    fields.append(("title", _tex(model.name)))
    if author.year:
        fields.append(("year", str(author.year)))
    if model.hub_id:
        fields.append(("howpublished", rf"\url{{{HUB}{model.hub_id}}}"))
    on = f"LoRA adapter on {_tex(model.base)}" if model.is_adapter else "Language model"
    fields.append(("note", on))
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields)
    return f"@misc{{{key}{author.year or ''},\n{lines}\n}}"


def apa(model: ModelFacts, author: Author) -> str:
    """As the 7th edition has it for software, in Markdown; without an author the title comes first."""
    title = f"*{model.name}* [{'LoRA adapter of a language model' if model.is_adapter else 'Language model'}]"
    year = f"({author.year or 'n.d.'})"
    head = f"{_closed(_apa_names(author))} {year}. {title}." if author.name else f"{title}. {year}."
    return f"{head} Hugging Face. {HUB}{model.hub_id}" if model.hub_id else head


def stated_bibtex(body: str) -> str | None:
    """The first BibTeX entry in a card's code blocks."""
    found = re.search(r"^(`{3,}|~{3,})[^\n]*\n\s*(@\w+\s*\{.*?)\n?^\1", body, re.S | re.M)
    return found[2].rstrip() if found else None


def stated_apa(body: str) -> str | None:
    """The paragraph after a card's "APA:"; None where it says that there is none."""
    found = re.search(r"^\W*APA\W*\n+(?=\S)(.+?)(?:\n\s*\n|\Z)", body, re.S | re.M)
    text = " ".join(found[1].split()) if found else ""
    return None if not text or text.startswith("#") or "More Information Needed" in text else text


def _names(author: Author) -> list[str]:
    return author.name.split(" and ")


def _apa_names(author: Author) -> str:
    names = [_initials(name) for name in _names(author)]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])}, & {names[-1]}"


def _initials(name: str) -> str:
    """Example, Ada Mary: Example, A. M."""
    family, comma, given = name.partition(",")
    return (
        f"{family}, {' '.join(f'{part[0]}.' for part in given.split())}"
        if comma and given.strip()
        else name.strip(", ")
    )


def _closed(names: str) -> str:
    return names if names.endswith(".") else f"{names}."


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)
