"""A model with its adapters, and every call of it: which rows can share a pass, and what each pass is given.

PEFT computes rows with and without plain LoRA in one batch. Other kinds of adapters are switched on and off between two
passes instead, and the virtual tokens of prompt and prefix tuning are put before the texts.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi2demo.engine.strength import scaled_adapters
from phi2demo.errors import SettingsError

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import DynamicCache

ADAPTER = "default"
"""PEFT's name for the first adapter."""
BASE = "__base__"
"""PEFT's name for the rows of a mixed batch that use no adapter."""


def adapter_name(number: int) -> str:
    """Return PEFT's name for the first adapter (0) or a further one; an adapter's own name may hold what PEFT forbids."""
    return f"further{number}" if number else ADAPTER


@dataclass(frozen=True)
class OwnTensor:
    """A tensor of the base of which an adapter brings its own version, such as a bias; between passes it is the base's."""

    parameter: "nn.Parameter"
    finetuned: "torch.Tensor"


@dataclass(frozen=True)
class AdapterState:
    """How the rows of a loaded adapter are computed."""

    mixes: bool = True
    """Whether PEFT can compute them in one batch with those of the base."""
    fixed_strength: str = ""
    """Why the strength can only be 1; empty where any strength has a meaning."""
    virtual_tokens: int = 0
    """Number of trained tokens that stand before every text."""
    own_tensors: tuple[OwnTensor, ...] = ()


@dataclass(frozen=True)
class PassInputs:
    """The texts of one pass, with the adapter's virtual tokens before them, if it has any."""

    ids: "torch.Tensor"
    """(rows, tokens), with a padding token in the place of each virtual one."""
    mask: "torch.Tensor"
    embeddings: "torch.Tensor | None" = None
    """(rows, tokens, hidden size), which replace the ids (prompt tuning)."""
    cache: "DynamicCache | None" = None
    """Keys and values of the virtual tokens (prefix tuning)."""


