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
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
}
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
