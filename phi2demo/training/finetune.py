"""Finetune a LoRA adapter on a base: corpus -> the app's own prompts -> loss on the outputs -> folder of the adapter."""

import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi2demo.data.corpus import Source, Split, read_corpus
from phi2demo.data.languages import LANGUAGES, detect_language
from phi2demo.engine.devices import has_bfloat16
from phi2demo.engine.planning import ModelPlan, plan
from phi2demo.engine.text_encoder import read_template, special_tokens
from phi2demo.errors import DataError, SettingsError
from phi2demo.settings import ModelSettings
from phi2demo.tasks import register
from phi2demo.tasks.declared import FILE, AdapterTasks, read_tasks_file
from phi2demo.tasks.templates import Template, find_template
from phi2demo.training.checkpoints import data_hashes, make_output_folder
from phi2demo.training.instructions import EMPHASIS, REPLAY, by_task, maker_of, task_weights
from phi2demo.training.loop import train
from phi2demo.training.loss import HeldOutExamples
from phi2demo.training.mixture import Mixture
from phi2demo.training.record import Record, make_stage, write_record
from phi2demo.training.settings import ALL_LINEAR, FinetuneSettings, make_accelerator

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SMALL = 100_000_000
"""A base of at most this many parameters gets the higher default learning rate."""
DEFAULT_MAX_LENGTH = 1024
"""Most tokens of an example, if the base reads that many."""
LARGE = 1_000_000_000
"""On a GPU, the frozen weights of a base with this many parameters or more are kept in bfloat16."""
SHORT = 512
"""On a CPU, plain attention is a quarter faster than torch's own for examples of at most this many tokens."""
VALIDATION_EXAMPLES = 128
"""Most held-out examples of each task."""

TEXT_FIELDS = {"summarization": "document", "sentiment": "text", "question_answering": "context"}
"""By task, the field of a row whose language is detected; translations state their languages."""
SAMPLED_TEXTS = 200
"""Most texts of each data set whose language is detected; they are spread evenly over it."""
MIN_DETECTED_TEXTS = 10
"""With fewer texts whose language is detected, the languages of a task are unknown."""
MIN_LANGUAGE_SHARE = 0.05
"""A language of a smaller share of the texts does not count: it is likely a quotation or a mistake."""


def finetune(settings: FinetuneSettings) -> Path:
    """Train an adapter and save it, with its tokenizer, tasks and log, in `settings.output`; returns that folder.

    Repeating the command after it was killed continues from the last checkpoint.
    """
    import torch

    declared = AdapterTasks() if settings.tasks is None else read_tasks_file(settings.tasks)
    register(declared.own)
    weights = task_weights(settings.mix)
    make_output_folder(settings.output)
    base = plan(ModelSettings(model=settings.model, revision=settings.revision))
    max_length = _max_length(settings, base)
    accelerator = make_accelerator(settings.precision, device=settings.device)
    sources, reports = read_corpus(settings.data)
    if accelerator.is_main_process:
        for report in reports:
            print(report, file=sys.stderr)
    sources = by_task(sources)
    tokenizer = load_tokenizer(base, settings)
    template = find_template(
        given=settings.template,
        declared=declared.template,
        system=settings.system or declared.system,
        chat=read_template(tokenizer, special_tokens(tokenizer).values()),
        architecture=base.config.model_type,
    )
    make_mixture = partial(
        _mixture,
        sources,
        template=template,
        tokenizer=tokenizer,
        max_length=max_length,
        settings=settings,
        print_missing=accelerator.is_main_process,
    )
    training = make_mixture("train", weights)
    for name in [task.name for task in declared.own if task.name not in training.tasks]:
        if accelerator.is_main_process:
            print(f"There is no training row for {name}; the adapter will not declare it.", file=sys.stderr)
    held_out = draw_held_out_examples(make_mixture("validation", training.weights))
    torch.manual_seed(settings.seed)
    model = adapt(load_base(base, settings, accelerator.device), settings)
    default_learning_rate = 1e-3 if model.num_parameters() <= SMALL else 2e-4
    loop = settings.loop(settings.steps or _steps(settings, training), default_learning_rate)
    validate = partial(held_out.losses, model, accelerator.device, settings.part_tokens)
    state = train(
        model,
        training,
        loop,
        settings.output,
        accelerator,
        validate=validate if held_out.batches else None,
        identity=_identity(settings, training, declared),
        label="finetune",
    )
    if accelerator.is_main_process:
        save(model, tokenizer, _adapter_tasks(training, declared), settings)
        stage = make_stage(
            "finetuning",
            settings,
            loop,
            state,
            accelerator,
            further_settings={"max_length": max_length, "emphasis": EMPHASIS},
            weights=training.shares,
            tasks={task: training.weights[task] for task in training.tasks},
            cleaning=tuple(reports),
        )
        write_record(settings.output, Record((stage,)))
    return settings.output


