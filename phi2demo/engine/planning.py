"""The plan of which base and adapters to load, found and checked before any weights are loaded. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi2demo import settings as defaults
from phi2demo.engine import checks
from phi2demo.engine.sources import Source, find_adapter, find_base, resolve_base
from phi2demo.engine.weights import Shapes, count, fingerprint, read_json, read_shapes
from phi2demo.errors import ModelError
from phi2demo.settings import Device, Dtype, ModelSettings

_PHI_DEFAULTS: dict[str, Any] = {
    "vocab_size": 51200,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 24,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
}
"""Defaults of `transformers.PhiConfig` for values that config.json leaves out."""

_KEYS = {
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "context": ("max_position_embeddings", "n_positions", "n_ctx"),
    "vocab_size": ("vocab_size",),
}
"""Keys of the same value in the configs of different models."""

_OLD_PHI = ("phi-msft", "mixformer-sequential")


@dataclass(frozen=True)
class BaseConfig:
    """The dimensions of a base from its config.json; 0 where a model other than Phi does not give one."""

    model_type: str
    layers: int
    hidden_size: int
    context: int
    vocab_size: int
    cache_numbers: int
    """Numbers in the keys and values of one full context."""
    shapes: Shapes | None
    """Shapes of all tensors; None for a model other than Phi."""

    @property
    def parameters(self) -> int | None:
        """Return the exact number for Phi, None for another model."""
        return None if self.shapes is None else count(self.shapes)

    @property
    def adaptable(self) -> Shapes | None:
        """Return the tensors that an adapter can change: all of them, and the output layer even where it is the embedding."""
        if self.shapes is None:
            return None
        return {"lm_head.weight": self.shapes["model.embed_tokens.weight"]} | self.shapes


def read_config(folder: Path, *, name: str) -> BaseConfig:
    """Read the config of the base in `folder`. Raises ModelError where the installed transformers cannot run the model."""
    raw = read_json(folder / "config.json", name=name)
    model_type = raw.get("model_type")
    if model_type != "phi":
        _check_known(model_type, raw, name=name)
    values = raw.get("text_config", raw) if model_type != "phi" else _PHI_DEFAULTS | raw
    sizes = {name: _number(values, keys) for name, keys in _KEYS.items()}
    shapes = _phi_shapes(_checked_phi(values, name=name)) if model_type == "phi" else None
    heads = _number(values, ("num_attention_heads", "n_head")) or 1
    groups = _number(values, ("num_key_value_heads",)) or heads
    cache = 2 * sizes["layers"] * (sizes["hidden_size"] * groups // heads) * sizes["context"]
    return BaseConfig(model_type=str(model_type), cache_numbers=cache, shapes=shapes, **sizes)


def _check_known(model_type: object, raw: dict[str, Any], *, name: str) -> None:
    """Raise ModelError for a model that only code from its repository could run. Imports transformers: two seconds."""
    if model_type in _OLD_PHI:
        raise ModelError(
            f"{name} is written for the old Phi code (model_type {model_type!r}), which transformers cannot read; "
            "give a newer revision of it, such as the present microsoft/phi-2."
        )
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return
    if "auto_map" in raw:
        raise ModelError(
            f"{name} (model_type {model_type!r}) needs code from its own repository, which is never run here; "
            "give a model that transformers itself implements, such as microsoft/phi-2."
        )
    raise ModelError(
        f"{name} has model_type {model_type!r}, which is not a text generator that the installed transformers implements; "
        "give a causal language model such as microsoft/phi-2."
    )


def _checked_phi(values: dict[str, Any], *, name: str) -> dict[str, Any]:
    for key in _PHI_DEFAULTS:
        if type(values[key]) is not int or values[key] < 1:
            raise ModelError(f"config.json of {name} has {key} {values[key]!r}; it must be a whole number above 0.")
    if values["hidden_size"] % values["num_attention_heads"]:
        raise ModelError(
            f"config.json of {name} has hidden_size {values['hidden_size']}, which its "
            f"{values['num_attention_heads']} attention heads do not divide; restore the file."
        )
    return values


def _phi_shapes(config: dict[str, Any]) -> Shapes:
    """Return the shape of every tensor of `PhiForCausalLM`; tied embeddings appear once."""
    hidden, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    width = hidden // config["num_attention_heads"]
    groups = width * (config.get("num_key_value_heads") or config["num_attention_heads"])
    linears = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (groups, hidden),
        "self_attn.v_proj": (groups, hidden),
        "self_attn.dense": (hidden, hidden),
        "mlp.fc1": (inner, hidden),
        "mlp.fc2": (hidden, inner),
    }
    norms = {"input_layernorm": hidden}
    if config.get("qk_layernorm"):
        norms |= {"self_attn.q_layernorm": width, "self_attn.k_layernorm": width}
    shapes: Shapes = {"model.embed_tokens.weight": (vocabulary, hidden), "lm_head.bias": (vocabulary,)}
    if not config.get("tie_word_embeddings"):
        shapes["lm_head.weight"] = (vocabulary, hidden)
    shapes |= {f"model.final_layernorm.{part}": (hidden,) for part in ("weight", "bias")}
    for layer in range(config["num_hidden_layers"]):
        for module, (rows, columns) in linears.items():
            shapes[f"model.layers.{layer}.{module}.weight"] = (rows, columns)
            shapes[f"model.layers.{layer}.{module}.bias"] = (rows,)
        for module, size in norms.items():
            shapes |= {f"model.layers.{layer}.{module}.{part}": (size,) for part in ("weight", "bias")}
    return shapes


def _number(values: dict[str, Any], keys: tuple[str, ...]) -> int:
    return next((values[key] for key in keys if type(values.get(key)) is int), 0)


SECOND_OPTION = "--second-adapter"


@dataclass(frozen=True)
class ModelPlan:
    """The model to be loaded: all that is known of it without its weights."""

    base_source: Source
    config: BaseConfig
    adapter_source: Source | None = None
    adapter_config: checks.AdapterConfig | None = None
    device: Device = "auto"
    """Requested device; `ModelInfo` has the one that was chosen."""
    dtype: Dtype = "auto"
    token: str | None = None
    second_source: Source | None = None
    second_config: checks.AdapterConfig | None = None
    base_given: bool = False
    """Whether the user named the base; otherwise the adapter did."""
    template: str | None = None
    """As in `ModelSettings`."""
    system: str | None = None

    @property
    def base(self) -> str:
        """Return the hub id or folder name of the base."""
        return self.base_source.name

    @property
    def base_folder(self) -> Path:
        """Return the base's folder, or its snapshot in the hub cache, which may lack the weights."""
        return self.base_source.folder

    @property
    def base_revision(self) -> str | None:
        """Return the base's commit on the hub; None for a folder, whose weights are hashed when they are loaded."""
        return self.base_source.revision

    @property
    def adapter(self) -> str | None:
        """Return the hub id or folder name of the adapter; None for a base alone."""
        return self.adapter_source.name if self.adapter_source else None

    @property
    def adapter_folder(self) -> Path | None:
        """Return the folder with the adapter's `tasks.json` and other small files."""
        return self.adapter_source.folder if self.adapter_source else None

    @property
    def adapter_revision(self) -> str | None:
        """Return the adapter's commit on the hub; None for a folder."""
        return self.adapter_source.revision if self.adapter_source else None

    @property
    def lora_rank(self) -> int | None:
        """Return the rank that the adapter declares."""
        return self.adapter_config.rank if self.adapter_config else None

    @property
    def second(self) -> str | None:
        """Return the hub id or folder name of the second adapter; None where there is none."""
        return self.second_source.name if self.second_source else None

    @property
    def adapters(self) -> tuple[tuple[Source, checks.Pairing], ...]:
        """Return up to two adapters, each with its pairing with the base."""
        adapters = ((self.adapter_source, self.adapter_config), (self.second_source, self.second_config))
        return tuple(
            (source, checks.Pairing(source.name, self.base, config, self.base_given))
            for source, config in adapters
            if source and config
        )

    @property
    def layers(self) -> int:
        """Return the number of layers; 0 where a model other than Phi does not give it."""
        return self.config.layers

    @property
    def hidden_size(self) -> int:
        """Return the width of the hidden states; 0 where a model other than Phi does not give it."""
        return self.config.hidden_size

    @property
    def context(self) -> int:
        """Return the most tokens of prompt and output together; 0 where a model other than Phi does not give it."""
        return self.config.context

    @property
    def parameters(self) -> int | None:
        """Return the base's exact number of parameters; None for a model other than Phi."""
        return self.config.parameters

    def __repr__(self) -> str:
        names = ("base", "adapter", "second", "device", "dtype")  # never the token
        return f"ModelPlan({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


