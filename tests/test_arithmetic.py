"""Stages of the demonstration take one thread, and AVX2 where a processor has AVX-512; others are left alone."""

import json
import os
import subprocess
import sys

import numpy._core._multiarray_umath as umath
import pytest

from pipeline_lib.arithmetic import INSTRUCTIONS, THREADS, hold
from pipeline_lib.recipes.apply import apply

HELD = THREADS | INSTRUCTIONS
FIELDS = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu {}\n\nprocessor\t: 1\nflags\t\t: avx2 avx512f\n"


@pytest.fixture
def unset(monkeypatch):
    """Take the variables out of the environment, and put back afterwards what was there."""
    for name in HELD:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def params(tmp_path):
    """Return a params.yaml with a demonstration."""
    (tmp_path / "params.yaml").write_text("# synthetic\ndemonstration:\n  english:\n    seed: 1\ncorpus:\n  name: x\n")
    return tmp_path / "params.yaml"


@pytest.mark.parametrize(
    ("flags", "held"), [("avx avx2 fma avx512f", True), ("avx avx2 fma", False), ("avx512f", False), ("", False)]
)
def test_instructions_are_held_on_a_processor_with_both_alone(flags, held, unset, params, tmp_path):
    (tmp_path / "cpuinfo").write_text(FIELDS.format(flags))
    hold(params, tmp_path / "cpuinfo")
    assert {name: os.environ.get(name) for name in HELD} == dict.fromkeys(HELD) | THREADS | (
        INSTRUCTIONS if held else {}
    )


def test_what_is_set_already_stays(unset, params, tmp_path):
    (tmp_path / "cpuinfo").write_text(FIELDS.format("avx2 avx512f"))
    unset.setenv("ATEN_CPU_CAPABILITY", "avx512")
    unset.setenv("OMP_NUM_THREADS", "8")
    hold(params, tmp_path / "cpuinfo")
    assert {name: os.environ[name] for name in HELD} == HELD | {"ATEN_CPU_CAPABILITY": "avx512", "OMP_NUM_THREADS": "8"}


def test_without_a_description_threads_alone_are_held_and_without_parameters_nothing(unset, params, tmp_path):
    (tmp_path / "cpuinfo").write_text(FIELDS.format("avx2 avx512f"))
    hold(tmp_path / "no_params.yaml", tmp_path / "cpuinfo")
    assert not {*HELD} & {*os.environ}
    hold(params, tmp_path / "none")
    assert {*HELD} & {*os.environ} == {*THREADS}


@pytest.mark.parametrize(
    ("recipe", "held"), [("default", True), ("taltech", False), ("small_corpus", False), ("open_ravdess", False)]
)
def test_only_a_demonstration_is_held(recipe, held, unset, tmp_path):
    (tmp_path / "cpuinfo").write_text(FIELDS.format("avx2 avx512f"))
    apply(recipe, out=tmp_path / "params.yaml")
    hold(tmp_path / "params.yaml", tmp_path / "cpuinfo")
    assert {name in os.environ for name in HELD} == {held}


@pytest.mark.skipif("X86_V3" not in umath.__cpu_dispatch__, reason="NumPy of another processor than x86")
def test_numpy_has_no_loops_beyond_but_those_that_are_disabled():
    loops = umath.__cpu_dispatch__
    assert {*INSTRUCTIONS["NPY_DISABLE_CPU_FEATURES"].split()} == {*loops[loops.index("X86_V3") + 1 :]}


@pytest.mark.skipif("X86_V3" not in umath.__cpu_dispatch__, reason="NumPy of another processor than x86")
def test_the_libraries_take_these_values():
    source = (
        "import json, numpy, torch, threadpoolctl; a = numpy.ones((9, 9)); torch.ones(9, 9) @ torch.ones(9, 9);"
        "pools = threadpoolctl.threadpool_info();"
        "blas = {pool['architecture'] for pool in pools if pool['internal_api'] == 'openblas'};"
        "print(json.dumps([torch.backends.cpu.get_cpu_capability(), sorted(blas)]))"
    )
    command = [sys.executable, "-W", "error::ImportWarning", "-c", source]
    done = subprocess.run(command, env=os.environ | INSTRUCTIONS, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and json.loads(done.stdout) == ["AVX2", ["Haswell"]]
