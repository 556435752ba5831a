"""Experts on disk: what is loaded predicts what was saved, to the bit."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import LlamaForSequenceClassification, RobertaForSequenceClassification

from pipeline_lib.errors import InputError
from pipeline_lib.experts import disk
from pipeline_lib.experts.checkpoints import with_digests
from pipeline_lib.experts.settings import ExpertBranch, ExpertSettings
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.network import AdaptationSettings, HeadSettings, LoraSettings, PoolingSettings
from pipeline_lib.storage import checksummed_json
from tests.encoders import checkpoints

CPU = torch.device("cpu")
NARROW = PoolingSettings(attention_width=6)
TEXT_MODEL = "encoder.branches.text.model."
NOISE = np.random.default_rng(0)
WAVEFORMS = [(0.1 * NOISE.standard_normal(n)).astype(np.float32) for n in (6_000, 9_000)]
TEXTS = ["i am so happy", "the", "you are not angry today"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    names = ("w2v_bert", "hubert_group", *checkpoints.TEXT, "llama_wide", "roberta_wide")
    return {name: checkpoints.write(folder, name) for name in names}


def modality_of(name):
    return "text" if name in checkpoints.TEXT | checkpoints.FOUR_BIT else "audio"


def branch(checkpoint, method="lora", weights="float32", layers="last"):
    return ExpertBranch(
        encoder=EncoderSettings(checkpoint=str(checkpoint), weights=weights),
        layers=layers,
        adaptation=AdaptationSettings(method=method, lora=LoraSettings(r=4)),
    )


def settings(
    written,
    name,
    method="lora",
    head="dense",
    labels=("a", "b", "c"),
    attributes=("arousal",),
    weights="float32",
    layers="last",
    pooling=NARROW,
):
    return ExpertSettings(
        branches={modality_of(name): branch(written[name], method, weights, layers)},
        pooling=pooling,
        head=HeadSettings(kind=head, width=10),
        labels=list(labels),
        attributes=list(attributes),
        attribute_scale=[1.0, 7.0],
        attribute_range="signed",
        seed=5,
        max_s=30.0,
        text="reference",
        prior=[0.5, 0.3, 0.2],
    )


def disturbed(network):
    """Return the network with all that is trained, and its statistics, moved off their first values."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.add_(torch.rand_like(buffer))
    return network.eval()


def outputs(network, settings):
    parts = {"text": TEXTS, "audio": WAVEFORMS}
    utterances = list(zip(*(parts[name] for name in settings.modalities), strict=False))
    with torch.inference_mode():
        return network(network.encoder.prepare(utterances))


CASES = [
    ("w2v_bert", "lora", "dense", {}),
    ("w2v_bert", "frozen", "dense", {"layers": "weighted"}),
    ("hubert_group", "full", "dense", {}),
    ("llama", "lora", "sequence_classification", {}),
    ("llama", "frozen", "dense", {"pooling": PoolingSettings(kind="last_token")}),
    ("roberta", "full", "sequence_classification", {}),
    ("w2v_bert", "lora", "dense", {"weights": "bfloat16", "layers": "weighted"}),
    ("hubert_group", "frozen", "dense", {"weights": "bfloat16"}),
    ("llama", "lora", "sequence_classification", {"weights": "bfloat16"}),
    ("llama_wide", "lora", "sequence_classification", {"weights": "nf4"}),
    ("roberta_wide", "lora", "sequence_classification", {"weights": "nf4"}),
    ("llama_wide", "lora", "dense", {"weights": "nf4", "pooling": PoolingSettings(kind="last_token")}),
    ("llama_wide", "frozen", "dense", {"weights": "nf4"}),
]


