"""Variables of the environment that change results are refused by name; all others change nothing."""

import os
from pathlib import Path

import numpy as np
import pytest
import soxr

from pipeline_lib import command, environment
from pipeline_lib.errors import InputError

HOSTILE = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "8",
    "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
    "ACCELERATE_TORCH_DEVICE": "cuda:1",
    "ACCELERATE_BYPASS_DEVICE_MAP": "true",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "true",
    "ACCELERATE_OF_A_LATER_VERSION": "1",
    "PARALLELISM_CONFIG_TP_SIZE": "2",
    "XLA_USE_BF16": "1",
    "PL_TRAINER_PRECISION": "16",
    "SOXR_NOSMALLINTOPT": "1",
    "SKLEARN_ASSUME_FINITE": "1",
    "TORCH_CUDNN_V8_API_DISABLED": "1",
    "TORCH_BLAS_PREFER_CUBLASLT": "1",
    "TORCH_LINALG_PREFER_CUSOLVER": "1",
    "TORCH_LINEAR_FLATTEN_3D": "1",
    "TORCH_MKLDNN_MATMUL_MIN_DIM": "1",
    "TORCH_ROCM_FA_PREFER_CK": "1",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
    "NVIDIA_TF32_OVERRIDE": "1",
    "PYTORCH_TUNABLEOP_ENABLED": "1",
    "PYTORCH_MIOPEN_SUGGEST_NHWC": "1",
    "PYTORCH_MPS_FAST_MATH": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":0:0",
    "CUBLASLT_WORKSPACE_SIZE": "1",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "DNNL_DEFAULT_FPMATH_MODE": "ANY",
    "TRANSFORMERS_SDPA_FORCE_GQA": "1",
    "SCIPY_ARRAY_API": "1",
    "SER_MACHIN": "machine.yaml",
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
}
COMMON = """
ACCELERATE_MIXED_PRECISION=no ACCELERATE_DYNAMO_BACKEND=no ACCELERATE_DYNAMO_MODE=default ACCELERATE_USE_CPU=false
ACCELERATE_DYNAMO_USE_FULLGRAPH=False ACCELERATE_DYNAMO_USE_DYNAMIC=False ACCELERATE_GRADIENT_ACCUMULATION_STEPS=1
ACCELERATE_DYNAMO_USE_REGIONAL_COMPILATION=False ACCELERATE_CPU_AFFINITY=0 ACCELERATE_DEBUG_MODE=false
RANK=0 LOCAL_RANK=0 WORLD_SIZE=1 MASTER_ADDR=localhost MASTER_PORT=29500 TORCHELASTIC_RUN_ID=none GROUP_RANK=0
TORCHELASTIC_MAX_RESTARTS=0 TORCHELASTIC_USE_AGENT_STORE=True TORCH_NCCL_ASYNC_ERROR_HANDLING=1 LOCAL_WORLD_SIZE=1
SLURM_JOB_ID=7 SLURM_PROCID=0 SLURM_NTASKS=1 SLURM_GPUS_ON_NODE=1 SLURM_CPUS_PER_TASK=8 SRUN_DEBUG=3 PMI_RANK=0
RAY_ADDRESS=auto RAY_JOB_ID=1 RAY_DEDUP_LOGS=0 CONDA_PREFIX=/opt/conda CONDA_DEFAULT_ENV=base JPY_PARENT_PID=1
CUDA_VERSION=12.9 CUDA_DRIVER_VERSION=575 CUDA_VISIBLE_DEVICES=0 CUDA_MODULE_LOADING=LAZY CUDA_HOME=/usr/local/cuda
NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute NVIDIA_REQUIRE_CUDA=cuda>=9.0 NVIDIA_BUILD_ID=1
NVIDIA_PRODUCT_NAME=PyTorch NVIDIA_PYTORCH_VERSION=25.06 CUBLAS_VERSION=12.9.1.4 CUBLASMP_VERSION=0.4.0.789
CUDNN_VERSION=9.10 CUDNN_FRONTEND_VERSION=1.12 CUFFT_VERSION=11.4 CUSPARSE_VERSION=12.5 CUSPARSELT_VERSION=0.7
CUSOLVER_VERSION=11.7 CURAND_VERSION=10.3 NCCL_VERSION=2.27 NPP_VERSION=12.4 NVJPEG_VERSION=12.4 TRT_VERSION=10.11
PYTORCH_BUILD_VERSION=2.8.0 PYTORCH_VERSION=2.8.0 PYTORCH_BUILD_NUMBER=0 PYTORCH_HOME=/opt/pytorch/pytorch
PYTORCH_TRITON_VERSION=3.3 TORCH_CUDA_ARCH_LIST=9.0 TORCH_CUDNN_V8_API_ENABLED=1 USE_EXPERIMENTAL_CUDNN_V8_API=1
TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=0 TORCH_NCCL_USE_COMM_NONBLOCKING=0 TORCHINDUCTOR_CACHE_DIR=/tmp
UCC_CL_BASIC_TLS=^sharp
PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True PYTORCH_ALLOC_CONF=expandable_segments:True TORCH_HOME=/cache
TRANSFORMERS_CACHE=/cache TRANSFORMERS_OFFLINE=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false WANDB_MODE=offline
TF_CPP_MIN_LOG_LEVEL=3 TF_ENABLE_ONEDNN_OPTS=0 XLA_FLAGS=--xla_gpu_autotune_level=4 XLA_PYTHON_CLIENT_PREALLOCATE=false
MKL_THREADING_LAYER=GNU MKL_SERVICE_FORCE_INTEL=1 KMP_AFFINITY=granularity=fine OMP_NUM_THREADS=1 PYTHONHASHSEED=0
CUBLAS_WORKSPACE_CONFIG=:4096:8 NVIDIA_TF32_OVERRIDE=0 SINGULARITY_NAME=a APPTAINER_CONTAINER=b KUBERNETES_PORT=1
"""
HARMLESS = {
    name: "max-autotune" if allowed is environment.ANY else sorted(allowed)[-1].upper()
    for harmless, _ in environment.FAMILIES.values()
    for name, allowed in harmless.items()
}


