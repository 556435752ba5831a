"""Folders of noises and of impulse responses as lists of files with their category; headers alone are read.

Without a table the folder is walked and the first sub-folder's name is the category: MUSAN's own layout
(``noise/free-sound/...``, ``music/...``, ``speech/...``). With one, its column ``file``, ``audio`` or ``path`` holds
paths below the folder, ``category`` or ``kind`` what each is; one table may hold noises and responses.

Of impulse responses those of category ``rir`` are taken. A walked folder without a sub-folder ``rir`` gives every
recording but those with "noise" in their name: RIRS_NOISES keeps isotropic noises among its real responses.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from pipeline_lib.audio.decoding import decode, probe, resolve_under
from pipeline_lib.errors import InputError
from pipeline_lib.params.augmentation import AugmentationSettings, NoiseSettings

SUFFIXES = frozenset((".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff"))
FILE_COLUMNS = ("file", "audio", "path")
CATEGORY_COLUMNS = ("category", "kind")
RESPONSE = "rir"
LONGEST_RESPONSE_S = 20.0  # the slowest halls ring for about 10 s
_END_S = 0.05  # of a noise is decoded: a recording cut short has none


@dataclass(frozen=True)
class Sound:
    """A recording: its path below its folder, where that is, what it is."""

    name: str
    path: Path
    category: str | None
    duration_s: float
    size_bytes: int


@dataclass(frozen=True)
class Sounds:
    """Recordings that an entry's augmentation draws from; empty where it draws from none."""

    noises: tuple[Sound, ...] = ()
    responses: tuple[Sound, ...] = ()

    @property
    def identity(self) -> list[list[list[str | int | None]]]:
        """Names, categories and sizes: contents are not read, MUSAN alone has 11 GB."""
        both = (self.noises, self.responses)
        return [[[sound.name, sound.category, sound.size_bytes] for sound in sounds] for sounds in both]


def find(settings: AugmentationSettings) -> Sounds:
    """Return the files that the settings name.

    Raises:
        InputError: a folder, table or file is missing or cannot be used
    """
    noise, reverberation = settings.noise, settings.reverberation
    return Sounds(
        noises=_noises(noise) if noise.probability and noise.root is not None else (),
        responses=responses_in(Path(reverberation.root), reverberation.table)
        if reverberation.probability and reverberation.root is not None
        else (),
    )


def noises_in(root: Path) -> tuple[Sound, ...]:
    """Return every recording below a folder but those of a sub-folder ``rir``.

    Raises:
        InputError: the folder is missing or has no such recording, or one cannot be used
    """
    used = [file for file in _listed(root, None) if file[2] != RESPONSE]
    if not used:
        raise InputError(f"{root} has impulse responses alone, expected recordings of noise")
    return _decodable(used)


def responses_in(root: Path, table: str | None = None) -> tuple[Sound, ...]:
    """Return the impulse responses of a folder, as the module says.

    Args:
        root: the folder
        table: CSV or Parquet below it, with the files; None walks the folder

    Raises:
        InputError: the folder is missing or has no response, or one cannot be used
    """
    files = _listed(root, table)
    categories = {category for _, _, category in files}
    if RESPONSE in categories or (table is not None and categories != {None}):
        used = [file for file in files if file[2] == RESPONSE]
    else:
        used = [file for file in files if "noise" not in file[1].stem.lower()]
    if not used:
        there = sorted({str(category) for category in categories})
        raise InputError(
            f"{root} has recordings of {there[:9]} and no impulse response, expected category {RESPONSE!r}"
        )
    sounds = _probed(used)
    for sound in sounds:
        if sound.duration_s > LONGEST_RESPONSE_S:
            raise InputError(
                f"{sound.path} lasts {sound.duration_s:.1f} s, expected an impulse response of at most"
                f" {LONGEST_RESPONSE_S:g} s (a recording of noise?)"
            )
    return sounds


def _noises(settings: NoiseSettings) -> tuple[Sound, ...]:
    root = Path(str(settings.root))
    files = _listed(root, settings.table)
    if files and all(category is None for _, _, category in files):
        raise InputError(f"{root / str(settings.table)} has no column {' or '.join(CATEGORY_COLUMNS)}, noises need one")
    used = [file for file in files if file[2] in settings.snr_db]
    if not used:
        categories = sorted({str(category) for _, _, category in files})
        expected = f"snr_db names {sorted(settings.snr_db)}"
        raise InputError(
            f"{root} has recordings of {categories[:9]}, {expected} (is root one folder too high or too low?)"
        )
    return _decodable(used)


def _decodable(files: list[tuple[str, Path, str | None]]) -> tuple[Sound, ...]:
    """Return the recordings of noise, the end of each decoded once."""
    sounds = _probed(files)
    for sound in sounds:
        if sound.path.suffix.lower() != ".mp3":  # MP3 would be decoded from its start
            decode(sound.path, max(0.0, sound.duration_s - _END_S))
    return sounds


def _listed(root: Path, table: str | None) -> list[tuple[str, Path, str | None]]:
    """Return name, path and category of every recording, sorted by name."""
    if not root.is_dir():
        raise InputError(f"{root} does not exist or is no folder, expected recordings for augmentation")
    files = sorted(_walked(root) if table is None else _tabled(root, table), key=lambda file: file[0])
    if not files:
        where = root if table is None else root / table
        raise InputError(f"{where} has no recordings, expected files ending in {', '.join(sorted(SUFFIXES))}")
    return files


def _walked(root: Path) -> Iterable[tuple[str, Path, str | None]]:
    for path in root.rglob("*"):
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith("."):
            parts = path.relative_to(root).parts
            yield "/".join(parts), path, parts[0] if len(parts) > 1 else None


def _tabled(root: Path, table: str) -> Iterable[tuple[str, Path, str | None]]:
    path = resolve_under(root, table)
    frame = _read(path)
    file = next((name for name in FILE_COLUMNS if name in frame), None)
    kind = next((name for name in CATEGORY_COLUMNS if name in frame), None)
    if file is None:
        raise InputError(f"{path} has columns {list(frame)}, expected one of {', '.join(FILE_COLUMNS)}")
    categories = [None] * len(frame) if kind is None else frame[kind]
    for row, (name, category) in enumerate(zip(frame[file], categories, strict=True), start=1):
        try:
            yield name, resolve_under(root, name), category
        except InputError as error:
            raise InputError(f"{path}, row {row}: {error}") from None


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pq.ParquetFile(path).read().to_pandas().astype(str)
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist, expected a table of recordings") from None
    except (OSError, ValueError) as error:  # pandas' and pyarrow's mistakes are ValueErrors
        raise InputError(f"{path} cannot be read as a table: {' '.join(str(error).split())}") from None


def _probed(files: list[tuple[str, Path, str | None]]) -> tuple[Sound, ...]:
    return tuple(
        Sound(name, path, category, probe(path).duration_s, path.stat().st_size) for name, path, category in files
    )
