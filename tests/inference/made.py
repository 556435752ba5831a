"""A project whose stages have run on the corpus of hisses and words: an expert, a frozen encoder, a fusion of both."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from ruamel.yaml import YAML

from pipeline_lib.tables import manifest
from stages import embedding, finetuning, fusion, rebalancing
from tests.finetuning import corpora
from tests.finetuning.runs import BOTH

SYSTEMS = ("expert", "frozen", "texts")


@contextmanager
def inside(folder):
    """Work in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def parameters(tones, folded, checkpoint, trained):
    """Return params.yaml: an expert of two epochs unless none is trained, layers of two encoders, their fusion."""
    entry = corpora.settings(checkpoint, "audio", **BOTH).model_dump()
    reads = {"source": "data/predictions_folds/tones" if folded else "data/predictions/tones.parquet"}
    layers = {"method": "lda_logistic", "lda_logistic": {"shrinkage": 0.5, "components": 2}, "folds": folded}
    frozen = {"reads": {"source": "data/embeddings/frozen"}, "source": {"layers": "each"}} | layers
    texts = {"reads": {"source": "data/embeddings/texts"}, "source": {"layers": [1], "normalise": "speaker"}} | layers
    params = {
        "demonstration": {},
        "corpus": {"reader": "table", "root": str(tones.root)} | ({"split": {"method": "folds"}} if folded else {}),
        "transcription": {"engine": "reference"},
        "embedding": {
            "frozen": {"modality": "audio", "encoder": {"checkpoint": str(checkpoint)}},
            "texts": {"modality": "text", "encoder": {"checkpoint": str(tones.llama)}, "text": "reference"},
        },
        "finetuning": {"tones": entry | {"folds": folded}},
        "rebalancing": {
            "expert": {
                "reads": reads,
                "folds": folded,
                "prior": "em",
                "em": {"on": "dev"},
                "calibration": "temperature",
            },
            "frozen": frozen,
            "texts": texts,
        },
        "fusion": {"method": "logreg", "experts": list(SYSTEMS), "folds": folded, "tuning": "dev"},
        "scoring": {
            "splits": ["folds" if folded else "test"],
            "plotted_split": "folds" if folded else "test",
            "tables": {
                "softmax": "data/predictions/tones.parquet",
                **{name: f"data/rebalanced/{name}.parquet" for name in SYSTEMS},
                "fused": "data/fused.parquet",
                "fused_crossfitted": "data/fused_crossfitted.parquet",
            },
            "comparison": {"system": "fused", "against": []},
        },
    }
    if not trained:
        del (
            params["rebalancing"]["expert"],
            params["scoring"]["tables"]["expert"],
            params["scoring"]["tables"]["softmax"],
        )
        params["finetuning"], params["fusion"]["experts"] = {}, list(SYSTEMS[1:])
    return params


def project(folder, tones, corpus, folded, trained=True, change=None):
    """Run the stages from embedding to fusion in a folder, whose audio checkpoint is of its own, and return it."""
    folder.mkdir()
    shutil.copytree(tones.w2v_bert, folder / "checkpoints" / "w2v_bert")
    params = parameters(tones, folded, "checkpoints/w2v_bert", trained)
    if change is not None:
        change(params)
    YAML().dump(params, folder / "params.yaml")
    (folder / "machine.yaml").write_text("device: cpu\n")
    with inside(folder):
        manifest.write(Path("data/manifest.parquet"), corpus)
        for name in params["embedding"]:
            embedding.main(name)
        for name in params["finetuning"]:
            finetuning.main(name)
        for name in params["rebalancing"]:
            rebalancing.main(name)
        fusion.main()
    return folder
