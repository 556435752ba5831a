"""4 bit on the two kinds of processor that bitsandbytes tells apart, as far as one machine can show it.

A processor with AVX-512 unpacks weights by another kernel, one with AVX512-BF16 repacks them in eval mode too; neither
can be switched off or on by an environment variable. Here the first is written out again from bitsandbytes' source
(``csrc/cpu_ops.cpp``, ``dequantizeBlockwise4bitCpu``) and the second is switched on where it cannot compute: what it
would change is seen all the same. Only a machine that has the instructions shows that the compiled kernels themselves
give what is written here, and how far their sums round otherwise; there these tests run like all others.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bitsandbytes import functional
from bitsandbytes.nn import modules

from pipeline_lib.encoders import four_bit
from pipeline_lib.errors import InputError
from pipeline_lib.networks.adapters import attach
from pipeline_lib.networks.bnb import load_library
from pipeline_lib.params.network import AdaptationSettings, LoraSettings

CPU = torch.device("cpu")
TEXTS = ["i am happy", "the a so very sad and angry not today"]
LORA = AdaptationSettings(method="lora", lora=LoraSettings(r=4, target_modules="all-linear", lora_dropout=0.0))


def as_avx512_unpacks(packed: torch.Tensor, state) -> torch.Tensor:
    """Return weights (rows, n): row r, column k by constant ``r * (n // 64) + k // 64``, right where 64 divides n."""
    rows, n = state.shape
    levels = torch.stack([packed.flatten() >> 4, packed.flatten() & 15], dim=1).reshape(rows, n).int()
    constants = functional.dequantize_blockwise(state.absmax, state.state2) + state.offset
    places = torch.arange(rows)[:, None] * (n // 64) + torch.arange(n)[None, :] // 64
    return state.code[levels] * constants[places]


def repacking(on: bool, monkeypatch) -> None:
    """Let bitsandbytes take this for a processor with AVX512-BF16, or for one without."""
    monkeypatch.setattr(functional, "has_avx512bf16", lambda: on)
    monkeypatch.setattr(modules, "has_avx512bf16", lambda: on)


@pytest.mark.parametrize(("width", "error"), [(32, 0.37), (96, 0.26), (64, 0.092), (128, 0.092), (192, 0.092)])
def test_with_avx512_widths_that_64_does_not_divide_come_back_wrong(width, error, monkeypatch):
    monkeypatch.setattr(functional, "dequantize_4bit", as_avx512_unpacks)
    assert four_bit.rounding(width, width, CPU) == pytest.approx(error, abs=0.015 if error > 0.1 else 0.002)


@pytest.mark.parametrize("shape", [(128, 128), (64, 128), (192, 128), (128, 192), (1024, 8192)])
def test_on_this_processor_wide_layers_come_back_with_the_error_of_nf4_alone(shape):
    # blocks of 64 normal weights on NF4's 16 levels: .0915 in theory; the constants' 8 bits add .0005
    assert four_bit.rounding(*shape, CPU) == pytest.approx(0.092, abs=0.002)


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_narrow_checkpoint_is_refused_where_it_would_be_wrong(pretrained, load, monkeypatch):
    monkeypatch.setattr(functional, "dequantize_4bit", as_avx512_unpacks)
    message = (
        r"llama: in 4 bit, random weights of its layers of 32 inputs and 16 outputs come back 0.\d\d off on this cpu"
    )
    with pytest.raises(InputError, match=message) as refused:
        load("llama", weights="nf4", pretrained=pretrained)
    assert "set encoder.weights to float32 or bfloat16" in str(refused.value) and "\n" not in str(refused.value)


def test_a_wide_checkpoint_is_taken_on_every_processor(load, monkeypatch):
    monkeypatch.setattr(functional, "dequantize_4bit", as_avx512_unpacks)
    config = load("llama_wide").model.config
    four_bit.check_shapes(config, "llama_wide", CPU)


@pytest.mark.parametrize("pretrained", [True, False])
def test_where_bitsandbytes_would_repack_a_model_computes_and_trains_to_the_bit_what_it_does_elsewhere(
    pretrained, load, monkeypatch
):
    result = {}
    for on in (False, True):
        repacking(on, monkeypatch)
        encoder = load("llama_wide", weights="nf4", pretrained=pretrained)
        with torch.no_grad():
            before = encoder(**encoder.prepare(TEXTS)).layers[-1]
        torch.manual_seed(1)
        encoder.model = attach(encoder.model, LORA)
        hidden = encoder.train()(**encoder.prepare(TEXTS))  # after an evaluation, as from the second epoch on
        hidden.layers[-1][hidden.mask][:, :5].sum().backward()
        gradient = torch.cat(
            [parameter.grad.flatten() for parameter in encoder.parameters() if parameter.requires_grad]
        )
        result[on] = before, gradient, encoder.state_dict()
    assert torch.equal(result[False][0], result[True][0])
    assert torch.equal(result[False][1], result[True][1]) and result[True][1].abs().max() > 0
    assert result[False][2].keys() == result[True][2].keys()
    assert all(torch.equal(result[True][2][key], value) for key, value in result[False][2].items())


@pytest.mark.acceptance
@pytest.mark.parametrize("claimed", ["0", "1"])
@pytest.mark.parametrize("forced", [("default", "SSE41", "Nehalem"), ("avx2", "AVX2", "Haswell")], ids=lambda f: f[0])
def test_experts_in_4_bit_and_all_that_train_pass_on_other_processors(forced, claimed):
    """The choices of torch, oneDNN and OpenBLAS by their switches, that of bitsandbytes by a plugin."""
    switches = dict(zip(("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE"), forced, strict=True))
    files = ["tests/encoders/test_weights.py", "tests/experts/test_disk.py", "tests/finetuning", "tests/networks"]
    command = [sys.executable, "-m", "pytest", "-p", "tests.encoders.claimed", "-m", "not acceptance", *files]
    environment = {**os.environ, **switches, "CLAIMED_AVX512BF16": claimed, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]


LIBRARY = """import logging
try:
    from kernels import get_kernel
    get_kernel("kernels-community/quantization-bitsandbytes")
except Exception as exc:
    logging.getLogger("bitsandbytes.backends.cpu.ops").warning("Failed to load CPU gemm_4bit_forward: %s", exc)
"""  # what bitsandbytes/backends/cpu/ops.py does on a processor with AVX512-BF16
FETCHING = "def get_kernel(name):\n    print('fetched')\n"


def test_no_code_of_the_hub_is_fetched_and_nobody_is_warned_of_it(tmp_path, monkeypatch, capsys, caplog):
    (tmp_path / "bitsandbytes.py").write_text(LIBRARY)
    (tmp_path / "kernels.py").write_text(FETCHING)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bitsandbytes")
    assert load_library().__file__ == str(tmp_path / "bitsandbytes.py")
    assert "kernels" not in sys.modules and (capsys.readouterr().out, caplog.text) == ("", "")
    monkeypatch.delitem(sys.modules, "bitsandbytes")
    importlib.import_module("bitsandbytes")
    assert capsys.readouterr().out == "fetched\n"
    monkeypatch.delitem(sys.modules, "bitsandbytes")
    (tmp_path / "kernels.py").write_text("raise ImportError\n")
    monkeypatch.delitem(sys.modules, "kernels")
    importlib.import_module("bitsandbytes")
    assert "Failed to load CPU gemm_4bit_forward" in caplog.text


@pytest.mark.acceptance
def test_bitsandbytes_itself_neither_fetches_nor_warns(tmp_path):
    # in a process of its own, where its compiled library says that the processor has AVX512-BF16
    (tmp_path / "kernels.py").write_text("def get_kernel(*names, **options):\n    print('fetched')\n    return 1 / 0\n")
    source = (
        "import ctypes, importlib, sys, torch\n"
        "from pipeline_lib.networks.bnb import load_library\n"
        "class Claims(ctypes.CDLL):\n"
        "    def __getattr__(self, name):\n"
        "        return (lambda: 1) if name == 'has_avx512bf16_cpu' else super().__getattr__(name)\n"
        "ctypes.cdll.LoadLibrary = Claims\n"
        "load_library() if sys.argv[1] == 'ours' else importlib.import_module('bitsandbytes')\n"
        "print(sys.modules['bitsandbytes'].functional.has_avx512bf16(), 'kernels' in sys.modules)\n"
    )
    options = {"env": {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}, "capture_output": True, "text": True}
    ours, theirs = (
        subprocess.run([sys.executable, "-c", source, side], check=True, **options) for side in ("ours", "theirs")
    )
    assert theirs.stdout == "fetched\n1 True\n" and "gemm_4bit_forward" in theirs.stderr  # else nothing is tested
    assert ours.stdout == "1 False\n" and "gemm_4bit_forward" not in ours.stderr
