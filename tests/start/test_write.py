"""`ser start` as a whole: a params.yaml that passes every check, and a corpus that is never written to."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pipeline_lib.cli import app
from pipeline_lib.corpus.collect import collect
from pipeline_lib.errors import InputError
from pipeline_lib.params import check
from pipeline_lib.params.corpus import CorpusSettings, demonstration_left, table_path
from pipeline_lib.start import checkpoints, write
from pipeline_lib.start.proposal import Requests

OPEN = dict.fromkeys(("emotion", "audio", "speaker", "reference_text"))
EMOTIONS = ("angry", "sad")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return an empty clone: what `ser start` looks for, and nothing else."""
    folder = tmp_path / "clone"
    (folder / "stages").mkdir(parents=True)
    (folder / "dvc.yaml").touch()
    monkeypatch.setattr(checkpoints, "has_egemaps", lambda: False)
    return folder


@pytest.fixture
def corpus(tmp_path):
    """Return a folder of six speakers, each emotion thrice."""
    root = tmp_path / "my corpus" / "wav"
    for i, (speaker, emotion, take) in enumerate((s, e, t) for s in range(6) for e in EMOTIONS for t in range(3)):
        path = root / emotion / f"spk{speaker}_{take}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.3 * np.sin(np.arange(4000) * (0.05 + i / 500)), 16_000)
    return root


def encoder(tmp_path) -> str:
    folder = tmp_path / "encoder"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "wavlm"}')
    return str(folder)


def start(target, project, encoder=None, **options):
    options = {"requests": Requests(encoder=encoder), "given": OPEN, "answers": lambda name: False, **options}
    write.start(target, project=project, **options)
    return YAML(typ="safe", pure=True).load(project / "params.yaml")


def test_a_folder_becomes_parameters_that_run(tmp_path, project, corpus, monkeypatch, capsys):
    values = start(corpus, project, encoder(tmp_path))
    assert values["corpus"]["name"] == "my_corpus" and values["corpus"]["notice"] == ""
    assert values["corpus"]["table"]["file"] == "corpora/my_corpus.csv"
    assert values["corpus"]["merge"] == {"angry": "anger", "sad": "sadness"}
    assert values["corpus"]["split"]["method"] == "folds" and values["demonstration"] == {}
    assert (values["finetuning"], [*values["rebalancing"]]) == ({}, ["audio", "best_layer"])
    assert values["embedding"]["audio"]["encoder"]["whisper_length"] == "padded_30s"  # it is a WavLM
    assert (
        values["scoring"]["baselines"] == ["best_layer", "egemaps"]
        and "opensmile" in values["scoring"]["not_computed"]["egemaps"]
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 12 and lines[-1].startswith("params.yaml is written (recipe small_corpus) and can be run")
    monkeypatch.chdir(project)
    params = check.check(Path("params.yaml"))
    manifest = collect(params.corpus).manifest
    for k in range(5):
        tested = manifest.frame[manifest.frame["subsets"].map(lambda names, fold=f"fold{k}": fold in names)]
        assert {*tested["emotion"]} == {"anger", "sadness"}
        assert tested["speaker"].nunique() == len(tested) // 6


def test_the_same_corpus_gives_the_same_bytes(tmp_path, project, corpus):
    content = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    start(corpus, project, encoder(tmp_path))
    files = [project / "params.yaml", project / "corpora" / "my_corpus.csv"]
    before = [path.read_bytes() for path in files]
    start(corpus, project, encoder(tmp_path))
    assert [path.read_bytes() for path in files] == before
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == content  # the corpus is only read


def test_outputs_of_another_corpus_are_removed_and_the_corpus_itself_never(tmp_path, project, corpus):
    own = project / "data" / "demonstration" / "english"
    own.parent.mkdir(parents=True)
    shutil.copytree(corpus, own)
    other = project / "models" / "text"
    other.mkdir(parents=True)
    (other / "settings.json").touch()
    start(own, project, encoder(tmp_path))
    assert not other.exists() and len([*own.rglob("*.wav")]) == 36
    assert YAML(typ="safe").load(project / "params.yaml")["corpus"]["root"] == "data/demonstration/english"


def test_what_cannot_be_run_leaves_params_as_they_were(tmp_path, project, corpus):
    (project / "params.yaml").write_text("mine")
    with pytest.raises(InputError):
        start(corpus, project, "no/such/folder")
    assert (project / "params.yaml").read_text() == "mine"


def test_outside_a_clone_it_says_so(tmp_path, corpus):
    result = CliRunner().invoke(app, ["start", str(corpus), "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "has no dvc.yaml: ser start works in a clone of the repository" in result.stderr


def test_a_table_lies_below_the_root_or_in_the_projects_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def path(file):
        values = {"reader": "table", "root": "root", "table": {"file": file}}
        return table_path(CorpusSettings.parse(values, "corpus"))

    assert path("corpus.csv") == Path("root/corpus.csv") and path("corpora/x.csv") == Path("corpora/x.csv")
    for file in ("../x.csv", "corpora/../x.csv", "/etc/passwd", "corpora/../../x.csv"):
        with pytest.raises(InputError, match="outside"):
            path(file)


@pytest.mark.parametrize("root", ["/data/mine", "data/demonstration/english"])
def test_the_demonstrations_name_and_notice_do_not_outlive_it(root):
    notice = "Synthetic demonstration speech. These numbers show that the pipeline works."
    settings = {"reader": "table", "root": root, "name": "demonstration", "notice": notice}
    left = demonstration_left(CorpusSettings.parse(settings, "corpus"))
    assert len(left) == (2 if root == "/data/mine" else 0)


def test_recordings_that_a_link_takes_out_of_the_corpus_are_refused(tmp_path, project, corpus):
    linked = tmp_path / "linked"
    for path in corpus.rglob("*.wav"):
        link = linked / path.relative_to(corpus)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    before = (project / "params.yaml").read_bytes() if (project / "params.yaml").exists() else None
    with pytest.raises(InputError, match="recordings lie outside of .*linked.*symbolic link"):
        start(linked, project, encoder(tmp_path))
    assert before == ((project / "params.yaml").read_bytes() if before is not None else None)
