"""Folders and tables of recordings: what is found, what is refused."""

import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from pipeline_lib.errors import InputError
from pipeline_lib.finetuning.augmentation import sounds
from pipeline_lib.params.augmentation import AugmentationSettings


def find(root, noise=None, reverberation=None):
    entry = {}
    if noise is not None:
        entry["noise"] = {"probability": 0.5, "root": str(root), **noise}
    if reverberation is not None:
        entry["reverberation"] = {"probability": 0.5, "root": str(root), **reverberation}
    return sounds.find(AugmentationSettings.model_validate(entry))


def names(result):
    return [(sound.name, sound.category) for sound in result]


def table(root, text, name="table.csv"):
    (root / name).write_text(text)
    return {"table": name}


@pytest.fixture
def own(tmp_path):
    """Return a folder with one noise and one response."""
    for name in ("hum.wav", "hall.wav"):
        soundfile.write(tmp_path / name, 0.1 * np.random.default_rng(0).standard_normal(1600), 16_000)
    return tmp_path


def test_of_a_walked_folder_the_first_sub_folder_is_the_category(folder):
    result = find(folder, noise={})
    assert names(result.noises) == [
        ("music/jamendo/song.wav", "music"),
        ("noise/free-sound/rain.wav", "noise"),
        ("noise/free-sound/tap.wav", "noise"),
        ("speech/librivox/read.wav", "speech"),
    ]
    assert [sound.duration_s for sound in result.noises] == [3.0, 2.0, 0.05, 1.5]
    assert result.responses == ()


def test_only_categories_with_a_ratio_are_used(folder):
    assert names(find(folder, noise={"snr_db": {"music": [0, 5]}}).noises) == [("music/jamendo/song.wav", "music")]


def test_a_folder_rir_is_taken_before_the_others(folder):
    assert names(find(folder, reverberation={}).responses) == [("rir/decay.wav", "rir"), ("rir/delta.wav", "rir")]


