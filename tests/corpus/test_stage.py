"""The corpus stage: the same bytes wherever the corpus lies, and metrics that agree with its tables."""

import json
import shutil
import struct
import subprocess
import sys

import pyarrow.parquet as pq

from pipeline_lib.params.base import read_params
from pipeline_lib.tables import manifest
from stages.corpus import main


def run(root, out, capsys=None, workers=1, **corpus):
    out.mkdir(exist_ok=True)
    values = {"reader": "ravdess", "root": str(root), **corpus}
    (out / "params.yaml").write_text(json.dumps({"corpus": values}))
    (out / "machine.yaml").write_text(json.dumps({"corpus": {"workers": workers}}))
    first = (out / "params.yaml", out / "machine.yaml")
    main(*first, out / "manifest.parquet", out / "quarantine.parquet", out / "metrics" / "corpus.json")
    return [(out / name).read_bytes() for name in ("manifest.parquet", "quarantine.parquet", "metrics/corpus.json")]


def test_the_stage_writes_the_same_bytes_wherever_the_corpus_lies(ravdess, tmp_path_factory):
    (ravdess / "Actor_01" / "03-01-08-01-01-02-01.wav").write_bytes(b"RIFF" + struct.pack("<I", 36) + b"WAVE")
    moved = tmp_path_factory.mktemp("elsewhere") / "corpus"
    shutil.copytree(ravdess, moved)
    out = tmp_path_factory.mktemp("out")
    first, second = run(ravdess, out / "a"), run(moved, out / "b", workers=2)
    assert first == second
    quarantine = pq.read_table(out / "a" / "quarantine.parquet")
    assert quarantine.column("utterance_id").to_pylist() == ["03-01-08-01-01-02-01"]
    assert len(manifest.read(out / "a" / "manifest.parquet")) == 90


def test_metrics_and_tables_agree(ravdess, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    run(ravdess, out, name="acted", split={"method": "folds", "folds": {"k": 3}})
    metrics, result = json.loads((out / "metrics" / "corpus.json").read_text()), manifest.read(out / "manifest.parquet")
    assert metrics["corpus"] == result.corpus == "acted"
    for name, split in metrics["splits"].items():
        assert sum(split["classes"].values()) == split["utterances"] == result.mask(name).sum()
    for name, n in metrics["subsets"].items():
        assert result.mask(name).sum() == n
    assert sum(metrics["subsets"][f"fold{i}"] for i in range(3)) == 90
    assert read_params(out / "params.yaml")["corpus"]["name"] == "acted"


def test_the_command_needs_neither_torch_nor_scikit_learn():
    code = "import sys, stages.corpus; print({'torch', 'sklearn', 'transformers'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