def plan(settings: ModelSettings) -> ModelPlan:
    """Find base and adapters and check all that can be checked without loading weights. Raises ModelError.

    Takes milliseconds for folders, and needs neither torch nor, for a Phi, transformers.
    """
    base, adapter = _find(settings)
    config = read_config(base.folder, name=base.name)
    if settings.dtype == "float16" and config.model_type == "phi":
        raise ModelError(
            f"--dtype float16: {base.name} is a Phi, whose attention overflows in float16 and then answers nothing. "
            "Give --dtype bfloat16 or float32."
        )
    second = _find_second(settings, adapter)
    model_plan = ModelPlan(
        base_source=base,
        config=config,
        adapter_source=adapter,
        adapter_config=_config_of(adapter),
        device=settings.device,
        dtype=settings.dtype,
        token=settings.token,
        second_source=second,
        second_config=_config_of(second),
        base_given=settings.model is not None,
        template=settings.template,
        system=settings.system,
    )
    if not _adapter_has_tokenizer(model_plan):
        checks.check_tokenizer(base.folder, name=base.name)
    pairings = [pairing for _, pairing in model_plan.adapters]
    if config.adaptable is not None:
        for pairing in pairings:
            checks.check_targets(pairing, config.adaptable)
            checks.check_saved(pairing, config.adaptable)
    check_weights(model_plan)
    if len(pairings) == 2:
        checks.check_replaced(*pairings)
    if second and model_plan.second_config and settings.model is None:
        _check_same_base(second, model_plan.second_config, base)
    return model_plan


