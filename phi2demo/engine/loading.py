"""Loading of the weights of a plan: download, memory check, and the thread in which the app loads.

Knows no task and no page.
"""

import logging
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phi2demo.engine import checks
from phi2demo.engine.devices import MemoryDemand, Placement, choose_placement
from phi2demo.engine.engine import AdapterInfo, ChatForm, Engine, ModelInfo
from phi2demo.engine.planning import ModelPlan, check_weights
from phi2demo.engine.revisions import adapter_revision, base_revision
from phi2demo.engine.sources import Source
from phi2demo.engine.text_encoder import chat_form, special_tokens
from phi2demo.engine.weights import count, read_shapes
from phi2demo.errors import ModelError, NotReadyError, Phi2DemoError

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

ADAPTER, SECOND = "default", "second"
"""PEFT's names for the first and the second adapter."""
BASE = "__base__"
"""PEFT's name for the rows of a mixed batch that use no adapter."""

_NO_CHANGE = (
    "Adapter {name} changes nothing: the products of its matrices are zero, as before any training. Finetuned and base "
    "answers are the same. Give the adapter that training saved at its end."
)


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model; its adapter is never merged, so that one batch can hold rows with and without it."""

    model: "PreTrainedModel | PeftModel"
    """The model in eval mode, without gradients."""
    tokenizer: "PreTrainedTokenizerBase"
    info: ModelInfo
    end_token_ids: tuple[int, ...]
    pad_token_id: int


def load(plan: ModelPlan) -> LoadedModel:
    """Load the model of `plan`, in seconds, or in minutes where weights are downloaded first. Raises ModelError."""
    _download(plan)
    shapes = check_weights(plan)
    parameters = plan.parameters or count(shapes)
    placement = choose_placement(plan.device, plan.dtype, MemoryDemand(parameters, plan.config.cache_numbers))
    names = " and ".join(source.name for source, _ in plan.adapters) or "no adapter"
    logger.info("loading %s with %s on %s as %s", plan.base, names, placement.device, placement.dtype)
    try:
        with _without_messages():
            tokenizer = _load_tokenizer(plan)
            model = _load_base(plan, placement)
            _check_vocabulary(tokenizer, model, name=plan.base)
            _check_finite(dict(model.named_parameters()), name=plan.base)
            no_change = []
            for name, (source, pairing) in zip((ADAPTER, SECOND), plan.adapters, strict=False):
                model = _load_adapter(plan, model, source, pairing, name=name)
                if not pairing.config.saved and _changes_nothing(model, name):
                    no_change.append(_NO_CHANGE.format(name=source.name))
    except (OSError, ValueError, TypeError, RuntimeError, KeyError, ImportError) as error:
        raise ModelError(
            f"{plan.base} with {names} could not be loaded: {error}. "
            "Check that its files belong together, or give another model."
        ) from error
    for warning in no_change:
        logger.warning(warning)
    model.eval().requires_grad_(False)
    end_ids = _end_token_ids(model, tokenizer)
    tokens = frozenset(special_tokens(tokenizer, end_ids).values())
    info = replace(
        _info(plan, model, placement, tuple(no_change)),
        special_tokens=tokens,
        chat=chat_form(tokenizer, tokens),
        template=plan.template,
        system=plan.system,
    )
    pad_id = tokenizer.pad_token_id
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        info=info,
        end_token_ids=end_ids,
        pad_token_id=pad_id if pad_id is not None else (end_ids or (0,))[0],
    )


@contextmanager
def _without_messages() -> Iterator[None]:
    """Suppress transformers' progress bar, which counts tensors, and two warnings of PEFT 0.21 that do not apply here.

    PEFT uses a property that transformers 5 deprecates, and warns that LoRA on a tied embedding cannot be merged.
    """
    from transformers.utils import logging as transformers_logging

    has_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`", UserWarning)
            yield
    finally:
        if has_bar:
            transformers_logging.enable_progress_bar()


def _download(plan: ModelPlan) -> None:
    from phi2demo.engine import hub

    for source in (plan.base_source, *(source for source, _ in plan.adapters)):
        if source.snapshot is None or source.is_downloaded:
            continue
        free = _free_disk_bytes(source.folder)
        if source.missing_bytes > free:
            raise ModelError(
                f"{source.name} needs {source.missing_bytes / 1e9:.1f} GB of disk, but only {free / 1e9:.1f} GB are "
                "free where the hub cache is. Free some, or set HF_HOME to a folder on a larger disk."
            )
        hub.fetch_weights(source.snapshot, source.files, token=plan.token)


def _free_disk_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def read_chat_form(plan: ModelPlan) -> ChatForm | None:
    """Return the chat template of a plan's tokenizer without its weights; None where it has none.

    Imports transformers only where a file has one. Raises ModelError where the tokenizer cannot be read.
    """
    folders = [folder for folder in (plan.base_folder, plan.adapter_folder) if folder is not None]
    if not any(_names_chat_template(folder) for folder in folders):
        return None
    tokenizer = _load_tokenizer(plan)
    return chat_form(tokenizer, special_tokens(tokenizer).values())


def _names_chat_template(folder: Path) -> bool:
    config = folder / "tokenizer_config.json"
    return (folder / "chat_template.jinja").is_file() or (
        config.is_file() and "chat_template" in config.read_text(encoding="utf-8", errors="replace")
    )


def _load_tokenizer(plan: ModelPlan) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of the base, or that of the adapter where the base has none."""
    from transformers import AutoTokenizer

    base_has_one = any((plan.base_folder / file).is_file() for file in checks.TOKENIZER_FILES)
    folder = plan.base_folder if base_has_one else plan.adapter_folder
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # tokenizers raises plain Exceptions for a damaged file
        name = plan.base if base_has_one else plan.adapter
        raise ModelError(f"The tokenizer of {name} cannot be read ({error}); copy or download it again.") from error
    return tokenizer


