"""Which utterances are altered: the scored ones of a split, or a seeded draw of them."""

import hashlib
import json
from collections import Counter, defaultdict

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.tables.manifest import Manifest


def drawn(manifest: Manifest, split: str, largest: int | None, seed: int) -> np.ndarray:
    """Return which utterances are altered: those of the split with audio and something to be scored by.

    A draw takes the next utterance from the label of which it has fewest, there from the speaker of whom it has fewest;
    which of several equals comes first follows from the seed. A larger draw holds a smaller one of the same seed.

    Args:
        manifest: the corpus
        split: a split or subset
        largest: number of utterances that are drawn at most; None takes all
        seed: of the draw

    Returns:
        bool, shape ``(n,)``

    Raises:
        InputError: no such split, or no such utterance in it
    """
    truth = manifest.truth()
    valued = (truth >= 0) | np.isfinite(manifest.attributes()).any(axis=1)
    rows = manifest.mask(split) & valued & manifest.has_audio
    if not rows.any():
        raise InputError(
            f"no utterance of {split} has both a recording and a scored label or attribute; expected a split of a"
            " corpus with audio that can be scored"
        )
    if largest is None or rows.sum() <= largest:
        return rows
    speakers = manifest.frame["speaker"].to_numpy(dtype=object)
    left: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(np.flatnonzero(rows).tolist(), key=lambda row: _rank(seed, manifest.ids[row]), reverse=True):
        left[int(truth[row])][str(speakers[row])].append(row)
    taken: Counter[object] = Counter()
    result = np.zeros(len(manifest), dtype=bool)
    for _ in range(largest):
        label = min(left, key=lambda label: (taken[label], _rank(seed, label)))
        speaker = min(left[label], key=lambda name: (taken[name], taken[label, name], _rank(seed, label, name)))
        result[left[label][speaker].pop()] = True
        taken.update([label, speaker, (label, speaker)])
        if not left[label][speaker]:
            del left[label][speaker]
        if not left[label]:
            del left[label]
    return result


def _rank(seed: int, *names: object) -> str:
    """Return a random order of names that does not depend on which others there are."""
    return hashlib.sha256(json.dumps([seed, *map(str, names)]).encode()).hexdigest()
