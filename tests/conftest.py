"""Tests run from the project's root, offline and on one thread."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline_lib import telemetry

telemetry.off()
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).parent.parent
LONGEST_FIRST = (
    "test_pipeline.py",
    "test_joint.py",
    "test_processes.py",
    "test_fast_cuts.py",
    "test_finetune.py",
    "test_repeat.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process of several ends long after the others."""
    rank = {name: i for i, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture(autouse=True, scope="session")
def project_root():
    """Start every test in the project's root, wherever pytest was called from."""
    before = Path.cwd()
    os.chdir(ROOT)
    yield ROOT
    os.chdir(before)


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Return a tiny corpus, its audio's root and tiny checkpoints of both modalities, made once."""
    from tests.encoders import checkpoints  # torch and transformers, which most tests do without
    from tests.finetuning import corpora

    root: Path = tmp_path_factory.mktemp("tones")
    names = ("w2v_bert", "llama", "llama_wide", "wavlm_layer")
    written = {name: checkpoints.write(root / "checkpoints", name) for name in names}
    corpus = corpora.make(root)
    return SimpleNamespace(corpus=corpus, root=root, texts=corpus.frame["reference_text"].tolist(), **written)
