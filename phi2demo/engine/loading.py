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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phi2demo.engine import checks
from phi2demo.engine.adapted_model import AdapterState
from phi2demo.engine.adapter_loading import check_finite, load_adapters
from phi2demo.engine.devices import MemoryDemand, Placement, choose_placement
from phi2demo.engine.engine import AdapterInfo, ChatTemplate, Engine, ModelInfo
from phi2demo.engine.planning import FurtherAdapter, ModelPlan, check_weights
from phi2demo.engine.revisions import adapter_revision, base_revision
from phi2demo.engine.text_encoder import read_template, special_tokens
from phi2demo.engine.weights import count
from phi2demo.errors import ModelError, NotReadyError, Phi2DemoError, quoted

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

_NOT_MEANT = (
    "Model has `tie_word_embeddings=True`",
    "fan_in_fan_out is set to",
    "Unsupported layer type '.*LayerNorm'",
    "Adapter .* LoRA tensor.* have invalid shape",
)
"""Beginnings of warnings of PEFT that are not meant for these models."""


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model; its adapter is never merged, so that one batch can hold rows with and without it."""

    model: "PreTrainedModel | PeftModel"
    """The model in eval mode, without gradients."""
    tokenizer: "PreTrainedTokenizerBase"
    info: ModelInfo
    end_token_ids: tuple[int, ...]
    pad_token_id: int
    vocabulary_size: int
    """Number of tokens for which the model has an embedding."""
    adapters: Mapping[str, AdapterState]
    """The state of each adapter by PEFT's name for it."""


@dataclass(frozen=True)
class LoadedTokenizer:
    """The tokenizer of a model, and the special tokens that generation needs."""

    tokenizer: "PreTrainedTokenizerBase"
    end_token_ids: tuple[int, ...]
    """The tokens that end a text or an answer."""
    pad_token_id: int


def load(plan: ModelPlan) -> LoadedModel:
    """Load the model of `plan`, in seconds, or in minutes where weights are downloaded first. Raises ModelError."""
    download(plan)
    shapes = check_weights(plan)
    parameters = plan.parameters or count(shapes)
    placement = choose_placement(plan.device, plan.dtype, MemoryDemand(parameters, plan.config.cache_numbers))
    names = " and ".join(source.name for source, _ in plan.adapters) or "no adapter"
    logger.info("loading %s with %s on %s as %s", plan.base, names, placement.device, placement.dtype)
    try:
        with without_messages():
            text = load_tokenizer(plan)
            model = _load_base(plan, placement)
            check_finite(dict(model.named_parameters()), name=plan.base)
            parameters = sum(tensor.numel() for tensor in model.parameters())
            adapters = load_adapters(plan, model)
            vocabulary_size = len(model.get_input_embeddings().weight)
            _check_vocabulary(text.tokenizer, vocabulary_size, name=plan.base)
    except (OSError, ValueError, TypeError, RuntimeError, KeyError, ImportError) as error:
        raise ModelError(
            f"{plan.base} with {names} could not be loaded: {error}. "
            "Check that its files belong together, or give another model."
        ) from error
    for warning in adapters.warnings:
        logger.warning(warning)
    model = adapters.model.eval().requires_grad_(False)
    info = describe(
        plan,
        text,
        device=_devices(model) if placement.spread else placement.device,
        dtype=placement.dtype,
        parameters=parameters,
        virtual_tokens=max((state.virtual_tokens for state in adapters.states.values()), default=0),
        warnings=adapters.warnings,
    )
    return LoadedModel(
        model=model,
        tokenizer=text.tokenizer,
        info=info,
        end_token_ids=text.end_token_ids,
        pad_token_id=text.pad_token_id,
        vocabulary_size=vocabulary_size,
        adapters=adapters.states,
    )


@contextmanager
def without_messages() -> Iterator[None]:
    """Suppress transformers' progress bar, which counts tensors, and warnings of PEFT 0.21 that do not apply here.

    PEFT uses a property that transformers 5 deprecates, and warns of what matters for merging (LoRA on a tied embedding),
    of what it corrects itself (the layout of GPT-2's layers), and of 1-D biases, which it takes for damaged matrices.
    """
    from transformers.utils import logging as transformers_logging

    has_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            for message in _NOT_MEANT:
                warnings.filterwarnings("ignore", message, UserWarning)
            yield
    finally:
        if has_bar:
            transformers_logging.enable_progress_bar()


def download(plan: ModelPlan) -> None:
    """Fetch the weights of a plan from the hub, where they are missing. Raises ModelError."""
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


