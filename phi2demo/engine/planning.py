"""Which base and adapter will answer, found and checked before any weights are loaded. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi2demo import settings as defaults
from phi2demo.engine import checks
from phi2demo.engine.sources import Source, base_of, find_adapter, find_base
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
"""Of `transformers.PhiConfig`: what a file leaves out."""

_NAMES = {
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "context": ("max_position_embeddings", "n_positions", "n_ctx"),
    "vocab_size": ("vocab_size",),
}
"""Of one value in the configs of different models."""

_OLD_PHI = ("phi-msft", "mixformer-sequential")


@dataclass(frozen=True)
class BaseConfig:
    """A base's shape as its config.json gives it; 0 where a model other than Phi does not say."""

    model_type: str
    layers: int
    hidden_size: int
    context: int
    vocab_size: int
    cache_numbers: int
    """Keys and values of one full context."""
    shapes: Shapes | None
    """Of all tensors; None for a model other than Phi."""

    @property
    def parameters(self) -> int | None:
        """Exact for Phi, None for another model."""
        return None if self.shapes is None else count(self.shapes)

    @property
    def places(self) -> Shapes | None:
        """What an adapter can change: all tensors, and the output layer also where it is the embedding."""
        if self.shapes is None:
            return None
        return {"lm_head.weight": self.shapes["model.embed_tokens.weight"]} | self.shapes


