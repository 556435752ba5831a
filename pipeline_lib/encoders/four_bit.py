"""Weights in 4 bit (QLoRA, Dettmers et al. 2023) through bitsandbytes: NF4, the constants quantised too.

A linear layer's weights are held as one of 16 levels, which suit a normal distribution, times a constant for each 64
of them, itself held in 8 bits: 0.516 bytes a weight. A product is computed in bfloat16, from weights that are unpacked
for it. Embeddings and norms stay in float32, as ``peft.prepare_model_for_kbit_training`` leaves them. TalTech,
section 5, has 4 bits, nested quantisation and bfloat16; which 4-bit data type is not published, NF4 is our choice.

bitsandbytes computes this on a CPU too, where tests run; it is made for CUDA. With AVX-512 its CPU code reads the
constants of an input width that 64 does not divide from the wrong places: random weights come back .26 off at width 96,
.37 at 32, where NF4's own rounding is .092. So each shape of a checkpoint is tried before its weights are read.
"""

from collections.abc import Iterator
from importlib.util import find_spec

import torch
from torch import nn
from transformers import AutoModel, BitsAndBytesConfig, PretrainedConfig, PreTrainedModel

from pipeline_lib.errors import InputError
from pipeline_lib.networks.bnb import keep_one_path, load_library

MOST_ERROR = 0.12  # relative, of random weights that were quantised and unpacked again
TRIED_WEIGHTS = 2**22  # of a shape: its first rows


def check_installed() -> None:
    """Refuse 4-bit weights where bitsandbytes is not installed.

    Raises:
        InputError: it is not installed
    """
    if find_spec("bitsandbytes") is None:
        raise InputError(
            "encoder.weights is 'nf4' and bitsandbytes is not installed; pip install 'speech-emotion-pipeline[qlora]'"
        )


def configuration() -> BitsAndBytesConfig:
    """Return the quantisation with which transformers loads a checkpoint."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def check_shapes(config: PretrainedConfig, checkpoint: str, device: torch.device, **options: bool) -> None:
    """Refuse a checkpoint whose linear layers 4 bit would distort on this device.

    Args:
        config: of a text model
        checkpoint: its name, for the message
        device: where it is quantised
        options: of the architecture

    Raises:
        InputError: random weights of one of its shapes come back further off than ``MOST_ERROR``
    """
    shapes = {(layer.out_features, layer.in_features) for layer in _linear(_without_weights(config, **options))}
    for n_out, n_in in sorted(shapes):
        error = rounding(n_out, n_in, device)
        if not error <= MOST_ERROR:
            raise InputError(
                f"{checkpoint}: in 4 bit, random weights of its layers of {n_in} inputs and {n_out} outputs come back"
                f" {error:.2f} off on this {device.type}, expected at most {MOST_ERROR} (does 64 not divide {n_in}?);"
                " set encoder.weights to float32 or bfloat16, or choose a checkpoint whose widths 64 divides"
            )


def rounding(n_out: int, n_in: int, device: torch.device) -> float:
    """Return the relative error of random weights that are quantised and unpacked again: 0.092 where all is well.

    Args:
        n_out: outputs of the linear layer
        n_in: its inputs
        device: where the weights are quantised
    """
    library = load_library().functional
    rows = max(1, min(n_out, TRIED_WEIGHTS // n_in))
    weights = torch.randn(rows, n_in, generator=torch.Generator().manual_seed(0)).to(device)
    packed = library.quantize_4bit(weights, quant_type="nf4", compress_statistics=True)
    return float(torch.linalg.norm(library.dequantize_4bit(*packed) - weights) / torch.linalg.norm(weights))


def random_model(config: PretrainedConfig, device: torch.device, **options: bool) -> PreTrainedModel:
    """Return a bare model with random weights, a layer at a time, so that it is never in memory whole in float32.

    Weights are drawn by torch's generator of the CPU, as transformers draws them, but in another order than it draws
    those of a float32 model: the same seed does not give that model quantised.

    Args:
        config: of a text model
        device: where it is quantised and stays
        options: of the architecture
    """
    params = load_library().nn.Params4bit
    model = _without_weights(config, **options)
    linear = set(_linear(model))
    for module in model.modules():
        if module in linear:
            drawn = torch.empty(module.weight.shape).normal_(std=config.initializer_range)
            module.weight = params(drawn, requires_grad=False, **module.weight.__dict__).to(device)
            if module.bias is not None:
                module.bias = nn.Parameter(torch.zeros(module.bias.shape, device=device))
        else:
            module.to_empty(device="cpu", recurse=False)
            model._init_weights(module)
    model.is_loaded_in_4bit = True  # read by peft
    keep_one_path(model)
    return model.to(device)


def _without_weights(config: PretrainedConfig, **options: bool) -> PreTrainedModel:
    """Return the bare model on torch's meta device, its linear layers those of bitsandbytes."""
    load_library()
    from transformers.integrations import replace_with_bnb_linear

    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False, **options)
    replace_with_bnb_linear(model, quantization_config=configuration())
    return model


def _linear(model: PreTrainedModel) -> Iterator[nn.Linear]:
    linear = load_library().nn.Linear4bit
    return (module for module in model.modules() if isinstance(module, linear))
