"""One process or several: ``accelerate launch`` or ``torchrun`` start as many as there are GPUs (DDP).

Each process holds the whole network and takes its share of every batch; gradients are averaged. The main process alone
writes, the others read the same folder of unfinished work: on two machines it has to be one that both see.

Networks that are cut into shards (FSDP, DeepSpeed) are refused: checkpoints here hold whole tensors by name, and
bitsandbytes' packed 4-bit weights would need a storage type of their own. LLaMA-2-70B in 4 bit needs no sharding.
"""

import os

from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin, gather_object

from pipeline_lib import environment
from pipeline_lib.encoders.device import half_precision, pick
from pipeline_lib.errors import InputError
from pipeline_lib.experts.outputs import repeatable
from pipeline_lib.finetuning.checkpoints import State
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.machine import Device

SHARDED = {"FSDP": "FSDP", "DEEPSPEED": "DeepSpeed", "MEGATRON_LM": "Megatron-LM"}  # as accelerate's environment has it


def accelerator_of(settings: FinetuningSettings, requested: Device = "auto") -> Accelerator:
    """Return accelerate on the device of the settings; the GPU's arithmetic is made repeatable where torch can.

    Options that accelerate would read in its environment are passed to it.

    Args:
        settings: the entry
        requested: auto, cpu, cuda or mps

    Raises:
        InputError: the device lacks the precision, or the processes cannot share the batches
    """
    device = pick(requested)
    if settings.precision == "bfloat16" and half_precision(device) is None:
        raise InputError(f"precision is 'bfloat16', {device.type} does not compute in it; set it to auto or float32")
    _refuse_shards()
    environment.check()
    repeatable(device)
    unused = DistributedDataParallelKwargs(find_unused_parameters=_leaves_some_unused(settings))
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="no",
        dynamo_backend="no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        kwargs_handlers=[unused],
    )
    if accelerator.device.type != device.type:
        raise InputError(
            f"device is {requested!r}, here {device.type}, and accelerate takes {accelerator.device.type}"
            " (is ACCELERATE_USE_CPU set?); set device to what is meant"
        )
    count = accelerator.num_processes
    for name, phase in settings.phases.items():
        if count > 1 and (phase.batch_size % count or phase.batch_size < 2 * count):
            raise InputError(
                f"phases.{name}.batch_size is {phase.batch_size}, which {count} processes share;"
                f" expected a multiple of {count}, at least {2 * count}"
            )
    return accelerator


def check_same_start(accelerator: Accelerator, state: State, folder: os.PathLike) -> None:
    """Refuse processes that would go on from different checkpoints.

    Args:
        accelerator: of accelerate
        state: of this process
        folder: of its checkpoints, for the message

    Raises:
        InputError: they do not see the same checkpoints
    """
    if accelerator.num_processes == 1:
        return
    states = gather_object([(state.total, state.phase, state.epoch)])
    if len(set(states)) > 1:
        steps = [total for total, _, _ in states]
        raise InputError(
            f"the processes would go on after steps {steps}: {folder} is not the same folder for all of them; put work/"
            " on a disk that all machines share, or remove it on each"
        )


def _leaves_some_unused(settings: FinetuningSettings) -> bool:
    """Return whether a forward pass may leave trained parameters out."""
    branches = settings.branches.values()
    if len(branches) > 1 or any(branch.adaptation.method == "full" for branch in branches):
        return True
    return any(branch.encoder is None or branch.encoder.layerdrop > 0 for branch in branches)


def _refuse_shards() -> None:
    for name, framework in SHARDED.items():
        if os.environ.get(f"ACCELERATE_USE_{name}", "").lower() not in ("", "0", "false"):  # accelerate reads more
            raise InputError(
                f"{framework} is not supported: a 70-B model in 4 bit is 36 GB and fits one 80-GB GPU; use"
                " pipeline_lib/recipes/accelerate/ddp.yaml"
            )
