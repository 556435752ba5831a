"""What crosses splits: copies in any encoding, texts, and speakers in two spellings; and what does not."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from pipeline_lib.corpus import acoustic
from pipeline_lib.corpus.collect import collect
from pipeline_lib.corpus.crossing import find
from pipeline_lib.errors import InputError
from pipeline_lib.tables import leaks

RATE = 16_000


def speech_like(seed, seconds=1.5):
    """Return noise whose spectrum changes eight times a second, float32."""
    generator = np.random.default_rng(seed)
    parts = []
    for _ in range(round(8 * seconds)):
        taps = generator.normal(size=24) * np.exp(-np.arange(24) / 6)
        parts.append(np.convolve(generator.normal(size=RATE // 8), taps, "same") * generator.uniform(0.3, 1.0))
    samples = np.concatenate(parts)
    return (0.3 * samples / np.abs(samples).max()).astype(np.float32)


@pytest.fixture
def own(tmp_path):
    """Write corpus.csv: rows of (file, split, speaker, text)."""

    def write(rows):
        lines = ["audio,emotion,split,speaker,reference_text"]
        lines += [
            f"{file},{('anger', 'fear')[i % 2]},{split},{who},{text}" for i, (file, split, who, text) in enumerate(rows)
        ]
        (tmp_path / "corpus.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    return write


def rows_of(collected):
    return sorted(
        (row.kind, row.utterance_id, row.split, row.other_utterance_id, row.other_split) for row in collected.leaks.rows
    )


def test_copies_are_named_in_every_pair_of_splits(tmp_path, own, settings):
    sounds = [speech_like(seed) for seed in range(10)]
    for i, sound in enumerate(sounds):
        soundfile.write(tmp_path / f"{i}.wav", sound, RATE)
    samples, _ = soundfile.read(tmp_path / "0.wav", dtype="int16")
    soundfile.write(tmp_path / "flac.flac", samples, RATE)  # the same samples
    data = (tmp_path / "1.wav").read_bytes() + b"note\x04\x00\x00\x00abcd"  # one more chunk
    (tmp_path / "chunk.wav").write_bytes(data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:])
    soundfile.write(tmp_path / "coded.mp3", 0.5 * sounds[2], RATE)
    soundfile.write(tmp_path / "narrow.wav", soxr.resample(sounds[3], RATE, 8_000), 8_000)
    (tmp_path / "bytes.wav").write_bytes((tmp_path / "4.wav").read_bytes())
    files = [("0", "train"), ("1", "dev"), ("2", "train"), ("3", "train"), ("4", "train"), ("5", "train"), ("6", "dev"),
             ("7", "dev"), ("8", "test"), ("9", "test")]  # fmt: skip
    rows = [(f"{name}.wav", split, f"{split}{int(name) % 2}", "") for name, split in files]
    copies = [
        ("flac.flac", "test"),
        ("chunk.wav", "test"),
        ("coded.mp3", "dev"),
        ("narrow.wav", "test"),
        ("bytes.wav", "dev"),
    ]
    own([*rows, *((name, split, f"{split}0", "") for name, split in copies)])
    collected = collect(settings("table"))
    assert rows_of(collected) == [
        ("bytes", "bytes", "dev", "4", "train"),
        ("samples", "chunk", "test", "1", "dev"),
        ("samples", "flac", "test", "0", "train"),
        ("sound", "coded", "dev", "2", "train"),
        ("sound", "narrow", "test", "3", "train"),
    ]
    assert collected.metrics["leaks"] == {"bytes": 1, "samples": 2, "sound": 2} and collected.leaks.protocol == ""
    assert (
        "1 utterances of dev are recordings in another encoding of train (data/leaks.parquet): 'coded' and '2'."
        in (collected.metrics["warnings"])
    )
    assert all((row.bit_errors is not None) == (row.kind == "sound") for row in collected.leaks.rows)
    path = tmp_path / "leaks.parquet"
    leaks.write(path, collected.leaks)
    assert sorted(map(repr, leaks.read(path).rows)) == sorted(map(repr, collected.leaks.rows))


def test_texts_of_six_words_and_speakers_in_two_spellings_are_named(tmp_path, own, settings, say):
    for i in range(8):
        say(tmp_path / f"{i}.wav")
    long, short = "I never said that I would go", "no I will not go"
    rows = [(0, "train", "TRAINS0", long), (1, "train", "b", short), (2, "dev", "c", f"[sigh] {long.upper()}!"),
            (3, "dev", "d", short), (4, "test", "trains0", "we met him by the old mill"), (5, "test", "f", long),
            (6, "train", "b", "one with six words in it"), (7, "test", "f", "another one of six words")]  # fmt: skip
    own([(f"{i}.wav", *row) for i, *row in rows])
    collected = collect(settings("table"))
    assert rows_of(collected) == [
        ("speaker", "4", "test", "0", "train"),
        ("text", "2", "dev", "0", "train"),
        ("text", "5", "test", "0", "train"),
        ("text", "5", "test", "2", "dev"),
    ]


def test_a_speaker_in_two_unicode_forms_is_refused(tmp_path, own, settings, say):
    for i in range(4):
        say(tmp_path / f"{i}.wav")
    speakers = [("train", "Zoe\u0308"), ("train", "b"), ("test", "Zo\u00eb"), ("test", "d")]
    own([(f"{i}.wav", *row, "") for i, row in enumerate(speakers)])
    with pytest.raises(InputError, match="two Unicode forms"):
        collect(settings("table"))


def frame_of(sides, texts):
    n = len(sides)
    columns = {"utterance_id": [f"u{i:03d}" for i in range(n)], "side": sides, "reference_text": texts}
    empty = dict.fromkeys(("audio_sha256", "sound", "fingerprint", "speaker"), [None] * n)
    return pd.DataFrame({**columns, **empty, "start_s": np.nan, "end_s": np.nan, "duration_s": 1.0})


@pytest.mark.parametrize("sides", [("train", "dev", "test"), ("fold0", "fold1", "fold10")])
def test_a_scripted_corpus_is_told_in_one_sentence(sides):
    script = ["kids are talking by the door", "dogs are sitting by the door"]
    result = find(frame_of([sides[i % 3] for i in range(12)], [script[i % 2] for i in range(12)]))
    assert result.rows == () and result.protocol.startswith("Scripted corpus: 2 sentences of six words or more")
    assert "12 of 12 utterances" in result.protocol


def test_folds_come_in_the_order_of_their_numbers_and_unlabelled_is_no_side():
    text = "this is a sentence of seven words"
    result = find(frame_of(["fold10", "fold2", "unlabelled", "test", "test2"], [text, text, text, "", ""]))
    (row,) = result.rows
    assert (row.utterance_id, row.split, row.other_split) == ("u000", "fold10", "fold2")


def test_silence_tones_and_short_recordings_have_no_fingerprint_and_takes_differ():
    tone = np.sin(np.arange(2 * RATE) * 0.3).astype(np.float32)
    assert acoustic.fingerprint(tone) is None and acoustic.fingerprint(np.zeros(2 * RATE, np.float32)) is None
    assert acoustic.fingerprint(speech_like(1)[:6_000]) is None
    one, other = (acoustic.fingerprint(speech_like(seed)) for seed in (1, 2))
    assert acoustic.difference(one, other) > 0.35 and acoustic.difference(one, one) == 0


def test_the_share_of_bits_is_that_of_the_best_lag_over_counted_frames():
    generator = np.random.default_rng(3)
    bits = generator.integers(0, 2**32, 40).astype(np.uint64)
    spectrum = np.zeros(33, np.float32)
    one = acoustic.Fingerprint(bits | np.uint64(1 << 32), spectrum)
    late = np.concatenate([bits[:3], bits])[:40]  # three frames later
    late[10] ^= np.uint64(0b1011)  # three bits
    late = late | np.uint64(1 << 32)
    late[20] &= np.uint64(2**32 - 1)  # not counted
    assert acoustic.difference(one, acoustic.Fingerprint(late, spectrum)) == 3 / (32 * 36)


def test_candidates_by_duration_and_spectrum_are_those_of_all_pairs():
    generator = np.random.default_rng(5)
    prints = [acoustic.fingerprint(speech_like(seed % 20, 0.8)) for seed in range(60)]
    durations = 0.8 + generator.uniform(0, 0.5, 60)
    sides = [str(each) for each in generator.integers(0, 3, 60)]
    expected = {
        (i, j)
        for i in range(60)
        for j in range(i)
        if sides[i] != sides[j] and abs(durations[i] - durations[j]) <= 0.25 and i % 20 == j % 20
    }
    assert {(j, i) for i, j, _ in acoustic.same(prints, durations, sides)} == expected and len(expected) > 10
