"""Conversion of a model to a graph of ONNX Runtime GenAI, with its adapter merged, by the builder of that library.

It runs in a process of its own, `python -m phi2demo.engine.onnx_conversion`, whose memory is returned when it ends.
"""

import contextlib
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from phi2demo.engine.loading import load, without_messages
from phi2demo.engine.planning import plan
from phi2demo.engine.strength import scaled_adapters
from phi2demo.errors import ModelError, Phi2DemoError
from phi2demo.settings import ModelSettings

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "int8", "int4"]
"""The number format of a graph's weights; what is computed with them is float32."""

BUILDER_NAMES = {"float32": "fp32", "int8": "int8", "int4": "int4"}
"""The builder's names for the number formats."""
LARGEST_DIFFERENCES = {"float32": 0.01, "int8": 5.0, "int4": 20.0}
"""Most by which a graph's logits may differ from those of transformers; in float32 0.00002 was seen with the embedded pair."""
CHECKED_TOKENS = 24
WARNINGS_FILE = "warnings.json"
"""File beside a graph with what a person should know of the weights."""


@dataclass(frozen=True)
class Conversion:
    """One graph to make."""

    base: str
    """Folder of the base."""
    adapter: str | None
    """Folder of the adapter that is merged into it."""
    strength: float
    precision: Precision
    output: str
    """Folder that gets the graph; it must not exist."""


def builder_version() -> str:
    """Return the version of the library, which belongs to what identifies a graph."""
    return version("onnxruntime-genai")


def convert(conversion: Conversion) -> None:
    """Merge, build and check one graph. Raises ModelError."""
    output = Path(conversion.output)
    warnings: tuple[str, ...] = ()
    expected = None
    with ExitStack() as stack:
        source = Path(conversion.base)
        if conversion.adapter is not None or conversion.precision == "float32":
            settings = ModelSettings(model=conversion.base, adapter=conversion.adapter, device="cpu", dtype="float32")
            loaded = load(plan(settings))
            warnings = loaded.info.warnings
            model = _merged(loaded.model, conversion.strength) if conversion.adapter else loaded.model
            expected = _logits(model, _checked_ids(loaded.vocabulary_size))
            if conversion.adapter is not None:
                source = Path(stack.enter_context(TemporaryDirectory(dir=output.parent)))
                with without_messages():
                    model.save_pretrained(source)
                loaded.tokenizer.save_pretrained(source)
            del loaded, model  # the builder reads all weights once more
        _build(source, output, conversion.precision)
    if expected is not None:
        _check(output, expected, conversion.precision)
    (output / WARNINGS_FILE).write_text(json.dumps(warnings), encoding="utf-8")


def _merged(model: Any, strength: float) -> Any:
    """Return the transformers model with its adapter merged at a strength."""
    with scaled_adapters(model, strength):
        model = model.merge_and_unload()
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if model.config.tie_word_embeddings and head.weight is not embeddings.weight:
        model.config.tie_word_embeddings = False  # the adapter has changed one of the two
    return model


def _build(source: Path, output: Path, precision: Precision) -> None:
    """Build the graph of a folder of transformers by the library's builder. Raises ModelError."""
    from onnxruntime_genai.models.builder import create_model, parse_extra_options

    options = ["hf_token=false", "hf_remote=false"]
    with TemporaryDirectory(dir=output.parent) as cache, contextlib.redirect_stdout(sys.stderr):
        places = (str(source), str(source), str(output), BUILDER_NAMES[precision], "cpu", cache)
        try:
            create_model(*places, **parse_extra_options(*places, options))
        except NotImplementedError as error:
            raise ModelError(f"The builder of ONNX Runtime GenAI does not know this model: {error}") from error
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if epsilon := config.get("layer_norm_eps"):
        _set_epsilon(output / "model.onnx", epsilon)


def _set_epsilon(graph: Path, epsilon: float) -> None:
    """Give the layer norms of a graph the model's own epsilon: the builder of 0.18 reads only `rms_norm_eps`."""
    import onnx

    model = onnx.load(graph, load_external_data=False)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "epsilon" and "LayerNorm" in node.op_type:
                attribute.f = epsilon
    onnx.save(model, graph)


def _check(graph: Path, expected: "torch.Tensor", precision: Precision) -> None:
    """Raise ModelError where the graph does not compute what transformers does."""
    import numpy as np
    import onnxruntime_genai as og

    og.disable_telemetry_events()
    config = json.loads((graph / "genai_config.json").read_text(encoding="utf-8"))["model"]
    if "sliding_window" in config["decoder"]:  # the library computes no text that is shorter than the window
        raise ModelError("The model attends to a sliding window, which does not work with ONNX Runtime GenAI here.")
    ids = _checked_ids(len(expected))
    model = og.Model(str(graph))
    parameters = og.GeneratorParams(model)
    parameters.set_search_options(max_length=len(ids) + 1)
    generator = og.Generator(model, parameters)
    generator.append_tokens(np.array(ids, dtype=np.int32))
    difference = float(abs(generator.get_logits()[0, 0, : len(expected)] - expected.numpy()).max())
    if not difference < LARGEST_DIFFERENCES[precision]:  # a difference that is no number, too
        raise ModelError(
            f"The logits of the graph differ from those of the model by {difference:.2g}, which is too much."
        )


def _checked_ids(vocabulary_size: int) -> list[int]:
    """Return token ids spread over the vocabulary."""
    return [number * 7919 % vocabulary_size for number in range(1, CHECKED_TOKENS + 1)]


def _logits(model: Any, ids: Sequence[int]) -> "torch.Tensor":
    """Return the logits (vocabulary,) after some tokens."""
    import torch

    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=torch.tensor([list(ids)])).logits[0, -1].float()
    return logits


def main() -> int:
    """Convert what a JSON object on standard input describes; the last line of standard error says why it failed."""
    try:
        convert(Conversion(**json.load(sys.stdin)))
    except (Phi2DemoError, OSError) as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