def _check_vocabulary(tokenizer: "PreTrainedTokenizerBase", model: Any, *, name: str) -> None:
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise ModelError(
            f"The tokenizer has {len(tokenizer)} tokens, but {name} only has {rows}; give the tokenizer that it was "
            "trained with."
        )


def _load_base(plan: ModelPlan, placement: Placement) -> Any:
    """Load the base alone onto its device."""
    from transformers import AutoModelForCausalLM

    model, report = AutoModelForCausalLM.from_pretrained(
        plan.base_folder,
        dtype=placement.torch_dtype,
        attn_implementation="sdpa" if plan.config.model_type == "phi" else None,
        device_map="auto" if placement.spread else None,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    missing = sorted([*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])])
    if missing:
        raise ModelError(f"The weights of {plan.base} lack {', '.join(missing[:3])}; copy or download them again.")
    return model if placement.spread else model.to(placement.device)


def _load_adapter(plan: ModelPlan, base: Any, source: Source, pairing: checks.Pairing, *, name: str) -> Any:
    """Add an adapter to `base` under PEFT's `name`; `base` may already have another one."""
    from peft import PeftModel, get_peft_model_state_dict

    adapter_shapes, base_tensors = read_shapes(source.folder, source.files), _base_tensors(base)
    if plan.config.adaptable is None:  # not checked by the plan
        base_shapes = {key: tuple(tensor.shape) for key, tensor in base_tensors.items()}
        checks.check_saved(pairing, base_shapes)
        checks.check_fit(pairing, adapter_shapes, base_shapes)
    originals = {key: base_tensors[key].detach().clone() for key in checks.copied(adapter_shapes, pairing.config)}
    options = {"is_trainable": False, "autocast_adapter_dtype": False, "torch_device": str(base.device)}
    if isinstance(base, PeftModel):
        model = base
        model.load_adapter(source.folder, name, **options)
    else:
        model = PeftModel.from_pretrained(base, source.folder, name, **options)
    tensors = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    _check_finite(tensors, name=source.name)
    unmatched = sorted(key for key in set(tensors) ^ set(adapter_shapes) if ".lora_" in key)
    if unmatched or not tensors:
        raise ModelError(
            f"{source.name} and its adapter_config.json do not belong together: {len(unmatched)} of its weights have no "
            f"match, such as {', '.join(unmatched[:2])}. Copy or download the adapter again."
        )
    for key, original in originals.items():  # PEFT has overwritten it with the adapter's copy
        if not _is_close(base_tensors[key], original):
            raise checks.other_weights(key, pairing)
        base_tensors[key].data.copy_(original)
    return model


