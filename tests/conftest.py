"""Tests run from the project's root, offline and on one thread."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True, scope="session")
def project_root():
    """Start every test in the project's root, wherever pytest was called from."""
    before = Path.cwd()
    os.chdir(ROOT)
    yield ROOT
    os.chdir(before)
