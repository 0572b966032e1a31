"""Load the base and the adapter of a plan. Knows no task and no page.

`plan` finds and checks, without weights; `load` downloads what is missing, checks memory and loads.
"""

import logging
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phi2demo.engine import checks
from phi2demo.engine.devices import Demand, Place, choose_place
from phi2demo.engine.engine import AdapterInfo, Engine, ModelInfo
from phi2demo.engine.planning import ModelPlan, check_weights, here, plan
from phi2demo.engine.revisions import adapter_revision, base_revision
from phi2demo.engine.sources import Source
from phi2demo.engine.weights import count, read_shapes
from phi2demo.errors import ModelError, NotReadyError, Phi2DemoError

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["LoadedModel", "ModelPlan", "load", "plan"]

logger = logging.getLogger(__name__)

ADAPTER, SECOND = "default", "second"
"""PEFT's names for the adapters of a plan."""
BASE = "__base__"
"""PEFT's name for rows of a mixed batch that no adapter touches."""


_NO_CHANGE = (
    "Adapter {name} changes nothing: its matrices multiply to zero, as before any training. Finetuned and base answers are "
    "the same. Give the adapter that training saved at its end."
)


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to answer, never merged with its adapter: one batch may hold rows with and without it."""

    model: "PreTrainedModel | PeftModel"
    """In eval mode, without gradients."""
    tokenizer: "PreTrainedTokenizerBase"
    info: ModelInfo
    end_token_ids: tuple[int, ...]
    pad_token_id: int


def load(plan: ModelPlan) -> LoadedModel:
    """Load what `plan` found. Raises ModelError; takes seconds, or minutes where weights are downloaded first."""
    _download(plan)
    shapes = check_weights(plan)
    numbers = plan.parameters or count(shapes)
    place = choose_place(plan.device, plan.dtype, Demand(numbers, plan.config.cache_numbers))
    names = " and ".join(source.name for source, _ in plan.adapters) or "no adapter"
    logger.info("loading %s with %s on %s as %s", plan.base, names, place.device, place.dtype)
    try:
        with _quiet():
            tokenizer = _load_tokenizer(plan)
            model = _load_base(plan, place)
            _check_vocabulary(tokenizer, model, name=plan.base)
            _check_finite(dict(model.named_parameters()), name=plan.base)
            warned = []
            for name, (source, declared) in zip((ADAPTER, SECOND), plan.adapters, strict=False):
                model = _load_adapter(plan, model, source, declared, name=name)
                if not declared.saved and _changes_nothing(model, name):
                    warned.append(_NO_CHANGE.format(name=source.name))
    except (OSError, ValueError, TypeError, RuntimeError, KeyError, ImportError) as error:
        raise ModelError(
            f"{plan.base} with {names} could not be loaded: {error}. "
            "Check that its files belong together, or give another model."
        ) from error
    for warning in warned:
        logger.warning(warning)
    model.eval().requires_grad_(False)
    ends = _end_token_ids(model, tokenizer)
    pad = tokenizer.pad_token_id
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        info=_info(plan, model, place, tuple(warned)),
        end_token_ids=ends,
        pad_token_id=pad if pad is not None else (ends or (0,))[0],
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bar, which counts tensors, and two warnings of peft 0.21.

    One is of a deprecation that it sets off in transformers 5, the other that LoRA on a tied embedding cannot be merged
    in place, which is not done here.
    """
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`", UserWarning)
            yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _download(plan: ModelPlan) -> None:
    from phi2demo.engine import hub

    for source in (plan.base_source, *(source for source, _ in plan.adapters)):
        if source.snapshot is None or here(source):
            continue
        free = _free_disk_bytes(source.folder)
        if source.missing_bytes > free:
            raise ModelError(
                f"{source.name} takes {source.missing_bytes / 1e9:.1f} GB of disk and only {free / 1e9:.1f} GB are "
                "free where the hub cache is. Free some, or set HF_HOME to a folder on a larger disk."
            )
        hub.fetch_weights(source.snapshot, source.files, token=plan.token)


def _free_disk_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _load_tokenizer(plan: ModelPlan) -> "PreTrainedTokenizerBase":
    """The base's; the adapter's where the base has none."""
    from transformers import AutoTokenizer

    own = any((plan.base_folder / file).is_file() for file in checks.TOKENIZER_FILES)
    folder = plan.base_folder if own else plan.adapter_folder
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # tokenizers raises plain Exceptions for a damaged file
        name = plan.base if own else plan.adapter
        raise ModelError(f"The tokenizer of {name} cannot be read ({error}); copy or download it again.") from error
    return tokenizer


def _check_vocabulary(tokenizer: "PreTrainedTokenizerBase", model: Any, *, name: str) -> None:
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise ModelError(
            f"The tokenizer has {len(tokenizer)} tokens, but {name} knows only {rows}; give the tokenizer it was "
            "trained with."
        )


def _load_base(plan: ModelPlan, place: Place) -> Any:
    """The base alone, in its place."""
    from transformers import AutoModelForCausalLM

    model, report = AutoModelForCausalLM.from_pretrained(
        plan.base_folder,
        dtype=place.torch_dtype,
        attn_implementation="sdpa" if plan.config.model_type == "phi" else None,
        device_map="auto" if place.spread else None,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    absent = sorted([*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])])
    if absent:
        raise ModelError(f"The weights of {plan.base} lack {', '.join(absent[:3])}; copy or download them again.")
    return model if place.spread else model.to(place.device)


def _load_adapter(plan: ModelPlan, base: Any, source: Source, declared: checks.AdapterConfig, *, name: str) -> Any:
    """The base with the adapter beside it, under a name of its own; `base` may have another one already."""
    from peft import PeftModel, get_peft_model_state_dict

    changes, own, given = read_shapes(source.folder, source.files), _own(base), plan.base_given
    if plan.config.places is None:
        places = {key: tuple(tensor.shape) for key, tensor in own.items()}
        checks.check_saved(declared, places, adapter=source.name)
        checks.check_fit(changes, places, declared, adapter=source.name, base_name=plan.base, given=given)
    before = {key: own[key].detach().clone() for key in checks.copied(changes, declared)}
    place = {"is_trainable": False, "autocast_adapter_dtype": False, "torch_device": str(base.device)}
    if isinstance(base, PeftModel):
        model = base
        model.load_adapter(source.folder, name, **place)
    else:
        model = PeftModel.from_pretrained(base, source.folder, name, **place)
    taken = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    _check_finite(taken, name=source.name)
    astray = sorted(key for key in set(taken) ^ set(changes) if ".lora_" in key)
    if astray or not taken:
        raise ModelError(
            f"{source.name} and its adapter_config.json do not belong together: {len(astray)} of its weights have no "
            f"match, such as {', '.join(astray[:2])}. Copy or download the adapter again."
        )
    for key, tensor in before.items():  # PEFT has put the adapter's copy over it
        if not _same(own[key], tensor):
            raise checks.other_weights(
                key, adapter=source.name, base_name=plan.base, made_on=declared.base, given=given
            )
        own[key].data.copy_(tensor)
    return model


def _check_finite(tensors: "Mapping[str, torch.Tensor]", *, name: str) -> None:
    """ModelError where a number is not finite, as after a training that diverged: no answer would be one."""
    import torch

    for key, tensor in tensors.items():
        if not tensor.is_meta and not tensor.sum(dtype=torch.float32).isfinite():  # the fastest way to see one
            raise ModelError(
                f"{name} cannot be used: {key} holds numbers that are not finite. Its training has diverged, or the file "
                "is damaged: take an earlier checkpoint, or copy or download it again."
            )


def _changes_nothing(model: Any, name: str) -> bool:
    """Whether every product of LoRA matrices is zero: that is how an adapter begins, before any training."""
    from peft import get_peft_model_state_dict

    tensors = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    modules: dict[str, list[bool]] = {}
    for key, tensor in tensors.items():
        if not tensor.is_meta and ".lora_" in key:
            modules.setdefault(key.partition(".lora_")[0], []).append(bool(tensor.any()))
    scaled = any(
        module.scaling.get(name) for module in model.modules() if isinstance(getattr(module, "scaling", None), dict)
    )
    return bool(modules) and (not scaled or not any(map(all, modules.values())))


def _same(one: "torch.Tensor", other: "torch.Tensor") -> bool:
    """But for rounding to another number format."""
    return one.is_meta or one.allclose(other, rtol=0.01, atol=1e-5)


def _own(model: Any) -> "dict[str, torch.Tensor]":
    """The base's own tensors, under the names that they have without an adapter; a tied one under each of its names."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    named = inner.named_parameters(remove_duplicate=False)
    return {name.replace(".base_layer.", "."): tensor for name, tensor in named if ".lora_" not in name}


def _end_token_ids(model: Any, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    """What the model and its tokenizer take for the end of a text."""
    declared = model.generation_config.eos_token_id
    ids = set(declared if isinstance(declared, list) else [declared]) | {tokenizer.eos_token_id}
    return tuple(sorted(token for token in ids if isinstance(token, int)))


def _info(plan: ModelPlan, model: Any, place: Place, warned: tuple[str, ...]) -> ModelInfo:
    adapter = plan.adapter_source
    config = model.config
    return ModelInfo(
        base=plan.base,
        base_revision=base_revision(plan.base_source),
        adapter=plan.adapter,
        adapter_revision=adapter_revision(adapter) if adapter else None,
        adapter_folder=plan.adapter_folder,
        base_folder=plan.base_folder,
        warnings=warned,
        parameters=sum(tensor.numel() for name, tensor in model.named_parameters() if ".lora_" not in name),
        layers=plan.layers or config.num_hidden_layers,
        hidden_size=plan.hidden_size or config.hidden_size,
        context=plan.context or config.max_position_embeddings,
        device=_devices(model) if place.spread else place.device,
        dtype=place.dtype,
        lora_rank=plan.lora_rank,
        second=_second(plan),
    )


def _second(plan: ModelPlan) -> AdapterInfo | None:
    source, declared = plan.second_source, plan.second_config
    if source is None or declared is None:
        return None
    return AdapterInfo(source.name, adapter_revision(source), declared.rank, source.folder)


def _devices(model: Any) -> str:
    return ", ".join(sorted({str(tensor.device) for tensor in model.parameters()}))


@dataclass(frozen=True)
class LoadStatus:
    """How far the loading has come."""

    state: Literal["loading", "ready", "failed"]
    seconds: float
    """Since the start; of the whole loading once it has ended."""
    message: str = ""
    """Why it failed."""


class EngineLoader:
    """Runs `load` once, in a thread; `load` raises ModelError where the model cannot be used."""

    def __init__(self, load: Callable[[], Engine]) -> None:
        self._load = load
        self._engine: Engine | None = None
        self._error: Exception | None = None
        self._ended = threading.Event()
        self._started = time.monotonic()
        self._seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="load weights", daemon=True)

    def start(self) -> "EngineLoader":
        """Begin loading; returns at once."""
        self._started = time.monotonic()
        self._thread.start()
        return self

    @property
    def status(self) -> LoadStatus:
        """Where the loading stands now."""
        if not self._ended.is_set():
            return LoadStatus("loading", time.monotonic() - self._started)
        if self._error is not None:
            return LoadStatus("failed", self._seconds, _reason(self._error))
        return LoadStatus("ready", self._seconds)

    def engine(self, *, timeout_s: float = 0.0) -> Engine:
        """The engine; waits for it at most `timeout_s`.

        Raises NotReadyError while it is loading, ModelError where it cannot be loaded.
        """
        self._ended.wait(timeout_s)
        status = self.status
        if status.state == "loading":
            raise NotReadyError(f"The model is still loading ({status.seconds:.0f} s so far). Try again in a moment.")
        if self._engine is None:
            raise ModelError(status.message) from self._error
        return self._engine

    def _run(self) -> None:
        try:
            self._engine = self._load()
        except Exception as error:  # a thread has no caller: whatever it was must reach the person
            self._error = error
        finally:
            self._seconds = time.monotonic() - self._started
            self._ended.set()


def _reason(error: Exception) -> str:
    if isinstance(error, Phi2DemoError):
        return str(error)
    return f"The model could not be loaded ({type(error).__name__}: {error}). The log of the app says more."
