"""Utterances that an expert trains on or predicts: what they have, how long they are, and the reader of their parts.

They are made once, from a manifest or from files of one's own. A reader reads one modality of a row; those of an
expert's branches are joined in the order of its branches, so that every utterance is a tuple with one part a branch.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from pipeline_lib.audio.decoding import probe
from pipeline_lib.errors import InputError
from pipeline_lib.experts.readers import Reader, Recordings
from pipeline_lib.modalities import BOTH, MODALITIES, members
from pipeline_lib.tables import dialogues, segments
from pipeline_lib.tables.manifest import Manifest

CHARACTERS_PER_S = 15.0  # of English speech; how long a text without audio is taken to be, for batches of like length
IN_SECONDS = {"seconds": 1.0, "characters": CHARACTERS_PER_S}


@dataclass(frozen=True)
class Source:
    """What readers are made of.

    Attributes:
        corpus: the manifest
        root: folder that its paths start from
        transcripts: ASR transcripts in the manifest's order, None where there are none
        text: which texts are read, ``transcripts`` or ``reference``
        alone: whether the expert reads no other modality
        context: previous turns of the dialogue that are read before a text, at most
    """

    corpus: Manifest
    root: Path
    transcripts: Sequence[str | None] | None = None
    text: str = "reference"
    alone: bool = True
    context: int = 0


def recordings(source: Source) -> Recordings:
    """Return the reader of the corpus's audio."""
    seconds = source.corpus.frame["duration_s"].to_numpy(dtype=np.float64)
    return Recordings(segments.of(source.corpus, source.root), seconds, segments.content(source.corpus))


def texts(source: Source) -> Reader:
    """Return the reader of the texts that an expert reads; of several modalities an empty text counts as none.

    With a context a part is a tuple: the previous turns, the oldest first, and the own text.

    Raises:
        InputError: there are no ASR transcripts, no reference transcripts for an expert that reads nothing else, or no
            dialogues for a context
    """
    corpus = source.corpus
    if source.text == "transcripts":
        if source.transcripts is None:
            raise InputError(
                "an expert that reads text needs transcripts, and there are none; run the stage transcription (dvc"
                " repro)"
            )
        values: list[str | None] = list(source.transcripts)
    else:
        values = reference_texts(corpus)
        if source.alone and not any(isinstance(text, str) for text in values):
            raise InputError(f"no utterance of {corpus.corpus} has reference text; set text to transcripts")
    given = values if source.alone else [text if has_words(text) else None for text in values]
    if not source.context:
        return Reader(given, np.array([len(text or "") for text in values]), values)
    parts = in_context(corpus, values, given, source.context)
    lengths = [sum(map(len, part)) if part else 0 for part in parts]
    return Reader(parts, np.array(lengths), [None if part is None else list(part) for part in parts])


def in_context(
    corpus: Manifest, texts: Sequence[str | None], own: Sequence[str | None], most: int
) -> list[tuple[str, ...] | None]:
    """Return each own text behind the previous turns of its dialogue, None where there is no own text.

    Args:
        corpus: the manifest
        texts: of its rows, from which previous turns are taken, None where there is none
        own: of its rows, None where the text is not read
        most: previous turns that are read, at most

    Raises:
        InputError: the corpus has no dialogues, or an utterance of one has no turn
    """
    before = dialogues.previous_turns(corpus, texts, most)
    return [None if text is None else (*turns, text) for turns, text in zip(before, own, strict=True)]


READERS: dict[str, Callable[[Source], Reader]] = {"audio": recordings, "text": texts}


@dataclass(frozen=True)
class BranchReader:
    """Reader of all parts of an utterance, one a branch; can be pickled.

    Attributes:
        readers: by modality, in the order of the branches
        combination: modalities that are returned; the others are None
        frames: by modality and row an encoder's hidden states, float16, in place of the encoder's input
    """

    readers: Mapping[str, Reader]
    combination: str = BOTH
    frames: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)

    def __call__(self, row: int, start_s: float, duration_s: float | None) -> tuple[Any, ...]:
        """Return the utterance's parts, or a chunk of those that have chunks; None for one that it lacks.

        Args:
            row: number of the utterance
            start_s: seconds from the utterance's beginning
            duration_s: in seconds; None reads to the utterance's end
        """
        chosen = members(self.combination, tuple(self.readers))
        return tuple(self._part(name, row, start_s, duration_s) if name in chosen else None for name in self.readers)

    def _part(self, name: str, row: int, start_s: float, duration_s: float | None) -> Any:
        cached = self.frames.get(name, {})
        return cached[row] if row in cached else self.readers[name](row, start_s, duration_s)


