"""The shared transformer's recipe with Whisper-medium and RoBERTa-large at their real sizes, on the meta device."""

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, RobertaConfig, WhisperConfig, WhisperFeatureExtractor

from pipeline_lib.experts.build import assemble
from pipeline_lib.experts.settings import ExpertBranch, ExpertSettings
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.recipes.compose import compose

META = torch.device("meta")
WIDTH, INNER, BLOCKS, HIDDEN = 1024, 4096, 24, 128


def linear(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    place = tmp_path_factory.mktemp("published")
    sizes = {"d_model": WIDTH, "vocab_size": 51_865}
    for part in ("encoder", "decoder"):
        sizes |= {f"{part}_layers": BLOCKS, f"{part}_attention_heads": 16, f"{part}_ffn_dim": INNER}
    WhisperConfig(**sizes).save_pretrained(place / "audio")
    WhisperFeatureExtractor(feature_size=80).save_pretrained(place / "audio")
    RobertaConfig(
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=BLOCKS,
        num_attention_heads=16,
        vocab_size=50_265,
        max_position_embeddings=514,
        type_vocab_size=1,
    ).save_pretrained(place / "text")
    words = Tokenizer(models.WordLevel({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>").save_pretrained(place / "text")
    asked = FinetuningSettings.parse(compose("shared_transformer")["finetuning"]["joint"], "finetuning.joint")
    branches = {
        name: ExpertBranch(
            encoder=branch.encoder.model_copy(update={"checkpoint": str(place / name), "pretrained": False}),
            expert=None,
            layers=branch.layers,
            adaptation=branch.adaptation,
        )
        for name, branch in asked.branches.items()
    }
    settings = ExpertSettings(
        branches=branches,
        mixer=asked.mixer,
        heads=asked.heads,
        head=asked.head,
        labels=["anger", "happiness", "neutral", "sadness"],
        attributes=asked.targets.attributes,
        attribute_scale=[1.0, 7.0],
        attribute_range=asked.targets.attribute_range,
        sentiment=asked.targets.sentiment.enabled,
        seed=1,
        max_s=asked.predict.max_s,
        text=asked.text,
    )
    with META:
        return assemble(settings, META)


def test_the_frozen_encoders_hold_what_is_counted_by_hand(network):
    block = 4 * linear(WIDTH, WIDTH) + linear(WIDTH, INNER) + linear(INNER, WIDTH) + 2 * 2 * WIDTH
    whisper = (80 * 3 + 1) * WIDTH + (WIDTH * 3 + 1) * WIDTH + 1500 * WIDTH
    whisper += BLOCKS * (block - WIDTH) + 2 * WIDTH  # keys have no bias; a last layer norm
    roberta = (50_265 + 514 + 1) * WIDTH + 2 * WIDTH + BLOCKS * block
    found = {
        name: sum(each.numel() for each in branch.parameters()) for name, branch in network.encoder.branches.items()
    }
    assert found == {"audio": whisper, "text": roberta}
    assert not any(each.requires_grad for each in network.encoder.parameters())


def test_what_is_trained_of_the_shared_transformer_is_counted_by_hand(network):
    block = 4 * linear(HIDDEN, HIDDEN) + linear(HIDDEN, 4 * HIDDEN) + linear(4 * HIDDEN, HIDDEN) + 2 * 2 * HIDDEN
    down = (WIDTH * 4 + 1) * HIDDEN + linear(WIDTH, HIDDEN)  # audio by 4 frames, text by one token
    back = HIDDEN * WIDTH * 4 + WIDTH + linear(HIDDEN, WIDTH)
    special = (3 + 2) * HIDDEN  # CLS, SEP, MASK; two types
    mixer = 4 * block + 2 * HIDDEN + down + back + special + linear(HIDDEN, HIDDEN)
    head = linear(HIDDEN, HIDDEN) + linear(HIDDEN, 4) + linear(HIDDEN, 3) + linear(HIDDEN, 3)
    layers = 2 * (BLOCKS + 1)
    trained = sum(each.numel() for each in network.parameters() if each.requires_grad)
    assert sum(each.numel() for each in network.join.parameters()) == mixer == 2_123_520
    assert trained == mixer + head + layers