@pytest.mark.parametrize(("name", "method", "head", "parts"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_a_loaded_expert_predicts_to_the_bit_what_the_saved_one_did(written, tmp_path, name, method, head, parts):
    config = settings(written, name, method, head, **parts)
    network = disturbed(disk.build(config, CPU))
    disk.save_expert(tmp_path / "expert", network, config)
    again = disk.load(tmp_path / "expert", CPU)
    before, after = outputs(disk.merge(network), config), outputs(again, config)
    assert before.keys() == after.keys() == {"logits", "attributes", "embedding"}
    assert {values.dtype for values in after.values()} == {torch.float32}
    for key in before:
        assert torch.equal(before[key], after[key]), key
    assert (tmp_path / "expert" / "adapter.safetensors").exists() == (method != "frozen")


def test_the_same_expert_gives_the_same_bytes(written, tmp_path):
    config = settings(written, "w2v_bert")
    for name in ("one", "two"):
        disk.save_expert(tmp_path / name, disturbed(disk.build(config, CPU)), config)
    for file in ("settings.json", "adapter.safetensors", "head.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    saved = disk.read_settings(tmp_path / "one")
    assert saved == with_digests(config) and saved.branches["audio"].digest is not None
    assert saved.prior == [0.5, 0.3, 0.2] and saved.max_s == 30


def test_only_what_was_trained_is_written(written, tmp_path):
    config = settings(written, "w2v_bert")
    disk.save_expert(tmp_path / "expert", disk.build(config, CPU), config)
    assert all(".lora_" in name for name in load_file(tmp_path / "expert" / "adapter.safetensors"))
    assert "heads.shared.norm.running_mean" in load_file(tmp_path / "expert" / "head.safetensors")


@pytest.mark.parametrize(
    ("name", "kind"), [("llama", LlamaForSequenceClassification), ("roberta", RobertaForSequenceClassification)]
)
def test_sequence_classification_is_transformers_own(written, name, kind):
    values = settings(written, name, "full", "sequence_classification", attributes=("arousal", "valence"))
    network = disturbed(disk.build(values, CPU))
    encoder = network.encoder.branches["text"]
    inputs, config = encoder.prepare(TEXTS), encoder.model.config
    config.num_labels, config.pad_token_id = 5, encoder.prepare.padding
    real = kind(config).eval()
    state = network.state_dict()
    published = {
        f"{real.base_model_prefix}.{key.removeprefix(TEXT_MODEL)}": v
        for key, v in state.items()
        if key.startswith(TEXT_MODEL)
    }
    published |= {key.removeprefix("heads."): v for key, v in state.items() if key.startswith("heads.")}
    real.load_state_dict(published)
    with torch.inference_mode():
        expected = real(**inputs).logits
    result = outputs(network, values)
    torch.testing.assert_close(torch.cat([result["logits"], result["attributes"]], dim=1), expected, rtol=0, atol=0)


@pytest.mark.parametrize("head", ["dense", "sequence_classification"])
def test_an_expert_with_gender_has_two_outputs_more_and_is_loaded_to_the_bit(written, tmp_path, head):
    config = settings(written, "llama", "frozen", head, pooling=PoolingSettings(kind="last_token"))
    config = config.model_copy(update={"gender": True})
    network = disturbed(disk.build(config, CPU))
    disk.save_expert(tmp_path / "expert", network, config)
    before, after = outputs(network, config), outputs(disk.load(tmp_path / "expert", CPU), config)
    assert {name: value.shape[1] for name, value in before.items() if name != "embedding"} == {
        "logits": 3,
        "attributes": 1,
        "gender": 2,
    }
    assert all(torch.equal(before[name], after[name]) for name in before)
    if head == "sequence_classification":
        scores = functional.linear(before["embedding"], network.heads["score"].weight.detach())
        torch.testing.assert_close(scores, torch.cat([before[n] for n in ("logits", "attributes", "gender")], dim=1))


def test_an_expert_of_the_first_format_is_refused(written, tmp_path):
    config = settings(written, "llama", "frozen", pooling=PoolingSettings(kind="last_token"))
    disk.save_expert(tmp_path / "expert", disk.build(config, CPU), config)
    record, _ = checksummed_json.read(tmp_path / "expert" / "settings.json")
    first = {"format_version": 1, "modality": "text", "encoder": record["branches"]["text"]["encoder"], "network": {}}
    (tmp_path / "expert" / "settings.json").write_text(checksummed_json.dumps(first) + "\n")
    with pytest.raises(InputError, match="has format version 1, this code reads 2; train the expert again"):
        disk.load(tmp_path / "expert", CPU)


def test_the_embedding_is_the_state_of_the_last_token_that_the_linear_layer_reads(written):
    config = settings(written, "llama", "frozen", "sequence_classification", attributes=())
    network = disturbed(disk.build(config, CPU))
    result = outputs(network, config)
    for i, text in enumerate(TEXTS):
        encoder = network.encoder.branches["text"]
        last = encoder.model(**encoder.prepare([text])).last_hidden_state[0, -1]
        torch.testing.assert_close(result["embedding"][i], last)
    scores = functional.linear(result["embedding"], network.heads["score"].weight.detach())
    torch.testing.assert_close(scores, result["logits"])


def test_a_tuned_encoder_is_loaded_with_its_updates_merged(written, tmp_path):
    config = settings(written, "w2v_bert")
    network = disturbed(disk.build(config, CPU))
    disk.save_expert(tmp_path / "expert", network, config)
    encoder = disk.load_encoder(tmp_path / "expert", CPU)
    assert not any("lora" in name for name, _ in encoder.named_parameters())
    inputs = encoder.prepare(WAVEFORMS)
    with torch.inference_mode():
        merged, attached = encoder(**inputs), network.encoder.branches["audio"](**inputs)
        untuned = disk.build(config, CPU).encoder.branches["audio"](**inputs)
    mask = merged.mask
    torch.testing.assert_close(merged.layers[-1][mask], attached.layers[-1][mask], rtol=1e-4, atol=1e-5)
    assert (merged.layers[-1] - untuned.layers[-1])[mask].abs().max() > 1e-2


def test_merging_changes_an_expert_by_rounding_only(written):
    for name, head in (("w2v_bert", "dense"), ("llama", "sequence_classification")):
        config = settings(written, name, "lora", head)
        network = disturbed(disk.build(config, CPU))
        attached = outputs(network, config)
        merged = outputs(disk.merge(network), config)
        for key in attached:
            torch.testing.assert_close(merged[key], attached[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "weights"), [("llama_wide", "nf4"), ("llama", "bfloat16"), ("w2v_bert", "bfloat16")])
def test_updates_beside_weights_that_merging_would_round_stay_beside_them(written, name, weights, capsys):
    config = settings(written, name, weights=weights)
    network = disturbed(disk.build(config, CPU))
    attached = outputs(network, config)
    merged = outputs(disk.merge(network), config)
    assert all(torch.equal(merged[key], attached[key]) for key in attached)
    assert any("lora_" in key for key, _ in network.named_parameters())
    assert "LoRA stays beside the encoder's weights" in capsys.readouterr().err


@pytest.mark.parametrize("weights", ["bfloat16", "nf4"])
def test_a_sparing_expert_is_near_the_one_in_float32(written, weights):
    exact, sparing = (settings(written, "llama_wide", "lora", weights=held) for held in ("float32", weights))
    networks = [disk.build(config, CPU) for config in (exact, sparing)]
    trained = dict(disturbed(networks[0]).named_parameters())
    with torch.no_grad():
        for key, parameter in networks[1].named_parameters():
            if parameter.requires_grad:
                parameter.copy_(trained[key])
    networks[1].load_state_dict({key: v for key, v in networks[0].state_dict().items() if "heads" in key}, strict=False)
    expected, result = outputs(networks[0], exact), outputs(networks[1], sparing)
    for key in expected:
        assert torch.linalg.norm(result[key] - expected[key]) < 0.25 * torch.linalg.norm(expected[key]), key


def test_bert_is_refused_its_own_classification_class(written):
    with pytest.raises(InputError, match="BERT's classification class reads a pooler, which .* set head.kind to dense"):
        disk.build(settings(written, "bert", "full", "sequence_classification"), CPU)


def test_a_missing_damaged_or_foreign_expert_is_refused(written, tmp_path):
    with pytest.raises(InputError, match="does not exist; the stage finetuning writes it"):
        disk.load(tmp_path / "none", CPU)
    config = settings(written, "w2v_bert")
    folder = tmp_path / "expert"
    disk.save_expert(folder, disk.build(config, CPU), config)
    tensors = load_file(folder / "head.safetensors")
    save_file({**tensors, "heads.shared.dense.weight": torch.zeros(3, 3)}, folder / "head.safetensors")
    with pytest.raises(InputError, match=r"does not fit its settings.json at 'heads.shared.dense.weight'"):
        disk.load(folder, CPU)
    (folder / "head.safetensors").write_bytes(b"cut")
    with pytest.raises(InputError, match="is damaged"):
        disk.load(folder, CPU)
    values = json.loads((folder / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps({**values, "seed": 6}))
    with pytest.raises(InputError, match=r"settings.json does not match its checksum"):
        disk.load(folder, CPU)
    del values["sha256"]
    (folder / "settings.json").write_text(json.dumps({**values, "format_version": 99}))
    with pytest.raises(InputError, match="has format version 99, this code reads 2; train the expert again"):
        disk.load(folder, CPU)
