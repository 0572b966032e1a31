"""Prompt templates: what stands around the instruction of a task, for each variant of a model. Knows no single task.

A model answers well only in the form that it was trained on. The special tokens of a template are marked, so that the
model reads them as tokens, which it never does in a person's own text.
"""

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from phi2demo.engine.engine import ChatTemplate, Variant, special, visible
from phi2demo.errors import SettingsError, quoted

PROMPT, INPUT, SYSTEM = "{prompt}", "{input}", "{system}"
OWN = "own"
_TOKEN = re.compile(r"<\|[^\s<>|]+\|>|</?s>|<(?:start|end)_of_turn>|<(?:bos|eos)>|\[/?INST\]")
"""Matches what looks like a special token in a template; a tokenizer without that token reads its characters."""


@dataclass(frozen=True)
class Instruction:
    """What a task asks of a model: an instruction, and the text that it is about."""

    text: str
    """The instruction, or all there is."""
    input: str | None = None
    """The text that the instruction is about, which may be empty; None where there is none."""

    @property
    def whole(self) -> str:
        """Return both, one below the other."""
        return self.text if self.input is None else f"{self.text}\n{self.input}"


@dataclass(frozen=True)
class Template:
    """A prompt template. Raises SettingsError where its text has no place for the prompt."""

    name: str
    """A key of NAMED, CHAT, or OWN for a text that a person gave."""
    text: str
    """With `{prompt}`, and with `{input}` where the text that an instruction is about has a place of its own."""
    without_input: str = ""
    """The text for an instruction without an input; empty where it is the same."""
    stop: tuple[str, ...] = ()
    """What a model would go on with after its answer."""
    system: str = ""
    """The system text that the template contains."""
    reason: str = ""
    """Why this template is in force, in a few words."""

    def __post_init__(self) -> None:
        if self.text.count(INPUT) and self.text.find(INPUT) < self.text.find(PROMPT):
            raise SettingsError(f"The template {quoted(visible(self.text))} has {INPUT} before {PROMPT}; put it after.")
        if self.text.count(PROMPT) != 1 or self.text.count(INPUT) > 1:
            raise SettingsError(
                f"The template {quoted(visible(self.text))} must contain {PROMPT} exactly once, where the prompt goes. "
                f"Give such a text, or one of {', '.join((*NAMED, CHAT))}."
            )

    @property
    def given(self) -> str:
        """Return the name or the text by which `make_template` makes this template again."""
        return visible(self.text) if self.name == OWN else self.name

    @property
    def is_plain(self) -> bool:
        """Whether the model is given a text to continue, as in pretraining: each task has such a form of its own."""
        return self.name == PLAIN.name

    @property
    def separator(self) -> str:
        """Return what stands between prompt and answer: a space, unless white space or a special token ends the template."""
        return "" if self.text.endswith((*string.whitespace, special("")[-1])) else " "

    @property
    def tokens(self) -> tuple[str, ...]:
        """Return what looks like a special token in the template, each once."""
        return tuple(dict.fromkeys(_TOKEN.findall(visible(self.text))))

    def render(self, instruction: Instruction) -> str:
        """Return the prompt; an instruction that contains `{prompt}` or a special token is taken as it stands."""
        if INPUT not in self.text:
            before, _, after = self.text.partition(PROMPT)
            return f"{before}{instruction.whole}{after}"
        if instruction.input is None:
            before, _, after = (self.without_input or self.text.replace(INPUT, "")).partition(PROMPT)
            return f"{before}{instruction.text}{after}"
        before, _, rest = self.text.partition(PROMPT)
        between, _, after = rest.partition(INPUT)
        return f"{before}{instruction.text}{between}{instruction.input}{after}"


