"""The shared transformer against its paper's equations, torch's own encoder layers, and its published size."""

import pytest
import torch
from torch import nn

from pipeline_lib.losses import contrastive
from pipeline_lib.networks.frames import Frames
from pipeline_lib.networks.mixers import positions
from pipeline_lib.networks.mixers.shared_transformer import SharedTransformer
from pipeline_lib.params.network import MixerSettings
from tests.networks.mixers.batches import WIDTHS, batch, one_of
from tests.networks.mixers.shared_transformers import transformer


def torchs(mixer, tokens, before):
    """Return torch's own encoder layers with the same weights, run on tokens."""
    for block in mixer.transformer.blocks:
        layer = nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=before).eval()
        parts = block.attention.query, block.attention.key, block.attention.value
        layer.self_attn.in_proj_weight.data = torch.cat([part.weight.data for part in parts])
        layer.self_attn.in_proj_bias.data = torch.cat([part.bias.data for part in parts])
        layer.self_attn.out_proj.load_state_dict(block.attention.out.state_dict())
        layer.linear1.load_state_dict(block.feed_forward[0].state_dict())
        layer.linear2.load_state_dict(block.feed_forward[3].state_dict())
        layer.norm1.load_state_dict(block.attention_norm.state_dict())
        layer.norm2.load_state_dict(block.feed_forward_norm.state_dict())
        tokens = layer(tokens)
    return nn.functional.layer_norm(tokens, (8,)) if before else tokens


