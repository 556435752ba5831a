"""The wheel, installed elsewhere: recipes and schema are in it, stages are not, and ``ser`` writes a recipe."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from pipeline_lib.recipes.compose import names
from tests.recipes.laid_down import text

SOURCES = ("pyproject.toml", "README.md", "LICENSE")
OUTSIDE = Path("pipeline_lib/demonstration/checkpoints")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copy(name, folder)
    for package in ("pipeline_lib", "stages"):
        shutil.copytree(package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    done = subprocess.run([sys.executable, "-c", build], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = (folder / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Install the wheel in an environment of its own that sees the packages of this one, and return its root."""
    root = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True)
    pip = [sys.executable, "-m", "pip", "--python", root / "bin" / "python", "--disable-pip-version-check"]
    install = [*pip, "install", "--quiet", "--no-deps", "--no-index", "--no-compile", wheel]
    subprocess.run(install, check=True, env=clean())
    (site,) = (root / "lib").glob("python*/site-packages")
    # a path of a .pth file has its own .pth files ignored, so that an editable install of this checkout is not seen
    (site / "test_environment.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return root


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(installed: Path, cwd: Path, program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([installed / "bin" / program, *words], cwd=cwd, env=clean(), capture_output=True, text=True)


def test_the_wheel_holds_the_package_with_its_data_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {Path(name) for name in archive.namelist() if ".dist-info/" not in name}
    files = (path for path in Path("pipeline_lib").rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert packed == {path for path in files if OUTSIDE not in path.parents}


def test_no_top_level_stages_are_installed(installed, tmp_path):
    source = "import importlib.util as u, pipeline_lib; print(u.find_spec('stages'), pipeline_lib.__file__)"
    done = run(installed, tmp_path, "python", "-c", source)
    stages, path = done.stdout.split()
    assert stages == "None" and Path(path).is_relative_to(installed)


def test_a_recipe_is_written_from_another_folder(installed, tmp_path):
    done = run(installed, tmp_path, "ser", "apply", "taltech", "--small")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("params.yaml is now the recipe taltech on stand-ins")
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
    assert (tmp_path / "params.yaml").read_text() == text("taltech", small=True)


def test_every_recipe_is_known_to_the_installed_command(installed, tmp_path):
    done = run(installed, tmp_path, "ser", "apply", "nothing")
    message = (
        f"there is no recipe 'nothing', expected one of {names()} (a recipe of another version?); name one of these"
    )
    assert (done.returncode, done.stderr) == (1, f"error: {message} (docs/recipes.md)\n")
