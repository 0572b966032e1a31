"""The model as its files declare it, before its weights are loaded."""

from dataclasses import dataclass

from phi2demo.engine.engine import Variant
from phi2demo.tasks.request import PromptStyle


def label_of(variant: Variant) -> str:
    """Return how the page names a variant; a further adapter has its own name."""
    return {"finetuned": "Finetuned", "base": "Base"}.get(variant, variant)


@dataclass(frozen=True)
class ModelDescription:
    """The declared properties of the model that is being loaded."""

    base: str
    """Hub id or folder name."""
    adapter: str | None
    """Hub id or folder name; None for a bare base."""
    parameters: int | None
    """None where only the loaded weights can tell."""
    device: str
    """The requested device, which may be "auto"; `ModelInfo` has the device in use."""
    dtype: str
    context: int
    """The most tokens of prompt and output together; 0 where it is not known yet."""
    is_embedded: bool
    """Whether this is the small model that comes with the demo."""
    others: tuple[Variant, ...] = ()
    """The variants of further adapters."""
    base_revision: str | None = None
    """As `ModelInfo`'s; None where only the loaded weights can tell."""
    adapter_revision: str | None = None
    """The same for the adapter."""
    base_prompt_style: PromptStyle = "template"
    """The default prompt style of the base."""
    is_scalable: bool = True
    """Whether the adapter has other strengths than 1."""
    template: str | None = None
    """The prompt template that was given at the start."""

    @property
    def has_adapter(self) -> bool:
        """Return whether there are two models to compare."""
        return self.adapter is not None

    @property
    def has_strength(self) -> bool:
        """Return whether the strength of an adapter can be chosen."""
        return self.has_adapter and self.is_scalable

    @property
    def is_known(self) -> bool:
        """Return whether the revisions of all weights are known already."""
        return self.base_revision is not None and (not self.has_adapter or self.adapter_revision is not None)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Return the variants that will answer."""
        if not self.has_adapter:
            return ("base",)
        return ("finetuned", "base", *self.others)