class AdaptedModel:
    """A transformers model, in PEFT's wrapper where it has adapters. Only one thread may use it at a time."""

    def __init__(self, model: "nn.Module", adapters: Mapping[str, AdapterState]) -> None:
        """`adapters` has the state of each adapter by PEFT's name for it."""
        self.model: Any = model
        self._adapters = adapters
        self._arguments = inspect.signature(self.base.forward).parameters
        self.mixes = all(state.mixes for state in adapters.values())
        """Whether rows of all adapters and of the base can share a batch."""

    @property
    def base(self) -> Any:
        """Return the transformers model without PEFT's wrapper."""
        unwrap = getattr(self.model, "get_base_model", None)
        return self.model if unwrap is None else unwrap()

    @property
    def can_continue(self) -> bool:
        """Return whether the model can read a text in parts, with a cache of keys and values that it is given."""
        return self._cache_name in self._arguments

    def check_strength(self, adapters: Sequence[str], strength: float) -> None:
        """Raise SettingsError where one of the rows' adapters cannot have this strength."""
        for adapter in dict.fromkeys(adapters):
            if strength != 1 and adapter != BASE and (reason := self._adapters[adapter].fixed_strength):
                raise SettingsError(f"adapter_strength is {strength:g}, but {reason}. Leave it at 1.")

    def passes(self, adapters: Sequence[str]) -> list[list[int]]:
        """Return the numbers of the rows that can be computed together; each row names its adapter."""
        if self.mixes:
            return [list(range(len(adapters)))] if adapters else []
        return [
            [row for row, row_adapter in enumerate(adapters) if row_adapter == adapter]
            for adapter in dict.fromkeys(adapters)
        ]

    @contextmanager
    def using(self, adapter: str, strength: float) -> Iterator[None]:
        """Compute one pass with its adapter at a strength; afterwards the model is as before.

        Where rows mix, `adapter` is that of any row. Only one thread may do this at a time, which the engine's lock
        ensures.
        """
        if self.mixes:
            with scaled_adapters(self.model, strength):
                yield
        elif adapter == BASE:
            with nullcontext() if self._has_virtual_tokens else self.model.disable_adapter():
                yield
        else:
            self.model.set_adapter(adapter, inference_mode=True)
            own_tensors = [(own, own.parameter.data) for own in self._adapters[adapter].own_tensors]
            try:
                for own, original in own_tensors:
                    own.parameter.data = own.finetuned if strength == 1 else original.lerp(own.finetuned, strength)
                with scaled_adapters(self.model, strength):
                    yield
            finally:
                for own, original in own_tensors:
                    own.parameter.data = original

    def logits(
        self,
        *,
        input_ids: "torch.Tensor",
        attention_mask: "torch.Tensor",
        logits_to_keep: "torch.Tensor",
        adapters: list[str],
    ) -> "torch.Tensor":
        """Compute the logits (rows, kept positions, vocabulary) of one pass over texts that are padded on the right."""
        inputs = self.with_virtual_tokens(input_ids, attention_mask, adapters[0], pad_id=0)
        kept = logits_to_keep
        arguments: dict[str, Any] = {"input_ids": input_ids, "attention_mask": inputs.mask, "use_cache": False}
        if inputs.embeddings is not None:
            arguments |= {"input_ids": None, "inputs_embeds": inputs.embeddings}
            kept = kept + inputs.ids.shape[1] - input_ids.shape[1]
        elif inputs.cache is not None:
            arguments |= {self._cache_name: inputs.cache, "use_cache": True}
        can_keep = "logits_to_keep" in self._arguments
        output = self._call(arguments | ({"logits_to_keep": kept} if can_keep else {}), adapters)
        logits: torch.Tensor = output.logits
        return logits if can_keep else logits[:, kept]

    def read(
        self,
        input_ids: "torch.Tensor",
        attention_mask: "torch.Tensor",
        position_ids: "torch.Tensor",
        cache: "DynamicCache",
        adapters: list[str],
    ) -> None:
        """Put the keys and values of the next tokens into `cache`; the mask is that of all tokens so far."""
        arguments = {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": True}
        arguments |= {self._cache_name: cache}
        optional = {"position_ids": position_ids, "logits_to_keep": 1}
        self._call(arguments | {key: value for key, value in optional.items() if key in self._arguments}, adapters)

    def new_cache(self) -> "DynamicCache":
        """Return an empty cache of keys and values."""
        from transformers import DynamicCache

        return DynamicCache(config=self.base.config.get_text_config(decoder=True))

    def generate(self, inputs: PassInputs, adapters: list[str], settings: Mapping[str, Any]) -> "torch.Tensor":
        """Return texts with their outputs (rows x beams, tokens); `settings` are arguments of transformers' `generate`."""
        arguments: dict[str, Any] = {"input_ids": inputs.ids, "attention_mask": inputs.mask}
        if inputs.embeddings is not None:
            arguments["inputs_embeds"] = inputs.embeddings
        if inputs.cache is not None:
            arguments[self._cache_name] = inputs.cache
        model = self.base if self._has_virtual_tokens else self.model
        output: torch.Tensor = model.generate(**arguments, **self._mixing(adapters), **settings)
        return output

    def with_virtual_tokens(
        self, ids: "torch.Tensor", mask: "torch.Tensor", adapter: str, *, pad_id: int, beams: int = 1
    ) -> PassInputs:
        """Put the adapter's virtual tokens before each row, and before its padding, where they attend to none of it.

        PEFT does so too, but gives rows with padding other positions, and with transformers 5.24 repeats it at each token.
        """
        import torch

        count = self._adapters[adapter].virtual_tokens if adapter in self._adapters else 0
        if not count:
            return PassInputs(ids, mask)
        longer_ids = torch.cat([ids.new_full((len(ids), count), pad_id), ids], dim=1)
        longer_mask = torch.cat([mask.new_ones(len(mask), count), mask], dim=1)
        virtual = self.model.get_prompt(batch_size=len(ids) * beams)
        if not isinstance(virtual, torch.Tensor):
            return PassInputs(longer_ids, longer_mask, cache=virtual)
        embedded = self.base.get_input_embeddings()(ids)
        return PassInputs(longer_ids, longer_mask, torch.cat([virtual[: len(ids)].to(embedded.dtype), embedded], dim=1))

    def remove_mixing_hooks(self) -> None:
        """Remove the pre-forward hooks that PEFT leaves behind where a mixed batch ended in an exception.

        PEFT 0.21 removes them after the `yield` of a context manager without `finally`; the next plain batch would fail.
        """
        for module in self.model.modules():
            for key, hook in list(module._forward_pre_hooks.items()):
                if getattr(getattr(hook, "func", None), "__name__", "") == "_adapter_names_pre_forward_hook":
                    del module._forward_pre_hooks[key]
                    module._forward_pre_hooks_with_kwargs.pop(key, None)

    @property
    def _has_virtual_tokens(self) -> bool:
        return any(state.virtual_tokens for state in self._adapters.values())

    @property
    def _cache_name(self) -> str:
        """Return the model's name for a cache of keys and values, which transformers 5.24 has changed."""
        return "cache" if "cache" in self._arguments else "past_key_values"

    def _call(self, arguments: Mapping[str, Any], adapters: list[str]) -> Any:
        model = self.base if self._has_virtual_tokens else self.model
        try:
            return model(**arguments, **self._mixing(adapters))
        finally:
            self.remove_mixing_hooks()

    def _mixing(self, adapters: list[str]) -> dict[str, list[str]]:
        """Return PEFT's argument for a mixed batch; none where no row or every row uses the first adapter."""
        if not self._adapters or not self.mixes or set(adapters) == {ADAPTER}:
            return {}
        return {"adapter_names": adapters}
