"""The engine that hears nothing: the corpus's human text, for text-only corpora and for an upper bound."""

from collections.abc import Iterable

from pipeline_lib.errors import InputError
from pipeline_lib.params.transcription import ReferenceSettings
from pipeline_lib.tables.manifest import Manifest


def human_texts(manifest: Manifest, settings: ReferenceSettings) -> list[str]:
    """Return each utterance's reference_text; where it is missing, what ``missing`` says.

    Raises:
        InputError: an utterance has none and ``missing`` is "refuse"
    """
    texts = manifest.frame["reference_text"].tolist()
    missing = [each for each, text in zip(manifest.ids, texts, strict=True) if text is None]
    if missing and settings.missing == "refuse":
        raise InputError(
            f"{len(missing)} of {len(texts)} utterances of {manifest.corpus} have no reference_text, {missing[0]!r}"
            " first; transcription.engine 'reference' needs it (set transcription.reference.missing to 'empty' to give"
            " them '', or choose engine 'canary' or 'whisper')"
        )
    return or_empty(texts)


def or_empty(texts: Iterable[str | None]) -> list[str]:
    """Return human texts with single blanks, "" for a missing one."""
    return [" ".join(text.split()) if isinstance(text, str) else "" for text in texts]
