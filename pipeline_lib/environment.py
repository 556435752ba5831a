"""Environment variables by which libraries change results although params.yaml stays the same: refused by name.

Taken from the sources of accelerate 1.15, torch 2.13, transformers 5.23, peft 0.21, bitsandbytes 0.50, NeMo 3.0,
lightning 2.4, scikit-learn, SciPy, soxr and oneDNN; ``docs/environment.md`` lists them with their effect. Of each
family the variables that change nothing are named and all others are refused, those of later versions too.

Not refused: what chooses among a processor's instructions, or how many threads share the work. Results then differ by
rounding, as from one machine to another.
"""

import os
from collections.abc import Mapping

from pipeline_lib.errors import InputError

ANY = None  # whatever the value, nothing changes
OFF = frozenset({"", "0", "no", "false", "off"})
FAMILIES: Mapping[str, tuple[Mapping[str, frozenset[str] | None], str]] = {
    "ACCELERATE_": (
        {
            "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": frozenset({"1"}),
            "ACCELERATE_MIXED_PRECISION": ANY,  # passed explicitly
            "ACCELERATE_DYNAMO_BACKEND": OFF,
            "ACCELERATE_DYNAMO_MODE": ANY,  # of a backend that is not there
            "ACCELERATE_DYNAMO_USE_FULLGRAPH": ANY,
            "ACCELERATE_DYNAMO_USE_DYNAMIC": ANY,
            "ACCELERATE_DYNAMO_USE_REGIONAL_COMPILATION": ANY,
            "ACCELERATE_USE_CPU": ANY,  # the device is compared
            "ACCELERATE_USE_SAGEMAKER": OFF,
            "ACCELERATE_USE_PARALLELISM_CONFIG": OFF,
            "ACCELERATE_USE_FSDP": OFF,
            "ACCELERATE_USE_DEEPSPEED": OFF,
            "ACCELERATE_USE_MEGATRON_LM": OFF,
            "ACCELERATE_DOWNCAST_BF16": OFF,
            "ACCELERATE_CPU_AFFINITY": ANY,
            "ACCELERATE_DEBUG_MODE": ANY,
            "ACCELERATE_DEBUG_RDV_FILE": ANY,
            "ACCELERATE_ENABLE_RICH": ANY,
            "ACCELERATE_LOG_LEVEL": ANY,
        },
        "what a step sums and where; set phases.<name>.gradient_accumulation_steps and precision",
    ),
    "PARALLELISM_CONFIG_": ({}, "how accelerate shares a network out"),
    "XLA_": (
        {  # JAX's, which is not used here
            "XLA_FLAGS": ANY,
            "XLA_PYTHON_CLIENT_PREALLOCATE": ANY,
            "XLA_PYTHON_CLIENT_MEM_FRACTION": ANY,
            "XLA_PYTHON_CLIENT_ALLOCATOR": ANY,
        },
        "the precision of float32",
    ),
    "PL_TRAINER_": ({}, "the settings of lightning's trainer"),
    "SOXR_": ({"SOXR_TRACE": ANY, "SOXR_NUM_THREADS": ANY}, "how sampling rates are converted"),
    "SKLEARN_": (
        {"SKLEARN_SKIP_NETWORK_TESTS": ANY, "SKLEARN_WARNINGS_AS_ERRORS": ANY, "SKLEARN_SEED": ANY},
        "what scikit-learn checks",
    ),
    "TORCH_CUDNN_": (
        {
            "TORCH_CUDNN_V8_API_DEBUG": ANY,
            "TORCH_CUDNN_V8_API_ENABLED": frozenset({"1"}),  # the only one that there is; NVIDIA's images set it
            "TORCH_CUDNN_V8_API_LRU_CACHE_LIMIT": ANY,  # how many plans are kept
        },
        "which algorithms cuDNN takes",
    ),
    "TORCH_BLAS_": ({}, "which library multiplies matrices"),
    "TORCH_LINALG_": ({}, "which library solves equations"),
    "TORCH_LINEAR_": ({}, "the shape in which matrices are multiplied"),
    "TORCH_MKLDNN_": ({}, "which library multiplies matrices"),
    "TORCH_ROCM_": ({}, "which library computes the attention"),
    "TORCH_ALLOW_TF32_": ({"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": OFF}, "float32 into TF32, of 10 bits for 23"),
    "PYTORCH_TUNABLEOP_": ({"PYTORCH_TUNABLEOP_ENABLED": OFF}, "which algorithm is the fastest at the moment"),
    "PYTORCH_MIOPEN_": ({}, "which algorithms MIOpen takes"),
    "PYTORCH_MPS_": (
        {"PYTORCH_MPS_HIGH_WATERMARK_RATIO": ANY, "PYTORCH_MPS_LOW_WATERMARK_RATIO": ANY},
        "the precision of Apple's GPUs",
    ),
    "CUBLAS": (
        {
            "CUBLAS_WORKSPACE_CONFIG": frozenset({":4096:8", ":16:8"}),
            **dict.fromkeys(("CUBLAS_VERSION", "CUBLASMP_VERSION"), ANY),  # what NVIDIA's images hold
            **dict.fromkeys(("CUBLAS_HOME", "CUBLAS_PATH", "CUBLAS_ROOT", "CUBLAS_LIBRARIES"), ANY),  # builds
            **dict.fromkeys(("CUBLAS_INCLUDE_DIR", "CUBLAS_LIB_DIR"), ANY),
            **dict.fromkeys(("CUBLAS_LOGINFO_DBG", "CUBLAS_LOGDEST_DBG"), ANY),
            **dict.fromkeys(("CUBLASLT_LOG_LEVEL", "CUBLASLT_LOG_MASK", "CUBLASLT_LOG_FILE"), ANY),
        },
        "how cuBLAS multiplies matrices",
    ),
    "NVIDIA_TF32_": ({"NVIDIA_TF32_OVERRIDE": frozenset({"0"})}, "float32 into TF32, of 10 bits for 23"),
    "ONEDNN_DEFAULT_FPMATH_": ({"ONEDNN_DEFAULT_FPMATH_MODE": frozenset({"strict"})}, "float32 into bfloat16"),
    "DNNL_DEFAULT_FPMATH_": ({"DNNL_DEFAULT_FPMATH_MODE": frozenset({"strict"})}, "float32 into bfloat16"),
    "TRANSFORMERS_SDPA_": ({"TRANSFORMERS_SDPA_FORCE_GQA": OFF}, "how the attention is computed"),
    "SCIPY_ARRAY_": ({"SCIPY_ARRAY_API": OFF}, "which library SciPy computes with"),
    "SER_": (
        {"SER_MACHINE": ANY},
        "nothing, SER_MACHINE is the only variable of ours that is read",
    ),  # params/machine.py
    "TORCH_FORCE_NO_": ({"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": OFF}, "what a file of weights may run"),
}


def check() -> None:
    """Refuse environment variables that change results.

    Raises:
        InputError: such a variable is set; of several the first by name is reported
    """
    for name in sorted(os.environ):
        for family, (harmless, what) in FAMILIES.items():
            if name.startswith(family):
                _check(name, os.environ[name], harmless, what)


def _check(name: str, value: str, harmless: Mapping[str, frozenset[str] | None], what: str) -> None:
    allowed = harmless.get(name, frozenset())
    if allowed is ANY or value.strip().lower() in allowed:
        return
    values = " or ".join(repr(choice) for choice in sorted(allowed) if choice)
    expected = f"expected {values} or none" if values else "expected none"
    raise InputError(f"the environment has {name}={value!r}, {expected}: it changes {what}; unset {name}")