def test_a_folder_of_responses_gives_every_recording_but_noises(tmp_path):
    for name in ("simulated_rirs/smallroom/Room001/a.wav", "real/air_type1_a.wav", "real/rvb_noise_b.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, np.ones(10) / 2, 16_000)
    result = find(tmp_path, reverberation={}).responses
    assert [sound.name for sound in result] == ["real/air_type1_a.wav", "simulated_rirs/smallroom/Room001/a.wav"]


@pytest.mark.parametrize("header", ["file,category", "audio,kind", "id,path,kind"])
def test_one_table_serves_noises_and_responses(own, header):
    lead = "1," if header.startswith("id") else ""
    entry = table(own, f"{header}\n{lead}hum.wav,noise\n{lead}hall.wav,rir\n")
    result = find(own, noise=entry, reverberation=entry)
    assert names(result.noises) == [("hum.wav", "noise")]
    assert names(result.responses) == [("hall.wav", "rir")]


def test_a_parquet_table_without_categories_is_of_responses(own):
    pd.DataFrame({"file": ["hum.wav", "hall.wav"]}).to_parquet(own / "table.parquet")
    entry = {"table": "table.parquet"}
    assert names(find(own, reverberation=entry).responses) == [("hall.wav", None), ("hum.wav", None)]
    with pytest.raises(InputError, match="has no column category or kind, noises need one"):
        find(own, noise=entry)


@pytest.mark.parametrize("path", ["../hum.wav", "/etc/passwd", "link.wav", ""])
def test_a_path_that_leaves_the_folder_is_refused_with_its_row(own, tmp_path_factory, path):
    outside = tmp_path_factory.mktemp("outside") / "hum.wav"
    outside.write_bytes((own / "hum.wav").read_bytes())
    (own / "link.wav").symlink_to(outside)
    with pytest.raises(InputError, match=r"table\.csv, row 2: .*(no path below|outside)"):
        find(own, noise=table(own, f'file,category\nhum.wav,noise\n"{path}",noise\n'))


def test_a_table_outside_the_folder_is_refused(own):
    with pytest.raises(InputError, match="no path below"):
        find(own / "..", noise={"table": "../table.csv"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "table.csv does not exist, expected a table of recordings"),
        ("", "table.csv cannot be read as a table: No columns"),
        ("name,category\nhum.wav,noise\n", "expected one of file, audio, path"),
        ("file,category\n", "table.csv has no recordings"),
        ("file,category\nhum.wav,hum\n", r"has recordings of \['hum'\], snr_db names \['music', 'noise', 'speech'\]"),
        ("file,category\nnone.wav,noise\n", "none.wav does not exist"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(own, text, message):
    entry = {"table": "table.csv"} if text is None else table(own, text)
    with pytest.raises(InputError, match=message):
        find(own, noise=entry)


def test_a_table_with_other_categories_has_no_response(own):
    with pytest.raises(InputError, match=r"recordings of \['noise'\] and no impulse response, expected category 'rir'"):
        find(own, reverberation=table(own, "file,category\nhum.wav,noise\n"))


def test_a_folder_that_is_missing_or_empty_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist or is no folder, expected recordings"):
        find(tmp_path / "none", noise={})
    with pytest.raises(InputError, match="has no recordings, expected files ending in"):
        find(tmp_path, reverberation={})


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_noise_that_was_cut_short_is_refused_before_training(tmp_path, suffix):
    path = tmp_path / "noise" / f"hum.{suffix}"
    path.parent.mkdir()
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(32_000), 16_000)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(InputError, match=r"hum\."):
        find(tmp_path, noise={})


def test_a_response_of_half_a_minute_is_taken_for_noise(tmp_path):
    soundfile.write(tmp_path / "hall.wav", np.ones(16_000 * 30) / 2, 16_000)
    with pytest.raises(InputError, match=r"hall\.wav lasts 30\.0 s, expected an impulse response of at most 20 s"):
        find(tmp_path, reverberation={})


def test_the_identity_names_files_and_sizes(own):
    entry = table(own, "file,category\nhum.wav,noise\nhall.wav,rir\n")
    assert find(own, noise=entry).identity == [[["hum.wav", "noise", 44 + 3200]], []]
    soundfile.write(own / "hum.wav", np.ones(1601) / 2, 16_000)
    assert find(own, noise=entry).identity == [[["hum.wav", "noise", 44 + 3202]], []]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"noise": {"probability": 0.5}}, "probability is 0.5 and root null; expected a folder of recordings"),
        ({"noise": {"snr_db": {}}}, "snr_db names no category"),
        ({"noise": {"snr_db": {"noise": [5, 0]}}}, r"snr_db.noise is \[5.0, 0.0\], expected \[lowest, highest\]"),
        ({"noise": {"probability": 1.5}}, "less than or equal to 1"),
        ({"reverberation": {"rt60_s": [0.5, 0.2]}}, r"rt60_s is \[0.5, 0.2\], expected \[shortest, longest\]"),
        ({"reverberation": {"rt60_s": [0.01, 0.2]}}, "greater than or equal to 0.1"),
        ({"reverberation": {"table": "t.csv"}}, "table is 't.csv' and root null"),
        ({"speed": {"factors": []}}, "at least 1 item"),
        ({"speed": {"factors": [0.0]}}, "greater than or equal to 0.5"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(entry, message):
    with pytest.raises(InputError, match=message):
        AugmentationSettings.parse(entry, "finetuning.audio.augmentation")


def test_a_folder_gives_its_noises_of_any_category_and_its_responses(folder):
    assert [sound.name for sound in sounds.noises_in(folder)] == [
        "music/jamendo/song.wav",
        "noise/free-sound/rain.wav",
        "noise/free-sound/tap.wav",
        "speech/librivox/read.wav",
    ]
    assert [sound.name for sound in sounds.responses_in(folder)] == ["rir/decay.wav", "rir/delta.wav"]


def test_a_folder_with_responses_alone_has_no_noise(folder, tmp_path):
    shutil.copytree(folder / "rir", tmp_path / "rir")
    with pytest.raises(InputError, match="has impulse responses alone, expected recordings of noise"):
        sounds.noises_in(tmp_path)
