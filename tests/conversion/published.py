"""What a published SONAR speech encoder holds, written down from SONAR's loader and fairseq2's model, at small sizes.

Names and shapes stand here by themselves: nothing is taken from the converter.
"""

import torch
from torch import Tensor

WIDTH, HEADS, INNER, KERNEL, BLOCKS, INPUT = 32, 4, 48, 7, 2, 160


def norm(name: str, width: int = WIDTH) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def linear(name: str, inputs: int = WIDTH, outputs: int = WIDTH) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def statistics(name: str) -> dict[str, tuple[int, ...]]:
    buffers = {f"{name}.running_mean": (WIDTH,), f"{name}.running_var": (WIDTH,), f"{name}.num_batches_tracked": ()}
    return norm(name) | buffers


def fairseq() -> dict[str, tuple[int, ...]]:
    """Names and shapes as fairseq has them: the published file, before SONAR's loader renames them."""
    model = "encoder.w2v_model."
    shapes = {f"{model}mask_emb": (WIDTH,)}
    shapes |= norm(f"{model}layer_norm", INPUT) | linear(f"{model}post_extract_proj", INPUT)
    for i in range(BLOCKS):
        block = f"{model}encoder.layers.{i}."
        for half in ("ffn1", "ffn2"):
            shapes |= norm(f"{block}{half}.layer_norm")
            shapes |= linear(f"{block}{half}.w_1", WIDTH, INNER) | linear(f"{block}{half}.w_2", INNER, WIDTH)
        shapes |= norm(f"{block}self_attn_layer_norm")
        for part in ("linear_q", "linear_k", "linear_v", "linear_out"):
            shapes |= linear(f"{block}self_attn.{part}")
        shapes[f"{block}self_attn.linear_pos.weight"] = (WIDTH, WIDTH)
        shapes[f"{block}self_attn.pos_bias_u"] = shapes[f"{block}self_attn.pos_bias_v"] = (HEADS, WIDTH // HEADS)
        shapes |= norm(f"{block}conv_module.layer_norm") | statistics(f"{block}conv_module.batch_norm")
        shapes[f"{block}conv_module.pointwise_conv1.weight"] = (2 * WIDTH, WIDTH, 1)
        shapes[f"{block}conv_module.depthwise_conv.weight"] = (WIDTH, 1, KERNEL)
        shapes[f"{block}conv_module.pointwise_conv2.weight"] = (WIDTH, WIDTH, 1)
        shapes |= norm(f"{block}final_layer_norm")
    shapes |= norm(f"{model}encoder.layer_norm")
    shapes["decoder.embed_tokens.weight"] = (WIDTH, WIDTH)
    for attention in ("self_attn", "encoder_attn"):
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= linear(f"decoder.layers.0.{attention}.{part}")
        shapes |= norm(f"decoder.layers.0.{attention}_layer_norm")
    shapes |= linear("decoder.layers.0.fc1", WIDTH, INNER) | linear("decoder.layers.0.fc2", INNER, WIDTH)
    shapes |= norm("decoder.layers.0.final_layer_norm")
    return shapes | {"decoder.embed_out": (WIDTH, WIDTH), "decoder.version": (1,)}


def fairseq2() -> dict[str, tuple[int, ...]]:
    """Names and shapes as fairseq2 has them: the model that SONAR builds, its state dict."""
    shapes = norm("encoder_frontend.post_extract_layer_norm", INPUT) | linear("encoder_frontend.model_dim_proj", INPUT)
    for i in range(BLOCKS):
        block = f"encoder.layers.{i}."
        for half in ("ffn1", "ffn2"):
            shapes |= norm(f"{block}{half}_layer_norm")
            shapes |= linear(f"{block}{half}.inner_proj", WIDTH, INNER)
            shapes |= linear(f"{block}{half}.output_proj", INNER, WIDTH)
        shapes |= norm(f"{block}self_attn_layer_norm")
        for part in ("q_proj", "k_proj", "v_proj", "output_proj"):
            shapes |= linear(f"{block}self_attn.{part}")
        shapes[f"{block}self_attn.sdpa.r_proj.weight"] = (WIDTH, WIDTH)
        shapes[f"{block}self_attn.sdpa.u_bias"] = shapes[f"{block}self_attn.sdpa.v_bias"] = (HEADS, WIDTH // HEADS)
        shapes |= norm(f"{block}conv_layer_norm") | statistics(f"{block}conv.batch_norm")
        shapes[f"{block}conv.pointwise_conv1.weight"] = (2 * WIDTH, WIDTH, 1)
        shapes[f"{block}conv.depthwise_conv.weight"] = (WIDTH, 1, KERNEL)
        shapes[f"{block}conv.pointwise_conv2.weight"] = (WIDTH, WIDTH, 1)
        shapes |= norm(f"{block}layer_norm")
    shapes |= norm("layer_norm")
    pooler = "encoder_pooler.decoder.layers.0."
    shapes["encoder_pooler.decoder_frontend.embed.weight"] = (WIDTH, WIDTH)
    for attention in ("self_attn", "encoder_decoder_attn"):
        for part in ("q_proj", "k_proj", "v_proj", "output_proj"):
            shapes |= linear(f"{pooler}{attention}.{part}")
        shapes |= norm(f"{pooler}{attention}_layer_norm")
    shapes |= linear(f"{pooler}ffn.inner_proj", WIDTH, INNER) | linear(f"{pooler}ffn.output_proj", INNER, WIDTH)
    return shapes | norm(f"{pooler}ffn_layer_norm") | {"encoder_pooler.projection_out.weight": (WIDTH, WIDTH)}


def drawn(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Return random tensors: no weight of a norm is 1 and no bias 0, or a mistake would hide."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1000)
        elif name.endswith("running_var"):
            state[name] = 0.2 + values.abs()
        elif name.endswith("norm.weight"):
            state[name] = 1 + 0.3 * values
        else:
            state[name] = values * (0.3 if len(shape) < 2 else shape[1] ** -0.5)
    return state
