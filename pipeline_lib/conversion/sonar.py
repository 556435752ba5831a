"""A published SONAR speech encoder (``spenc.eng.pt``) -> a folder that ``encoder.checkpoint`` loads.

``ser convert sonar spenc.eng.pt models/sonar_eng``

Duquenne, Schwenk and Sagot 2023; TalTech's post-evaluation system, section 5. The published files hold a Conformer
under fairseq's names; fairseq2, which SONAR runs on, has names of its own, and files saved from there are read too.
``encoders.sonar`` describes the model: the first w2v-BERT, not w2v-BERT 2.0. Its front end is ours: filterbanks of
the waveform times 2^15, 80 bands, each at mean 0 and sample variance 1 over the utterance, two frames stacked, a last
odd frame left out. (SONAR divides by the deviation without the 1e-7 that we add to the variance.)

Left out, and printed: the pooler that turns the states into a sentence's vector (a decoder of one step that attends to
them, 52.5 M parameters in the English encoder; TalTech's paper calls it "simple mean pooling"), and traces of
pretraining. Any other name that is not known, and any that is missing, is an error: nothing is dropped in silence.

The names and sizes are from SONAR's own loader and fairseq2's definition of the model; the tests compare them with a
list and an arithmetic of their own, on random weights. The published file itself was not available: that it holds these
names and nothing that is refused, and that the states are those of SONAR's own program, has not been tried.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pipeline_lib.conversion import files
from pipeline_lib.encoders.sonar import MODEL_TYPE, SonarSpeechConfig, SonarSpeechModel
from pipeline_lib.errors import InputError

BANDS = 80  # of the filterbank
GENERATIONS = ("fairseq", "fairseq2")  # the order of the names below
BLOCKS = ("encoder.w2v_model.encoder.layers.", "encoder.layers.")
AROUND = {  # our name: theirs, before .weight and .bias
    "feature_projection.layer_norm": ("encoder.w2v_model.layer_norm", "encoder_frontend.post_extract_layer_norm"),
    "feature_projection.projection": ("encoder.w2v_model.post_extract_proj", "encoder_frontend.model_dim_proj"),
    "encoder.layer_norm": ("encoder.w2v_model.encoder.layer_norm", "layer_norm"),
}
IN_A_BLOCK = {
    "ffn1_layer_norm": ("ffn1.layer_norm", "ffn1_layer_norm"),
    "ffn1.intermediate_dense": ("ffn1.w_1", "ffn1.inner_proj"),
    "ffn1.output_dense": ("ffn1.w_2", "ffn1.output_proj"),
    "self_attn_layer_norm": ("self_attn_layer_norm", "self_attn_layer_norm"),
    "self_attn.linear_q": ("self_attn.linear_q", "self_attn.q_proj"),
    "self_attn.linear_k": ("self_attn.linear_k", "self_attn.k_proj"),
    "self_attn.linear_v": ("self_attn.linear_v", "self_attn.v_proj"),
    "self_attn.linear_out": ("self_attn.linear_out", "self_attn.output_proj"),
    "self_attn.linear_pos": ("self_attn.linear_pos", "self_attn.sdpa.r_proj"),
    "self_attn.pos_bias_u": ("self_attn.pos_bias_u", "self_attn.sdpa.u_bias"),
    "self_attn.pos_bias_v": ("self_attn.pos_bias_v", "self_attn.sdpa.v_bias"),
    "conv_module.layer_norm": ("conv_module.layer_norm", "conv_layer_norm"),
    "conv_module.pointwise_conv1": ("conv_module.pointwise_conv1", "conv.pointwise_conv1"),
    "conv_module.depthwise_conv": ("conv_module.depthwise_conv", "conv.depthwise_conv"),
    "conv_module.batch_norm": ("conv_module.batch_norm", "conv.batch_norm"),
    "conv_module.pointwise_conv2": ("conv_module.pointwise_conv2", "conv.pointwise_conv2"),
    "ffn2_layer_norm": ("ffn2.layer_norm", "ffn2_layer_norm"),
    "ffn2.intermediate_dense": ("ffn2.w_1", "ffn2.inner_proj"),
    "ffn2.output_dense": ("ffn2.w_2", "ffn2.output_proj"),
    "final_layer_norm": ("final_layer_norm", "layer_norm"),
}
POOLER, TRACES = "the sentence pooler", "traces of pretraining, not part of the encoder"
LEFT_OUT = {  # beginning of a name: kind of the tensor
    "encoder_pooler.": POOLER,
    "decoder.embed_tokens.": POOLER,
    "decoder.layers.": POOLER,
    "decoder.embed_out": POOLER,
    "encoder.w2v_model.mask_emb": TRACES,
    "encoder.w2v_model.encoder.pos_conv.0.": TRACES,  # a convolution of positions; these have relative ones instead
    "encoder.version": TRACES,
    "decoder.version": TRACES,
    "encoder.embed_positions._float_tensor": TRACES,
    "decoder.embed_positions._float_tensor": TRACES,
}


def convert(checkpoint: Path, out: Path) -> list[str]:
    """Write the folder: config.json, model.safetensors (float32) and preprocessor_config.json.

    Args:
        checkpoint: the published file
        out: a folder that does not exist yet, or that an earlier conversion wrote

    Returns:
        sentences on the tensors that were kept and left out

    Raises:
        InputError: the file is damaged, holds more than tensors, or is of another model; the folder holds something
            else
    """
    files.check_target(out, MODEL_TYPE)
    published = files.state_dict(checkpoint, "the file that SONAR publishes, spenc.eng.pt for English")
    generation = _generation(published, checkpoint)
    config = sizes(published, generation, checkpoint)
    kept = renamed(published, generation, config, checkpoint)
    extractor = {
        "feature_extractor_type": "SeamlessM4TFeatureExtractor",
        "feature_size": BANDS,
        "num_mel_bins": BANDS,
        "stride": config.feature_projection_input_dim // BANDS,
        "sampling_rate": 16_000,
        "padding_value": 0.0,
    }
    files.write(out, config, SonarSpeechModel.__name__, kept, extractor)
    n_parameters = sum(tensor.numel() for tensor in kept.values() if tensor.is_floating_point()) / 1e6
    model = f"{config.num_hidden_layers} blocks of width {config.hidden_size}"
    sentences = [
        f"kept {len(kept)} tensors ({n_parameters:.1f} M numbers), named as in {GENERATIONS[generation]}: {model}"
    ]
    for kind in (POOLER, TRACES):
        left = [tensor for name, tensor in published.items() if _reason(name) == kind]
        if left:
            n_left = sum(tensor.numel() for tensor in left) / 1e6
            sentences.append(f"left out {kind}: {len(left)} tensors ({n_left:.1f} M numbers)")
    return sentences


def sizes(published: Mapping[str, Tensor], generation: int, path: Path) -> SonarSpeechConfig:
    """Return the model's sizes, taken from the shapes of the tensors.

    Args:
        published: tensors by published names
        generation: index into ``GENERATIONS``
        path: the file, for messages

    Raises:
        InputError: a tensor that gives one of them is missing or has another number of dimensions
    """
    prefix = BLOCKS[generation]
    blocks = {int(m.group(1)) for name in published if (m := re.match(re.escape(prefix) + r"(\d+)\.", name))}

    def shape(name: str, dimensions: int) -> torch.Size:
        if name not in published:
            raise InputError(f"{path} lacks {name!r} (is it a SONAR speech encoder?)")
        if published[name].ndim != dimensions:
            raise InputError(
                f"{path}: {name!r} has shape {tuple(published[name].shape)}, expected {dimensions} dimensions"
            )
        return published[name].shape

    def in_first(part: str, dimensions: int, kind: str = ".weight") -> torch.Size:
        return shape(f"{prefix}0.{IN_A_BLOCK[part][generation]}{kind}", dimensions)

    width, bands = shape(f"{AROUND['feature_projection.projection'][generation]}.weight", 2)
    kernel = in_first("conv_module.depthwise_conv", 3)[2]
    if bands % BANDS or kernel % 2 == 0:
        taken = f"takes {bands} bands and convolves over {kernel} frames"
        raise InputError(f"{path} {taken}, SONAR takes a multiple of {BANDS} and convolves over an odd number")
    return SonarSpeechConfig(
        hidden_size=width,
        feature_projection_input_dim=bands,
        num_hidden_layers=max(blocks, default=0) + 1,
        intermediate_size=in_first("ffn1.intermediate_dense", 2)[0],
        num_attention_heads=in_first("self_attn.pos_bias_u", 2, "")[0],
        conv_depthwise_kernel_size=kernel,
    )


def renamed(
    published: Mapping[str, Tensor], generation: int, config: SonarSpeechConfig, path: Path
) -> dict[str, Tensor]:
    """Return the encoder's tensors under the names of ``SonarSpeechModel``, float32, of the shapes that it has.

    Args:
        published: tensors by published names
        generation: index into ``GENERATIONS``
        config: see ``sizes``
        path: the file, for messages

    Raises:
        InputError: a name is missing or unknown, a tensor has another shape, or a number is not finite
    """
    with torch.device("meta"):
        expected = SonarSpeechModel(config).state_dict()
    theirs = {name: published_name(name, generation) for name in expected}
    if missing := sorted(set(theirs.values()) - set(published)):
        raise InputError(f"{path} lacks {len(missing)} tensors of a SONAR speech encoder, {missing[0]!r} first")
    unknown = sorted(name for name in set(published) - set(theirs.values()) if _reason(name) is None)
    if unknown:
        raise InputError(f"{path} has {len(unknown)} tensors that no SONAR speech encoder has, {unknown[0]!r} first")
    kept = {}
    for name, like in expected.items():
        tensor = published[theirs[name]]
        if tensor.shape != like.shape:
            shapes = f"has shape {tuple(tensor.shape)}, expected {tuple(like.shape)} by the other tensors"
            raise InputError(f"{path}: {theirs[name]!r} {shapes}")
        if not torch.isfinite(tensor).all():
            raise InputError(f"{path}: {theirs[name]!r} holds a number that is not finite (is the file damaged?)")
        kept[name] = tensor.to(like.dtype).contiguous()
    return kept


def published_name(name: str, generation: int) -> str:
    """Return the published name of a tensor of ``SonarSpeechModel``.

    Args:
        name: in the model's state dict
        generation: index into ``GENERATIONS``

    Raises:
        ValueError: the model has no tensor of that name
    """
    module, _, kind = name.rpartition(".")
    if module in AROUND:
        return f"{AROUND[module][generation]}.{kind}"
    match = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)", name)
    if match is None:
        raise ValueError(f"SonarSpeechModel has no tensor {name!r}")
    block, part = match.groups()
    if part in IN_A_BLOCK:  # a parameter of the attention itself
        return f"{BLOCKS[generation]}{block}.{IN_A_BLOCK[part][generation]}"
    module, _, kind = part.rpartition(".")
    return f"{BLOCKS[generation]}{block}.{IN_A_BLOCK[module][generation]}.{kind}"


def _generation(published: Mapping[str, Tensor], path: Path) -> int:
    projection = [f"{name}.weight" for name in AROUND["feature_projection.projection"]]
    for generation, name in enumerate(projection):
        if name in published:
            return generation
    text = any("embed_tokens" in name or name.startswith("encoder_frontend.embed") for name in published)
    guess = "is it SONAR's text encoder?" if text else "is it a checkpoint of another model?"
    first = sorted(published)[0]
    raise InputError(f"{path} has neither {projection[0]!r} nor {projection[1]!r}, but {first!r} ({guess})")


def _reason(name: str) -> str | None:
    """Return why a tensor is left out, None for one that belongs to the encoder or is not known."""
    return next((kind for beginning, kind in LEFT_OUT.items() if name.startswith(beginning)), None)
