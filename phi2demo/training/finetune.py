"""Put a LoRA adapter on a base: corpus -> the app's own prompts -> loss on the outputs -> an adapter's folder."""

import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi2demo.data.corpus import CleaningReport, Source, Split, read_corpus
from phi2demo.data.languages import LANGUAGES, detect_language
from phi2demo.emissions.meter import detect_hardware
from phi2demo.engine.devices import has_bfloat16
from phi2demo.engine.planning import ModelPlan, plan
from phi2demo.errors import DataError, SettingsError
from phi2demo.settings import ModelSettings
from phi2demo.tasks.declared import FILE, AdapterTasks
from phi2demo.training import record
from phi2demo.training.held_out import draw
from phi2demo.training.instructions import FORMS, KINDS_TAUGHT, NEEDS, REPLAY
from phi2demo.training.loop import describe, train
from phi2demo.training.mixture import EMPHASIS, Mixture, task_weights
from phi2demo.training.record import data_hashes, make_output, versions
from phi2demo.training.settings import FinetuneSettings, LoopSettings, make_accelerator

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LARGE = 1_000_000_000
"""Parameters from which a base's frozen weights are held in bfloat16 on a GPU."""


def load_tokenizer(base: ModelPlan, settings: FinetuneSettings) -> "PreTrainedTokenizerBase":
    """That of the base; SettingsError where it has no token to end an output with."""
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(_address(base), revision=base.base_revision)
    if tokenizer.eos_token_id is None:
        raise SettingsError(f"The tokenizer of {settings.model} has no end token, so an output could not be ended.")
    return tokenizer


def load_base(base: ModelPlan, settings: FinetuneSettings, device: "torch.device") -> "PreTrainedModel":
    """In float32; a large base on a GPU in bfloat16, as its weights stay as they are."""
    import torch
    from transformers import AutoModelForCausalLM

    large = device.type == "cuda" and (base.parameters or LARGE) >= LARGE and has_bfloat16("cuda")
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        _address(base),
        revision=base.base_revision,
        dtype=torch.bfloat16 if large else torch.float32,
        use_safetensors=True,
    )
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    return model


def adapt(model: "PreTrainedModel", settings: FinetuneSettings) -> "PeftModel":
    """`model` with a LoRA adapter, which changes nothing yet; SettingsError where it has none of the target layers."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        target_modules=list(settings.targets),
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks for a property that transformers renamed
            return get_peft_model(model, config)
    except ValueError as error:
        raise SettingsError(f"--targets {','.join(settings.targets)} does not fit {settings.model}: {error}") from error


def save(
    model: "PeftModel", tokenizer: "PreTrainedTokenizerBase", declared: AdapterTasks, settings: FinetuneSettings
) -> None:
    """`adapter_model.safetensors` in bfloat16, its config, `tasks.json`, and the tokenizer's files."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    halved = {name: tensor.detach().to("cpu", torch.bfloat16).contiguous() for name, tensor in tensors.items()}
    save_file(halved, settings.output / "adapter_model.safetensors", metadata={"format": "pt"})
    config = model.peft_config["default"]
    config.base_model_name_or_path = settings.base_name or settings.model
    config.revision = settings.revision
    config.inference_mode = True
    config.save_pretrained(settings.output)
    tokenizer.save_pretrained(settings.output)
    (settings.output / FILE).write_text(declared.to_json(), encoding="utf-8")


def _address(base: ModelPlan) -> str:
    """Hub id or folder, for `from_pretrained`."""
    return str(base.base_folder) if base.base_revision is None else base.base


SAMPLE = 200
"""Texts of each data set that are looked at, at most, evenly taken."""
LEAST_TEXTS = 10
"""Of which the language could be told, for anything to be said."""
LEAST_SHARE = 0.05
"""Of those, in a language, for the task to be taught in it: less is likely a quotation or a mistake."""
FIELDS = {"summarization": "document", "sentiment": "text", "question_answering": "context"}
"""By task, which field of a row is the text; a translation says its languages itself."""


