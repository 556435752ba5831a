"""SONAR's Conformer written out under fairseq2's names, in float64, one utterance at a time, straight from the papers.

Gulati et al. 2020 for the block (half a feed-forward, attention, convolution, half a feed-forward, a norm), Dai et al.
2019, appendix B, for the relative positions; fairseq2's choices for the rest: centred depthwise convolution, batch norm
behind it, swish, all norms with 1e-5.
"""

import numpy as np
from scipy.special import expit
from torch import Tensor

EPSILON = 1e-5


def layers(state: dict[str, Tensor], features: np.ndarray, heads: int) -> list[np.ndarray]:
    """Return the input of each block, and SONAR's own norm behind the last one, each of shape ``(time, width)``."""
    tensors = {name: value.double().numpy() for name, value in state.items()}
    states = norm(tensors, "encoder_frontend.post_extract_layer_norm", features.astype(np.float64))
    states_of = [linear(tensors, "encoder_frontend.model_dim_proj", states)]
    n_blocks = len({name.split(".")[2] for name in tensors if name.startswith("encoder.layers.")})
    for i in range(n_blocks):
        states_of.append(block(tensors, f"encoder.layers.{i}.", states_of[-1], heads))
    states_of[-1] = norm(tensors, "layer_norm", states_of[-1])
    return states_of


def block(tensors: dict, at: str, x: np.ndarray, heads: int) -> np.ndarray:
    x = x + 0.5 * feed_forward(tensors, f"{at}ffn1", norm(tensors, f"{at}ffn1_layer_norm", x))
    x = x + attention(tensors, f"{at}self_attn.", norm(tensors, f"{at}self_attn_layer_norm", x), heads)
    x = x + convolution(tensors, f"{at}conv.", norm(tensors, f"{at}conv_layer_norm", x))
    x = x + 0.5 * feed_forward(tensors, f"{at}ffn2", norm(tensors, f"{at}ffn2_layer_norm", x))
    return norm(tensors, f"{at}layer_norm", x)


def attention(tensors: dict, at: str, x: np.ndarray, heads: int) -> np.ndarray:
    """Query i and key j, n = i - j apart: ((q_i + u) k_j + (q_i + v) W_r R_n) / sqrt(width of a head)."""
    time, width = x.shape
    query, key, value = (
        linear(tensors, f"{at}{part}", x).reshape(time, heads, -1) for part in ("q_proj", "k_proj", "v_proj")
    )
    u, v = tensors[f"{at}sdpa.u_bias"], tensors[f"{at}sdpa.v_bias"]
    mixed = np.zeros((time, heads, width // heads))
    for h in range(heads):
        scores = np.zeros((time, time))
        for i in range(time):
            for j in range(time):
                place = (tensors[f"{at}sdpa.r_proj.weight"] @ sinusoid(i - j, width)).reshape(heads, -1)[h]
                scores[i, j] = (query[i, h] + u[h]) @ key[j, h] + (query[i, h] + v[h]) @ place
        weights = np.exp(scores / np.sqrt(width // heads))
        mixed[:, h] = weights / weights.sum(axis=1, keepdims=True) @ value[:, h]
    return linear(tensors, f"{at}output_proj", mixed.reshape(time, width))


def sinusoid(n: int, width: int) -> np.ndarray:
    rate = n / 10_000 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(rate), np.cos(rate)], axis=1).reshape(width)


def convolution(tensors: dict, at: str, x: np.ndarray) -> np.ndarray:
    both = x @ tensors[f"{at}pointwise_conv1.weight"][:, :, 0].T
    gated = both[:, : x.shape[1]] * expit(both[:, x.shape[1] :])
    kernel = tensors[f"{at}depthwise_conv.weight"][:, 0]  # (width, frames)
    around = np.pad(gated, ((kernel.shape[1] // 2, kernel.shape[1] // 2), (0, 0)))
    convolved = np.stack([(around[t : t + kernel.shape[1]] * kernel.T).sum(axis=0) for t in range(len(x))])
    centred = convolved - tensors[f"{at}batch_norm.running_mean"]
    scaled = centred / np.sqrt(tensors[f"{at}batch_norm.running_var"] + EPSILON)
    scaled = scaled * tensors[f"{at}batch_norm.weight"] + tensors[f"{at}batch_norm.bias"]
    return (scaled * expit(scaled)) @ tensors[f"{at}pointwise_conv2.weight"][:, :, 0].T


def feed_forward(tensors: dict, at: str, x: np.ndarray) -> np.ndarray:
    inner = linear(tensors, f"{at}.inner_proj", x)
    return linear(tensors, f"{at}.output_proj", inner * expit(inner))


def norm(tensors: dict, at: str, x: np.ndarray) -> np.ndarray:
    scaled = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + EPSILON)
    return scaled * tensors[f"{at}.weight"] + tensors[f"{at}.bias"]


def linear(tensors: dict, at: str, x: np.ndarray) -> np.ndarray:
    return x @ tensors[f"{at}.weight"].T + tensors[f"{at}.bias"]
