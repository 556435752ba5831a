"""Under autocast the encoder alone runs in bfloat16, in training alone; all else is in float32."""

import pytest
import torch

from pipeline_lib.encoders import device
from pipeline_lib.experts.build import ENCODER, precision
from pipeline_lib.experts.disk import read_settings
from pipeline_lib.finetuning.finetune import finetune
from pipeline_lib.finetuning.train import Training
from pipeline_lib.networks.network import Network
from tests.finetuning import corpora
from tests.finetuning.test_split import job_of

ATTRIBUTES = {"targets": {"attributes": ["arousal", "valence"]}, "losses": {"concordance": 1.0}}
EXPERTS = {
    "attentive": ("audio", {**ATTRIBUTES, "layers": "weighted"}),
    "mean": ("text", {**ATTRIBUTES, "pooling": {"kind": "mean_std"}}),
    "classification": ("text", {**ATTRIBUTES, "head": {"kind": "sequence_classification"}}),
    "joint": ("joint", {"branches": {"audio": {"adaptation": {"method": "lora"}}}}),
    "shared_transformer": ("joint", {"mixer": {"kind": "shared_transformer"}, "losses": {"contrastive": 0.1}}),
    "imagination": ("joint", {"mixer": {"kind": "imagination"}, "losses": {"invariance": 0.1, "imagination": 0.1}}),
}


@pytest.fixture
def half(monkeypatch):
    """Let the CPU compute in bfloat16 where it is expected, as GPUs do."""
    monkeypatch.setattr(device, "half_precision", lambda _: torch.bfloat16)


def settings_of(tones, modality, changes):
    """Return an entry of that modality."""
    if modality == "joint":
        return corpora.joint(tones, **changes)
    return corpora.settings(tones.w2v_bert if modality == "audio" else tones.llama, modality, **changes)


def floating(values):
    """Yield the floating-point tensors of what a module returned."""
    if isinstance(values, torch.Tensor):
        if values.is_floating_point():
            yield values
    elif isinstance(values, dict):
        for value in values.values():
            yield from floating(value)
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from floating(value)
    elif hasattr(values, "__dict__"):
        yield from floating(vars(values))


@pytest.mark.parametrize("name", EXPERTS)
def test_what_stands_on_the_encoder_is_in_float32(tones, tmp_path, half, name):
    modality, changes = EXPERTS[name]
    settings = settings_of(tones, modality, changes)
    job = job_of(tones, settings, tmp_path)
    inside, outside = set(), {}

    def watch(module_name):
        def hook(module, given, returned):
            kinds = {tensor.dtype for tensor in floating(returned)}
            (inside if module_name.startswith(ENCODER) else outside.setdefault(module_name, set())).update(kinds)

        return hook

    for module_name, module in job.network.named_modules():
        stands_on_it = module_name and not module_name.startswith("encoder")
        if stands_on_it or isinstance(module, torch.nn.Linear):
            module.register_forward_hook(watch(module_name))
    inputs = job.network.encoder.prepare([job.utterances.read(int(row), 0.0, None) for row in job.train[:4]])
    passes = settings.passes_of(settings.phases["only"])
    with device.autocast(torch.device("cpu")):
        options = [passes, ["aligned"] if name == "shared_transformer" else []] if passes else []
        returned = job.network.train()(inputs, *options)
    if name != "shared_transformer" and name != "imagination":  # whose encoders are frozen
        assert torch.bfloat16 in inside
    assert outside and {name: kinds for name, kinds in outside.items() if kinds - {torch.float32}} == {}
    assert {tensor.dtype for tensor in floating(returned)} == {torch.float32}


def test_the_development_split_is_measured_in_the_precision_of_prediction(tones, tmp_path, half, monkeypatch):
    seen, forward = [], Network.forward

    def noted(self, inputs):
        seen.append((self.training, torch.is_autocast_enabled("cpu")))
        return forward(self, inputs)

    monkeypatch.setattr(Network, "forward", noted)
    settings = corpora.settings(tones.llama, "text", phases={"only": {"epochs": 1}})
    paths = {"expert": tmp_path / "models", "curve": tmp_path / "curve.csv", "work": tmp_path / "work"}
    finetune("tones", settings, tones.corpus, tones.root, tones.texts, **paths, machine=corpora.machine())
    assert set(seen) == {(True, True), (False, False)}


def test_settings_hold_the_precision_of_training_and_predictions_their_own(tones, tmp_path, half):
    settings = corpora.settings(tones.llama, "text", phases={"only": {"epochs": 1}})
    paths = {"expert": tmp_path / "models", "curve": tmp_path / "curve.csv", "work": tmp_path / "work"}
    result, _ = finetune("tones", settings, tones.corpus, tones.root, tones.texts, **paths, machine=corpora.machine())
    saved = read_settings(paths["expert"])
    assert (saved.device, saved.precision) == ("cpu", "float32 under bfloat16 autocast")
    assert (result.device, result.precision) == ("cpu", "float32")


def test_a_training_that_goes_on_elsewhere_names_both_devices(tones, tmp_path):
    training = Training(job_of(tones, corpora.settings(tones.llama, "text"), tmp_path))
    training.state.devices, training.state.precisions = ["cuda"], ["float32 under bfloat16 autocast"]
    for _ in range(2):
        training._note_origin()
    assert training.state.devices == ["cpu", "cuda"]
    assert training.state.precisions == ["float32", "float32 under bfloat16 autocast"]


def test_the_frozen_encoders_of_a_joint_expert_leave_the_precision_of_training(tones, tmp_path):
    for method, expected in (
        ("lora", "audio float32 under bfloat16 autocast + text float32"),
        ("frozen", "float32"),
    ):
        settings = corpora.joint(tones, branches={"audio": {"adaptation": {"method": method}}})
        network = job_of(tones, settings, tmp_path / method).network
        assert (precision(network, torch.bfloat16), precision(network)) == (expected, "float32")