def load_tokenizer(base: ModelPlan, settings: FinetuneSettings) -> "PreTrainedTokenizerBase":
    """Load the base's tokenizer; SettingsError if it has no token to end an output with."""
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(_address(base), revision=base.base_revision)
    if tokenizer.eos_token_id is None:
        raise SettingsError(f"The tokenizer of {settings.model} has no end token, so an output could not be ended.")
    return tokenizer


def load_base(base: ModelPlan, settings: FinetuneSettings, device: "torch.device") -> "PreTrainedModel":
    """Load the base in float32, or in bfloat16 if it is large and on a GPU, as its weights are not trained."""
    import torch
    from transformers import AutoModelForCausalLM

    large = device.type == "cuda" and (base.parameters or LARGE) >= LARGE and has_bfloat16("cuda")
    short = device.type == "cpu" and _max_length(settings, base) <= SHORT
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        _address(base),
        revision=base.base_revision,
        dtype=torch.bfloat16 if large else torch.float32,
        attn_implementation="eager" if short else None,
        use_safetensors=True,
    )
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    return model


def adapt(model: "PreTrainedModel", settings: FinetuneSettings) -> "PeftModel":
    """Add a LoRA adapter that changes nothing yet; SettingsError if the model has none of the target layers."""
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        target_modules=ALL_LINEAR if settings.targets == (ALL_LINEAR,) else list(settings.targets),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),  # the linear layers of a GPT-2
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft reads a property that transformers renamed
            return get_peft_model(model, config)
    except ValueError as error:
        raise SettingsError(f"--targets {','.join(settings.targets)} does not fit {settings.model}: {error}") from error


def save(
    model: "PeftModel", tokenizer: "PreTrainedTokenizerBase", adapter_tasks: AdapterTasks, settings: FinetuneSettings
) -> None:
    """Write `adapter_model.safetensors` in bfloat16, its config, `tasks.json` and the tokenizer into the output folder."""
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
    (settings.output / FILE).write_text(adapter_tasks.to_json(), encoding="utf-8")


