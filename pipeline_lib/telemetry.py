"""Usage reports of the libraries underneath, switched off in one list; ``ser``, every stage and every worker call this.

Each variable was read in the source of the installed version. NVIDIA's one-logger, which NeMo brings, has no variable:
it is off wherever ``RANK`` is not 0, and nothing here trains through NeMo.
"""

import os
from collections.abc import Mapping

OFF: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",  # the common convention; huggingface_hub reads it too
    "DVC_NO_ANALYTICS": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, transformers, datasets
    "ITERATIVE_DO_NOT_TRACK": "1",  # iterative-telemetry, of DVC's gto
    "OTEL_SDK_DISABLED": "true",  # opentelemetry, of NeMo
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",  # wandb comes with NeMo and is not used
    "WANDB_MODE": "disabled",
}


def off() -> None:
    """Set every variable of OFF for this process and those that it starts, whatever it was before.

    To be called before the libraries are imported: huggingface_hub looks at its variables once.
    """
    os.environ.update(OFF)
