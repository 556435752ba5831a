"""Engine ``reference``: the corpus's reference transcripts, for text-only corpora and as an upper bound."""

from collections.abc import Iterable

from pipeline_lib.errors import InputError
from pipeline_lib.params.transcription import ReferenceSettings
from pipeline_lib.tables.manifest import Manifest


def reference_transcripts(manifest: Manifest, settings: ReferenceSettings) -> list[str]:
    """Return each utterance's reference transcript.

    Args:
        manifest: the utterances, with ``reference_text``
        settings: ``missing`` chooses between an error and the empty text

    Raises:
        InputError: an utterance has none and ``missing`` is "refuse"
    """
    texts = manifest.frame["reference_text"].tolist()
    missing = [utterance_id for utterance_id, text in zip(manifest.ids, texts, strict=True) if text is None]
    if missing and settings.missing == "refuse":
        raise InputError(
            f"{len(missing)} of {len(texts)} utterances of {manifest.corpus} have no reference_text, {missing[0]!r}"
            " first; transcription.engine 'reference' needs it (set transcription.reference.missing to 'empty' to give"
            " them '', or choose engine 'canary' or 'whisper')"
        )
    return single_spaced(texts)


def single_spaced(texts: Iterable[str | None]) -> list[str]:
    """Return reference transcripts with single spaces between words, "" for a missing one."""
    return [" ".join(text.split()) if isinstance(text, str) else "" for text in texts]
