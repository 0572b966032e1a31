"""The plan of which base and adapters to load, found and checked before any weights are loaded. Imports no torch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from phi2demo import settings as defaults
from phi2demo.engine import checks, phi_config
from phi2demo.engine.adapters import AdapterConfig, read_adapter_config
from phi2demo.engine.engine import Variant, adapter_variants
from phi2demo.engine.sources import Source, find_adapter, find_base, resolve_base
from phi2demo.engine.weights import Shapes, count, fingerprint, read_json, read_shapes
from phi2demo.errors import ModelError, quoted
from phi2demo.settings import Device, Dtype, EngineName, ModelSettings, Quantization

DEFAULT_CONTEXT = 2048
"""Context of a model whose config names none: its positions have no end, but memory and patience do."""
RESERVED_TOKENS = 8192
"""Most tokens of a context for which memory must be free before loading: few texts need the 131,072 of some models."""
_CONTEXTS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
"""Names that models have for their context."""


@dataclass(frozen=True)
class BaseConfig:
    """The dimensions of a base from its config.json."""

    model_type: str
    layers: int
    hidden_size: int
    context: int
    vocab_size: int
    key_heads: int
    """Heads of keys and values."""
    head_size: int
    """Numbers of one head."""
    shapes: Shapes | None = None
    """Shapes of all tensors; None for a model other than Phi, whose tensors are known once it is loaded."""

    @property
    def parameters(self) -> int | None:
        """Return the exact number for Phi, None for another model."""
        return None if self.shapes is None else count(self.shapes)

    @property
    def adaptable(self) -> Shapes | None:
        """Return the tensors that an adapter can change, as far as they are known before loading."""
        return None if self.shapes is None else phi_config.adaptable_shapes(self.shapes)

    @property
    def cache_width(self) -> int:
        """Return the numbers in the keys and values of one token."""
        return 2 * self.layers * self.key_heads * self.head_size

    @property
    def cache_numbers(self) -> int:
        """Return the numbers in the keys and values of one full context, or of `RESERVED_TOKENS` of it."""
        return self.cache_width * min(self.context, RESERVED_TOKENS)


def read_config(folder: Path, *, name: str) -> BaseConfig:
    """Read the config of the base in `folder`. Raises ModelError where the installed transformers cannot run the model."""
    raw = read_json(folder / "config.json", name=name)
    model_type = raw.get("model_type")
    if model_type == phi_config.MODEL_TYPE:
        values = phi_config.with_defaults(raw, name=name)
        return replace(_dimensions(model_type, values), shapes=phi_config.tensor_shapes(values))
    _check_known(model_type, raw, name=name)
    return _dimensions(str(model_type), _read_by_transformers(folder, name=name))


def _read_by_transformers(folder: Path, *, name: str) -> dict[str, Any]:
    """Return the config of the text model in `folder`, with the defaults and under the names that transformers gives."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).get_text_config()
    except Exception as error:  # its checks raise errors of several kinds
        reason = " ".join(str(error).split())
        raise ModelError(f"config.json of {name} cannot be used ({reason}); restore or download it again.") from error
    values: dict[str, Any] = config.to_dict()
    return values | {new: getattr(config, new, None) for new in config.attribute_map}


def _dimensions(model_type: str, values: dict[str, Any]) -> BaseConfig:
    hidden, heads = _number(values, "hidden_size"), _number(values, "num_attention_heads") or 1
    return BaseConfig(
        model_type=model_type,
        layers=_number(values, "num_hidden_layers"),
        hidden_size=hidden,
        context=_number(values, *_CONTEXTS) or DEFAULT_CONTEXT,
        vocab_size=_number(values, "vocab_size"),
        key_heads=_number(values, "num_key_value_heads") or heads,
        head_size=_number(values, "head_dim") or hidden // heads,
    )


