"""Speech encoders: equal to transformers alone, equal to themselves in any batch."""

import pickle

import numpy as np
import pytest
import torch
from transformers import AutoModel

from tests.encoders.checkpoints import SPEECH

NAMES = list(SPEECH)
WHISPER_POSITIONS = 100


def theirs(folder, inputs) -> list[torch.Tensor]:
    """Return transformers' own hidden states of one utterance without padding, the last one its last hidden state."""
    model = AutoModel.from_pretrained(folder).eval()
    model = model.encoder if model.config.model_type == "whisper" else model
    shown = {name: value for name, value in inputs.items() if name.startswith("input")}
    with torch.no_grad():
        made = model(**shown, output_hidden_states=True)
    return [*made.hidden_states[:-1], made.last_hidden_state]


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the relative difference in the Euclidean norm; NaN is never small."""
    return (torch.linalg.norm(one - other) / torch.linalg.norm(other)).item()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "vggish"])  # its oracle is in test_vggish.py
def test_one_utterance_is_what_transformers_makes_of_it(name, load, checkpoint, waveforms):
    encoder = load(name)
    inputs = encoder.prepare([waveforms[1][:24_000]])
    hidden = encoder(**inputs)
    expected = theirs(checkpoint(name), inputs)
    assert len(hidden.layers) == encoder.n_layers + 1 == len(expected)
    for mine, other in zip(hidden.layers, expected, strict=True):
        torch.testing.assert_close(mine, other[:, : mine.shape[1]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_an_utterance_does_not_depend_on_its_batch(name, load, waveforms):
    encoder = load(name)
    with torch.no_grad():
        together = encoder(**encoder.prepare(waveforms))
        for i, waveform in enumerate(waveforms):
            alone = encoder(**encoder.prepare([waveform]))
            n = int(alone.lengths[0])
            assert int(together.lengths[i]) == n == alone.layers[0].shape[1]
            for one, other in zip(together.layers, alone.layers, strict=True):
                assert difference(one[i, :n], other[0]) <= 1e-5


@pytest.mark.parametrize("name", ["hubert_group", "wavlm_group"])
def test_the_mask_of_transformers_alone_would_let_padding_through(name, checkpoint, load, waveforms):
    # what PaddingProofExtractor is there for; if this fails, transformers has fixed it
    encoder = load(name)
    short = encoder(**encoder.prepare([waveforms[2]])).layers[-1][0]
    with torch.no_grad():
        padded = AutoModel.from_pretrained(checkpoint(name)).eval()(**encoder.prepare(waveforms)).last_hidden_state
    assert difference(padded[2, : len(short)], short) > 1e-2


@pytest.mark.parametrize(
    "name", ["hubert_group", "wav2vec2_layer", "wavlm_group", "w2v_bert", "w2v_bert_relative", "w2v_bert_sonar"]
)
def test_gradients_of_a_padded_batch_are_the_sum_of_those_alone(name, load, waveforms):
    def gradients(batches):
        encoder = load(name).train()
        for module in encoder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.0  # attention's is a number, not a module
        for batch in batches:
            hidden = encoder(**encoder.prepare(batch))
            sum(((layer**2) * hidden.mask[..., None]).sum() for layer in hidden.layers).backward()
        return {key: value.grad for key, value in encoder.named_parameters() if value.grad is not None}

    together, alone = gradients([waveforms[:3]]), gradients([[w] for w in waveforms[:3]])
    assert any(key.startswith("model.feature") for key in together)
    largest = max(torch.linalg.norm(states).item() for states in alone.values())
    for key, value in alone.items():
        assert torch.linalg.norm(together[key] - value) <= 1e-4 * torch.linalg.norm(value) + 1e-6 * largest, key


@pytest.mark.parametrize("name", ["hubert_group", "wavlm_layer", "w2v_bert", "w2v_bert_sonar", "whisper"])
def test_gradient_checkpointing_changes_no_gradient(name, load, waveforms):
    def gradients(checkpointing):
        encoder = load(name).train()
        for module in encoder.modules():
            for key in ("dropout", "activation_dropout"):
                if isinstance(getattr(module, key, None), float):
                    setattr(module, key, 0.0)
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if checkpointing:
            encoder.model.gradient_checkpointing_enable()
        hidden = encoder(**encoder.prepare(waveforms[:2]))
        encoder(**encoder.prepare(waveforms[2:3]))  # another batch in between must not reach the recomputation
        sum(((layer**2) * hidden.mask[..., None]).sum() for layer in hidden.layers).backward()
        return {key: value.grad for key, value in encoder.named_parameters() if value.grad is not None}

    plain, saved = gradients(False), gradients(True)
    assert plain.keys() == saved.keys()
    for key, value in plain.items():
        torch.testing.assert_close(saved[key], value, rtol=1e-4, atol=1e-4 * value.abs().max().item())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [560, 719, 720, 16_000, 16_079, 24_001])
def test_frames_are_as_many_as_transformers_counts(name, n, load):
    encoder = load(name)
    length = int(encoder(**encoder.prepare([np.full(n, 0.1, np.float32)])).lengths[0])
    if name.startswith("w2v"):
        assert length == (1 + (n - 400) // 160) // 2
    elif name == "vggish":
        assert length == max(1, (1 + (n - 400) // 160) // 96)
    elif name == "whisper":
        assert length == int(encoder.model._get_feat_extract_output_lengths(torch.tensor(-(-n // 160))))
    else:
        assert length == int(encoder.model._get_feat_extract_output_lengths(torch.tensor(n)))


@pytest.mark.parametrize("name", NAMES)
def test_the_shortest_waveform_has_one_frame_and_a_shorter_one_is_refused(name, load):
    encoder = load(name)
    shortest = encoder.minimum_samples
    noise = np.random.default_rng(1).standard_normal(shortest).astype(np.float32)
    hidden = encoder(**encoder.prepare([noise]))
    assert hidden.lengths.tolist() == [1] and torch.isfinite(hidden.layers[-1]).all()
    with pytest.raises(ValueError, match=f"waveform 1 has {shortest - 1} samples, one frame needs {shortest}"):
        encoder.prepare([noise, noise[1:]])


@pytest.mark.parametrize("name", NAMES)
def test_silence_has_finite_states(name, load):
    encoder = load(name)
    hidden = encoder(**encoder.prepare([np.zeros(8_000, np.float32)]))
    assert all(torch.isfinite(layer).all() for layer in hidden.layers)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_can_be_made_in_another_process(name, load, waveforms):
    encoder = load(name)
    copy = pickle.loads(pickle.dumps(encoder.prepare))  # noqa: S301
    for key, value in encoder.prepare(waveforms[:2]).items():
        torch.testing.assert_close(copy(waveforms[:2])[key], value, rtol=0, atol=0)


def test_whisper_cuts_long_audio_into_windows_and_joins_them(load, waveforms):
    encoder = load("whisper")
    long = np.concatenate([waveforms[1], waveforms[0], waveforms[3]])  # 3.2 s, windows of 2 s
    hidden = encoder(**encoder.prepare([waveforms[0], long]))
    window = WHISPER_POSITIONS * 320
    parts = [encoder(**encoder.prepare([long[start : start + window]])) for start in (0, window)]
    expected = torch.cat([part.layers[-1][0] for part in parts])
    assert hidden.lengths.tolist() == [29, len(expected)] and len(expected) == -(-len(long) // 320)
    torch.testing.assert_close(hidden.layers[-1][1, : len(expected)], expected, rtol=1e-4, atol=1e-5)


def test_layers_seen_one_by_one_are_the_layers(load, waveforms):
    for name in ("hubert_layer", "whisper"):
        encoder, seen = load(name), {}
        inputs = encoder.prepare(waveforms)
        encoder.each_layer(inputs, lambda i, states, lengths, seen=seen: seen.__setitem__(i, states))
        for i, layer in enumerate(encoder(**inputs).layers):
            torch.testing.assert_close(seen[i], layer)


def test_training_drops_no_layer_and_masks_no_frame(load, waveforms):
    # transformers' defaults are a layer drop of 0.1 and SpecAugment on 5 % of the frames
    encoder = load("hubert_layer").train()
    for _ in range(10):
        assert len(encoder(**encoder.prepare(waveforms[:1])).layers) == 4
    config = encoder.model.config
    assert (config.layerdrop, config.mask_time_prob, config.apply_spec_augment) == (0.0, 0.0, False)


def test_adapters_attach_to_the_model(load, waveforms):
    from peft import LoraConfig, get_peft_model

    encoder = load("w2v_bert")
    before = encoder(**encoder.prepare(waveforms[:2]))
    encoder.model = get_peft_model(encoder.model, LoraConfig(r=2, target_modules=["linear_q", "linear_v"]))
    after = encoder(**encoder.prepare(waveforms[:2]))
    torch.testing.assert_close(after.layers[-1], before.layers[-1])  # LoRA begins at zero
    after.layers[-1].sum().backward()
    assert {key.split(".")[-3] for key, p in encoder.named_parameters() if p.grad is not None} == {"lora_A", "lora_B"}


def test_an_adapter_around_a_block_is_seen(load, waveforms):
    class Doubled(torch.nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

        def forward(self, *args, **kwargs):
            return 2 * self.block(*args, **kwargs)

    encoder = load("hubert_group")
    inputs = encoder.prepare(waveforms[:1])
    before = encoder(**inputs).layers[1]
    encoder.blocks[0] = Doubled(encoder.blocks[0])
    torch.testing.assert_close(encoder(**inputs).layers[1], 2 * before)