def text_languages(sources: Sequence[Source], task: str) -> tuple[str, ...]:
    """Codes of the languages that a task's training texts are in; empty where that cannot be told.

    Also where one of them is none that the app has a name for: a list without it would be wrong.
    """
    field = FIELDS[task]
    texts = chain.from_iterable(
        rows[:: -(-len(rows) // SAMPLE)] for source in sources if (rows := source.rows["train"])
    )
    found = Counter(code for row in texts if (code := detect_language(str(row[field]))))
    told = [code for code, count in found.items() if count >= LEAST_SHARE * found.total()]
    if found.total() < LEAST_TEXTS or any(code not in LANGUAGES for code in told):
        return ()
    return tuple(code for code in LANGUAGES if code in told)


SMALL = 100_000_000
"""Parameters up to which a base is taught at the higher learning rate."""


def finetune(settings: FinetuneSettings) -> Path:
    """Train an adapter and save it, with tokenizer, declaration and log, in `settings.output`; returns that folder.

    Repeating the command after a kill goes on from the last checkpoint.
    """
    import torch

    make_output(settings.output)
    base = plan(ModelSettings(model=settings.model, revision=settings.revision))
    max_length = _max_length(settings, base)
    accelerator = make_accelerator(settings.precision, device=settings.device)
    sources, reports = read_corpus(settings.data)
    if accelerator.is_main_process:
        for report in reports:
            print(report, file=sys.stderr)
    tokenizer = load_tokenizer(base, settings)
    main = accelerator.is_main_process
    taught = _mixture(sources, "train", tokenizer, max_length, settings, tell=main)
    held_out = draw(_mixture(sources, "validation", tokenizer, max_length, settings, taught.weights, tell=main))
    torch.manual_seed(settings.seed)
    model = adapt(load_base(base, settings, accelerator.device), settings)
    steps = settings.steps or _steps(settings, taught)
    loop = settings.loop(steps, 1e-3 if model.num_parameters() <= SMALL else 2e-4)
    state = train(
        model,
        taught,
        loop,
        settings.output,
        accelerator,
        validate=partial(held_out.losses, model, settings.part_tokens, accelerator.device)
        if held_out.batches
        else None,
        identity=_identity(settings, max_length, taught.sources),
        label="finetune",
    )
    if accelerator.is_main_process:
        save(model, tokenizer, _adapter_tasks(taught), settings)
        _write_record(settings, loop, taught, reports, describe(state, accelerator))
    return settings.output


def _adapter_tasks(taught: Mixture) -> AdapterTasks:
    """Tasks and languages as taught."""
    training_languages = {
        task: text_languages([source for source in taught.sources if source.kind == FORMS[task][0]], task)
        for task in taught.tasks
        if task in FIELDS
    }
    return AdapterTasks(
        tasks=tuple(task for task in taught.tasks if task != REPLAY),
        languages=taught.languages or AdapterTasks.languages,
        modes=("continue",),
        lengths=("sentence",),
        training_languages={task: languages for task, languages in training_languages.items() if languages},
    )


def _write_record(
    settings: FinetuneSettings, loop: LoopSettings, taught: Mixture, reports: list[CleaningReport], told: dict[str, Any]
) -> None:
    """`finetuning.json`."""
    stage = record.make_stage(
        "finetuning",
        asdict(settings) | asdict(loop) | {"max_length": taught.max_length, "emphasis": EMPHASIS},
        told,
        settings.output / "log.jsonl",
        hardware=detect_hardware(told["device"], told["processes"]),
        region=settings.region,
        versions=versions(),
        weights=taught.shares,
        tasks={task: taught.weights[task] for task in taught.tasks},
        cleaning=tuple(reports),
    )
    record.write(settings.output, record.Record((stage,)))


def _max_length(settings: FinetuneSettings, base: ModelPlan) -> int:
    if settings.max_length is None:
        return min(1024, base.context)
    if not 1 < settings.max_length <= base.context:
        raise SettingsError(
            f"--max-length {settings.max_length}: {base.base} reads {base.context} tokens; give 2 to {base.context}."
        )
    return settings.max_length


def _mixture(
    sources: list[Source],
    split: Split,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    settings: FinetuneSettings,
    weights: Mapping[str, float] | None = None,
    *,
    tell: bool,
) -> Mixture:
    """Of the data sets with rows in the split, without the tasks that no row gives an example of; `tell` says which.

    DataError where no task can be trained on them, or rows of the split give no example of any.
    """
    weights = task_weights(settings.mix) if weights is None else weights
    usable = [s for s in sources if s.rows[split] and s.rows["train"] and s.kind in KINDS_TAUGHT]
    mixture = Mixture(usable, weights, tokenizer, max_length, settings.batch_size, settings.seed, split)
    if split == "train" and not mixture.tasks:
        tasks = ", ".join(f"{task}={weight}" for task, weight in weights.items())
        raise DataError(f"{settings.data} has no training rows for a task with a weight. The mix is {tasks}.")
    return _fruitful(mixture, settings, tell=tell)


def _fruitful(mixture: Mixture, settings: FinetuneSettings, *, tell: bool) -> Mixture:
    barren, split = mixture.barren, "training" if mixture.split == "train" else mixture.split
    why = [
        f"No {split} row for {task} gives an example of at most {mixture.max_length} tokens; it takes {NEEDS[task]}."
        for task in barren
    ]
    if barren and barren == mixture.tasks:
        raise DataError(
            f"{settings.data}: {' '.join(why)} Give such rows or, where the base reads more, a larger --max-length."
        )
    for line in why if tell else ():
        print(f"{line} It is not {'taught' if split == 'training' else 'measured'}.", file=sys.stderr)
    return replace(mixture, weights={**mixture.weights, **dict.fromkeys(barren, 0.0)})


def _steps(settings: FinetuneSettings, taught: Mixture) -> int:
    kinds = {FORMS[task][0] for task in taught.tasks}
    rows = sum(len(source.rows["train"]) for source in taught.sources if source.kind in kinds)
    return round(rows * (settings.epochs or 0) / settings.batch_size)


def _identity(settings: FinetuneSettings, max_length: int, sources: Any) -> dict[str, Any]:
    """What a resumed run must share with the one it goes on with, besides the loop's settings."""
    names = ("model", "revision", "batch_size", "mix", "rank", "alpha", "targets")
    rows = {source.name: len(source.rows["train"]) for source in sources}
    told = {name: getattr(settings, name) for name in names}
    return told | {"max_length": max_length, "data": rows, "data_files": data_hashes(settings.data)}
