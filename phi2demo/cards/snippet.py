"""The lines that load the model and make it answer, as a card shows them and a test runs them."""

from phi2demo.cards.facts import Facts
from phi2demo.tasks import TASKS
from phi2demo.tasks.generation import GenerationTaskOptions
from phi2demo.tasks.translation import TranslationOptions

TEXT = "The children are playing in the garden."


def snippet(facts: Facts) -> str:
    """Python, to be run from where the model's path starts; an adapter's tokenizer is its base's, as in the app."""
    note = "  # with peft installed" if facts.model.is_adapter else ""
    name = facts.model.name
    return (
        f"from transformers import AutoModelForCausalLM, AutoTokenizer{note}\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{facts.model.base}")\n'
        f'model = AutoModelForCausalLM.from_pretrained("{name}")\n'
        f"prompt = {_quoted(prompt(facts))}\n"
        'batch = tokenizer(prompt, return_tensors="pt")\n'
        "print(tokenizer.decode(model.generate(**batch, max_new_tokens=20)[0], skip_special_tokens=True))"
    )


def prompt(facts: Facts) -> str:
    """As the app asks an adapter; for a base in the form of its training text, where that is known."""
    declared = facts.model.declaration
    if facts.model.is_adapter:
        if "translation" in declared.tasks:
            target = next(code for code in declared.languages if code != "en")
            return TASKS["translation"].prompt(TEXT, TranslationOptions("en", target))
        return TASKS["generation"].prompt(TEXT, GenerationTaskOptions("continue"), "plain")
    others = [code for code in facts.languages if code != "en"]
    if facts.record and others:
        return TASKS["translation"].prompt(TEXT, TranslationOptions("en", others[0]), "plain")
    return f"Instruct: {TEXT}\nOutput:"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