@pytest.fixture
def clean(monkeypatch):
    """Take out of the environment what this machine may have there."""
    for name in [name for name in os.environ if name.startswith(tuple(environment.FAMILIES))]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(("name", "value"), HOSTILE.items())
def test_what_changes_results_is_refused_by_name(clean, name, value):
    environment.check()
    clean.setenv(name, value)
    with pytest.raises(InputError, match=rf"the environment has {name}='{value}', expected .*; unset {name}$"):
        environment.check()


def test_every_family_has_a_hostile_variable():
    assert all(any(name.startswith(family) for name in HOSTILE) for family in environment.FAMILIES)


@pytest.mark.parametrize(("name", "value"), HARMLESS.items())
def test_what_changes_nothing_is_let_through(clean, name, value):
    clean.setenv(name, value)
    environment.check()


def test_processors_threads_and_places_are_let_through(clean):
    for name in (
        "ATEN_CPU_CAPABILITY",
        "ONEDNN_MAX_CPU_ISA",
        "OMP_NUM_THREADS",
        "HF_HOME",
        "PYTORCH_ALLOC_CONF",
        "RANK",
    ):
        clean.setenv(name, "1")
    environment.check()


def test_what_schedulers_launchers_and_images_set_is_let_through(clean):
    """As SLURM, Ray, accelerate launch, torchrun, conda, Jupyter and NVIDIA's images of PyTorch set it."""
    for each in COMMON.split():
        name, _, value = each.partition("=")
        clean.setenv(name, value)
    environment.check()


def test_a_command_ends_with_the_sentence(clean, capsys):
    clean.setenv("NVIDIA_TF32_OVERRIDE", "1")
    clean.setattr("sys.argv", ["stage"])
    with pytest.raises(SystemExit) as ended:
        command.run(lambda: pytest.fail("it ran"))
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "error: the environment has NVIDIA_TF32_OVERRIDE='1', expected '0' or none: it changes float32 into TF32, of 10"
        " bits for 23; unset NVIDIA_TF32_OVERRIDE\n"
    )


def test_soxrs_variable_changes_samples(clean):
    samples = np.random.default_rng(0).standard_normal(4410).astype(np.float32)
    plain = soxr.resample(samples, 48_000, 16_000, quality="VHQ")
    clean.setenv("SOXR_NOSMALLINTOPT", "1")
    assert not np.array_equal(soxr.resample(samples, 48_000, 16_000, quality="VHQ"), plain)


def test_the_documentation_names_every_family_and_variable():
    text = Path("docs/environment.md").read_text()
    named = [*environment.FAMILIES, *HARMLESS]
    assert [name for name in named if f"`{name}" not in text] == []
