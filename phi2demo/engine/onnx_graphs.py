"""The graphs of one model for ONNX Runtime GenAI: converted once into a folder, loaded when they are asked for.

An adapter is merged into its graph, since one that stays beside the weights made every token 1.2 to 3.5 times slower. So
every adapter, and every strength of it, has a graph of its own.
"""

import hashlib
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from phi2demo.engine.adapted_model import BASE, adapter_name
from phi2demo.engine.onnx_conversion import WARNINGS_FILE, Conversion, Precision, builder_version
from phi2demo.engine.planning import ModelPlan
from phi2demo.engine.revisions import adapter_revision, base_revision
from phi2demo.errors import ModelError

if TYPE_CHECKING:
    import onnxruntime_genai as og

logger = logging.getLogger(__name__)

MAX_LOADED = 3
"""Most graphs in memory: those of the base, of its adapter, and of the adapter at another strength."""
BYTES_PER_PARAMETER = {"float32": 4.0, "int8": 1.1, "int4": 0.7}
"""Of a finished graph."""
FORMAT = 2
"""Number of the way in which graphs are made here; another one makes new graphs."""
SHIPPED = "onnx"
"""Folder inside that of a base or an adapter in which graphs may come along."""


class OnnxGraphs:
    """The graphs of a plan in one number format; one thread uses them at a time."""

    def __init__(self, plan: ModelPlan, *, parameters: int) -> None:
        """`parameters` is the number of those of the base."""
        self._plan, self._parameters, self._folder = plan, parameters, plan.cache / "onnx"
        self.precision: Precision = "float32" if plan.quantize == "none" else plan.quantize
        self._loaded: dict[Path, og.Model] = {}
        self._base_revision = base_revision(plan.base_source)
        sources = [plan.adapter_source, *(other.source for other in plan.others)]
        self._adapters = {adapter_name(number): source for number, source in enumerate(sources) if source}
        self._revisions = {name: adapter_revision(source) for name, source in self._adapters.items()}

    def get(self, adapter: str, strength: float, *, end_ids: Sequence[int], pad_id: int) -> "og.Model":
        """Return the graph of an adapter, or of `adapted_model.BASE`, at a strength; convert and load it if need be.

        Raises ModelError.
        """
        import onnxruntime_genai as og

        path = self.path(adapter, strength)
        graph = self._loaded.pop(path, None)
        if graph is None:
            while len(self._loaded) >= MAX_LOADED:
                del self._loaded[next(iter(self._loaded))]
            og.disable_telemetry_events()
            config = og.Config(str(path))
            config.overlay(json.dumps(_run_options(end_ids, pad_id)))
            graph = og.Model(config)
        self._loaded[path] = graph
        return graph

    def path(self, adapter: str, strength: float) -> Path:
        """Return the folder of a graph; convert it if there is none. Raises ModelError."""
        strength = 1.0 if adapter == BASE else strength
        name = self._name(adapter, strength)
        source = self._adapters.get(adapter, self._plan.base_source)
        for shipped in (source.folder / SHIPPED / name, self._folder / name):
            if shipped.is_dir():
                return shipped
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / "lock"):
                if not (self._folder / name).is_dir():
                    self._convert(adapter, strength, self._folder / name)
        except OSError as error:
            raise ModelError(
                f"{self._folder} cannot keep converted graphs ({error}). Set PHI2DEMO_CACHE to another folder, or start "
                "with --engine transformers."
            ) from error
        return self._folder / name

    @property
    def vocabulary_size(self) -> int:
        """Return the number of tokens of the base's graph."""
        config = json.loads((self.path(BASE, 1.0) / "genai_config.json").read_text(encoding="utf-8"))
        return int(config["model"]["vocab_size"])

    def prepare(self) -> tuple[str, ...]:
        """Convert the base, and every adapter at strength 1; return what a person should know of their weights."""
        folders = [self.path(adapter, 1.0) for adapter in (BASE, *self._adapters)]
        texts = [json.loads((folder / WARNINGS_FILE).read_text(encoding="utf-8")) for folder in folders]
        return tuple(dict.fromkeys(text for folder_texts in texts for text in folder_texts))

    def _name(self, adapter: str, strength: float) -> str:
        """Return a folder name that identifies a graph by all that it depends on."""
        parts = (self._base_revision, self._revisions.get(adapter), strength, self.precision, builder_version(), FORMAT)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def _convert(self, adapter: str, strength: float, output: Path) -> None:
        what = self._plan.base if adapter == BASE else f"{self._adapters[adapter].name} at strength {strength:g}"
        logger.info("converting %s to %s for ONNX Runtime, once", what, self.precision)
        with _scratch(self._folder) as scratch:
            self._check_disk(is_merged=adapter != BASE)
            conversion = Conversion(
                base=str(self._plan.base_folder.resolve()),
                adapter=None if adapter == BASE else str(self._adapters[adapter].folder.resolve()),
                strength=strength,
                precision=self.precision,
                output=str(scratch / "graph"),
            )
            _run(conversion, what)
            (scratch / "graph").replace(output)

    def _check_disk(self, *, is_merged: bool) -> None:
        per_parameter = BYTES_PER_PARAMETER[self.precision] + (4 if is_merged else 0)
        needed, free = self._parameters * per_parameter, shutil.disk_usage(self._folder).free
        if needed > free:
            raise ModelError(
                f"The conversion of {self._plan.base} needs {needed / 1e9:.1f} GB of disk, but only {free / 1e9:.1f} GB are "
                f"free in {self._folder}. Free some, set PHI2DEMO_CACHE to a folder on a larger disk, or start with "
                "--engine transformers."
            )


def _run_options(end_ids: Sequence[int], pad_id: int) -> dict[str, Any]:
    """Return what differs from the configuration that the builder writes."""
    session = {"enable_cpu_mem_arena": False, "enable_mem_pattern": False}  # memory is returned after each batch
    return {"model": {"eos_token_id": list(end_ids), "pad_token_id": pad_id, "decoder": {"session_options": session}}}


def _run(conversion: Conversion, what: str) -> None:
    """Convert in a process of its own. Raises ModelError with the last line that it wrote."""
    command = [sys.executable, "-m", "phi2demo.engine.onnx_conversion"]
    process = subprocess.run(command, input=json.dumps(asdict(conversion)), capture_output=True, text=True)
    if process.returncode:
        reason = (process.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelError(f"{what} could not be converted for ONNX Runtime: {reason} Start with --engine transformers.")


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Make a folder for a conversion, and remove it at the end; remove those of conversions that were killed."""
    for left in folder.glob("unfinished-*"):
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(mkdtemp(prefix="unfinished-", dir=folder))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
