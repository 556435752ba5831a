"""A check of LoRA at the first step: every adapted layer takes a gradient."""

import re

from pipeline_lib.errors import InputError
from pipeline_lib.experts.build import encoders_of
from pipeline_lib.finetuning.context import TrainingContext


def refuse_idle_lora(context: TrainingContext) -> None:
    """Refuse LoRA on layers that the encoder never calls.

    Args:
        context: the training, behind the first step's backward pass

    Raises:
        InputError: an adapted layer has no gradient
    """
    parameters = dict(context.network.named_parameters())
    for prefix, encoder in encoders_of(context.network).items():
        adapted = {
            name: parameter for name, parameter in parameters.items() if name.startswith(prefix) and "lora_" in name
        }
        idle = [name for name, parameter in adapted.items() if parameter.requires_grad and parameter.grad is None]
        if getattr(encoder, "layerdrop", 0.0) > 0:  # a skipped block has no gradient at all
            running = {_block(name) for name, values in adapted.items() if values.grad is not None}
            idle = [name for name in idle if _block(name) in running]
        one_of_several = len(context.utterances.modalities) > 1 and len(idle) == len(adapted)
        if idle and not one_of_several:  # else a modality that no utterance had
            layer = idle[0].removeprefix(f"{prefix}model.base_model.model.").split(".lora_")[0]
            raise InputError(
                f"LoRA on {layer} gets no gradient, the encoder never calls that layer; choose other"
                " lora.target_modules"
            )


def _block(name: str) -> str:
    """Return a parameter's name up to the number of its block."""
    match = re.match(r".*?\.layers?\.\d+", name)
    return match[0] if match else name