def read_config(folder: Path, *, name: str) -> BaseConfig:
    """The config of the base in `folder`. Raises ModelError where transformers' own code cannot run such a model."""
    raw = read_json(folder / "config.json", name=name)
    model_type = raw.get("model_type")
    if model_type != "phi":
        _check_known(model_type, raw, name=name)
    values = raw.get("text_config", raw) if model_type != "phi" else _PHI_DEFAULTS | raw
    found = {key: _number(values, names) for key, names in _NAMES.items()}
    shapes = _phi_shapes(_checked_phi(values, name=name)) if model_type == "phi" else None
    heads = _number(values, ("num_attention_heads", "n_head")) or 1
    groups = _number(values, ("num_key_value_heads",)) or heads
    cache = 2 * found["layers"] * (found["hidden_size"] * groups // heads) * found["context"]
    return BaseConfig(model_type=str(model_type), cache_numbers=cache, shapes=shapes, **found)


def _check_known(model_type: object, raw: dict[str, Any], *, name: str) -> None:
    """Refuse what only code from the repository could run. Imports transformers, which takes about two seconds."""
    if model_type in _OLD_PHI:
        raise ModelError(
            f"{name} is written for the old Phi code (model_type {model_type!r}), which transformers does not hold; "
            "give a newer revision of it, such as the present microsoft/phi-2."
        )
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return
    if "auto_map" in raw:
        raise ModelError(
            f"{name} (model_type {model_type!r}) needs code from its own repository, which is never run here; "
            "give a model that transformers itself holds, such as microsoft/phi-2."
        )
    raise ModelError(
        f"{name} has model_type {model_type!r}, which is no text generator that the installed transformers knows; "
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
    """Every tensor of `PhiForCausalLM`, with tied embeddings once."""
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


def _number(values: dict[str, Any], names: tuple[str, ...]) -> int:
    return next((values[name] for name in names if type(values.get(name)) is int), 0)


SECOND = "--second-adapter"
"""How it is given, for messages."""


@dataclass(frozen=True)
class ModelPlan:
    """What will be loaded: all that is known before the weights are there."""

    base_source: Source
    config: BaseConfig
    adapter_source: Source | None = None
    adapter_config: checks.AdapterConfig | None = None
    device: Device = "auto"
    """As asked for; `ModelInfo` says what it became."""
    dtype: Dtype = "auto"
    token: str | None = None
    second_source: Source | None = None
    second_config: checks.AdapterConfig | None = None
    base_given: bool = False
    """Whether a person said which base it is: else the adapter names it."""

    @property
    def base(self) -> str:
        """Hub id or folder name."""
        return self.base_source.name

    @property
    def base_folder(self) -> Path:
        """Its own folder, or its snapshot in the hub cache, which may lack the weights."""
        return self.base_source.folder

    @property
    def base_revision(self) -> str | None:
        """Commit on the hub; None for a folder, whose weights are hashed when they are loaded."""
        return self.base_source.revision

    @property
    def adapter(self) -> str | None:
        """Hub id or folder name; None for a bare base."""
        return self.adapter_source.name if self.adapter_source else None

    @property
    def adapter_folder(self) -> Path | None:
        """Where the adapter's declaration and small files are."""
        return self.adapter_source.folder if self.adapter_source else None

    @property
    def adapter_revision(self) -> str | None:
        """As `base_revision`."""
        return self.adapter_source.revision if self.adapter_source else None

    @property
    def lora_rank(self) -> int | None:
        """As the adapter declares it."""
        return self.adapter_config.rank if self.adapter_config else None

    @property
    def second(self) -> str | None:
        """Hub id or folder name of the second adapter; None where there is none."""
        return self.second_source.name if self.second_source else None

    @property
    def adapters(self) -> tuple[tuple[Source, checks.AdapterConfig], ...]:
        """None, one or two, with what they declare."""
        pairs = ((self.adapter_source, self.adapter_config), (self.second_source, self.second_config))
        return tuple((source, config) for source, config in pairs if source and config)

    @property
    def layers(self) -> int:
        """0 where a model other than Phi does not say; so too the next two."""
        return self.config.layers

    @property
    def hidden_size(self) -> int:
        """Width of the base."""
        return self.config.hidden_size

    @property
    def context(self) -> int:
        """Tokens that prompt and output may have together."""
        return self.config.context

    @property
    def parameters(self) -> int | None:
        """Of the base: exact for Phi, None for another model until it is loaded."""
        return self.config.parameters

    def __repr__(self) -> str:
        shown = ("base", "adapter", "second", "device", "dtype")
        return f"ModelPlan({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def plan(settings: ModelSettings) -> ModelPlan:
    """Find base and adapter and check all that can be checked without loading weights.

    Without torch and transformers, except for a base other than Phi; in milliseconds for folders. Raises ModelError.
    """
    base, adapter = _find(settings)
    config = read_config(base.folder, name=base.name)
    if settings.dtype == "float16" and config.model_type == "phi":
        raise ModelError(
            f"--dtype float16: {base.name} is a Phi, whose attention overflows in float16 and then answers nothing. "
            "Give --dtype bfloat16 or float32."
        )
    second = _find_second(settings, adapter)
    made = ModelPlan(
        base, config, adapter, _declared(adapter), settings.device, settings.dtype, settings.token,
        second, _declared(second), settings.model is not None,
    )  # fmt: skip
    if not _has_tokenizer(made):
        checks.check_tokenizer(base.folder, name=base.name)
    for source, declared in made.adapters if config.places else ():
        places, given = config.places or {}, made.base_given
        checks.check_targets(declared, places, adapter=source.name, base_name=base.name, given=given)
        checks.check_saved(declared, places, adapter=source.name)
    check_weights(made)
    if adapter and second and made.adapter_config and made.second_config:
        checks.check_replaced(made.adapter_config, made.second_config, names=(adapter.name, second.name))
    if second and made.second_config and settings.model is None:
        _check_same_base(second, made.second_config, base)
    return made


def _find(settings: ModelSettings) -> tuple[Source, Source | None]:
    """Base and adapter, by the rule: an adapter names its base, a base alone is bare, nothing is the embedded pair."""
    if settings.adapter is None:
        if settings.model is None:
            return _embedded(), find_adapter(str(defaults.EMBEDDED_ADAPTER), revision=None, token=None)
        return find_base(settings.model, revision=settings.revision, token=settings.token), None
    adapter = find_adapter(settings.adapter, revision=settings.adapter_revision, token=settings.token)
    if settings.model is not None:
        return find_base(settings.model, revision=settings.revision, token=settings.token), adapter
    declared = checks.read_adapter_config(adapter.folder, name=adapter.name)
    if declared.base is None:
        raise ModelError(f"Adapter {adapter.name} does not say which base it was made on; give it with --model.")
    revision = settings.revision or declared.base_revision
    named = base_of(adapter, declared.base)
    return find_base(named, revision=revision, token=settings.token, adapter=adapter.name), adapter


def _declared(adapter: Source | None) -> checks.AdapterConfig | None:
    return checks.read_adapter_config(adapter.folder, name=adapter.name) if adapter else None


def _find_second(settings: ModelSettings, first: Source | None) -> Source | None:
    if settings.second_adapter is None:
        return None
    second = find_adapter(
        settings.second_adapter, revision=settings.second_adapter_revision, token=settings.token, option=SECOND
    )
    if first and second.folder.resolve() == first.folder.resolve():
        raise ModelError(f"{SECOND} {second.name} is the first adapter again; give another one to compare with.")
    return second


def _check_same_base(second: Source, declared: checks.AdapterConfig, base: Source) -> None:
    """ModelError where the second adapter names another base, as far as can be told: shapes alone may agree by chance.

    A base of other weights in a folder on this machine, or another id on the hub. Who gives --model has decided.
    """
    if declared.base is None:
        return
    try:
        named = base_of(second, declared.base)
    except ModelError:  # a folder of another machine
        return
    if Path(named).is_dir():
        other = find_base(named, revision=None, token=None, adapter=second.name)
        same = other.folder.resolve() == base.folder.resolve() or _same_weights(other, base)
    else:
        same = base.snapshot is None or named.lower() == base.name.lower()
    if not same:
        raise checks.other_base(second.name, base.name, made_on=declared.base)


def _same_weights(one: Source, other: Source) -> bool:
    """Where both are here: their sizes first, since hashing gigabytes takes seconds."""
    if not (here(one) and here(other)):
        return False
    sizes = [[(each.folder / file).stat().st_size for file in each.files] for each in (one, other)]
    return sizes[0] == sizes[1] and fingerprint(one.folder, one.files) == fingerprint(other.folder, other.files)


def _embedded() -> Source:
    if not defaults.EMBEDDED_MODEL.is_dir():
        raise ModelError(
            "The embedded model is not in assets/model. Restore it, or give --model with a folder or a hub id "
            "such as microsoft/phi-2."
        )
    return find_base(str(defaults.EMBEDDED_MODEL), revision=None, token=None)


def check_weights(plan: ModelPlan) -> Shapes:
    """Read the headers of the weights that are here, and see that they are whole and belong together.

    Returns the shapes of the base's tensors. Weights still on the hub are checked once they are downloaded.
    """
    base = plan.base_source
    shapes: Shapes = {}
    if here(base):
        shapes = read_shapes(base.folder, base.files)
        if plan.config.shapes:
            checks.check_base(shapes, plan.config.shapes, name=base.name)
    for adapter, declared in plan.adapters:
        if here(adapter):
            changes, places = read_shapes(adapter.folder, adapter.files), plan.config.places
            if places:
                given = plan.base_given
                checks.check_fit(changes, places, declared, adapter=adapter.name, base_name=base.name, given=given)
    return shapes


def here(source: Source) -> bool:
    """Whether its weights are on this machine."""
    return all((source.folder / file).is_file() for file in source.files)


def _has_tokenizer(plan: ModelPlan) -> bool:
    """In the adapter's folder."""
    folder = plan.adapter_folder
    return folder is not None and any((folder / file).is_file() for file in checks.TOKENIZER_FILES)
