"""Published checkpoints that have seen a corpus: what was trained on its emotion labels flatters a score on it.

``contamination.yaml`` lists checkpoints, the corpora whose emotion labels, audio or text they have seen, and where that
stands. A checkpoint saved under another name is not recognised, nor is one that is not listed: no warning is no proof.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline_lib.modalities import MODALITIES

SEEN = Path(__file__).with_name("contamination.yaml")
SECTIONS = ("embedding", "finetuning")


@dataclass
class Contamination:
    """What checkpoints have seen of a corpus.

    Attributes:
        warnings: sentences on its emotion labels
        notes: sentences on its audio and text, without labels
    """

    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


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


def used_checkpoints(params: Mapping[str, Any]) -> list[str]:
    """Return the checkpoints of embeddings, experts and the recogniser that transcribes.

    Args:
        params: params.yaml as read
    """
    transcription = params.get("transcription") or {}
    chosen = transcription.get(transcription.get("engine"))
    return [name for part in (chosen, *(params.get(key) for key in SECTIONS)) for name in checkpoints(part)]


def names_of(corpus: Mapping[str, Any], name: str) -> list[str]:
    """Return the names by which a corpus is recognised: its own, its reader's, and those of the corpora in it.

    Args:
        corpus: section ``corpus`` of params.yaml as read
        name: of the manifest
    """
    parts = corpus.get("corpora") or {}
    readers = [corpus.get("reader"), *(part.get("reader") for part in parts.values())]
    return [name, *parts, *(reader for reader in readers if isinstance(reader, str))]


def contamination(used: Sequence[str], names: Sequence[str]) -> Contamination:
    """Return what checkpoints have seen of a corpus.

    Checkpoints are compared by the last part of their name, so that a copy in a local folder matches as well. A corpus
    is recognised where a name begins with its own: "MSP-Podcast 1.12" and "msp_podcast" are MSP-Podcast, and
    "Tessellation" is not TESS.

    Args:
        used: names or folders of checkpoints
        names: see ``names_of``
    """
    seen, result = load(), Contamination()
    corpora = [corpus for corpus, spelling in seen["corpora"].items() if _is(corpus, spelling, names)]
    for name in sorted(set(used)):
        entries = [entry for known, entry in seen["checkpoints"].items() if _last(known) == _last(name)]
        for entry in entries:
            _describe(name, entry, corpora, names[0], result)
    return result


@cache
def load() -> dict[str, Any]:
    """Return contamination.yaml."""
    return YAML(typ="safe", pure=True).load(SEEN.read_text(encoding="utf-8"))


def _describe(name: str, entry: Mapping[str, Any], corpora: Sequence[str], scored: str, result: Contamination) -> None:
    """Add the sentences on one checkpoint."""
    trained_on = set()
    for corpus, source in _matching(entry, "labels", corpora):
        trained_on.add(corpus)
        result.warnings.append(
            f"checkpoint {name} was trained on the emotion labels of {corpus} ({source}): scores on it flatter"
        )
    for kind in MODALITIES:
        for corpus, source in _matching(entry, kind, [each for each in corpora if each not in trained_on]):
            sentence = f"Checkpoint {name} has seen {kind} of {corpus} without its emotion labels ({source})."
            result.notes.append(sentence)
    for source, kinds in entry.get("undisclosed", {}).items():
        whether = f"whether {scored} is among them is not known"
        if "labels" in kinds:
            unnamed = f"emotion labels of corpora that are not named ({_where(source)})"
            result.warnings.append(f"checkpoint {name} was trained on {unnamed}: {whether}")
        elif not trained_on:
            unnamed = f"{' and '.join(kinds)} of sources that are not named ({_where(source)})"
            result.notes.append(f"Checkpoint {name} has seen {unnamed}: {whether}.")


def _matching(entry: Mapping[str, Any], kind: str, corpora: Sequence[str]) -> Iterator[tuple[str, str]]:
    for source, known in entry.get(kind, {}).items():
        for corpus in known:
            if corpus in corpora:
                yield corpus, _where(source)


def _where(source: str) -> str:
    known = load()["sources"][source]
    return f"{known['kind']}, {known['year']}: {known['where']}"


def _is(corpus: str, spelling: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Return whether a name begins with the corpus's, its reader's or an alias, and no letter follows."""
    known = [corpus, spelling.get("reader"), *spelling.get("aliases", ())]
    patterns = [r"[\W_]*".join(map(re.escape, re.sub(r"[\W_]", "", each))) for each in known if each]
    beginning = re.compile(rf"[\W_]*(?:{'|'.join(patterns)})(?![^\W\d_])", re.IGNORECASE)
    return any(beginning.match(name) for name in names)


def _last(checkpoint: str) -> str:
    return checkpoint.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].lower()
