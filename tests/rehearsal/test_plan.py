"""The plan's hours, memory and disk by hand, sizes of corpora, and the page."""

import json
import math
from dataclasses import asdict, replace
from datetime import date

import numpy as np
import pytest
import torch

from pipeline_lib.doctor.project import embedding_bytes
from pipeline_lib.errors import InputError
from pipeline_lib.params.base import read_params
from pipeline_lib.params.check import read_all
from pipeline_lib.rehearsal import corpora, counting, devices, page, plan
from pipeline_lib.rehearsal.corpora import Size
from pipeline_lib.rehearsal.devices import Device
from pipeline_lib.rehearsal.plan import Plan, Row
from pipeline_lib.tables import embeddings
from tests.recipes.laid_down import text

SIZE = Size("made", 10.0, 7200, "made")  # 5 s a turn
DEVICE = Device("made", 1e12, 4e12, 24.0, "made")
COUNT = counting.Count(1000.0, 100.0, 4e9, 2e9, 3e12, 8e12)


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    path = tmp_path_factory.mktemp("default") / "params.yaml"
    path.write_text(text("taltech", False))
    return read_all(read_params(path), path)


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(counting, "count", lambda *_: COUNT)


def rows_of(params, **changes) -> dict[str, Row]:
    made = Plan(params, SIZE, DEVICE, 0.5)
    return {row.stage: row for row in replace(made, **changes).rows()}


def test_hours_of_an_expert_by_hand(params, counted):
    row = rows_of(params)["finetuning.audio"]
    train, dev = (round(7200 * corpora.SHARES[split]) for split in ("train", "dev"))
    trained_h = 10 * train * 3.0 / 3600  # ten epochs of chunks of 2 to 4 s
    predicted_h = (10 * dev + 7200) * 5.0 / 3600  # measured each epoch, then all
    assert row.audio_hours == pytest.approx((trained_h, predicted_h), rel=1e-12)
    per_second = 1 / (64 * 3.0)  # of a batch of 64 chunks
    seconds = 8e12 * per_second * trained_h * 3600 / (0.5 * 4e12)  # bfloat16: the encoder is trained
    seconds += 3e12 * per_second * predicted_h * 3600 / (0.5 * 1e12)  # its weights are in float32
    assert row.hours == pytest.approx(seconds / 3600, rel=1e-12)


def test_memory_and_disk_of_an_expert_by_hand(params, counted):
    row = rows_of(params)["finetuning.audio"]
    assert row.memory_gb == pytest.approx(4 + 12 * 100 / 1e9 + 2 + plan.SPARE_GB)
    table = 7200 * (4 * 256 + 8 * 10)  # 8 emotions, O and X
    assert row.disk_gb == pytest.approx((4 * 100 * (1 + 2 * 3 + 1) + table) / 1e9)


def test_folds_multiply_hours_and_models(params, counted):
    expert = params.finetuning["audio"].model_copy(update={"folds": True})
    folded = replace(params, finetuning={"audio": expert})
    row, alone = rows_of(folded)["finetuning.audio"], rows_of(params)["finetuning.audio"]
    assert row.hours == pytest.approx(5 * alone.hours)
    assert row.disk_gb - alone.disk_gb == pytest.approx(4 * 100 * (10 - 1) / 1e9)


def test_weights_in_bfloat16_are_predicted_at_its_rate(params, counted):
    row = rows_of(params)["finetuning.text"]
    seconds = sum(3600 * h * f for h, f in zip(row.audio_hours, (8e12, 3e12), strict=True)) / (16 * 5.0 * 0.5 * 4e12)
    assert row.hours == pytest.approx(seconds / 3600, rel=1e-12)


def test_an_unknown_checkpoint_is_a_row_that_says_so(params):
    audio = params.finetuning["audio"]
    unknown = audio.model_copy(update={"encoder": audio.encoder.model_copy(update={"checkpoint": "a/b"})})
    transcription = params.transcription.model_copy(update={"engine": "reference"})
    changed = replace(params, finetuning={"audio": unknown}, transcription=transcription)
    row = {each.stage: each for each in Plan(changed, SIZE, DEVICE, 0.5).rows()}
    assert row["transcription"].hours == 0.0
    assert row["finetuning.audio"].hours is None
    assert row["finetuning.audio"].note.startswith("not planned: the sizes of 'a/b' are not known here")


