"""One run of the embedding over the small corpus, and the checksums of what it wrote."""

import hashlib
from pathlib import Path

from pipeline_lib.embedding.embed import embed
from pipeline_lib.params.machine import EmbeddingMachine
from tests.embedding.conftest import TEXTS


def digest(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(corpus, settings, tmp_path, out="out", work="work", **how) -> Path:
    texts = TEXTS if settings.modality == "text" else None
    machine = EmbeddingMachine.parse({"device": "cpu"} | how, "embedding")
    embed(corpus, tmp_path / "audio", texts, settings, tmp_path / out, tmp_path / work, machine)
    return tmp_path / out
