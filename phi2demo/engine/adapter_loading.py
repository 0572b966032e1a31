"""Loading of adapters onto a loaded base, which stays beside them as it is: what they change of it is kept apart."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from phi2demo.engine import checks
from phi2demo.engine.adapted_model import AdapterState, OwnTensor, adapter_name
from phi2demo.engine.patterns import check_patterns
from phi2demo.engine.planning import ModelPlan
from phi2demo.engine.sources import Source
from phi2demo.engine.weights import Shapes, read_shapes
from phi2demo.errors import ModelError

if TYPE_CHECKING:
    import torch

_NO_CHANGE = (
    "Adapter {name} changes nothing: the products of its matrices are zero, as before any training. Finetuned and base "
    "answers are the same. Give the adapter that training saved at its end."
)


@dataclass(frozen=True)
class LoadedAdapters:
    """A model with its adapters, none of which is merged."""

    model: Any
    states: Mapping[str, AdapterState]
    """By PEFT's names."""
    warnings: tuple[str, ...]
    """What the user should know of them."""


@dataclass(frozen=True)
class _Base:
    """The tensors of a base before PEFT has seen them."""

    tensors: "Mapping[str, torch.nn.Parameter]"
    """By name; a tied one under each of its names."""
    known_tokens: int
    """Rows of its vocabulary that the base itself brings."""
    is_resized: bool


def load_adapters(plan: ModelPlan, model: Any) -> LoadedAdapters:
    """Load the adapters of `plan` onto the base `model`. Raises ModelError where one does not fit."""
    files = [read_shapes(source.folder, source.files) for source, _ in plan.adapters]
    base = _prepare(plan, model, files)
    states: dict[str, AdapterState] = {}
    warnings = []
    for number, (shapes, (source, pairing)) in enumerate(zip(files, plan.adapters, strict=True)):
        name = adapter_name(number)
        config = pairing.config
        model, own = _load_adapter(base, model, source, pairing, shapes, name=name, is_only=len(files) == 1)
        states[name] = AdapterState(config.mixes and not own, config.fixed_strength, config.virtual_tokens, own)
        if states[name].mixes and not config.saved and _changes_nothing(model, name):
            warnings.append(_NO_CHANGE.format(name=source.name))
    if not _can_mix_saved_modules(model):
        states = {name: replace(state, mixes=False) for name, state in states.items()}
    return LoadedAdapters(model, states, tuple(warnings))


def check_finite(tensors: "Mapping[str, torch.Tensor]", *, name: str) -> None:
    """Raise ModelError where a number is not finite, as after a diverged training: every answer would be nonsense."""
    import torch

    for key, tensor in tensors.items():
        if not tensor.is_meta and not tensor.sum(dtype=torch.float32).isfinite():  # the fastest test
            raise ModelError(
                f"{name} cannot be used: {key} holds numbers that are not finite. Its training has diverged, or the file "
                "is damaged: use an earlier checkpoint, or copy or download it again."
            )


def _prepare(plan: ModelPlan, model: Any, files: list[Shapes]) -> _Base:
    """Check that the adapters fit, and give the base a row for each token of their vocabulary."""
    shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters(remove_duplicate=False)}
    modules = [name for name, _ in model.named_modules()]
    for adapter_shapes, (source, pairing) in zip(files, plan.adapters, strict=True):
        check_patterns(pairing.config.patterns, modules, adapter=source.name)
        checks.check_fit(pairing, adapter_shapes, shapes)
    sizes = {checks.vocabulary_rows(adapter_shapes, shapes) for adapter_shapes in files}
    if len(sizes) > 1:
        names = " and ".join(source.name for source, _ in plan.adapters)
        raise ModelError(
            f"{names} cannot be loaded together: their vocabularies differ in size. Give only one of them."
        )
    known = len(model.get_input_embeddings().weight)
    rows = next(iter(sizes), None)
    if rows is not None:
        _resize_vocabulary(model, rows)
    return _Base(dict(model.named_parameters(remove_duplicate=False)), known, rows is not None)