def test_audio_tokens_are_a_linear_map_of_k_frames_and_text_tokens_of_one():
    mixer, frames = transformer(stride=4), batch([8], [3])
    tokens = mixer.tokens(frames)
    weight, bias = mixer.projection["audio"].weight, mixer.projection["audio"].bias  # (8, 6, 4)
    for j in range(2):  # equation 2
        chunk = frames["audio"].values[0, 4 * j : 4 * j + 4]  # (4, 6)
        torch.testing.assert_close(
            tokens["audio"].values[0, j], torch.einsum("okt,tk->o", weight, chunk) + bias, rtol=0, atol=1e-6
        )
    text = frames["text"].values @ mixer.projection["text"].weight.T + mixer.projection["text"].bias
    torch.testing.assert_close(tokens["text"].values, text, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("length", "n"), [(1, 1), (3, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_a_last_token_of_fewer_than_k_frames_is_kept(length, n):
    frames = batch([length, 12], [1, 1])
    assert transformer(stride=4).tokens(frames)["audio"].mask.sum(dim=1).tolist() == [n, 3]


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_with_absolute_positions_it_is_torchs_encoder_on_the_sequence_of_equation_3(norm):
    mixer, frames = transformer(positions="absolute", norm=norm), batch([5], [2])
    tokens = mixer.tokens(frames)
    audio, text = (tokens[name].values + mixer.types[name] for name in WIDTHS)
    sequence = torch.cat([mixer.cls.expand(1, 1, -1), audio, mixer.sep.expand(1, 1, -1), text], dim=1)
    sequence = sequence + positions.sinusoids(torch.arange(7)[None], 8)
    z = torchs(mixer, sequence, before=norm == "pre")
    cls, contextual = mixer.contextual(frames)
    torch.testing.assert_close(cls, z[:, 0], rtol=0, atol=2e-6)
    torch.testing.assert_close(contextual["audio"].values, z[:, 1:4], rtol=0, atol=2e-6)
    torch.testing.assert_close(contextual["text"].values, z[:, 5:], rtol=0, atol=2e-6)


def attended(block, tokens):
    """Return a block's attention over tokens (time, width), its positions as transformers has them for LLaMA."""
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    q, k, v = (
        part(tokens).view(1, len(tokens), 2, 4).transpose(1, 2)
        for part in (block.attention.query, block.attention.key, block.attention.value)
    )
    rope = LlamaRotaryEmbedding(LlamaConfig(hidden_size=8, num_attention_heads=2))
    q, k = apply_rotary_pos_emb(q, k, *rope(q, torch.arange(len(tokens))[None]))
    weights = torch.einsum("bhid,bhjd->bhij", q, k).div(4**0.5).softmax(dim=3)
    return block.attention.out(torch.einsum("bhij,bhjd->bihd", weights, v).flatten(2))[0]


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_with_rotary_positions_it_is_the_block_written_again_with_transformers_rotation(norm):
    mixer, frames = transformer(norm=norm), batch([6], [4])
    tokens = mixer.tokens(frames)
    audio, text = (tokens[name].values[0] + mixer.types[name] for name in WIDTHS)
    x = torch.cat([mixer.cls[None], audio, mixer.sep[None], text])
    for block in mixer.transformer.blocks:
        if norm == "pre":
            x = x + attended(block, block.attention_norm(x))
            x = x + block.feed_forward(block.feed_forward_norm(x))
        else:
            x = block.attention_norm(x + attended(block, x))
            x = block.feed_forward_norm(x + block.feed_forward(x))
    x = mixer.transformer.norm(x)
    cls, contextual = mixer.contextual(frames)
    torch.testing.assert_close(cls[0], x[0], rtol=0, atol=2e-6)
    torch.testing.assert_close(contextual["text"].values[0], x[5:], rtol=0, atol=2e-6)


def test_the_order_of_tokens_counts_and_without_positions_would_not():
    frames = batch([1], [4])
    turned = frames | {"text": Frames(frames["text"].values.flip(1), frames["text"].mask)}
    for kind in ("rope", "absolute"):
        mixer = transformer(positions=kind)
        assert not torch.allclose(mixer(frames), mixer(turned), atol=1e-4)


@pytest.mark.parametrize("name", WIDTHS)
def test_where_a_modality_is_missing_its_sequence_is_skipped_and_there_is_nothing_to_separate(name):
    mixer, both = transformer(positions="absolute"), batch([4, 4], [2, 2])
    frames = batch([4, 0], [2, 2]) if name == "text" else batch([4, 4], [2, 0])
    tokens = mixer.tokens({name: one_of(frames, 1)[name]})[name].values + mixer.types[name]
    sequence = torch.cat([mixer.cls.expand(1, 1, -1), tokens], dim=1)
    z = torchs(mixer, sequence + positions.sinusoids(torch.arange(3)[None], 8), before=True)
    torch.testing.assert_close(mixer(frames)[1:], z[:, 0], rtol=0, atol=2e-6)
    assert not torch.allclose(mixer(frames)[1], mixer(both)[1], atol=1e-4)


def test_a_transformer_of_one_modality_is_the_unimodal_pass_of_one_of_two():
    two = transformer()
    for name, width in WIDTHS.items():
        alone, frames = transformer(seed=3, widths={name: width}), {name: batch([6, 3], [2, 4])[name]}
        alone.load_state_dict({key: two.state_dict()[key] for key in alone.state_dict()})
        assert torch.equal(alone(frames), two(frames))


def test_the_aligned_vector_is_g_of_the_mean_over_the_modalitys_own_tokens():
    mixer, frames = transformer(), {"audio": batch([6, 3], [1, 1])["audio"]}
    _, contextual = mixer.contextual(frames)
    result = mixer.align(contextual["audio"])
    for i, n in enumerate((3, 2)):
        mean = contextual["audio"].values[i, :n].mean(dim=0)
        expected = torch.clamp_min(mixer.g[0].weight @ mean + mixer.g[0].bias, 0)
        torch.testing.assert_close(result[i], expected, rtol=0, atol=1e-6)
    assert (result >= 0).all()


def test_without_projection_the_aligned_vector_is_the_mean_itself():
    mixer, frames = transformer(projection=False), {"text": batch([1], [3])["text"]}
    _, contextual = mixer.contextual(frames)
    torch.testing.assert_close(mixer.align(contextual["text"])[0], contextual["text"].values[0].mean(dim=0))


def test_dropout_is_on_in_training_and_off_in_evaluation():
    frames = batch([6], [4])
    mixer = transformer()
    assert torch.equal(mixer(frames), mixer(frames))
    assert not torch.equal(mixer.train()(frames), mixer(frames))


def parameters(layers):
    settings = MixerSettings(kind="shared_transformer", width=128, heads=4, layers=layers, dropout=0.5)
    with torch.device("meta"):
        mixer = SharedTransformer({"audio": 1024, "text": 1024}, settings)  # Whisper-medium and RoBERTa-large
    assert all(parameter.is_meta for parameter in mixer.parameters())
    return {
        name: sum(parameter.numel() for parameter in part.parameters()) for name, part in mixer.named_children()
    } | {"all": sum(parameter.numel() for parameter in mixer.parameters())}


@pytest.mark.parametrize("layers", [2, 4, 8])
def test_parameters_at_the_papers_size(layers):
    result = parameters(layers)
    conv, linear = 1024 * 128 * 4 + 128, 1024 * 128 + 128
    assert result["projection"] == conv + linear == 655_616
    assert result["rebuilding"] == (128 * 1024 * 4 + 1024) + (128 * 1024 + 1024) == 657_408
    block = 4 * (128 * 128 + 128) + (128 * 512 + 512) + (512 * 128 + 128) + 4 * 128
    assert result["transformer"] == layers * block + 2 * 128 == {2: 396_800, 4: 793_344, 8: 1_586_432}[layers]
    assert result["g"] == 128 * 128 + 128
    special = 5 * 128  # CLS, SEP, MASK and two types
    assert (
        result["all"] == sum(result[part] for part in ("projection", "rebuilding", "transformer", "g", "types")) + 384
    )
    assert result["types"] + 384 == special


@pytest.mark.parametrize(("kind", "same"), [("rope", True), ("absolute", False)])
def test_shifting_every_position_changes_nothing_with_rotary_positions_and_much_with_sinusoids(kind, same, monkeypatch):
    mixer, frames = transformer(positions=kind), batch([7, 0, 3], [2, 3, 0])
    before, counted = mixer(frames), positions.position_ids
    monkeypatch.setattr(positions, "position_ids", lambda mask: counted(mask) + 40)
    assert torch.allclose(mixer(frames), before, rtol=0, atol=2e-6 if same else 1e-2) == same


def test_the_contrastive_loss_teaches_an_utterances_audio_and_text_to_find_each_other():
    mixer, frames = transformer().train(), batch([6] * 8, [4] * 8)
    optimiser = torch.optim.Adam(mixer.parameters(), lr=1e-2)

    def recall():
        similarity = aligned(mixer.eval(), frames, "audio") @ aligned(mixer, frames, "text").T
        mixer.train()
        itself = torch.arange(8)
        return [(similarity.argmax(dim=i) == itself).float().mean().item() for i in (0, 1)]

    assert max(recall()) < 0.5
    for _ in range(100):
        optimiser.zero_grad()
        contrastive(torch.stack([aligned(mixer, frames, name) for name in WIDTHS], dim=1)).backward()
        optimiser.step()
    assert min(recall()) > 0.8


def aligned(mixer, frames, name):
    return mixer.align(mixer.contextual({name: frames[name]})[1][name])
