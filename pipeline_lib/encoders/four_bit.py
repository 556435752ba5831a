"""Weights in 4 bit (QLoRA, Dettmers et al. 2023) through bitsandbytes: NF4, the constants quantised too.

A linear layer's weights are held as one of 16 levels, which suit a normal distribution, times a constant for each 64
of them, itself held in 8 bits: 0.516 bytes a weight. A product is computed in bfloat16, from weights that are unpacked
for it. Embeddings and norms stay in float32, as ``peft.prepare_model_for_kbit_training`` leaves them. TalTech,
section 5, has 4 bits, nested quantisation and bfloat16; which 4-bit data type is not published, NF4 is our choice.

bitsandbytes computes this on a CPU too, where tests run; it is made for CUDA.
"""

from importlib.util import find_spec

import torch
from transformers import AutoModel, BitsAndBytesConfig, PretrainedConfig, PreTrainedModel

from pipeline_lib.errors import InputError


def check_installed() -> None:
    """Refuse to go on without bitsandbytes.

    Raises:
        InputError: it is not installed
    """
    if find_spec("bitsandbytes") is None:
        raise InputError(
            "encoder.weights is 'nf4' and bitsandbytes is not installed; pip install 'speech-emotion-pipeline[qlora]'"
        )


def configuration() -> BitsAndBytesConfig:
    """Return what transformers quantises by while it loads a checkpoint."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def random_model(config: PretrainedConfig, device: torch.device, **options: bool) -> PreTrainedModel:
    """Return a bare model with random weights, a layer at a time, so that it is never in memory whole in float32.

    Weights are drawn by torch's generator of the CPU, as transformers draws them, but in another order than it draws
    those of a float32 model: the same seed does not give that model quantised.

    Args:
        config: of a text model
        device: where it is quantised and stays
        options: of the architecture
    """
    from bitsandbytes.nn import Linear4bit, Params4bit
    from transformers.integrations import replace_with_bnb_linear

    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False, **options)
    replace_with_bnb_linear(model, quantization_config=configuration())
    for module in model.modules():
        if isinstance(module, Linear4bit):
            drawn = torch.empty(module.weight.shape).normal_(std=config.initializer_range)
            module.weight = Params4bit(drawn, requires_grad=False, **module.weight.__dict__).to(device)
            if module.bias is not None:
                module.bias = torch.nn.Parameter(torch.zeros(module.bias.shape, device=device))
        else:
            module.to_empty(device="cpu", recurse=False)
            model._init_weights(module)
    model.is_loaded_in_4bit = True  # what peft asks
    return model.to(device)