def _check_known(model_type: object, raw: dict[str, Any], *, name: str) -> None:
    """Raise ModelError for a model that only code from its repository could run. Imports transformers: two seconds."""
    if model_type in phi_config.OLD_MODEL_TYPES:
        raise ModelError(
            f"{name} is written for the old Phi code (model_type {quoted(model_type)}), which transformers cannot read; "
            "give a newer revision of it, such as the present microsoft/phi-2."
        )
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return
    if "auto_map" in raw:
        raise ModelError(
            f"{name} (model_type {quoted(model_type)}) needs code from its own repository, which is never run here; "
            "give a model that transformers itself implements, such as microsoft/phi-2."
        )
    raise ModelError(
        f"{name} has model_type {quoted(model_type)}, which is not a text generator that the installed transformers implements; "
        "give a causal language model such as microsoft/phi-2."
    )


def _number(values: dict[str, Any], *keys: str) -> int:
    """Return the value of the first key that has a whole number; 0 where none has."""
    return next((values[key] for key in keys if type(values.get(key)) is int), 0)


@dataclass(frozen=True)
class FurtherAdapter:
    """An adapter beside the first."""

    variant: Variant
    """What requests call it."""
    source: Source
    config: AdapterConfig


@dataclass(frozen=True)
class ModelPlan:
    """The model to be loaded: all that is known of it without its weights."""

    base_source: Source
    config: BaseConfig
    adapter_source: Source | None = None
    adapter_config: AdapterConfig | None = None
    device: Device = "auto"
    """Requested device; `ModelInfo` has the one that was chosen."""
    dtype: Dtype = "auto"
    token: str | None = None
    others: tuple[FurtherAdapter, ...] = ()
    """Further adapters on the same base."""
    tuned_source: Source | None = None
    """A wholly finetuned model, which is loaded beside the base instead of an adapter."""
    base_given: bool = False
    """Whether the user named the base; otherwise the adapter did."""
    template: str | None = None
    """As in `ModelSettings`."""
    system: str | None = None
    engine: EngineName = "auto"
    quantize: Quantization = "none"
    cache: Path = Path()
    """Folder in which converted graphs are kept."""

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
    def finetuned_source(self) -> Source | None:
        """Return the files of the adapter or of the wholly finetuned model."""
        return self.adapter_source or self.tuned_source

    @property
    def adapter(self) -> str | None:
        """Return the hub id or folder name of the adapter, or of the wholly finetuned model; None for a base alone."""
        return self.finetuned_source.name if self.finetuned_source else None

    @property
    def adapter_folder(self) -> Path | None:
        """Return the folder with the adapter's `tasks.json` and other small files."""
        return self.finetuned_source.folder if self.finetuned_source else None

    @property
    def adapter_revision(self) -> str | None:
        """Return the adapter's commit on the hub; None for a folder."""
        return self.finetuned_source.revision if self.finetuned_source else None

    @property
    def lora_rank(self) -> int | None:
        """Return the rank that the adapter declares."""
        return self.adapter_config.rank if self.adapter_config else None

    @property
    def adapters(self) -> tuple[tuple[Source, checks.Pairing], ...]:
        """Return all adapters, the first one first, each with its pairing with the base."""
        adapters = [(other.source, other.config) for other in self.others]
        if self.adapter_source and self.adapter_config:
            adapters.insert(0, (self.adapter_source, self.adapter_config))
        return tuple(
            (source, checks.Pairing(source.name, self.base, config, self.base_given)) for source, config in adapters
        )

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Return the variants that will answer."""
        if self.finetuned_source is None:
            return ("base",)
        return ("finetuned", "base", *(other.variant for other in self.others))

    def tuned_alone(self) -> "ModelPlan":
        """Return the plan of the wholly finetuned model by itself. Raises ModelError where its config cannot be read."""
        assert self.tuned_source is not None
        config = read_config(self.tuned_source.folder, name=self.tuned_source.name)
        return replace(self, base_source=self.tuned_source, config=config, tuned_source=None)

    @property
    def layers(self) -> int:
        """Return the number of layers."""
        return self.config.layers

    @property
    def hidden_size(self) -> int:
        """Return the width of the hidden states."""
        return self.config.hidden_size

    @property
    def context(self) -> int:
        """Return the most tokens of prompt and output together."""
        return self.config.context

    @property
    def parameters(self) -> int | None:
        """Return the base's exact number of parameters; None for a model other than Phi."""
        return self.config.parameters

    def __repr__(self) -> str:
        names = ("base", "adapter", "variants", "device", "dtype")  # never the token
        return f"ModelPlan({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