@dataclass(frozen=True)
class Utterances:
    """Utterances as one expert reads them.

    Attributes:
        ids: shape ``(n,)``
        lengths: seconds or characters, by which batches are of like length, float64, shape ``(n,)``
        present: which modalities an utterance has, bool, shape ``(n, n_branches)``
        read: row, start and duration in seconds to a tuple of parts, one a branch, None where absent
        context: previous turns of the dialogue that are read before a text, at most
    """

    ids: np.ndarray
    lengths: np.ndarray
    present: np.ndarray
    read: BranchReader
    context: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order of the branches."""
        return tuple(self.read.readers)

    @property
    def content(self) -> dict[str, list[Any]]:
        """What identifies the parts, by modality, one a row."""
        return {name: list(reader.content) for name, reader in self.read.readers.items()}

    def showing(self, combination: str) -> Self:
        """Return the utterances with the parts of a combination alone."""
        return replace(self, read=replace(self.read, combination=combination))

    def with_frames(self, frames: Mapping[str, Mapping[int, Any]]) -> Self:
        """Return the utterances with hidden states by modality and row in place of the encoders' inputs."""
        return replace(self, read=replace(self.read, frames=frames))

    def fitted(self, encoders: Mapping[str, Any]) -> Self:
        """Return the utterances with parts that the encoders can read.

        Args:
            encoders: by modality
        """
        readers = {name: reader.fitted(encoders[name]) for name, reader in self.read.readers.items()}
        return replace(self, read=replace(self.read, readers=readers))

    def without_cache(self) -> Self:
        """Return the utterances to be sent to a worker: without what is cached in memory."""
        readers = {name: reader.without_cache() for name, reader in self.read.readers.items()}
        return replace(self, read=BranchReader(readers, self.read.combination))


def from_manifest(
    corpus: Manifest,
    root: Path,
    modalities: Sequence[str],
    transcripts: Sequence[str | None] | None = None,
    text: str = "transcripts",
    context: int = 0,
) -> Utterances:
    """Return a corpus's utterances as an expert of these modalities reads them; nothing is decoded yet.

    Args:
        corpus: the manifest
        root: folder that its paths start from
        modalities: of the expert's branches, in order
        transcripts: ASR transcripts in the manifest's order, None where there are none
        text: which texts are read, ``transcripts`` or ``reference``
        context: previous turns of the dialogue that are read before a text, at most; 0 reads none

    Raises:
        InputError: a path leaves the root, there are no texts for an expert that reads them, or no dialogues for a
            context
    """
    source = Source(corpus, root, transcripts, text, len(modalities) == 1, context)
    readers = {name: READERS[name](source) for name in modalities}
    present = np.stack([reader.present for reader in readers.values()], axis=1)
    return Utterances(corpus.ids, _lengths(readers), present, BranchReader(readers), context)


def from_files(
    parts: Mapping[str, Sequence[Any]],
    modalities: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    context: int = 0,
    dialogues: Sequence[str | None] | None = None,
) -> Utterances:
    """Return utterances of files and texts of one's own, sorted by their identifiers.

    Args:
        parts: by modality, one an utterance: paths of recordings, texts; None where an utterance has none
        modalities: of the expert's branches, in order; None for those of ``parts``
        ids: of the utterances; None for the recordings' names without folder and ending, or else numbers
        context: previous turns that the expert reads before a text, at most
        dialogues: name of each utterance's dialogue, whose turns are given in order; None where each stands alone

    Raises:
        BadAudio: a file cannot be opened as audio
        InputError: two utterances have the same identifier, or the parts differ in number
    """
    sizes = {name: len(values) for name, values in parts.items()}
    if len(set(sizes.values())) != 1 or not set(parts) <= set(MODALITIES):
        raise InputError(f"utterances are given as {sizes}, expected as many of each modality of {list(MODALITIES)}")
    (n,) = set(sizes.values())
    modalities = [name for name in MODALITIES if name in parts] if modalities is None else modalities
    columns = {MODALITIES[name].column: list(parts.get(name, [None] * n)) for name in modalities}
    paths = [None if path is None else Path(path).resolve() for path in columns.get("audio", [])]
    if ids is None:
        stems = [path.stem for path in paths if path is not None]
        ids = stems if stems and len(stems) == n else [f"{number:06d}" for number in range(n)]
    if len(ids) != n or len(set(ids)) < n:
        raise InputError(
            f"{n} utterances have {len(set(ids))} different identifiers, expected one each; pass them as ids"
            " (recordings of the same name in two folders need it)"
        )
    root = Path(os.path.commonpath([path.parent for path in paths if path is not None] or [Path.cwd()]))
    columns["audio"] = [None if path is None else str(path.relative_to(root)) for path in paths] or [None] * n
    seconds = [np.nan if path is None else probe(path).duration_s for path in paths] or [np.nan] * n
    table = {"utterance_id": list(ids), "duration_s": seconds, "audio_sha256": None, "reference_text": None, **columns}
    table |= {"dialogue": list(ids if dialogues is None else dialogues), "turn": list(range(n)), "split": ["files"] * n}
    frame = pd.DataFrame(table).sort_values("utterance_id", kind="stable", ignore_index=True)
    frame["subsets"] = [[] for _ in range(n)]
    return from_manifest(Manifest(frame, "files", ()), root, modalities, text="reference", context=context)


def reference_texts(corpus: Manifest) -> list[str | None]:
    """Return the corpus's reference transcripts, None where an utterance has none."""
    return [text if isinstance(text, str) else None for text in corpus.frame["reference_text"]]


def has_words(text: str | None) -> bool:
    """Return whether there is anything but blanks; a recognizer's empty transcript is no text."""
    return text is not None and bool(text.strip())


def _lengths(readers: Mapping[str, Reader]) -> np.ndarray:
    """Return the lengths of the only modality; of several, seconds of the first that an utterance has."""
    if len(readers) == 1:
        (reader,) = readers.values()
        return reader.lengths
    *others, last = (
        (reader.present, reader.lengths / IN_SECONDS[MODALITIES[name].unit]) for name, reader in readers.items()
    )
    lengths = last[1]
    for present, seconds in reversed(others):
        lengths = np.where(present, seconds, lengths)
    return lengths