def text_languages(sources: Sequence[Source], task: str) -> tuple[str, ...]:
    """Return the codes of the languages of a task's training texts.

    Empty if they cannot be detected, or if one of them has no name in the app: a list without it would be wrong.
    """
    field = TEXT_FIELDS[task]
    sampled_rows = chain.from_iterable(
        rows[:: -(-len(rows) // SAMPLED_TEXTS)] for source in sources if (rows := source.rows["train"])
    )
    counts = Counter(code for row in sampled_rows if (code := detect_language(str(row[field]))))
    frequent = [code for code, count in counts.items() if count >= MIN_LANGUAGE_SHARE * counts.total()]
    if counts.total() < MIN_DETECTED_TEXTS or any(code not in LANGUAGES for code in frequent):
        return ()
    return tuple(code for code in LANGUAGES if code in frequent)


def _address(base: ModelPlan) -> str:
    """Return the hub id or folder for `from_pretrained`."""
    return str(base.base_folder) if base.base_revision is None else base.base


def _max_length(settings: FinetuneSettings, base: ModelPlan) -> int:
    """Return the most tokens of an example; a base whose config states no context, such as a Bloom, may read any number."""
    if settings.max_length is None:
        return min(DEFAULT_MAX_LENGTH, base.context or DEFAULT_MAX_LENGTH)
    if settings.max_length < 2:
        raise SettingsError(f"--max-length {settings.max_length}: give at least 2 tokens.")
    if base.context and settings.max_length > base.context:
        raise SettingsError(
            f"--max-length {settings.max_length}: {base.base} reads {base.context} tokens; give 2 to {base.context}."
        )
    return settings.max_length


def _mixture(
    sources: list[Source],
    split: Split,
    weights: Mapping[str, float],
    *,
    template: Template,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    settings: FinetuneSettings,
    print_missing: bool,
) -> Mixture:
    """Mix the data sets with rows in the split, without the tasks that have no example; `print_missing` names these.

    Raises DataError if there is no row for any task, or if no row of the split gives an example.
    """
    kinds = {maker_of(task).row_kind for task in weights}
    usable = [s for s in sources if s.rows[split] and s.rows["train"] and s.kind in kinds]
    mixture = Mixture(usable, weights, tokenizer, max_length, settings.batch_size, settings.seed, split, template)
    if split == "train" and not mixture.tasks:
        mix = ", ".join(f"{task}={weight}" for task, weight in weights.items())
        raise DataError(f"{settings.data} has no training rows for a task with a weight. The mix is {mix}.")
    missing, split_name = mixture.tasks_without_examples, "training" if split == "train" else split
    reasons = [
        f"No {split_name} row for {task} gives an example of at most {max_length} tokens; "
        f"it takes {maker_of(task).requirement}."
        for task in missing
    ]
    if missing and missing == mixture.tasks:
        raise DataError(
            f"{settings.data}: {' '.join(reasons)} Give such rows or, where the base reads more, a larger --max-length."
        )
    for reason in reasons if print_missing else ():
        print(f"{reason} It is left out of {split_name}.", file=sys.stderr)
    return replace(mixture, weights={**weights, **dict.fromkeys(missing, 0.0)})


def draw_held_out_examples(mixture: Mixture) -> HeldOutExamples:
    """Draw held-out examples of every task that has some, weighted as in training."""
    samples = {task: mixture.sample(task, VALIDATION_EXAMPLES) for task in mixture.tasks}
    batches = {task: batch for task, batch in samples.items() if batch}
    return HeldOutExamples(batches, {task: mixture.weights[task] * EMPHASIS.get(task, 1.0) for task in batches})


def _steps(settings: FinetuneSettings, training: Mixture) -> int:
    kinds = {maker_of(task).row_kind for task in training.tasks}
    rows = sum(len(source.rows["train"]) for source in training.sources if source.kind in kinds)
    return round(rows * (settings.epochs or 0) / settings.batch_size)


def _identity(settings: FinetuneSettings, training: Mixture, declared: AdapterTasks) -> dict[str, Any]:
    """Return what must be the same in a resumed run, besides the settings of the loop."""
    names = ("model", "revision", "batch_size", "mix", "rank", "alpha", "targets", "template", "system")
    return {name: value for name, value in asdict(settings).items() if name in names} | {
        "max_length": training.max_length,
        "data": {source.name: len(source.rows["train"]) for source in training.sources},
        "data_files": data_hashes(settings.data),
        "tasks": None if settings.tasks is None else declared.to_json(),
    }


def _adapter_tasks(training: Mixture, declared: AdapterTasks) -> AdapterTasks:
    """Return the tasks and languages that the adapter was trained on, as they are declared."""
    training_languages = {}
    for task in training.tasks:
        if task in TEXT_FIELDS:
            kind = maker_of(task).row_kind
            training_languages[task] = text_languages([s for s in training.sources if s.kind == kind], task)
    return AdapterTasks(
        tasks=tuple(task for task in training.tasks if task != REPLAY),
        languages=training.languages or AdapterTasks.languages,
        modes=("continue",),
        lengths=("sentence",),
        template=training.template.given,
        system=training.template.system or None,
        own=tuple(task for task in declared.own if task.name in training.tasks),
        decoding={task: options for task, options in declared.decoding.items() if task in training.tasks},
        training_languages={task: codes for task, codes in training_languages.items() if codes},
    )