def read_chat_template(plan: ModelPlan) -> ChatTemplate | None:
    """Return the chat template of a plan's tokenizer without its weights; None where it has none.

    Imports transformers only where a file has one. Raises ModelError where the tokenizer cannot be read.
    """
    folders = [folder for folder in (plan.base_folder, plan.adapter_folder) if folder is not None]
    if not any(_names_chat_template(folder) for folder in folders):
        return None
    tokenizer = _tokenizer(plan)
    return read_template(tokenizer, special_tokens(tokenizer).values())


def _names_chat_template(folder: Path) -> bool:
    config = folder / "tokenizer_config.json"
    return (folder / "chat_template.jinja").is_file() or (
        config.is_file() and "chat_template" in config.read_text(encoding="utf-8", errors="replace")
    )


def load_tokenizer(plan: ModelPlan) -> LoadedTokenizer:
    """Load the tokenizer of a plan, without any weights. Raises ModelError."""
    tokenizer = _tokenizer(plan)
    end_ids = _end_token_ids(plan.base_folder, tokenizer)
    pad_id = tokenizer.pad_token_id
    return LoadedTokenizer(tokenizer, end_ids, pad_id if pad_id is not None else (end_ids or (0,))[0])


def _tokenizer(plan: ModelPlan) -> "PreTrainedTokenizerBase":
    """Load the tokenizer with which the adapter was trained, which may have more tokens, or else that of the base."""
    own = _read_tokenizer(plan.adapter_folder, name=plan.adapter or "")
    base = _read_tokenizer(plan.base_folder, name=plan.base)
    tokenizer = own or base
    assert tokenizer is not None, "the plan has checked that there is one"
    if own is not None and base is not None:
        _check_same_tokens(plan, own.get_vocab(), base.get_vocab())
    return tokenizer


def _read_tokenizer(folder: Path | None, *, name: str) -> "PreTrainedTokenizerBase | None":
    """Return the tokenizer in `folder`; None where there is none."""
    from transformers import AutoTokenizer

    if folder is None or not any((folder / file).is_file() for file in checks.TOKENIZER_FILES):
        return None
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # tokenizers raises plain Exceptions for a damaged file
        raise ModelError(f"The tokenizer of {name} cannot be read ({error}); copy or download it again.") from error
    return tokenizer


def _check_same_tokens(plan: ModelPlan, own: dict[str, int], base: dict[str, int]) -> None:
    """Raise ModelError where adapter and base number the same token differently, so that one of them reads nonsense."""
    for token, number in base.items():
        if own.get(token, number) != number:
            raise ModelError(
                f"The tokenizer of {plan.adapter} gives {quoted(token)} the number {own[token]}, that of {plan.base} {number}: "
                "they do not belong together. Give the base that the adapter was made on with --model."
            )


def _check_vocabulary(tokenizer: "PreTrainedTokenizerBase", rows: int, *, name: str) -> None:
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


TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>")
"""Special tokens that end an answer in the chat forms of the field."""


def _end_token_ids(folder: Path, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    """Return the tokens that end a text or an answer for the model, for its tokenizer, or in a chat form."""
    from transformers import AutoConfig, GenerationConfig

    if (folder / "generation_config.json").is_file():
        declared = GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id
    else:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        declared = GenerationConfig.from_model_config(config).eos_token_id
    turns = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.content in TURN_ENDS}
    ids = set(declared if isinstance(declared, list) else [declared]) | {tokenizer.eos_token_id} | turns
    return tuple(sorted(token for token in ids if isinstance(token, int)))


def describe(
    plan: ModelPlan,
    text: LoadedTokenizer,
    *,
    device: str,
    dtype: str,
    parameters: int,
    engine: str = "transformers",
    virtual_tokens: int = 0,
    warnings: tuple[str, ...] = (),
) -> ModelInfo:
    """Return the description of a loaded model."""
    adapter = plan.adapter_source
    tokens = frozenset(special_tokens(text.tokenizer, text.end_token_ids).values())
    return ModelInfo(
        base=plan.base,
        base_revision=base_revision(plan.base_source),
        adapter=plan.adapter,
        adapter_revision=adapter_revision(adapter) if adapter else None,
        adapter_folder=plan.adapter_folder,
        base_folder=plan.base_folder,
        warnings=warnings,
        parameters=parameters,
        layers=plan.layers,
        hidden_size=plan.hidden_size,
        context=plan.context - virtual_tokens,
        device=device,
        dtype=dtype,
        engine=engine,
        architecture=plan.config.model_type,
        lora_rank=plan.lora_rank,
        adapter_kind=plan.adapter_config.kind if plan.adapter_config else None,
        others=tuple(map(_other_adapter, plan.others)),
        special_tokens=tokens,
        chat=read_template(text.tokenizer, tokens),
        template=plan.template,
        system=plan.system,
    )


def _other_adapter(other: FurtherAdapter) -> AdapterInfo:
    source, config = other.source, other.config
    return AdapterInfo(other.variant, source.name, adapter_revision(source), config.rank, source.folder, config.kind)


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
