"""A tiny corpus and tiny checkpoints, made once."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.encoders import checkpoints
from tests.finetuning import corpora


@pytest.fixture(scope="session")
def tones(tmp_path_factory):
    """Return the corpus, its audio's root and the checkpoints of both modalities."""
    root: Path = tmp_path_factory.mktemp("tones")
    names = ("w2v_bert", "llama", "llama_wide", "wavlm_layer")
    written = {name: checkpoints.write(root / "checkpoints", name) for name in names}
    corpus = corpora.make(root)
    return SimpleNamespace(corpus=corpus, root=root, texts=corpus.frame["reference_text"].tolist(), **written)
