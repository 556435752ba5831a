"""Loading: random weights, cut blocks, and one clear sentence for whatever cannot be loaded."""

import json
import re
import shutil

import httpx2
import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import load_file, save_file

from pipeline_lib.encoders.device import half_precision, pick
from pipeline_lib.encoders.load import load_speech, load_text
from pipeline_lib.errors import InputError
from pipeline_lib.params.encoder import EncoderSettings

CPU = torch.device("cpu")


def copy(checkpoint, tmp_path, name):
    """Return a copy of a tiny checkpoint that a test may damage."""
    return shutil.copytree(checkpoint(name), tmp_path / name)


def refusal(folder, loader=load_speech, **settings) -> str:
    with pytest.raises(InputError) as refused:
        loader(EncoderSettings(checkpoint=str(folder), **settings), CPU)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", ["hubert_group", "wavlm_layer", "w2v_bert", "whisper", "roberta", "llama"])
def test_kept_blocks_are_the_first_ones(name, load, waveforms):
    whole, cut = load(name), load(name, layers_kept=2)
    given = waveforms[:1] if hasattr(whole, "frame_rate_hz") else ["i am happy"]
    full, short = (encoder(**encoder.prepare(given)).layers for encoder in (whole, cut))
    assert (whole.n_layers, cut.n_layers, len(short)) == (3, 2, 3)
    torch.testing.assert_close(short[1], full[1])


def test_more_blocks_than_there_are_is_refused(checkpoint):
    folder = checkpoint("hubert_group")
    assert refusal(folder, layers_kept=9) == f"layers_kept is 9, {folder} has 3 blocks"


def test_random_weights_follow_the_seed_and_leave_the_generator_alone(load, waveforms):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (load("w2v_bert", pretrained=False, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    states = [encoder(**encoder.prepare(waveforms[:1])).layers[-1] for encoder in (one, same, other)]
    assert torch.equal(states[0], states[1]) and not torch.allclose(states[0], states[2])


def test_random_weights_need_no_weights_file(checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, "hubert_layer")
    (folder / "model.safetensors").unlink()
    assert load_speech(EncoderSettings(checkpoint=str(folder), pretrained=False), CPU).n_layers == 3


def test_normalisation_is_the_checkpoints(load, waveforms):
    raw, normalised = load("wavlm_group"), load("hubert_group")
    assert torch.equal(raw.prepare(waveforms[:1])["input_values"][0], torch.from_numpy(waveforms[0]))
    values = normalised.prepare(waveforms[1:2])["input_values"][0]
    assert abs(values.mean()) < 1e-5 and abs(values.var(correction=0) - 1) < 1e-4


def test_the_feature_extractor_may_stand_in_processor_config(checkpoint, tmp_path, waveforms):
    folder = copy(checkpoint, tmp_path, "hubert_group")
    values = json.loads((folder / "preprocessor_config.json").read_text()) | {"do_normalize": False}
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": values}))
    encoder = load_speech(EncoderSettings(checkpoint=str(folder)), CPU)
    assert torch.equal(encoder.prepare(waveforms[:1])["input_values"][0], torch.from_numpy(waveforms[0]))


def test_weights_in_another_format_are_refused_with_the_remedy(checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, "hubert_group")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "has no safetensors weights" in (values := refusal(folder)) and "refs/pr/1" in values


def test_missing_weights_are_never_made_up(checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, "hubert_group")
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layers.1.attention.k_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert "lacks 1 weights" in (values := refusal(folder)) and "layers.1.attention.k_proj.weight" in values


def test_damaged_weights_are_refused(checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, "hubert_group")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert refusal(folder).startswith(f"checkpoint {folder} gives no weights:")


def test_a_model_of_the_other_modality_is_refused(checkpoint):
    folder = checkpoint("bert")
    assert refusal(folder) == (
        f"{folder} is a 'bert' model, a speech encoder is one of "
        "['hubert', 'wav2vec2', 'wavlm', 'wav2vec2-bert', 'sonar-speech', 'whisper', 'vggish']"
    )
    assert "is a 'wavlm' model, a text encoder is one of" in refusal(checkpoint("wavlm_group"), load_text)


def test_remote_code_is_never_run(checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, "bert")
    values = json.loads((folder / "config.json").read_text()) | {
        "model_type": "baichuan",
        "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"},
    }
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    assert "needs Python code of its own, which is never run" in refusal(folder, load_text)


def test_a_tokenizer_of_another_model_is_refused(checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, "bert")
    values = json.loads((folder / "config.json").read_text()) | {"vocab_size": 7}
    (folder / "config.json").write_text(json.dumps(values))
    assert "tokenizer has 20 tokens, its model 7" in refusal(folder, load_text, pretrained=False)


def test_a_missing_folder_is_not_requested_of_the_hub(tmp_path):
    assert "is not a folder" in refusal(tmp_path / "nothing")
    assert "is not a folder" in refusal("models/demo/nothing")
    assert "has no config.json" in refusal(tmp_path)


def answer(kind: type[Exception], status: int, message: str = "") -> Exception:
    """Return the hub's error as huggingface_hub raises it."""
    request = httpx2.Request("GET", "https://huggingface.co/api/models/org/model")
    return kind(message, response=httpx2.Response(status, request=request))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (answer(errors.GatedRepoError, 403), "is gated: ask for access at https://huggingface.co/org/model"),
        (answer(errors.RepositoryNotFoundError, 401), "is neither a folder here nor on the hub for this account"),
        (
            answer(errors.RevisionNotFoundError, 404),
            "has no revision 'v9'; see https://huggingface.co/org/model/commits",
        ),
        (
            answer(errors.HfHubHTTPError, 401, "Invalid credentials"),
            "was refused because the hub does not know the token",
        ),
        (answer(errors.HfHubHTTPError, 503), "the hub is out of reach \\(status 503\\): restore the network"),
        (errors.LocalEntryNotFoundError("no file"), "HF_HUB_OFFLINE is set: unset it once"),
        (errors.OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set: unset it once"),
        (httpx2.ConnectError("no route"), "the hub is out of reach: restore the network"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
@pytest.mark.parametrize("loader", [load_speech, load_text])
def test_a_refusal_of_the_hub_is_one_sentence(raised, expected, loader, monkeypatch):
    def refuse(*args, **kwargs):
        raise raised

    monkeypatch.setattr("transformers.utils.hub.hf_hub_download", refuse)
    message = refusal("org/model", loader, revision="v9")
    assert message.startswith("checkpoint org/model ")
    assert re.search(expected, message), message


def test_without_a_cache_and_offline_the_real_hub_client_is_refused_too():
    assert "is not in the local cache and HF_HUB_OFFLINE is set" in refusal("org/model-that-is-not-cached")


def test_devices():
    assert pick("cpu") == CPU and half_precision(CPU) is None
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"device is 'cuda', this machine has \["):
            pick("cuda")


def test_each_retry_of_the_hub_is_not_printed(capfd):
    from huggingface_hub.utils import _http

    _http.logger.warning("Retrying in 1s [Retry 1/5].")
    assert capfd.readouterr() == ("", "")