def _resize_vocabulary(model: Any, rows: int) -> None:
    """Add or drop tokens; the base knows nothing of a new one, which is for it the mean of all that it knows."""
    known = len(model.get_input_embeddings().weight)
    model.resize_token_embeddings(rows, mean_resizing=False)
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        for tensor in layer.parameters() if layer is not None and rows > known else ():
            tensor.data[known:] = tensor.data[:known].mean(0)


def _load_adapter(
    base: _Base, model: Any, source: Source, pairing: checks.Pairing, shapes: Shapes, *, name: str, is_only: bool
) -> tuple[Any, tuple[OwnTensor, ...]]:
    """Add an adapter under PEFT's `name`, and return what it has in the place of the base's tensors, which stay."""
    from peft import PeftModel, get_peft_model_state_dict

    names = checks.copied(shapes, pairing.config, base.tensors)
    originals = {key: base.tensors[key].detach().clone() for key in names}
    options = {"is_trainable": False, "autocast_adapter_dtype": False, "torch_device": str(model.device)}
    if isinstance(model, PeftModel):
        model.load_adapter(source.folder, name, **options)
    else:
        model = PeftModel.from_pretrained(model, source.folder, name, **options)
    needed, allowed = (
        get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=with_vocabulary)
        for with_vocabulary in (False, base.is_resized)
    )
    check_finite(needed, name=source.name)
    different = (needed.keys() - shapes.keys()) | (shapes.keys() - allowed.keys())
    unmatched = sorted(key for key in different if checks.name_in_base(key) not in originals)
    if unmatched or not needed:
        raise ModelError(
            f"{source.name} and its adapter_config.json do not belong together: {len(unmatched)} of its weights have no "
            f"match, such as {', '.join(unmatched[:2])}. Copy or download the adapter again."
        )
    own = []
    for key, original in originals.items():  # PEFT has overwritten it with the adapter's version
        parameter = base.tensors[key]
        is_vocabulary = base.is_resized and checks.is_vocabulary(key)
        known = slice(base.known_tokens if is_vocabulary else None)
        if _is_close(parameter[known], original[known]) and (is_only or not is_vocabulary):
            parameter.data[known] = original[known]  # without the rounding of the copy
        elif is_vocabulary or (pairing.config.trains_biases and key.endswith(".bias")):
            own.append(OwnTensor(parameter, parameter.detach().clone()))
            parameter.data = original
        else:
            raise checks.other_weights(key, pairing)
    if pairing.config.trains_biases:
        model.peft_config[name].bias = "none"  # PEFT warns that they stay when it is switched off; here they do not
    return model, tuple(own)


def _changes_nothing(model: Any, name: str) -> bool:
    """Return whether every product of LoRA matrices is zero, as it is before training."""
    from peft import get_peft_model_state_dict

    tensors = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    modules: dict[str, list[bool]] = {}
    for key, tensor in tensors.items():
        if not tensor.is_meta and ".lora_" in key:
            modules.setdefault(key.partition(".lora_")[0], []).append(bool(tensor.any()))
    is_scaled = any(
        module.scaling.get(name) for module in model.modules() if isinstance(getattr(module, "scaling", None), dict)
    )
    return bool(modules) and (not is_scaled or not any(map(all, modules.values())))


def _can_mix_saved_modules(model: Any) -> bool:
    """Return whether PEFT can compute all replaced modules (modules_to_save) in a mixed batch: norms it cannot."""
    from torch import nn

    replaced = [module.original_module for module in model.modules() if hasattr(module, "original_module")]
    return all(isinstance(module, nn.Linear | nn.Embedding) for module in replaced)


def _is_close(tensor: "torch.Tensor", original: "torch.Tensor") -> bool:
    """Return whether two tensors are equal apart from rounding to another number format."""
    return tensor.is_meta or tensor.allclose(original, rtol=0.01, atol=1e-5)
