"""The token streams that pretraining reads: tokenizer, files of token ids, and blocks drawn from them. Knows no model.

Each batch of blocks depends on the seed and the step alone, so that a resumed run sees those of an unbroken one.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phi2demo.data.corpus import OWN, Source, read_corpus
from phi2demo.engine.engine import END_OF_TEXT
from phi2demo.engine.text_encoder import TextEncoder
from phi2demo.errors import SettingsError
from phi2demo.training.checkpoints import base_hashes, check_same, data_hashes
from phi2demo.training.pretraining_texts import data_set_weight, gap_sentences, plain_documents
from phi2demo.training.settings import PRESETS, PretrainSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD = "<|pad|>"
TOKENIZER_CHARACTERS = 30_000_000
"""Characters of text that the tokenizer is trained on, from each data set by its weight."""

TokenStream = NDArray[np.uint16]


def prepare_streams(settings: PretrainSettings) -> None:
    """Clean the corpus, train the tokenizer and tokenize everything, unless `streams.json` says that this is done.

    Writes into the folder `corpus` of the output. Raises SettingsError if the streams there were made of other data or
    with other settings.
    """
    folder = settings.output / "corpus"
    inputs = _inputs(settings)
    if (folder / "streams.json").exists():
        previous = _read_streams_file(folder).get("made_of", inputs)
        check_same(folder, previous, inputs, ignore=("data",))  # the folder may have been renamed
        return
    folder.mkdir(parents=True, exist_ok=True)
    sources, reports = read_corpus(settings.data)
    sources = [source for source in sources if source.kind != OWN]  # a base learns no task that an adapter declares
    sources += [gap_sentences(source) for source in sources if source.kind == "prose"]
    for report in reports:
        print(report, file=sys.stderr)
    cleaning = json.dumps([asdict(report) for report in reports], indent=1)
    (folder / "cleaning.json").write_text(cleaning, encoding="utf-8")
    weights = {source.name: data_set_weight(source.name, settings.mix) for source in sources if source.rows["train"]}
    if settings.start is None:
        preset = PRESETS[settings.preset]
        sample = _tokenizer_sample([source for source in sources if weights.get(source.name)], weights)
        tokenizer = train_tokenizer(sample, vocab_size=preset.vocab_size, context=preset.context)
    else:
        tokenizer = load_tokenizer(settings.start)
    tokenizer.save_pretrained(settings.output)
    tokens = {}
    for source in sources:
        for split in ("train", "validation"):
            name = f"{source.name}.{split}"
            documents = plain_documents(source, split)
            tokens[name] = write_stream(documents, tokenizer, folder / f"{name}.u16", seed=settings.seed)
    (folder / "streams.json").write_text(
        json.dumps({"weights": weights, "tokens": tokens, "made_of": inputs}, indent=1), encoding="utf-8"
    )


def open_blocks(settings: PretrainSettings, split: str) -> "Blocks":
    """Open the streams of a split that have a weight; SettingsError if there are none."""
    folder = settings.output / "corpus"
    content = _read_streams_file(folder)
    weights = {
        name: weight
        for name, weight in content["weights"].items()
        if weight > 0 and content["tokens"].get(f"{name}.{split}", 0) > 1
    }
    streams = {name: np.memmap(folder / f"{name}.{split}.u16", dtype=np.uint16, mode="r") for name in weights}
    return Blocks(streams, weights, settings.seed)


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """Load a tokenizer that `train_tokenizer` made."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)


def train_tokenizer(texts: Iterable[str], *, vocab_size: int, context: int) -> "PreTrainedTokenizerFast":
    """Train a byte-level BPE tokenizer, the kind that Phi uses: it can encode any string and decode it exactly.

    Digits are single tokens, so that numbers are copied digit by digit. `END_OF_TEXT` has id 0 and ends every text;
    `PAD` has id 1. `context` is the length in tokens that the tokenizer reports as the model's limit.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        unk_token=END_OF_TEXT,
        pad_token=PAD,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def write_stream(texts: Iterable[str], tokenizer: "PreTrainedTokenizerFast", path: Path, *, seed: int) -> int:
    """Tokenize `texts` in random order into one uint16 file, each followed by the end token; returns its tokens."""
    documents = list(texts)
    order = np.random.default_rng(seed).permutation(len(documents))
    end, encoder = tokenizer.eos_token_id, TextEncoder(tokenizer)
    total = 0
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        for start in range(0, len(order), 4096):
            encoded = encoder.encode_all([documents[index] for index in order[start : start + 4096]])
            ids = np.fromiter((token for document in encoded for token in (*document, end)), dtype=np.uint16)
            ids.tofile(file)
            total += len(ids)
    part.rename(path)
    return total


@dataclass(frozen=True)
class Blocks:
    """Blocks of consecutive tokens, drawn at random places of weighted streams."""

    streams: Mapping[str, TokenStream]
    """By the name of the data set."""
    weights: Mapping[str, float]
    """Weight of each stream."""
    seed: int

    def __post_init__(self) -> None:
        if sum(self.weights.values()) <= 0:
            raise SettingsError(
                "No training text has a weight above 0. Give a folder with more text or other --mix weights."
            )

    def draw(self, step: int, *, rows: int, length: int) -> NDArray[np.int64]:
        """Return the blocks of one step: int64 of shape (rows, length + 1); the last column is only a target."""
        random = np.random.default_rng([self.seed, step])
        weights = np.asarray([self.weights[name] for name in self.streams])
        chosen = random.choice(len(self.streams), size=rows, p=weights / sum(self.weights.values()))
        streams = list(self.streams.values())
        return _cut_blocks([streams[index] for index in chosen], length, random)

    def sample(self, name: str, *, rows: int, length: int) -> NDArray[np.int64]:
        """Return blocks of one data set, the same in every call, in the shape of `draw`."""
        return _cut_blocks([self.streams[name]] * rows, length, np.random.default_rng(self.seed))


def _cut_blocks(streams: Sequence[TokenStream], length: int, random: np.random.Generator) -> NDArray[np.int64]:
    blocks = np.empty((len(streams), length + 1), dtype=np.int64)
    for row, stream in enumerate(streams):
        start = int(random.integers(max(1, len(stream) - length)))
        block = stream[start : start + length + 1]
        blocks[row] = np.resize(block, length + 1)  # a stream shorter than a block is repeated
    return blocks


def _inputs(settings: PretrainSettings) -> dict[str, Any]:
    """Return everything that the streams depend on, as JSON values."""
    return {
        "data": settings.data.name,
        "data_files": data_hashes(settings.data),
        "mix": dict(settings.mix),
        "seed": settings.seed,
        "start": base_hashes(settings.start) if settings.start else None,
        "vocab_size": PRESETS[settings.preset].vocab_size,
    }


def _read_streams_file(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "streams.json").read_text(encoding="utf-8"))
    return content


def _tokenizer_sample(sources: list[Source], weights: Mapping[str, float]) -> Iterator[str]:
    total = sum(weights.values())
    for source in sources:
        budget = TOKENIZER_CHARACTERS * weights[source.name] / total
        documents = list(plain_documents(source, "train"))
        mean_length = max(1.0, sum(map(len, islice(documents, 1000))) / min(1000, len(documents)))
        stride = max(1, int(len(documents) * mean_length / budget))
        yield from documents[::stride]
