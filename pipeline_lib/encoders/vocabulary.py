"""Tokenizer of a text checkpoint, checked to give only tokens that its model has a vector for."""

from pathlib import Path

from transformers import AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from pipeline_lib.encoders.load_errors import explain
from pipeline_lib.errors import InputError
from pipeline_lib.params.encoder import EncoderSettings

FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "sentencepiece.bpe.model")
LEAST = 0.9  # of the model's table that the tokenizer knows; tables are rounded up by less than 2 %


def load(settings: EncoderSettings, config: PretrainedConfig, revision: str | None) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a checkpoint.

    Args:
        settings: the checkpoint
        config: of its model
        revision: the commit to read it at; None for a local folder

    Raises:
        InputError: its files are missing or damaged, or it is not that of the model
    """
    folder = Path(settings.checkpoint)
    if folder.is_dir() and not any((folder / name).is_file() for name in FILES):
        raise InputError(
            f"{settings.checkpoint} has no tokenizer, expected one of {list(FILES)} beside its weights (copy the"
            " tokenizer's files there; without them every text is the same)"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(settings.checkpoint, revision=revision, trust_remote_code=False)
    except Exception as error:
        raise explain(error, settings, "tokenizer") from error
    _check(tokenizer, config.vocab_size, settings.checkpoint)
    if settings.pretrained and len(tokenizer) < LEAST * config.vocab_size:
        expected = f"its tokenizer has {len(tokenizer)} tokens, its model {config.vocab_size}"
        raise InputError(
            f"{settings.checkpoint} does not fit together: {expected} (is a file of the tokenizer cut short?)"
        )
    return tokenizer


def _check(tokenizer: PreTrainedTokenizerBase, table: int, checkpoint: str) -> None:
    """Refuse a vocabulary that is not the model's.

    Special tokens behind the end of the model's table (a ``<pad>`` added later) are accepted where no text becomes one
    of them: they are not put around a text, and the characters of one in a text are tokenized as plain letters.
    """
    vocabulary = tokenizer.get_vocab()
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    ordinary = sum(1 for i in vocabulary.values() if i not in special and i < table)
    if not ordinary:
        raise InputError(
            f"{checkpoint} has a tokenizer of {len(vocabulary)} special tokens and no word, expected a vocabulary of"
            f" about {table} (is a file of the tokenizer missing or empty?)"
        )
    beyond = {i for i in vocabulary.values() if i >= table}
    if beyond - special:
        expected = f"its tokenizer has {len(tokenizer)} tokens, its model {table}"
        raise InputError(f"{checkpoint} does not fit together: {expected} (is the tokenizer of another model?)")
    if beyond:
        tokenizer.split_special_tokens = True
        around = {i for text in ("", "a") for i in tokenizer(text)["input_ids"]}
        if around & beyond:
            token = tokenizer.convert_ids_to_tokens(min(around & beyond))
            raise InputError(f"{checkpoint} puts {token!r} around every text, for which its model has no vector")
