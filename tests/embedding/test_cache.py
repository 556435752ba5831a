"""One recording more costs one recording, and nothing else costs any; a fresh run and an incremental one are equal."""

import numpy as np
import pandas as pd
import pytest

from pipeline_lib.shards.packs import packs_in
from pipeline_lib.tables import embeddings
from pipeline_lib.tables.manifest import Manifest
from tests.embedding import runs
from tests.embedding.conftest import TEXTS
from tests.embedding.runs import digest, run


def part(corpus: Manifest, rows) -> Manifest:
    return Manifest(corpus.frame.iloc[list(rows)].reset_index(drop=True), corpus.corpus, corpus.labels)


@pytest.mark.parametrize("frames", [False, True])
def test_one_row_more_costs_one_forward_pass_and_gives_the_bytes_of_a_fresh_run(
    frames, corpus, entry, tmp_path, calls, capsys
):
    settings = entry("hubert_group", frames=frames)
    run(part(corpus, [0, 1, 2, 3, 5, 6, 7, 8, 9]), settings, tmp_path, "before")
    assert sorted(calls) == [[f"u{i}"] for i in range(10) if i != 4]
    calls.clear()
    grown = run(corpus, settings, tmp_path, "grown")
    assert calls == [["u4"]]  # in the middle, so that every later row moves to another shard
    assert "embedding: 9 of 10 cached" in capsys.readouterr().err
    assert digest(grown) == digest(run(corpus, settings, tmp_path, "fresh", work="anew"))


def test_labels_speakers_splits_folds_and_exclusions_cost_no_forward_pass(corpus, entry, tmp_path, calls):
    settings = entry("w2v_bert")
    before = digest(run(corpus, settings, tmp_path, "before"))
    calls.clear()
    frame = corpus.frame
    changes = {
        "label": {"emotion": ["b", *frame["emotion"][1:]]},
        "speaker": {"speaker": ["s1"] * 10},
        "split": {"split": "folds"},
        "one fold more": {"subsets": [[f"fold{i % 3}"] for i in range(10)]},
    }
    for change, columns in changes.items():
        changed = Manifest(frame.assign(**columns), corpus.corpus, corpus.labels)
        assert digest(run(changed, settings, tmp_path, "after")) == before, change
    renamed = Manifest(frame.assign(utterance_id=[f"v{9 - i}" for i in range(10)]), corpus.corpus, corpus.labels)
    renamed.frame.sort_values("utterance_id", inplace=True, ignore_index=True)
    folder = run(renamed, settings, tmp_path, "renamed")
    np.testing.assert_array_equal(
        embeddings.read_layer(folder, 3)[1], embeddings.read_layer(tmp_path / "before", 3)[1][::-1]
    )
    excluded = part(corpus, [0, 1, 2, 3, 4, 6, 7, 8, 9])
    without = digest(run(excluded, settings, tmp_path, "without"))
    assert calls == []
    assert without == digest(run(excluded, settings, tmp_path, "fresh", work="anew"))


def test_copies_of_a_sound_are_computed_once_and_parts_of_a_recording_are_no_copies(
    corpus, entry, tmp_path, calls, capsys
):
    corpus.frame["audio"], corpus.frame["audio_sha256"] = "u1.wav", "a" * 64
    corpus.frame["start_s"] = [0.0, 0.5] * 5
    corpus.frame["end_s"] = [0.5, 1.0] * 5
    folder = run(corpus, entry("hubert_group"), tmp_path)
    assert len(calls) == 2
    assert "embedding: 0 of 2 cached (8 more are copies of others)" in capsys.readouterr().err
    vectors = embeddings.read_layer(folder, 3)[1]
    assert (vectors[0] == vectors[2]).all() and (vectors[0] != vectors[1]).any()


def test_a_text_more_costs_one_and_the_bytes_are_those_of_a_fresh_run(corpus, entry, tmp_path, calls, monkeypatch):
    settings = entry("llama")
    run(corpus, settings, tmp_path, "before")
    calls.clear()
    monkeypatch.setattr(runs, "TEXTS", [*TEXTS[:5], "so angry", *TEXTS[6:]])
    changed = run(corpus, settings, tmp_path, "changed")
    assert calls == [["u5"]]
    assert digest(changed) == digest(run(corpus, settings, tmp_path, "fresh", work="anew"))


def test_a_damaged_pack_is_computed_again_and_counted(corpus, entry, tmp_path, calls, capsys):
    settings = entry("hubert_layer")
    before = digest(run(corpus, settings, tmp_path, "before"))
    victim = packs_in(tmp_path / "work")[0]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    calls.clear()
    capsys.readouterr()
    assert digest(run(corpus, settings, tmp_path, "after")) == before
    assert len(calls) in (2, 4)  # a shard of 4, 4 or 2
    console = capsys.readouterr().err
    assert "1 of 3 packs are damaged and were removed" in console
    assert f"embedding: {10 - len(calls)} of 10 cached" in console
    assert len(packs_in(tmp_path / "work")) == 3


def test_a_kill_while_one_recording_is_added_costs_what_was_not_finished(corpus, entry, tmp_path, calls):
    settings = entry("hubert_group", shard_size=2)
    run(part(corpus, range(4)), settings, tmp_path, "before")
    calls.clear()
    calls.fails = 5
    with pytest.raises(Exception, match="out of memory"):
        run(corpus, settings, tmp_path, "grown")
    assert not (tmp_path / "grown").exists()
    calls.clear()
    calls.fails = None
    grown = digest(run(corpus, settings, tmp_path, "grown"))
    assert sorted(calls) == [["u8"], ["u9"]]  # two shards of two had been finished, the third was not
    assert grown == digest(run(corpus, settings, tmp_path, "fresh", work="anew"))


def test_the_origin_of_cached_rows_is_carried(corpus, entry, tmp_path, calls):
    settings = entry("hubert_group")
    run(corpus, settings, tmp_path, "before")
    calls.clear()
    info = embeddings.read_info(run(corpus, settings, tmp_path, "after"))
    assert calls == [] and (info.device, info.precision) == ("cpu", "float32")


def test_an_utterance_that_gets_its_audio_later_costs_one(corpus, entry, tmp_path, calls):
    settings = entry("hubert_group")
    names = corpus.frame["audio"].tolist()
    corpus.frame["audio"] = pd.Series([None, *names[1:]], dtype=object)
    run(corpus, settings, tmp_path)
    calls.clear()
    corpus.frame["audio"] = names
    run(corpus, settings, tmp_path)
    assert calls == [["u0"]]
