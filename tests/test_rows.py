"""From the corpus to the scores: parts of recordings as files of their own, and utterances with text alone."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from pipeline_lib.corpus import collect, layout, table
from pipeline_lib.embedding.embed import embed
from pipeline_lib.finetuning.finetune import finetune
from pipeline_lib.fusion.fuse import fuse
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.params.machine import EmbeddingMachine
from pipeline_lib.params.rebalancing import RebalancingSettings
from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.params.transcription import TranscriptionSettings
from pipeline_lib.rebalancing.rebalance import rebalance
from pipeline_lib.scoring.score import score
from pipeline_lib.scoring.systems import align
from pipeline_lib.tables import manifest, predictions, transcripts
from pipeline_lib.tables.origin import NO_MODEL
from pipeline_lib.transcription.transcribe import transcribe
from tests.encoders import checkpoints
from tests.finetuning import corpora

EMOTIONS, SPLITS = ("anger", "happiness", "sadness"), ("train", "train", "dev", "test")
ONCE = {"only": {"epochs": 1}}


class Loud:
    """An engine whose text follows from every sample."""

    origin = NO_MODEL

    def transcribe(self, waveforms):
        return [("i am so happy", "i am so sad", "the")[int(1e6 * np.abs(each).sum()) % 3] for each in waveforms]


def rows(folder, *, cut: bool) -> list[dict]:
    """Write 36 hisses, as files or as parts of two, and name them with three texts that have no recording."""
    rng, listed = np.random.default_rng(3), []
    for i in range(36):
        n = 6_400 + 16 * i
        row = {"utterance_id": f"u{i:02d}", "split": SPLITS[i % 4], "speaker": f"{SPLITS[i % 4]}{i % 3}"}
        row |= {"emotion": EMOTIONS[i // 4 % 3], "reference_text": corpora.TEXTS[i // 4 % 3], "n": n}
        row["samples"] = corpora.hiss(rng, n, i // 4 % 3).astype(np.float32)
        listed.append(row)
    for name, split, label in (("text_a", "train", 0), ("text_b", "dev", 1), ("text_c", "test", 2)):
        row = {"utterance_id": name, "split": split, "speaker": f"{split}0", "emotion": EMOTIONS[label]}
        listed.append(row | {"reference_text": corpora.TEXTS[label], "audio": "gone.wav" if label else None})
    for part, half in enumerate((listed[:18], listed[18:36])):
        ends = np.cumsum([row["n"] for row in half]) / 16_000
        soundfile.write(folder / f"{part}.wav", np.concatenate([row["samples"] for row in half]), 16_000, "FLOAT")
        for row, start, end in zip(half, [0.0, *ends[:-1]], ends, strict=True):
            row |= {"audio": f"{part}.wav", "start_s": start, "end_s": end}
            if not cut:
                soundfile.write(folder / f"{row['utterance_id']}.wav", row["samples"], 16_000, "FLOAT")
                row |= {"audio": f"{row['utterance_id']}.wav", "start_s": np.nan, "end_s": np.nan}
    return listed


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Return a function that runs corpus, transcription, embedding and an audio expert on one of both forms."""
    places = {
        name: checkpoints.write(tmp_path_factory.mktemp("c"), name) for name in ("hubert_group", "w2v_bert", "llama")
    }

    def run(*, cut: bool) -> SimpleNamespace:
        root = tmp_path_factory.mktemp("corpus")
        listed = rows(root, cut=cut)
        (root / "corpus.csv").write_text("audio\n")
        settings = {"reader": "table", "root": str(root), "on_bad": "keep_rest"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(table, "read", lambda *_: layout.frame(listed))
            found = collect.collect(CorpusSettings.parse(settings, "corpus"))
        manifest.write(root / "m.parquet", found.manifest)
        corpus = manifest.read(root / "m.parquet")
        engine = TranscriptionSettings.parse({"engine": "whisper", "whisper": {"checkpoint": "any"}}, "transcription")
        asr = transcribe(corpus, root, engine, root / "work", lambda _: Loud())
        origin = {"engine": asr.engine, "checkpoint": asr.checkpoint, "decoding": asr.decoding}
        transcripts.write(root / "t.parquet", corpus.ids, asr.texts, **origin)
        entry = {"modality": "audio", "encoder": {"checkpoint": str(places["hubert_group"])}}
        embed(
            corpus,
            root,
            None,
            EmbeddingSettings.parse(entry, "embedding.x"),
            root / "embedding",
            root / "work",
            EmbeddingMachine(device="cpu"),
        )
        done = SimpleNamespace(root=root, corpus=corpus, texts=asr.texts, metrics=found.metrics, **places)
        done.audio = expert(done, "audio", corpora.settings(places["w2v_bert"], "audio", phases=ONCE))
        return done

    return run


def expert(done, name, settings):
    """Return the predictions of an expert that was trained for an epoch."""
    places = {"expert": done.root / name, "curve": done.root / f"{name}.csv", "work": done.root / "work"}
    places |= {"machine": corpora.machine()}
    found, _ = finetune(name, settings, done.corpus, done.root, done.texts, **places)
    predictions.write(done.root / f"{name}.parquet", found)
    return found


def test_parts_of_a_recording_end_in_the_bytes_of_files_of_their_own(chain):
    own, part = chain(cut=False), chain(cut=True)
    np.testing.assert_array_equal(part.corpus.frame["duration_s"], own.corpus.frame["duration_s"])
    assert part.metrics["text_alone"] == own.metrics["text_alone"] == {"missing": 2, "no audio": 1}
    written = ["t.parquet", "audio.parquet", *(f"embedding/layer_0{i}.parquet" for i in range(4))]
    for name in written:
        assert (part.root / name).read_bytes() == (own.root / name).read_bytes(), name
    assert len(set(own.texts[3:])) == 3 and own.texts[:3] == list(corpora.TEXTS[:3])


def test_utterances_with_text_alone_reach_the_scores_through_whoever_reads_text(chain, capsys):
    done = chain(cut=True)
    experts = [done.audio, expert(done, "joint", corpora.joint(done, phases=ONCE))]
    assert [len(each) for each in experts] == [36, 39]
    uniform = RebalancingSettings.parse({"prior": "uniform"}, "rebalancing.x")
    even = [rebalance(each, done.corpus, uniform) for each in experts]
    settings = FusionSettings.parse({"experts": ["audio", "joint"], "tuning": "dev"}, "fusion")
    fused = fuse(even, done.corpus, settings).fused
    assert fused.utterance_ids.tolist() == done.corpus.ids.tolist()
    np.testing.assert_allclose(fused.posterior[:3], even[1].posterior[:3], atol=1e-9)
    tables = {"audio": fuse(even[:1], done.corpus, settings).fused, "fused": fused}
    said = "3 of 39 utterances have no posterior of any expert among ['audio'], 'text_a' first: they are left out"
    assert said in capsys.readouterr().out
    systems = [align(name, done.root, each, done.corpus) for name, each in tables.items()]
    names = {name: f"data/{name}.parquet" for name in tables}
    scoring = {"splits": ["test"], "tables": names, "comparison": {"against": []}}
    found = score(done.corpus, systems, ScoringSettings.parse(scoring | {"least_coverage": 0.5}, "scoring"))
    assert found.scores["test"]["audio"]["n"] == 9 and found.scores["test"]["fused"]["n"] == 10
    assert "test: audio predicts 9 of 10 scored utterances, scored on these" in found.warnings
