"""What can be said about the model before its weights are there."""

from dataclasses import dataclass

from phi2demo.engine.engine import VARIANTS, Variant
from phi2demo.tasks.request import PromptStyle


@dataclass(frozen=True)
class ModelDescription:
    """The model that is being loaded, as its files declare it."""

    base: str
    """Hub id or folder name."""
    adapter: str | None
    """Hub id or folder name; None for a bare base."""
    parameters: int | None
    """None where only the loaded weights can tell."""
    device: str
    """As asked for ("auto" included); `ModelInfo` says what it became."""
    dtype: str
    context: int
    """Tokens that prompt and output may have together; 0 where it is not known yet."""
    is_embedded: bool
    """Whether this is the small model that comes with the demo."""
    second: str | None = None
    """Hub id or folder name of the second adapter, where one was given."""
    base_revision: str | None = None
    """As `ModelInfo`'s; None where only the loaded weights can tell."""
    adapter_revision: str | None = None
    """The same of the adapter."""
    base_prompt_style: PromptStyle = "template"
    """How the base is asked unless a person says otherwise."""

    @property
    def has_adapter(self) -> bool:
        """Whether there are two models to compare."""
        return self.adapter is not None

    @property
    def is_known(self) -> bool:
        """Whether it can be said already which weights these will be."""
        return self.base_revision is not None and (not self.has_adapter or self.adapter_revision is not None)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """What will answer."""
        if not self.has_adapter:
            return ("base",)
        return VARIANTS["all"] if self.second else VARIANTS["both"]
