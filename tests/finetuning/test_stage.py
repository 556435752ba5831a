"""The command, as DVC calls it."""

import json

import pytest
from ruamel.yaml import YAML

from pipeline_lib.errors import InputError
from pipeline_lib.tables import manifest, predictions, transcripts
from pipeline_lib.tables.provenance import Provenance
from stages.finetuning import main
from tests.finetuning import corpora


@pytest.fixture
def paths(tones, tmp_path):
    """Write params.yaml and the tables; return the command's options."""
    text = corpora.settings(tones.llama, "text", head={"kind": "sequence_classification"})
    params = {"corpus": {"root": str(tones.root)}, "finetuning": {"text": text.model_dump()}}
    YAML().dump(params, tmp_path / "params.yaml")
    manifest.write(tmp_path / "manifest.parquet", tones.corpus)
    transcripts.write(
        tmp_path / "transcripts.parquet", tones.corpus.ids, tones.texts, engine="none", checkpoint="", decoding={}
    )
    return {
        "params": tmp_path / "params.yaml",
        "manifest_path": tmp_path / "manifest.parquet",
        "transcripts_path": tmp_path / "transcripts.parquet",
        "models": tmp_path / "models",
        "out": tmp_path / "predictions",
        "curves": tmp_path / "curves",
        "work": tmp_path / "work",
    }


def test_the_stage_writes_expert_predictions_and_curve(tones, paths, tmp_path):
    main("text", **paths)
    result = predictions.read(paths["out"] / "text.parquet")
    assert (result.expert, result.device, result.precision) == ("text", "cpu", "float32")
    assert result.provenance == Provenance(("train",), ("dev",))
    saved = json.loads((paths["models"] / "text" / "settings.json").read_text())
    assert (saved["fitted_on"], saved["chosen_on"], saved["not_recorded"]) == (["train"], ["dev"], [])
    assert [file.name for file in (tmp_path / "predictions_alone" / "text").iterdir()] == ["none.txt"]  # not empty
    assert result.utterance_ids.tolist() == tones.corpus.ids.tolist()
    assert (paths["models"] / "text" / "adapter.safetensors").is_file()
    assert (paths["curves"] / "text.csv").read_text().startswith("epoch,phase,train_loss,train_macro_f1,")


def test_an_unknown_expert_and_missing_transcripts_are_refused(paths):
    with pytest.raises(InputError, match=r"'vidio' is not among \['text'\]"):
        main("vidio", **paths)
    with pytest.raises(InputError, match="does not exist"):
        main("text", **{**paths, "transcripts_path": paths["work"] / "none.parquet"})