def _check_finite(tensors: "Mapping[str, torch.Tensor]", *, name: str) -> None:
    """Raise ModelError where a number is not finite, as after a diverged training: every answer would be nonsense."""
    import torch

    for key, tensor in tensors.items():
        if not tensor.is_meta and not tensor.sum(dtype=torch.float32).isfinite():  # the fastest test
            raise ModelError(
                f"{name} cannot be used: {key} holds numbers that are not finite. Its training has diverged, or the file "
                "is damaged: use an earlier checkpoint, or copy or download it again."
            )


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


def _is_close(tensor: "torch.Tensor", original: "torch.Tensor") -> bool:
    """Return whether two tensors are equal apart from rounding to another number format."""
    return tensor.is_meta or tensor.allclose(original, rtol=0.01, atol=1e-5)


def _base_tensors(model: Any) -> "dict[str, torch.Tensor]":
    """Return the base's tensors by the names that they have without an adapter; a tied one under each of its names."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    named = inner.named_parameters(remove_duplicate=False)
    return {name.replace(".base_layer.", "."): tensor for name, tensor in named if ".lora_" not in name}


TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>")
"""Special tokens that end an answer in the chat forms of the field."""


def _end_token_ids(model: Any, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    """Return the tokens that end a text or an answer for the model, for its tokenizer, or in a chat form."""
    declared = model.generation_config.eos_token_id
    turns = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.content in TURN_ENDS}
    ids = set(declared if isinstance(declared, list) else [declared]) | {tokenizer.eos_token_id} | turns
    return tuple(sorted(token for token in ids if isinstance(token, int)))


def _info(plan: ModelPlan, model: Any, placement: Placement, warnings: tuple[str, ...]) -> ModelInfo:
    adapter = plan.adapter_source
    config = model.config
    return ModelInfo(
        base=plan.base,
        base_revision=base_revision(plan.base_source),
        adapter=plan.adapter,
        adapter_revision=adapter_revision(adapter) if adapter else None,
        adapter_folder=plan.adapter_folder,
        base_folder=plan.base_folder,
        warnings=warnings,
        parameters=sum(tensor.numel() for name, tensor in model.named_parameters() if ".lora_" not in name),
        layers=plan.layers or config.num_hidden_layers,
        hidden_size=plan.hidden_size or config.hidden_size,
        context=plan.context or config.max_position_embeddings,
        device=_devices(model) if placement.spread else placement.device,
        dtype=placement.dtype,
        architecture=plan.config.model_type,
        lora_rank=plan.lora_rank,
        second=_second(plan),
    )


def _second(plan: ModelPlan) -> AdapterInfo | None:
    source, config = plan.second_source, plan.second_config
    if source is None or config is None:
        return None
    return AdapterInfo(source.name, adapter_revision(source), config.rank, source.folder)


def _devices(model: Any) -> str:
    return ", ".join(sorted({str(tensor.device) for tensor in model.parameters()}))


@dataclass(frozen=True)
class LoadStatus:
    """The progress of loading a model."""

    state: Literal["loading", "ready", "failed"]
    seconds: float
    """Seconds since the start; after the end the duration of loading."""
    message: str = ""
    """Reason of the failure."""


class EngineLoader:
    """Runs `load` once in a thread, so that the page works before the model does."""

    def __init__(self, load: Callable[[], Engine]) -> None:
        self._load = load
        self._engine: Engine | None = None
        self._error: Exception | None = None
        self._ended = threading.Event()
        self._started = time.monotonic()
        self._seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="load weights", daemon=True)

    def start(self) -> "EngineLoader":
        """Start loading and return at once."""
        self._started = time.monotonic()
        self._thread.start()
        return self

    @property
    def status(self) -> LoadStatus:
        """Return the progress so far."""
        if not self._ended.is_set():
            return LoadStatus("loading", time.monotonic() - self._started)
        if self._error is not None:
            return LoadStatus("failed", self._seconds, _reason(self._error))
        return LoadStatus("ready", self._seconds)

    def engine(self, *, timeout_s: float = 0.0) -> Engine:
        """Return the engine; wait for it at most `timeout_s`.

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
        except Exception as error:  # a thread has no caller, and the page has to show the error
            self._error = error
        finally:
            self._seconds = time.monotonic() - self._started
            self._ended.set()


def _reason(error: Exception) -> str:
    if isinstance(error, Phi2DemoError):
        return str(error)
    return f"The model could not be loaded ({type(error).__name__}: {error}). See the log of the app for details."