_ALPACA = "Below is an instruction that describes a task{}. Write a response that appropriately completes the request."
PHI = Template("phi", "Instruct: {prompt}\nOutput:", stop=("\nInstruct:", "\nOutput:"))
PLAIN = Template("plain", PROMPT)
"""The prompt without anything around it; the built-in tasks have a form of their own, see `Task.plain`."""
NAMED = {
    template.name: template
    for template in (
        PHI,
        Template(
            "alpaca",
            _ALPACA.format(", paired with an input that provides further context")
            + "\n\n### Instruction:\n{prompt}\n\n### Input:\n{input}\n\n### Response:\n",
            _ALPACA.format("") + "\n\n### Instruction:\n{prompt}\n\n### Response:\n",
            stop=("\n### Instruction:", "\n### Input:", "\n### Response:"),
        ),
        Template(
            "chatml",
            "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n",
            stop=("<|im_end|>", "<|im_start|>"),
        ),
        PLAIN,
    )
}
"""Templates of the field, by name: Phi-2's own; Stanford Alpaca's; ChatML; none."""
CHAT = "chat"
"""The chat template of the tokenizer."""
_CHATML_SYSTEM = "<|im_start|>system\n{system}<|im_end|>\n"


@dataclass(frozen=True)
class Templates:
    """The template of each variant; the base is prompted like the adapter that it is compared with."""

    first: Template = field(default_factory=lambda: PHI)
    others: Mapping[Variant, Template] = field(default_factory=dict)
    """Of further adapters."""

    def of(self, variant: Variant) -> Template:
        """Return the template of a variant."""
        return self.others.get(variant, self.first)

    def longest(self, variants: Sequence[Variant]) -> Template:
        """Return the longest template of several variants, which leaves the least room for a text."""
        return max((self.of(variant) for variant in variants), key=lambda template: len(template.text))


def find_template(
    *, given: str | None, declared: str | None, system: str | None, chat: ChatTemplate | None, architecture: str
) -> Template:
    """Return the template in force, with the reason.

    It is the one that the person gave; else the one that the adapter's tasks.json declares; else the chat template of the
    tokenizer; else Phi-2's for a Phi; else none. Raises SettingsError where it cannot be used with this model.
    """
    if given:
        name, reason = given, "given at the start"
    elif declared:
        name, reason = declared, "declared by the adapter's tasks.json"
    elif chat is not None:
        name, reason = CHAT, "the tokenizer's own"
    elif architecture == "phi":
        name, reason = PHI.name, "Phi-2's own"
    else:
        name, reason = PLAIN.name, "nothing says how this model was trained"
    return replace(make_template(name, system, chat), reason=reason)


def make_template(given: str, system: str | None = None, chat: ChatTemplate | None = None) -> Template:
    """Return the template of a name, or one with the text that a person gave; `\\n` in it is a line break.

    Raises SettingsError for an unknown name, for `chat` where the tokenizer has no chat template, and for a system text
    where the template takes none.
    """
    if given == CHAT:
        if chat is None:
            raise SettingsError(
                f"The template is {CHAT}, but the tokenizer has no chat template. Give one of {', '.join(NAMED)}."
            )
        if system and not chat.text_with_system:
            raise _no_system(given)
        _check_system(system)
        text = chat.text_with_system.replace(SYSTEM, system) if system else chat.text
        return Template(CHAT, text, system=system or "")
    template = NAMED.get(given)
    if template is None:
        if PROMPT not in given:
            raise SettingsError(
                f"There is no template {quoted(given)}; give one of {', '.join((*NAMED, CHAT))}, or a text with {PROMPT}."
            )
        template = Template(OWN, given.replace("\\n", "\n"))
    text = _CHATML_SYSTEM + template.text if system and template.name == "chatml" else template.text
    if system and SYSTEM not in text:
        raise _no_system(given)
    _check_system(system)
    marked = _TOKEN.sub(lambda match: special(match[0]), text)
    return replace(template, text=marked.replace(SYSTEM, system or ""), system=system or "")


def missing_tokens(template: Template, known: Iterable[str]) -> str:
    """Say which special tokens of a template the tokenizer lacks, in a sentence; empty where it has all of them."""
    missing = [token for token in template.tokens if token not in known]
    if not missing:
        return ""
    return (
        f"The tokenizer has no token {' or '.join(missing)}: it reads the characters instead. That is right only "
        "if the adapter was trained with this same tokenizer."
    )


def _check_system(system: str | None) -> None:
    if system and (PROMPT in system or INPUT in system):
        raise SettingsError(f"The system text contains {PROMPT} or {INPUT}, which stand for the prompt; reword it.")


def _no_system(given: str) -> SettingsError:
    return SettingsError(
        f"The template {given} takes no system text. Leave the system text out, or give another template."
    )
