"""Train a byte-level BPE tokenizer of the kind Phi uses. Knows nothing of models or tasks."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from phi2demo.engine.engine import END_OF_TEXT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD = "<|pad|>"


def train_tokenizer(texts: Iterable[str], *, vocab_size: int, context: int) -> "PreTrainedTokenizerFast":
    """Byte-level BPE over `texts`: any string can be encoded and decodes to itself.

    Digits are single tokens (numbers are then copied digit by digit). `END_OF_TEXT` has id 0 and ends every text;
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
