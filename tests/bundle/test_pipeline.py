"""A system in memory predicts what its stages wrote: alone, in batches, from samples, out of fold, elsewhere."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import soxr

from pipeline_lib.errors import InputError
from pipeline_lib.inference import system
from pipeline_lib.inference.pipeline import Pipeline
from pipeline_lib.inference.prediction import Failure, Prediction, Recording
from pipeline_lib.tables import manifest, predictions
from pipeline_lib.tables.folds import fold_of

EXACT = {"rtol": 0, "atol": 1e-5}
BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("dvc", "dvc_data", "nemo", "ray", "omegaconf", "stages", "tests"):
            raise ModuleNotFoundError(f"{name} was imported")
sys.meta_path.insert(0, Blocked())
from pipeline_lib import Pipeline
print(Pipeline.load(sys.argv[1]).predict(sys.argv[2], text="oh so").posterior)
"""


def recordings_of(made, corpus, **more):
    texts = corpus.frame["reference_text"]
    rows = zip(corpus.ids, corpus.frame["audio"], texts, strict=True)
    return [Recording(name, made.root / audio, text, **more) for name, audio, text in rows]


def same(results, table, part=None):
    """Compare results with the rows of a table by name."""
    row_of = {name: row for row, name in enumerate(table.utterance_ids)}
    for result in results:
        assert isinstance(result, Prediction), result
        values = result.experts[part] if part else {"posterior": result.posterior, "attributes": result.attributes}
        row = row_of[result.id]
        assert [*values.get("posterior", {})] == [*table.labels]
        if table.posterior is not None:
            np.testing.assert_allclose([*values["posterior"].values()], table.posterior[row], **EXACT)
        if table.attributes is not None:
            np.testing.assert_allclose([*values["attributes"].values()], table.attributes[row], **EXACT)


@pytest.mark.parametrize("batch_size", [1, 64])
def test_every_utterance_is_predicted_as_the_stages_did(plain, pipeline, batch_size):
    corpus = manifest.read(plain.project / "data/manifest.parquet")
    results = list(pipeline.predict_many(recordings_of(plain, corpus), batch_size=batch_size))
    assert [result.id for result in results] == corpus.ids.tolist()
    same(results, predictions.read(plain.project / "data/fused.parquet"))
    for name in ("expert", "frozen", "texts"):
        same(results, predictions.read(plain.project / f"data/rebalanced/{name}.parquet"), name)
    first = results[0]
    assert first.label == max(first.posterior, key=first.posterior.get)
    assert first.transcript == corpus.frame["reference_text"][0]
    assert first.duration_s == pytest.approx(corpus.frame["duration_s"][0])


def test_out_of_fold_an_utterance_is_predicted_by_the_member_that_has_not_seen_it(folded):
    corpus = manifest.read(folded.project / "data/manifest.parquet")
    own = fold_of(corpus)
    given = [
        Recording(each.id, each.audio, each.text, fold=None if fold < 0 else int(fold))
        for each, fold in zip(recordings_of(folded, corpus), own)
    ]
    pipeline = Pipeline.load(folded.bundle)
    same(pipeline.predict_many(given, batch_size=7), predictions.read(folded.project / "data/fused.parquet"))
    new = next(pipeline.predict_many([Recording("new", given[0].audio, given[0].text)]))  # the mean of all members
    by_fold = [predictions.read(folded.project / f"data/rebalanced_folds/expert/fold{k}.parquet") for k in range(3)]
    expected = np.mean([table.posterior[table.utterance_ids == given[0].id][0] for table in by_fold], axis=0)
    np.testing.assert_allclose([*new.experts["expert"]["posterior"].values()], expected, **EXACT)
    (result,) = pipeline.predict_many([Recording("new", given[0].audio, "no", fold=3)])
    assert result == Failure("new", "'new' is of fold 3, and the system has 3 folds")
    (of_project,) = Pipeline.load(folded.project).predict_many(given[:1])
    same([of_project], predictions.read(folded.project / "data/fused.parquet"))


