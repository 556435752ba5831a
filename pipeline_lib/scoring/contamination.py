"""Published checkpoints trained on the labels of a corpus: a score on that corpus flatters them.

Listed are checkpoints fine-tuned on emotion labels, from their own model cards. Checkpoints trained on a corpus's audio
without its labels are not listed, nor is a checkpoint saved under another name: no warning is no proof.
"""

from collections.abc import Iterator, Sequence
from typing import Any

SEEN: dict[str, tuple[str, ...]] = {
    "3loi/SER-Odyssey-Baseline-WavLM-Categorical": ("MSP-Podcast",),
    "3loi/SER-Odyssey-Baseline-WavLM-Categorical-Attributes": ("MSP-Podcast",),
    "3loi/SER-Odyssey-Baseline-WavLM-Multi-Attributes": ("MSP-Podcast",),
    "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim": ("MSP-Podcast",),
    "ehcalabres/wav2vec2-lg-xlsr-en-speech-emotion-recognition": ("RAVDESS",),
    "j-hartmann/emotion-english-distilroberta-base": ("MELD",),
    "j-hartmann/emotion-english-roberta-large": ("MELD",),
    "speechbrain/emotion-recognition-wav2vec2-IEMOCAP": ("IEMOCAP",),
    "superb/hubert-base-superb-er": ("IEMOCAP",),
    "superb/hubert-large-superb-er": ("IEMOCAP",),
    "superb/wav2vec2-base-superb-er": ("IEMOCAP",),
    "superb/wav2vec2-large-superb-er": ("IEMOCAP",),
}


def checkpoints(params: Any) -> Iterator[str]:
    """Yield every pretrained checkpoint that parameters name, at any depth.

    A mapping with ``pretrained: false`` takes the architecture of its checkpoint, not the weights: it is left out.

    Args:
        params: params.yaml as read, or a part of it
    """
    if isinstance(params, dict):
        if isinstance(params.get("checkpoint"), str) and params.get("pretrained") is not False:
            yield params["checkpoint"]
        params = list(params.values())
    if isinstance(params, list):
        for value in params:
            yield from checkpoints(value)


def contamination(used: Sequence[str], corpus: str) -> list[str]:
    """Return one warning for each checkpoint that was trained on the labels of this corpus.

    Checkpoints are compared by the last part of their name, so that a copy in a local folder matches as well; corpora
    by their letters and digits, so that ``msp_podcast`` is MSP-Podcast.

    Args:
        used: names or folders of checkpoints
        corpus: the corpus that is scored

    Returns:
        sentences, by the checkpoints' names
    """
    warnings = []
    for name in sorted(set(used)):
        for known, corpora in SEEN.items():
            if _last(known) == _last(name) and _plain(corpus) in map(_plain, corpora):
                warnings.append(
                    f"checkpoint {name} was trained on the emotion labels of {corpus}: scores on it flatter"
                )
    return warnings


def _last(checkpoint: str) -> str:
    return checkpoint.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].lower()


def _plain(corpus: str) -> str:
    return "".join(character for character in corpus.lower() if character.isalnum())
