"""Checkpoints of encoders and recognisers that a bundle names, or holds copies of.

In a bundle a local checkpoint is called ``encoders/<name>``, whatever its path was; one on the hub keeps its name, with
the commit that it stood for when it was packed.
"""

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import snapshot_download

from pipeline_lib.bundle.format import ENCODERS, SUFFIXES
from pipeline_lib.errors import InputError
from pipeline_lib.experts.checkpoints import READ, digest_of
from pipeline_lib.params.encoder import NAMESPACE
from pipeline_lib.storage.fingerprint import file_digest
from pipeline_lib.transcription.hub import commit_of

NAMES = ("_name_or_path", "name_or_path")  # keys of transformers that repeat where a checkpoint was loaded from
LICENCE = re.compile(r"^license:[ \t]*([A-Za-z0-9._-]+)[ \t]*$", re.MULTILINE)


@dataclass
class Checkpoints:
    """The checkpoints of a system that is packed.

    Attributes:
        project: folder that relative paths start from
        out: folder of the bundle
        copied: whether checkpoints of encoders are copied into the bundle
        known: by the name in the bundle, the record of each in ``bundle.json``
    """

    project: Path
    out: Path
    copied: bool
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def renamed(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the settings of an encoder or recogniser with the checkpoint as it is called in the bundle.

        Args:
            settings: with ``checkpoint`` and ``revision``

        Raises:
            InputError: the checkpoint is not there, or the hub's is not in the cache and is to be copied
        """
        checkpoint, revision = settings["checkpoint"], settings.get("revision")
        if checkpoint.startswith(NAMESPACE):
            return settings
        path = next((each for each in (self.project / checkpoint, Path(checkpoint)) if each.exists()), None)
        if path is not None:
            return {**settings, "checkpoint": f"{ENCODERS}/{self._local(path)}", "revision": None}
        commit = commit_of(checkpoint, revision) or revision
        if not self.copied:
            self.known[checkpoint] = {"source": "hub", "revision": commit, "copied": False, "licence": None}
            return {**settings, "revision": commit}
        folder = _snapshot(checkpoint, commit)
        name = self._local(folder, PurePosixPath(checkpoint).name)
        self.known[name] |= {"source": f"hub: {checkpoint}", "revision": commit}
        return {**settings, "checkpoint": f"{ENCODERS}/{name}", "revision": None}

    def digest(self, checkpoint: str) -> str | None:
        """Return the digest of the files of a checkpoint as it is called in the bundle, None of one on the hub."""
        known = self.known.get(checkpoint.removeprefix(f"{ENCODERS}/"), {})
        digest: str | None = known.get("digest")
        return digest

    def _local(self, path: Path, called: str | None = None) -> str:
        """Return the name of a local checkpoint in the bundle, copied there where the bundle is to hold encoders."""
        key = str(path.resolve())
        if key in self._names:
            return self._names[key]
        name = called or path.name
        number = 2
        while name in self.known:
            name, number = f"{called or path.name}_{number}", number + 1
        self._names[key] = name
        if path.is_file():  # a .nemo archive: its weights are a pickle, which no bundle holds
            self.known[name] = {"source": "file", "sha256": file_digest(path), "copied": False, "licence": None}
            return name
        target = self.out / ENCODERS / name
        if self.copied:
            _copy(path, target)
        read = target if self.copied else path
        self.known[name] = {
            "source": "folder",
            "digest": digest_of(read),
            "copied": self.copied,
            "licence": _licence(path),
        }
        return name


def _copy(source: Path, target: Path) -> None:
    """Copy the files that a checkpoint is loaded from, without the path that transformers notes in them.

    Raises:
        InputError: a file is a link out of the folder
    """
    for file in sorted(file for file in source.rglob("*") if file.is_file() and file.suffix in READ):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix not in SUFFIXES:
            raise InputError(f"{file} is no file of a bundle, expected one that ends in {', '.join(SUFFIXES)}")
        if file.suffix != ".json" or not any(f'"{name}"'.encode() in file.read_bytes() for name in NAMES):
            shutil.copyfile(file, copy)
            continue
        values = json.loads(file.read_bytes())
        for name in NAMES:
            if isinstance(values, dict) and str(values.get(name, "")).startswith(("/", "~", ".")):
                values[name] = target.name
        copy.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _snapshot(checkpoint: str, revision: str | None) -> Path:
    """Return the folder of a checkpoint in the hub's cache."""
    try:
        return Path(snapshot_download(checkpoint, revision=revision, local_files_only=True))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{checkpoint} is not in the cache of the hub, so that it cannot be copied ({str(error).splitlines()[0]});"
            " run the stage that reads it, or leave out --with-encoders"
        ) from None


def _licence(folder: Path) -> str | None:
    """Return the licence that a checkpoint's README names in its front matter, None where there is none."""
    path = folder / "README.md"
    if not path.is_file():
        return None
    match = LICENCE.search(path.read_text(encoding="utf-8", errors="replace")[:4000])
    return match[1] if match else None