def plan(settings: ModelSettings) -> ModelPlan:
    """Find base and adapters and check all that can be checked without loading weights. Raises ModelError.

    Takes milliseconds for folders, and needs neither torch nor, for a Phi, transformers.
    """
    base, adapter = _find(settings)
    config = read_config(base.folder, name=base.name)
    if settings.dtype == "float16" and config.model_type == phi_config.MODEL_TYPE:
        raise ModelError(
            f"--dtype float16: {base.name} is a Phi, whose attention overflows in float16 and then answers nothing. "
            "Give --dtype bfloat16 or float32."
        )
    tuned = None
    if settings.base is not None:
        tuned, base = base, find_base(settings.base, revision=None, token=settings.token)
        read_config(tuned.folder, name=tuned.name)
        checks.check_tokenizer(tuned.folder, name=tuned.name)
        config = read_config(base.folder, name=base.name)
    others = _find_others(settings, adapter)
    model_plan = ModelPlan(
        base_source=base,
        config=config,
        adapter_source=adapter,
        adapter_config=_config_of(adapter),
        device=settings.device,
        dtype=settings.dtype,
        token=settings.token,
        others=others,
        tuned_source=tuned,
        base_given=settings.model is not None,
        template=settings.template,
        system=settings.system,
        engine=settings.engine,
        quantize=settings.quantize,
        cache=settings.cache.expanduser(),
    )
    if not _adapter_has_tokenizer(model_plan):
        checks.check_tokenizer(base.folder, name=base.name)
    pairings = [pairing for _, pairing in model_plan.adapters]
    for pairing in pairings:
        checks.check_virtual_tokens(pairing, hidden_size=config.hidden_size, cache_width=config.cache_width)
    if config.adaptable is not None:
        for pairing in pairings:
            checks.check_targets(pairing, config.adaptable)
    check_weights(model_plan)
    for pairing in pairings[1:]:
        checks.check_together(pairings[0], pairing)
    for other in others if settings.model is None else ():
        _check_same_base(other.source, other.config, base)
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
    config = read_adapter_config(adapter.folder, name=adapter.name)
    if config.base is None:
        raise ModelError(f"Adapter {adapter.name} does not say which base it was made on; give it with --model.")
    address = resolve_base(adapter, config.base)
    revision = settings.revision or config.base_revision
    return find_base(address, revision=revision, token=settings.token, adapter=adapter.name), adapter


def _config_of(adapter: Source | None) -> AdapterConfig | None:
    return read_adapter_config(adapter.folder, name=adapter.name) if adapter else None


def _find_others(settings: ModelSettings, first: Source | None) -> tuple[FurtherAdapter, ...]:
    revisions = (*settings.other_revisions, *[""] * len(settings.other_adapters))
    sources = [
        find_adapter(address, revision=revision or None, token=settings.token)
        for address, revision in zip(settings.other_adapters, revisions, strict=False)
    ]
    seen = {first.folder.resolve()} if first else set()
    for source in sources:
        if source.folder.resolve() in seen:
            raise ModelError(f"--adapter {source.name} is given twice; give another adapter to compare with.")
        seen.add(source.folder.resolve())
    variants = adapter_variants([source.name for source in sources])
    configs = [read_adapter_config(source.folder, name=source.name) for source in sources]
    return tuple(map(FurtherAdapter, variants, sources, configs))


def _check_same_base(second: Source, config: AdapterConfig, base: Source) -> None:
    """Raise ModelError where a further adapter names another base, since shapes may agree by chance.

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
            checks.check_sizes(pairing, adapter_shapes)
            if config.adaptable:
                checks.check_fit(pairing, adapter_shapes, config.adaptable)
    return shapes


def _adapter_has_tokenizer(plan: ModelPlan) -> bool:
    folder = plan.adapter_folder
    return folder is not None and any((folder / file).is_file() for file in checks.TOKENIZER_FILES)