def _find(settings: ModelSettings) -> tuple[Source, Source | None]:
    """Return base and adapter: an adapter names its base, a base alone has no adapter, no settings are the embedded pair."""
    if settings.adapter is None:
        if settings.model is None:
            return _embedded_base(), find_adapter(str(defaults.EMBEDDED_ADAPTER), revision=None, token=None)
        return find_base(settings.model, revision=settings.revision, token=settings.token), None
    adapter = find_adapter(settings.adapter, revision=settings.adapter_revision, token=settings.token)
    if settings.model is not None:
        return find_base(settings.model, revision=settings.revision, token=settings.token), adapter
    config = checks.read_adapter_config(adapter.folder, name=adapter.name)
    if config.base is None:
        raise ModelError(f"Adapter {adapter.name} does not say which base it was made on; give it with --model.")
    address = resolve_base(adapter, config.base)
    revision = settings.revision or config.base_revision
    return find_base(address, revision=revision, token=settings.token, adapter=adapter.name), adapter


def _config_of(adapter: Source | None) -> checks.AdapterConfig | None:
    return checks.read_adapter_config(adapter.folder, name=adapter.name) if adapter else None


def _find_second(settings: ModelSettings, first: Source | None) -> Source | None:
    if settings.second_adapter is None:
        return None
    second = find_adapter(
        settings.second_adapter, revision=settings.second_adapter_revision, token=settings.token, option=SECOND_OPTION
    )
    if first and second.folder.resolve() == first.folder.resolve():
        raise ModelError(f"{SECOND_OPTION} {second.name} is the first adapter again; give another one to compare with.")
    return second


def _check_same_base(second: Source, config: checks.AdapterConfig, base: Source) -> None:
    """Raise ModelError where the second adapter names another base, since shapes may agree by chance.

    That is a folder on this machine with other weights, or another hub id. Not checked where the user gives --model.
    """
    if config.base is None:
        return
    try:
        address = resolve_base(second, config.base)
    except ModelError:  # a folder of another machine, with which nothing can be compared
        return
    if Path(address).is_dir():
        named = find_base(address, revision=None, token=None, adapter=second.name)
        is_same = named.folder.resolve() == base.folder.resolve() or _have_same_weights(named, base)
    else:
        is_same = base.snapshot is None or address.lower() == base.name.lower()
    if not is_same:
        raise checks.other_base(second.name, base.name, declared=config.base)


def _have_same_weights(first: Source, second: Source) -> bool:
    """Compare the weights of two bases on this machine: first the sizes, since hashing gigabytes takes seconds."""
    if not (first.is_downloaded and second.is_downloaded):
        return False
    sizes = [[(source.folder / file).stat().st_size for file in source.files] for source in (first, second)]
    return sizes[0] == sizes[1] and fingerprint(first.folder, first.files) == fingerprint(second.folder, second.files)


def _embedded_base() -> Source:
    if not defaults.EMBEDDED_MODEL.is_dir():
        raise ModelError(
            "The embedded model is missing in assets/model. Restore it, or give --model with a folder or a hub id "
            "such as microsoft/phi-2."
        )
    return find_base(str(defaults.EMBEDDED_MODEL), revision=None, token=None)


def check_weights(plan: ModelPlan) -> Shapes:
    """Check that the downloaded weight files are complete and belong together; return the shapes of the base's tensors.

    Reads only their headers. Weights that are still on the hub are checked after their download. Raises ModelError.
    """
    base, config = plan.base_source, plan.config
    shapes: Shapes = {}
    if base.is_downloaded:
        shapes = read_shapes(base.folder, base.files)
        if config.shapes:
            checks.check_base(shapes, config.shapes, name=base.name)
    for adapter, pairing in plan.adapters:
        if adapter.is_downloaded:
            adapter_shapes = read_shapes(adapter.folder, adapter.files)
            if config.adaptable:
                checks.check_fit(pairing, adapter_shapes, config.adaptable)
    return shapes


def _adapter_has_tokenizer(plan: ModelPlan) -> bool:
    folder = plan.adapter_folder
    return folder is not None and any((folder / file).is_file() for file in checks.TOKENIZER_FILES)
