"""The folder of an expert with folds: counted, complete, and never beside one expert."""

import shutil

import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.experts import disk, folds


@pytest.fixture
def folder(tmp_path):
    """Return an expert of two folds, whose settings are of no interest here."""
    for number in range(2):
        expert = tmp_path / "work" / str(number)
        expert.mkdir(parents=True)
        (expert / "settings.json").write_text(f'{{"number": {number}}}')
    folds.save(tmp_path / "models" / "audio", [tmp_path / "work" / str(number) for number in range(2)])
    return tmp_path / "models" / "audio"


def test_the_folds_are_listed_in_order(folder, tmp_path):
    assert folds.experts_of(folder) == [folder / "fold0", folder / "fold1"]
    assert (folder / "fold1" / "settings.json").read_text() == '{"number": 1}'
    assert folds.experts_of(tmp_path / "none") == []
    assert folds.is_fold(folder / "fold0") and not folds.is_fold(folder)
    assert disk._project(folder / "fold1") == disk._project(folder) == tmp_path


def test_a_folder_of_both_kinds_and_one_without_a_fold_are_refused(folder):
    with pytest.raises(InputError, match="holds an expert a fold .*expected one expert; name .*fold0"):
        disk.read_settings(folder)
    settings = folder / "settings.json"
    settings.write_text("{}")
    with pytest.raises(InputError, match="holds one expert .* and those of folds"):
        folds.experts_of(folder)
    settings.unlink()
    (folder / "fold0" / "settings.json").write_text('{"number": 1}')
    with pytest.raises(InputError, match="does not match its checksum"):
        folds.experts_of(folder)
    shutil.rmtree(folder / "fold0")
    with pytest.raises(InputError, match="fold0/settings.json does not exist, .* counts 2 folds"):
        folds.experts_of(folder)
