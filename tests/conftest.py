"""A tiny random Phi with a tokenizer, a LoRA adapter that changes what it says, and a real Chromium."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi2demo.tasks import TASKS

TEXTS = (
    "The train to the coast leaves at eight in the morning.",
    "A small model reads a text and writes another one.",
    "Instruct: Translate the text.\nThe cat sleeps.\nOutput: Die Katze schläft.\n",
    "It rained all day, so the children stayed at home and read 12 books.",
)


CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def own_tasks_forgotten() -> Iterator[None]:
    """Forget at the end which tasks of one's own were registered."""
    before = dict(TASKS)
    try:
        yield
    finally:
        TASKS.clear()
        TASKS.update(before)


@pytest.fixture(autouse=True)
def _own_tasks_end_with_their_test() -> Iterator[None]:
    with own_tasks_forgotten():
        yield


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a Phi of 2 layers x 64 that reads 256 tokens, with its tokenizer."""
    return make_base(tmp_path_factory.mktemp("models") / "tiny-base")


def make_base(folder: Path, *, context: int = 256) -> Path:
    """Save a random Phi of 2 layers x 64 with its tokenizer."""
    import torch
    from transformers import PhiForCausalLM

    from phi2demo.training.settings import PRESETS
    from phi2demo.training.token_streams import train_tokenizer

    preset = replace(PRESETS["tiny"], context=context)
    tokenizer = train_tokenizer(TEXTS, vocab_size=preset.vocab_size, context=preset.context)
    config = preset.config(vocab_size=512, end_id=tokenizer.eos_token_id, pad_id=tokenizer.pad_token_id)
    config.initializer_range = 0.2  # far from uniform: the likeliest token is then clear
    with torch.random.fork_rng():
        torch.manual_seed(0)
        PhiForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a LoRA adapter of rank 4 on `tiny_base`, which it names as its base."""
    folder = tmp_path_factory.mktemp("adapters") / "tiny-adapter"
    return make_adapter(tiny_base, folder, seed=1, rank=4, targets=("q_proj", "v_proj", "fc1", "fc2"))


@pytest.fixture(scope="session")
def tiny_second(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of another one, which changes other modules, with another rank."""
    folder = tmp_path_factory.mktemp("adapters") / "tiny-second"
    return make_adapter(tiny_base, folder, seed=2, rank=3, targets=("q_proj", "k_proj", "dense"))


def make_adapter(base: Path, folder: Path, *, seed: int, rank: int, targets: Sequence[str], **lora: Any) -> Path:
    """Save a random LoRA adapter that changes what `base` says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(targets), task_type="CAUSAL_LM", **lora)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        for name, tensor in model.named_parameters():
            if ".lora_B." in name or "lora_embedding_A" in name:  # zeros at first: an adapter that changes nothing
                torch.nn.init.normal_(tensor, std=0.3)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(chromium: Any) -> Iterator[Any]:
    """Open a page; `script errors` fail the test that caused them."""
    contexts, errors = [], []

    def open_page(url: str, *, width: int = 1280, height: int = 900, dark: bool = False, ready: bool = True) -> Any:
        scheme = "dark" if dark else "light"
        contexts.append(chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.wait_for_selector("button.run")
        if ready:
            page.wait_for_selector(".loading:empty", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors
