"""What a person sees of prompt templates: why one is in force, a prompt in parts, and one text through each template."""

import json
import re
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from phi2demo.engine.engine import END_OF_TEXT, Engine, GenerationOptions, ModelInfo, Variant, visible
from phi2demo.errors import SettingsError
from phi2demo.tasks import TASKS
from phi2demo.tasks.declared import AdapterTasks, templates_of
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.request import Request, TaskOptions
from phi2demo.tasks.run import Assistant, check
from phi2demo.tasks.task import AnyTask, CheckedRequest
from phi2demo.tasks.templates import CHAT, NAMED, OWN, Template, Templates, make_template, missing_tokens

TITLES = {
    "phi": "Instruct/Output",
    "alpaca": "Alpaca",
    "chatml": "ChatML",
    CHAT: "Chat template",
    "plain": "Plain text",
}
"""The names of the templates for a reader."""
TRIAL_TOKENS = 64
"""New tokens of an answer in a trial of the templates: enough to see whether a template fits."""
_PLACE, _TOKEN_EDGE = "\ufdd0", "\ufdef"
"""The first and the last of the characters that Unicode keeps for such use, so that no text contains them."""

PartKind = Literal["text", "template", "token"]


@dataclass(frozen=True)
class PromptPart:
    """A part of a prompt."""

    kind: PartKind
    """The person's text, the words of the template and the task, or a special token."""
    text: str


def title_of(template: Template) -> str:
    """Return the name of a template for a reader; of a text that a person gave, the text."""
    return f"“{template.given}”" if template.name == OWN else TITLES[template.name]


def describe_template(template: Template) -> str:
    """Say which template is in force, and why."""
    return f"{title_of(template)}, {template.reason}" if template.reason else title_of(template)


def describe_prompt(checked: CheckedRequest, variant: Variant) -> str:
    """Say by which template a variant was prompted, and why; a plain prompt may have been chosen, or have no alternative."""
    if checked.prompt_style(variant) == "template":
        return describe_template(checked.template(variant))
    could_have_one = checked.task.prompt_style_of(variant, checked.request.options, "template") == "template"
    return f"{TITLES['plain']}, {'as set for the base' if could_have_one else 'since the text is to be continued'}"


def warn_of_template(info: ModelInfo) -> tuple[str, ...]:
    """Say which special tokens of the templates in force the tokenizer lacks; empty where it has all of them."""
    templates = templates_of(info)
    missing = {
        template: missing_tokens(template, info.special_tokens)
        for template in (templates.first, *templates.others.values())
    }
    return tuple(f"Prompt template {title_of(template)}: {said}" for template, said in missing.items() if said)


def prompt_parts(
    prompt: str, checked: CheckedRequest, template: Template, special_tokens: Container[str]
) -> tuple[PromptPart, ...]:
    """Split the prompt of a receipt into the person's text and what stands around it.

    The same task writes a prompt around placeholders, which shows where the person's text and words stand. What only
    looks like one of the `special_tokens` of the tokenizer is no token.
    """
    options = checked.read.options
    places = {_PLACE: ".*"}
    for name, words in _typed(options).items():
        place = chr(ord(_PLACE) + len(places))
        options = _with(options, name, place)
        places[place] = re.escape(words.strip())
    pieces = re.split(f"([{''.join(places)}])", checked.task.prompt(_PLACE, options, template))
    pattern = "".join(f"({places.get(piece) or re.escape(visible(piece))})" for piece in pieces)
    match = re.fullmatch(pattern, prompt, re.DOTALL)
    if match is None:
        return (PromptPart("text", prompt),)
    parts: list[PromptPart] = []
    for piece, words in zip(pieces, match.groups(), strict=True):
        parts += [PromptPart("text", words)] if piece in places else _template_parts(piece, special_tokens)
    return tuple(part for part in parts if part.text)


def _typed(options: TaskOptions) -> dict[str, str]:
    """Return the options that a person puts in words of their own, such as a question: those that take any text."""
    values = {name: value for name, value in asdict(options).items() if isinstance(value, str) and value}
    return {name: value for name, value in values.items() if _takes_any_text(options, name)}


def _takes_any_text(options: TaskOptions, name: str) -> bool:
    try:
        _with(options, name, _PLACE)
    except SettingsError:
        return False
    return True


def _with(options: TaskOptions, name: str, value: str) -> TaskOptions:
    changes: Mapping[str, Any] = {name: value}
    return replace(options, **changes)


def _template_parts(text: str, special_tokens: Container[str]) -> list[PromptPart]:
    """Split a part of a template at its special tokens, which are marked; a plain prompt begins with one that is not."""

    def edged(token: str) -> str:
        return f"{_TOKEN_EDGE}{token}{_TOKEN_EDGE}" if token in special_tokens else token

    begins = text.startswith(END_OF_TEXT)
    split = visible(text.removeprefix(END_OF_TEXT), edged).split(_TOKEN_EDGE)
    parts = [PromptPart("token" if index % 2 else "template", piece) for index, piece in enumerate(split)]
    return [PromptPart("token", END_OF_TEXT), *parts] if begins else parts


def needs_choice(info: ModelInfo, adapter_tasks: AdapterTasks) -> bool:
    """Whether nothing says with which template the loaded adapter was trained."""
    return info.adapter is not None and info.template is None and info.chat is None and adapter_tasks == AdapterTasks()


def templates_to_try(info: ModelInfo) -> tuple[Template, ...]:
    """Return the templates that work with the loaded model, the one in force first."""
    in_force = templates_of(info).first
    names = [name for name in (*NAMED, *([CHAT] if info.chat else ())) if name != in_force.name]
    return (in_force, *(make_template(name, chat=info.chat) for name in names))


def trial_request(text: str, info: ModelInfo, *, max_new_tokens: int = TRIAL_TOKENS) -> CheckedRequest:
    """Return the request of a trial: the text is all that the model is asked. InputError where it is empty or too long."""
    task: AnyTask = TASKS["generation"]
    options = GenerationOptions(max_new_tokens=max_new_tokens)
    variant = info.variants[0]
    return check(
        Request(
            task.name, text, GenerationTaskOptions("instruct"), options, (variant,), seed=0, prompt_style="template"
        )
    )


def assistant_with(engine: Engine, template: Template) -> Assistant:
    """Return an assistant that prompts the model with this template."""
    return Assistant(engine, lists_alternatives=False, templates=Templates(template))


def declare_template(content: str, template: str, system: str = "") -> str:
    """Return the text of a tasks.json with this name or text of a template, and all else as it stands in `content`.

    An empty `content` stands for no file. Raises SettingsError where it is no JSON object.
    """
    try:
        declared = json.loads(content) if content else {}
    except ValueError as error:
        raise SettingsError(f"tasks.json is no JSON ({error}). Correct it, or remove it.") from error
    if not isinstance(declared, dict):
        raise SettingsError("tasks.json holds no JSON object. Correct it, or remove it.")
    rest = {name: value for name, value in declared.items() if name not in ("template", "system")}
    said = {"template": template} | ({"system": system} if system else {})
    return json.dumps(said | rest, indent=2, ensure_ascii=False) + "\n"
