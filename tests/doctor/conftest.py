"""A project that the doctor examines."""

import shutil
from pathlib import Path

import pytest

DEFAULT = Path("pipeline_lib/recipes/default.yaml").resolve()


@pytest.fixture
def place(tmp_path) -> Path:
    """Return a project with parameters and an orderly DVC."""
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    (tmp_path / ".dvc" / "tmp" / "rwlock").write_text("{}")
    shutil.copy(DEFAULT, tmp_path / "params.yaml")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    return tmp_path
