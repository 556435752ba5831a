"""Whether texts can tell emotions apart, and whether speakers carry most of the labels each."""

from collections.abc import Sequence

import pandas as pd

REPEATED = 0.5  # share of the utterances whose text is said with several labels: the labels are acted, not said
MOST = 0.75  # share of the labels that a speaker carries, in the mean


def texts_tell(frame: pd.DataFrame, labels: Sequence[str]) -> tuple[bool, str]:
    """Return whether a text expert could learn anything from the texts, and why.

    Args:
        frame: columns emotion and reference_text
        labels: scored emotions
    """
    rows = frame[frame["emotion"].isin(labels)]
    texts = rows["reference_text"].map(lambda text: " ".join(text.split()).casefold() if isinstance(text, str) else "")
    known = texts != ""
    if known.mean() < 0.5:
        n = int(known.sum())
        return False, "none" if not n else f"{n} of {len(rows)} utterances, fewer than half: not read"
    said = rows["emotion"][known].groupby(texts[known]).nunique()
    repeated = texts[known].map(said > 1).mean()
    if repeated > REPEATED:
        return False, (
            f"{texts[known].nunique()} sentences, {repeated:.0%} of the utterances say one that is said with several"
            " labels: no text expert, it could learn nothing from them"
        )
    return True, f"{int(known.sum())} utterances, {texts[known].nunique()} different ones"


def labels_of_a_speaker(frame: pd.DataFrame, labels: Sequence[str]) -> float | None:
    """Return the share of the labels that a speaker carries, in the mean over speakers; None without speakers.

    Args:
        frame: columns emotion and speaker
        labels: scored emotions
    """
    rows = frame[frame["emotion"].isin(labels) & frame["speaker"].notna()]
    if rows.empty:
        return None
    return float((rows.groupby("speaker")["emotion"].nunique() / len(labels)).mean())