def test_without_text_the_fusion_takes_the_entries_that_read_audio(plain, pipeline):
    path = plain.root / manifest.read(plain.project / "data/manifest.parquet").frame["audio"][0]
    result = pipeline.predict(path)
    assert [*result.experts] == ["expert", "frozen"] and result.transcript is None
    assert "texts is absent, since the recording has no text: the fusion is that of the other entries" in result.notes
    weights = pipeline._models.fitted()[0].fuser.weights_[:2]
    parts = [[*result.experts[name]["posterior"].values()] for name in ("expert", "frozen")]
    if weights.sum() > 0:  # else the fusion leaves both out
        np.testing.assert_allclose([*result.posterior.values()], weights @ np.array(parts) / weights.sum(), **EXACT)


def test_a_fusion_without_a_rule_for_a_missing_modality_refuses_the_recording_alone(folded):
    corpus = manifest.read(folded.project / "data/manifest.parquet")
    first, second, *_ = recordings_of(folded, corpus)
    pipeline = Pipeline.load(folded.bundle)
    results = list(pipeline.predict_many([first, Recording("mute", second.audio), second]))
    assert [type(result) for result in results] == [Prediction, Failure, Prediction]
    assert "have predictions of ['expert', 'frozen'] alone" in results[1].reason


def test_samples_at_44_khz_in_stereo_are_the_same_sound_as_their_file(pipeline, tmp_path):
    samples = np.random.default_rng(1).normal(0, 0.05, (44_100, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.flac", samples, 44_100, subtype="PCM_24")
    decoded, rate = soundfile.read(tmp_path / "a.flac", dtype="float32")
    of_file, of_samples = pipeline.predict(tmp_path / "a.flac", "oh"), pipeline.predict((decoded, rate), "oh")
    assert of_file.experts == of_samples.experts and of_samples.duration_s == pytest.approx(1.0)
    part = next(pipeline.predict_many([Recording("part", tmp_path / "a.flac", "oh", start=0.25, end=0.75)]))
    assert part.segments == [(0.25, 0.75)] and part.experts != of_file.experts


def test_44_khz_stereo_is_predicted_as_by_the_system_applied_to_files(plain, pipeline, tmp_path):
    corpus = manifest.read(plain.project / "data/manifest.parquet")
    frame = corpus.frame.head(4).copy()
    for name in frame["audio"]:
        samples, rate = soundfile.read(plain.root / name)
        wide = soxr.resample(np.column_stack([samples, 0.5 * samples]), rate, 44_100)
        (tmp_path / "wide" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "wide" / name, wide, 44_100, subtype="FLOAT")
    wide = replace(corpus, frame=frame.assign(audio_sha256=[f"{row:064d}" for row in range(4)]))
    tables = system.apply(plain.project, wide, tmp_path / "out", tmp_path / "wide", tmp_path / "work")
    made = replace_root(recordings_of(plain, wide), plain.root, tmp_path / "wide")
    results = list(pipeline.predict_many(made))
    same(results, predictions.read(tables["fused"]))
    for name in ("expert", "frozen"):
        same(results, predictions.read(tables[name]), name)


def replace_root(recordings, old, new):
    return [replace(each, audio=new / each.audio.relative_to(old)) for each in recordings]


def test_what_cannot_be_read_is_a_failure_in_its_position(plain, pipeline, tmp_path):
    (tmp_path / "no.wav").write_bytes(b"no audio")
    path = plain.root / manifest.read(plain.project / "data/manifest.parquet").frame["audio"][0]
    bad = [
        Recording("broken", tmp_path / "no.wav"),
        Recording("absent", tmp_path / "absent.wav"),
        Recording("nothing", None),
        Recording("nan", (np.full(800, np.nan, np.float32), 16_000)),
        Recording("rows", (np.zeros((2, 800), np.float32), 16_000)),
        Recording("text", None, "oh so"),
    ]
    results = list(pipeline.predict_many([bad[0], Recording("good", path, "oh"), *bad[1:]]))
    assert [result.id for result in results] == ["broken", "good", "absent", "nothing", "nan", "rows", "text"]
    assert [type(result) for result in results] == [Failure, Prediction, *[Failure] * 4, Prediction]
    assert "absent.wav" in results[2].reason and "neither audio nor text" in results[3].reason
    assert results[4].reason.startswith("'nan' ") and "transpose them" in results[5].reason
    assert [*results[6].experts] == ["texts"] and results[6].segments == []
    with pytest.raises(InputError, match="neither audio nor text"):
        pipeline.predict(None)


def test_audio_beyond_what_an_expert_reads_whole_is_noted(pipeline):
    assert pipeline.longest_s == 30.0
    result = pipeline.predict((np.random.default_rng(1).normal(0, 0.1, 16_000 * 31).astype(np.float32), 16_000), "oh")
    assert "the audio lasts 31.0 s, of which the expert tones reads the middle 30 s alone: cut it into segments" in (
        result.notes
    )
    silent = pipeline.predict((np.zeros(16_000, np.float32), 16_000), "oh")
    assert any(note.startswith("the audio is silent") for note in silent.notes)


def test_a_prior_replaces_the_one_that_the_posterior_contains(pipeline):
    audio = (np.random.default_rng(2).normal(0, 0.1, 8_000).astype(np.float32), 16_000)
    before = pipeline.predict(audio, "oh")
    contained = dict(zip(pipeline.labels, fused_prior(pipeline, audio), strict=True))
    target = dict(zip(pipeline.labels, np.arange(1, len(pipeline.labels) + 1) / sum(range(len(pipeline.labels) + 1))))
    after = pipeline.predict(audio, "oh", prior=target)
    raw = {label: share * target[label] / contained[label] for label, share in before.posterior.items()}
    assert after.posterior == pytest.approx({label: value / sum(raw.values()) for label, value in raw.items()})
    with pytest.raises(InputError, match="expected exactly"):
        pipeline.predict(audio, "oh", prior={"neutral": 1.0})
    with pytest.raises(InputError, match="sum to 1"):
        pipeline.predict(audio, "oh", prior=dict.fromkeys(pipeline.labels, 1.0))


def fused_prior(pipeline, audio):
    """Return the prior of the fused posterior: the mean of the entries' under the fusion's weights."""
    models = pipeline._models
    entries = [models.of_entry(name)[0] for name in models.system.fusion.experts]
    priors = [each.training_prior if each.target_prior is None else each.target_prior for each in entries]
    return models.fitted()[0].fuser.weights_ @ np.array(priors)


def test_the_prior_that_em_estimated_is_named(plain, pipeline):
    (note,) = [note for note in pipeline.predict(None, "oh").notes if "EM" in note]
    assert note.startswith("expert is under the prior that EM estimated on 'dev' of its corpus (")
    stored = plain.record["priors"]["expert"]["target"]
    assert all(f"{label} {share:.3f}" in note for label, share in stored.items())


def test_threads_get_the_numbers_of_one(plain, pipeline):
    corpus = manifest.read(plain.project / "data/manifest.parquet")
    given = recordings_of(plain, corpus)[:8]
    alone = [pipeline.predict(each.audio, each.text).posterior for each in given]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: pipeline.predict(each.audio, each.text).posterior, given))
    assert together == alone


