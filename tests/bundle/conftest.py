"""Two systems on the corpus of hisses and words, packed: one fused by interpolation, one of folds by regression."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from pipeline_lib.bundle import pack as packing
from pipeline_lib.inference.pipeline import Pipeline
from tests.finetuning.test_folds import with_folds
from tests.inference import made


def spoken(corpus):
    """Return the corpus with six speakers, and texts that differ within a label."""
    rows = range(len(corpus))
    texts = [f"{text} {('not', 'so', 'very')[row % 3]}" for row, text in zip(rows, corpus.frame["reference_text"])]
    return replace(corpus, frame=corpus.frame.assign(speaker=[f"s{row % 6}" for row in rows], reference_text=texts))


def by_interpolation(params):
    params["rebalancing"]["texts"]["source"]["normalise"] = "none"
    params["fusion"] |= {"method": "interpolation", "interpolation": {"step": 0.25}}


def by_regression(params):
    params["rebalancing"]["texts"]["source"]["normalise"] = "none"


def packed(folder, tones, corpus, folded, change):
    """Return a project, its bundle and the stages whose outputs were compared with dvc.lock."""
    project = made.project(folder / "project", tones, corpus, folded=folded, change=change)
    compared = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(packing, "refuse_stale", lambda _, stages, unchecked: compared.extend(stages))
        record = packing.pack(project, folder / "bundle", with_encoders=True)
    return SimpleNamespace(project=project, bundle=folder / "bundle", record=record, stages=compared, root=tones.root)


@pytest.fixture(scope="session")
def plain(tones, tmp_path_factory):
    return packed(tmp_path_factory.mktemp("plain"), tones, spoken(tones.corpus), False, by_interpolation)


@pytest.fixture(scope="session")
def folded(tones, tmp_path_factory):
    return packed(tmp_path_factory.mktemp("folded"), tones, spoken(with_folds(tones.corpus)), True, by_regression)


@pytest.fixture(scope="session")
def pipeline(plain):
    return Pipeline.load(plain.bundle)
