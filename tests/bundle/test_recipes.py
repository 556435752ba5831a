"""Recipes on stand-ins, trained for a few steps: every test utterance is predicted in memory as the stages did."""

import shutil

import numpy as np
import pytest

from pipeline_lib.bundle import pack as packing
from pipeline_lib.inference.pipeline import Pipeline
from pipeline_lib.inference.prediction import Recording
from pipeline_lib.inference.project import Project
from pipeline_lib.inference.run import expert_of
from pipeline_lib.recipes.apply import apply
from pipeline_lib.recipes.compose import compose
from pipeline_lib.recipes.small import shrink
from pipeline_lib.tables import manifest, predictions
from tests.bundle.test_pipeline import same

pytestmark = pytest.mark.acceptance
SMALL = ("demonstration.msp_podcast.dev=64", "demonstration.msp_podcast.test=64", "demonstration.msp_podcast.hidden=0")
TRAINED = {"taltech": (400, 30)}  # recordings and steps: LDA without shrinkage multiplies rounding where there are few


@pytest.fixture(scope="module")
def clone(tmp_path_factory, project_root):
    """Return a folder in which stages run; recipes share its cache of transcripts."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(project_root / "models/demo", folder / "models/demo")
    shutil.copytree(project_root / "corpora", folder / "corpora")
    (folder / "machine.yaml").write_text("device: cpu\n")
    return folder


def experts_of(params):
    """Return the experts that the fused system reads, those first whose encoders others take."""
    entries = [params.rebalancing[name].reads.source for name in params.fusion.experts]
    named = [expert_of(source)[0] for source in entries if not source.startswith("data/embeddings/")]
    taken = [branch.expert for name in named for branch in params.finetuning[name].branches.values()]
    return list(dict.fromkeys([*(path.split("/")[1] for path in taken if path), *named]))


def run(folder, recipe):
    """Run the stages that the fused system of a recipe needs."""
    from stages import check, corpus, demonstration, finetuning, fusion, rebalancing, transcription

    params = compose(recipe)
    shrink(params)
    recordings, steps = TRAINED.get(recipe, (96, 2))
    sets = [*SMALL, f"demonstration.msp_podcast.train={recordings}", "corpus.dev_bal.per_class=4"]
    sets += [f"finetuning.{name}.max_steps={steps}" for name in params["finetuning"]]
    apply(recipe, small=True, sets=sets, out=folder / "params.yaml")
    read = Project.read(folder).params
    check.main()
    demonstration.main("msp_podcast")
    corpus.main()
    transcription.main()
    for name in experts_of(read):
        finetuning.main(name)
    for name in read.fusion.experts:
        rebalancing.main(name)
    fusion.main()


@pytest.mark.parametrize("recipe", ["taltech", "shared_transformer", "distilled", "mersa"])
def test_every_test_utterance_is_predicted_as_the_stages_did(recipe, clone, monkeypatch):
    monkeypatch.chdir(clone)
    run(clone, recipe)
    monkeypatch.setattr(packing, "refuse_stale", lambda *_: None)
    packing.pack(clone, clone / "bundle", with_encoders=True)
    monkeypatch.chdir(clone.parent)
    corpus, root = manifest.read(clone / "data/manifest.parquet"), Project.read(clone).root
    rows = np.flatnonzero(corpus.mask("test"))
    given = [Recording(corpus.ids[row], root / corpus.frame["audio"][row]) for row in rows]
    pipeline = Pipeline.load(clone / "bundle")
    shutil.copy(clone / "models/demo/canary.nemo", clone / "bundle/encoders/canary.nemo")
    fused = predictions.read(clone / "data/fused.parquet")
    assert len(given) >= 20
    for size in (1, 64):
        same(pipeline.predict_many(given, batch_size=size), fused)