def test_a_project_is_opened_as_its_bundle_is(plain, pipeline):
    audio = (np.random.default_rng(3).normal(0, 0.1, 8_000).astype(np.float32), 16_000)
    assert Pipeline.load(plain.project).predict(audio, "oh").posterior == pipeline.predict(audio, "oh").posterior
    assert pipeline.digest and Pipeline.load(plain.project).digest is None


def test_elsewhere_without_dvc_nemo_and_repository_a_bundle_opens(plain, pipeline, tmp_path, project_root):
    shutil.copytree(plain.bundle, tmp_path / "moved")
    shutil.copytree(project_root / "pipeline_lib", tmp_path / "installed/pipeline_lib")
    path = plain.root / manifest.read(plain.project / "data/manifest.parquet").frame["audio"][0]
    command = [sys.executable, "-c", BLOCKED, str(tmp_path / "moved"), str(path)]
    environment = {"PYTHONPATH": str(tmp_path / "installed"), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin"}
    (tmp_path / "empty").mkdir()
    done = subprocess.run(command, cwd=tmp_path / "empty", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == f"{pipeline.predict(path, 'oh so').posterior}\n"
    with pytest.raises(InputError, match=r"has neither bundle\.json nor params\.yaml"):
        Pipeline.load(tmp_path / "empty")
