"""Copies: their bytes, their manifest, what has none."""

import hashlib

import numpy as np
import pytest
import soundfile

from pipeline_lib.audio.decoding import check, decode
from pipeline_lib.finetuning.augmentation import sounds
from pipeline_lib.robustness.alter import write_copies
from pipeline_lib.robustness.conditions import Sources
from pipeline_lib.robustness.levels import CLEAN, Level
from pipeline_lib.tables.manifest import keep
from tests.robustness.corpora import recorded, speech, without_rows


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    soundfile.write(root / "rain.flac", speech(50, 1.0), 16_000)
    return recorded(root / "speech", utterances=6), root / "speech", Sources(sounds.noises_in(root))


def test_a_clean_copy_decodes_to_the_recording_bit_for_bit(corpus, tmp_path):
    given, root, _ = corpus
    copies = write_copies(given, root, CLEAN, Sources(), 1, tmp_path)
    assert len(copies.manifest) == 6 and not copies.losses and copies.quieter == 0
    for before, after in zip(given.frame["audio"], copies.manifest.frame["audio"], strict=True):
        np.testing.assert_array_equal(check(tmp_path / after), decode(root / before))


def test_the_manifest_names_copies_by_their_bytes_and_keeps_labels_and_folds(corpus, tmp_path):
    given, root, sources = corpus
    copies = write_copies(given, root, Level("noise", "5"), sources, 1, tmp_path).manifest
    for name, digest in zip(copies.frame["audio"], copies.frame["audio_sha256"], strict=True):
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    for column in ("utterance_id", "speaker", "emotion", "split", "subsets", "reference_text"):
        assert copies.frame[column].tolist() == given.frame[column].tolist()


@pytest.mark.parametrize("level", [Level("noise", "5"), Level("codec", "opus_12"), Level("codec", "mp3_16")])
def test_the_same_bytes_again_whichever_others_are_altered(corpus, tmp_path, level):
    given, root, sources = corpus
    whole = write_copies(given, root, level, sources, 1, tmp_path / "whole").manifest.frame
    part = write_copies(keep(given, np.arange(6) % 2 == 1), root, level, sources, 1, tmp_path / "part").manifest.frame
    assert part["audio_sha256"].tolist() == whole["audio_sha256"].tolist()[1::2]


def test_a_segment_is_altered_as_a_recording_of_its_own(corpus, tmp_path):
    given, root, _ = corpus
    part = without_rows(keep(given, np.arange(6) == 2), start_s=0.1, end_s=0.3)
    copies = write_copies(part, root, CLEAN, Sources(), 1, tmp_path).manifest
    assert copies.frame["duration_s"].tolist() == [0.2] and copies.frame["end_s"].isna().all()
    whole = decode(root / part.frame["audio"].iloc[0])
    np.testing.assert_array_equal(decode(tmp_path / copies.frame["audio"].iloc[0]), whole[1_600:4_800])


def test_sums_beyond_full_scale_are_made_quieter_not_clipped(corpus, tmp_path):
    given, _, sources = corpus
    (tmp_path / "loud").mkdir()
    for name in given.frame["audio"]:
        samples = speech(1)
        soundfile.write(tmp_path / "loud" / name, 0.99 * samples / np.abs(samples).max(), 16_000, subtype="FLOAT")
    copies = write_copies(given, tmp_path / "loud", Level("noise", "0"), sources, 1, tmp_path / "copies")
    sizes = [np.abs(decode(tmp_path / "copies" / name)) for name in copies.manifest.frame["audio"]]
    at_the_limit = [size for size in sizes if size.max() == pytest.approx(1, abs=1e-6)]
    assert copies.quieter == len(at_the_limit) >= 2
    assert all((size > 0.999).sum() < 5 for size in sizes)


def test_what_cannot_be_decoded_or_is_too_quiet_is_left_out_and_named(corpus, tmp_path):
    given, root, _ = corpus
    (tmp_path / "bad").mkdir()
    for name in given.frame["audio"]:
        (tmp_path / "bad" / name).write_bytes((root / name).read_bytes())
    (tmp_path / "bad" / "01.wav").write_bytes(b"no sound")
    soundfile.write(tmp_path / "bad" / "04.wav", np.zeros(8_000), 16_000)
    copies = write_copies(given, tmp_path / "bad", CLEAN, Sources(), 1, tmp_path / "copies")
    assert copies.manifest.ids.tolist() == ["u00", "u02", "u03", "u05"]
    assert copies.losses == {"not audio": ["u01"], "quieter than -80 dB of full scale": ["u04"]}
