"""Predictions from an expert's folder and files alone: no params.yaml, no manifest, another working directory."""

import shutil

import numpy as np
import pytest
import torch

from pipeline_lib.errors import InputError
from pipeline_lib.experts.outputs import outputs_of
from pipeline_lib.experts.predict import Expert, predict
from pipeline_lib.experts.utterances import from_files
from tests.finetuning import corpora, runs, test_joint

CPU = torch.device("cpu")


@pytest.fixture
def project(tones, tmp_path, monkeypatch):
    """Return a project with checkpoints of its own, which is the current folder while an expert is trained."""
    folder = tmp_path / "project"
    for name in ("w2v_bert", "llama"):
        shutil.copytree(getattr(tones, name), folder / "checkpoints" / name)
    monkeypatch.chdir(folder)
    return folder


def own(tones, *names):
    """Return the corpus's files and texts as anyone's, without the manifest."""
    parts = {"audio": [tones.root / name for name in tones.corpus.frame["audio"]], "text": tones.texts}
    return from_files({name: parts[name] for name in names}, ids=tones.corpus.ids.tolist())


def check(result, expected):
    assert result.utterance_ids.tolist() == expected.utterance_ids.tolist() and result.labels == expected.labels
    np.testing.assert_allclose(result.posterior, expected.posterior, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(result.training_prior, expected.training_prior)
    if expected.attributes is not None:
        assert result.attribute_names == expected.attribute_names
        np.testing.assert_allclose(result.attributes, expected.attributes, rtol=0, atol=1e-4)
    np.testing.assert_allclose(result.embedding, expected.embedding, rtol=0, atol=1e-4)


def test_an_audio_expert_predicts_files_from_another_folder_what_its_training_wrote(
    tones,
    project,
    tmp_path,
    monkeypatch,
):
    settings = corpora.settings("checkpoints/w2v_bert", "audio", predict={"max_s": 0.6}, **runs.BOTH)
    expected, _ = runs.run(tones, project, settings)
    monkeypatch.chdir(tmp_path)
    found = predict(project / "models" / "tones", own(tones, "audio"), batch_size=5, machine=corpora.machine())
    check(found, expected)
    assert found.expert == "tones"
    again = predict(project / "models" / "tones", own(tones, "audio"), machine=corpora.machine(), name="other")
    check(again, expected)  # batches of 16
    assert again.expert == "other"


def test_a_joint_expert_predicts_files_and_texts_from_both_and_each_alone(
    tones,
    project,
    tmp_path,
    monkeypatch,
):
    branches = {
        "audio": {"encoder": {"checkpoint": "checkpoints/w2v_bert"}},
        "text": {"encoder": {"checkpoint": "checkpoints/llama"}},
    }
    tables, _ = test_joint.run(tones, project, corpora.joint(tones, branches=branches, **test_joint.TARGETS))
    monkeypatch.chdir(tmp_path)
    expert = Expert.load(project / "models" / "tones", CPU)
    read = own(tones, "audio", "text")
    for combination, expected in tables.items():
        found = predict(expert, read, batch_size=5, machine=corpora.machine(), combination=combination)
        check(found, expected)
    with pytest.raises(InputError, match=r"tones reads \['audio', 'text'\], the utterances have \['text'\]; make them"):
        predict(expert, own(tones, "text"), machine=corpora.machine())
    only = from_files({"text": tones.texts}, expert.settings.modalities, ids=tones.corpus.ids.tolist())
    check(predict(expert, only, batch_size=5, machine=corpora.machine()), tables["text"])


class Short(torch.nn.Module):
    """A network for whose memory batches above ``most`` are too much."""

    def __init__(self, most):
        super().__init__()
        self.most, self.tried, self.weight = most, [], torch.nn.Parameter(torch.ones(1))
        self.encoder = torch.nn.Module()
        self.encoder.prepare = lambda samples: {"lengths": torch.tensor([len(text) for (text,) in samples])}

    def forward(self, inputs):
        self.tried.append(len(inputs["lengths"]))
        if self.tried[-1] > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return {"logits": inputs["lengths"][:, None] * self.weight}


def test_where_memory_runs_out_batches_are_predicted_in_halves_in_their_order(capsys):
    read = from_files({"text": ["a" * n for n in range(10)]})
    plan, network = [np.arange(3), np.arange(3, 8), np.arange(8, 10)], Short(3)
    outputs = list(outputs_of(network, plan, read, 30.0))
    assert [part["logits"][:, 0].tolist() for part in outputs] == [list(map(float, rows)) for rows in plan]
    assert network.tried == [3, 5, 3, 2, 1, 1]
    assert capsys.readouterr().err.count("out of memory with 5 utterances a forward pass; going on with half") == 1
    with pytest.raises(InputError, match=r"with 2 utterances a forward pass, cut in two; lower predict\.batch_size"):
        list(outputs_of(Short(1), plan, read, 30.0))
