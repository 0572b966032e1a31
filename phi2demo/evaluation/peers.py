"""What a model has to beat to be worth anything: a document's first sentence, xz, an n-gram model of bytes."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from phi2demo.data.cleaning import clean
from phi2demo.evaluation.compression import ByteNgrams, xz_bytes
from phi2demo.evaluation.datasets import Measure, training_files
from phi2demo.evaluation.outputs import digest
from phi2demo.tasks.documents import split_sentences
from phi2demo.training.rows import read_rows


class Peers:
    """The peers of each measure; what takes minutes is kept in a file."""

    def __init__(self, data: Path, cache: Path) -> None:
        self._data, self._cache = data, cache

    def of(self, measure: Measure) -> dict[str, Sequence[str] | float]:
        """By name: outputs in the order of the items, or a score."""
        if measure.kind == "summarization":
            return {"first_sentence": [first_sentence(item.row["document"]) for item in measure.items]}
        if measure.kind == "prose":
            return self._compressors(measure)
        return {}

    def _compressors(self, measure: Measure) -> dict[str, Sequence[str] | float]:
        """Trained on the training text of the same set (`own`), and n-grams also on all prose there is to train on.

        xz is given the test text alone, and after the set's training text: what it then adds counts.
        """
        key = digest([measure.file.sha256, len(measure.items), [(p.name, p.stat().st_size) for p in self._training]])
        kept: dict[str, dict[str, list[str] | float]] = {}
        if self._cache.is_file():
            kept = json.loads(self._cache.read_text(encoding="utf-8"))
        if key not in kept:
            kept[key] = self._compress(measure)
            part = self._cache.with_suffix(".part")
            part.write_text(json.dumps(kept), encoding="utf-8")
            part.replace(self._cache)
        return dict(kept[key])

    def _compress(self, measure: Measure) -> dict[str, list[str] | float]:
        texts = [item.references[0] for item in measure.items]
        characters = sum(map(len, texts))
        found: dict[str, list[str] | float] = {"xz": 8 * xz_bytes(texts) / characters}
        own = [path for path in self._training if path.name.startswith(f"{measure.name.partition('.')[2]}.train.")]
        if own:
            known = _texts(own)
            found["xz_after_own"] = 8 * (xz_bytes(known + texts) - xz_bytes(known)) / characters
            found["ngram_own"] = _written(ByteNgrams(known), texts)
        if self._training:
            found["ngram_all"] = _written(self._ngrams, texts)
        return found

    @cached_property
    def _training(self) -> list[Path]:
        return list(training_files(self._data, "prose"))

    @cached_property
    def _ngrams(self) -> ByteNgrams:
        return ByteNgrams(_texts(self._training))


def first_sentence(document: str) -> str:
    """The first sentence of a text, as the app cuts sentences."""
    return next((sentence.strip() for sentence in split_sentences(document) if sentence.strip()), "")


def _texts(paths: Sequence[Path]) -> list[str]:
    return [clean(str(row["text"])) for path in paths for _, row in read_rows(path)]


def _written(model: ByteNgrams, texts: Sequence[str]) -> list[str]:
    """As the answers of a model that scores: `bits characters`."""
    return [f"{bits!r} {len(text)}" for bits, text in zip(model.bits(texts), texts, strict=True)]