def test_the_formula_of_an_embedding_is_what_is_written(tmp_path, params):
    entry = read_all(read_params(_default(tmp_path)), tmp_path / "params.yaml").embedding["audio"]
    n, width, layers = 300, 96, (0, 1, 2)
    info = embeddings.Info(
        *("wav2vec2-bert", "made", None, "audio", width, 50.0, layers, "mean", False, n, 0), device="cpu", precision=""
    )
    values = np.random.default_rng(0).standard_normal((len(layers), n, width)).astype(np.float16)
    ids = [f"u{i:04d}" for i in range(n)]
    with embeddings.writing(tmp_path / "made", info) as writer:
        writer.add(ids, dict(zip(layers, values, strict=True)))
    written = sum(file.stat().st_size for file in (tmp_path / "made").glob("layer_*"))
    assert embedding_bytes(entry, n, 0.0, len(layers), width) == pytest.approx(written, rel=0.15)


def _default(folder):
    path = folder / "params.yaml"
    path.write_text(text("default", False))
    return path


def test_lengths_have_the_mean_and_the_limits():
    made = corpora.lengths(20_000, 5.64)
    assert made.mean() == pytest.approx(5.64, abs=1e-3) and (np.diff(made) >= 0).all()
    assert corpora.SHORTEST_S < made[0] < 2.8 and 10.0 < made[-1] < corpora.LONGEST_S


def test_sizes_are_the_published_ones_or_given():
    two = corpora.size_of("2.0", None, None)
    assert (two.hours, two.turns) == (400.0, round(400 * 3600 / (1_167_780 / 207_136)))
    assert corpora.size_of("1.12", 10.0, None).turns == round(36_000 / (1_167_780 / 207_136))
    assert corpora.SIZES["1.11"].turns_of("train") == 84_030 and corpora.SIZES["1.11"].turns_of("dev") == 19_815
    for release, hours, turns in (("3", None, None), ("2.0", 1.0, 1), ("2.0", 1.0, 1_000_000)):
        with pytest.raises(InputError, match="expected"):
            corpora.size_of(release, hours, turns)


def test_a_corpus_of_noise_is_the_same_each_time(tmp_path):
    for name in ("one", "two"):
        corpora.write(tmp_path / name, 32, ("anger", "neutral"), 5.0)
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / n).rglob("*") if p.is_file()} for n in ("one", "two"))
    assert first == second and len(first) == 33
    seconds = sum((len(content) - 44) / 32_000 for name, content in first.items() if name != "corpus.csv")
    assert seconds / 32 == pytest.approx(5.0, abs=0.1)


def test_a_device_is_measured_or_published():
    here = devices.measured(torch.device("cpu"), side=64, seconds=0.001)
    assert math.isfinite(here.float32) and here.float32 > 1e6 and here.bfloat16 is None
    h100 = devices.device_of("h100")
    assert (h100.rate(half=True), h100.rate(half=False)) == (989e12, 67e12)
    assert here.rate(half=True) == here.float32
    with pytest.raises(InputError, match="--device is 'k80', expected one of"):
        devices.device_of("k80")


def test_the_page_has_measured_hours_beside_planned_ones(params, counted):
    rows = list(Plan(params, SIZE, DEVICE, 0.5).rows())
    audio = next(row for row in rows if row.stage == "finetuning.audio")
    took = {"training_s": 0.01, "forward_s": 0.002, "batch": 2, "seconds": 3.0, "peak_gb": 1.5}
    label = {"stage": audio.stage, "precision": "auto"}
    measured = [label | took, label | {"why": "not measured: no room"}]
    tried = {"stage": "embedding@a", "seconds": 2.0, "peak_gb": 0.5, "written": 3_000_000, "note": ""}
    record = {
        "size": asdict(SIZE),
        "device": asdict(DEVICE),
        "here": asdict(DEVICE),
        "options": {"utterances": 64, "steps": 3, "utilisation": 0.5},
        "recipes": [
            {
                "recipe": "taltech",
                "plan": [asdict(row) for row in rows],
                "measured": measured,
                "stages": [tried | {"killed_after_s": 1.0, "same_bytes": True}],
            }
        ],
    }
    made = page.page(json.loads(json.dumps(record)), date(2026, 1, 2))
    hours = 0.01 * audio.audio_hours[0] + 0.002 * audio.audio_hours[1]
    share = audio.training_gflop * 1e9 / (0.01 * 4e12)
    cells = f"| finetuning.audio | auto | 2 x 3.00 s | 36 | 7.2 | {share:.2f} | {hours:.3g} | {audio.hours:.3g} | 1.5 |"
    assert cells in made and "| embedding@a | 2 | 0.5 | 3 | 1.0 s | yes |" in made
    assert "2026-01-02" in made and "4 in bfloat16" in made
