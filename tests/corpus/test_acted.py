"""The acted corpora, each laid out as it is distributed: names carry speaker, emotion and sentence."""

import pytest

from pipeline_lib.corpus import crema_d, emodb, nemo, ravdess, tess
from pipeline_lib.errors import InputError


def rows(frame, *names):
    return frame.sort_values("utterance_id")[list(names)].values.tolist()


def rejected(frame):
    """Return utterance_id -> reason of what could not be read."""
    bad = frame[frame["reject"].notna()]
    return dict(zip(bad["utterance_id"], bad["reject"], strict=True))


def test_ravdess_names_are_read_and_song_and_video_are_passed_over(tmp_path, say, settings):
    say(tmp_path / "Actor_01" / "03-01-05-02-01-01-01.wav")
    say(tmp_path / "Actor_02" / "03-01-02-01-02-02-02.ogg")  # another container
    say(tmp_path / "Actor_02" / "03-02-02-01-02-02-02.wav")  # song
    say(tmp_path / "Actor_02" / "._03-01-02-01-02-02-02.wav")  # what macOS leaves
    frame = ravdess.read(tmp_path, settings("ravdess"))
    assert rows(frame, "utterance_id", "speaker", "gender", "emotion", "reference_text") == [
        ["03-01-02-01-02-02-02", "Actor_02", "female", "calm", "Dogs are sitting by the door"],
        ["03-01-05-02-01-01-01", "Actor_01", "male", "anger", "Kids are talking by the door"],
    ]
    assert frame.attrs["notes"] == ["1 recordings of song or of another modality are passed over."]
    assert sorted(frame["audio"]) == ["Actor_01/03-01-05-02-01-01-01.wav", "Actor_02/03-01-02-01-02-02-02.ogg"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("03-01-09-01-01-01-01", r"03-01-09-01-01-01-01\.wav: emotion '09' is unknown, expected one of \['01'"),
        ("03-01-01-01-03-01-01", r"sentence '03' is unknown"),
        ("03-01-01-01-01-01-25", r"actor '25' is unknown, expected 01 to 24"),
        ("take_1", r"take_1\.wav is not named as RAVDESS names recordings"),
    ],
)
def test_where_no_ravdess_name_means_anything_the_first_is_named(tmp_path, say, settings, name, message):
    say(tmp_path / f"{name}.wav")
    with pytest.raises(InputError, match=message):
        ravdess.read(tmp_path, settings("ravdess"))


def test_a_folder_without_recordings_says_what_was_looked_for(tmp_path, settings):
    (tmp_path / "readme.txt").touch()
    with pytest.raises(InputError, match=r"holds no recording \(.wav .*RAVDESS has files such as Actor_01/03-01"):
        ravdess.read(tmp_path, settings("ravdess"))


def test_emodb_letters_are_those_of_the_german_names(tmp_path, say, settings):
    for name in ("03a01Wa", "16b10Lb", "08a02Ec", "09a07Ad", "10b01Fa", "11b02Ta", "12b03N"):
        say(tmp_path / "wav" / f"{name}.wav")
    frame = emodb.read(tmp_path, settings("emodb"))
    assert rows(frame, "speaker", "gender", "emotion") == [
        ["03", "male", "anger"],
        ["08", "female", "disgust"],
        ["09", "female", "fear"],
        ["10", "male", "happiness"],
        ["11", "male", "sadness"],
        ["12", "male", "neutral"],
        ["16", "female", "boredom"],
    ]
    assert frame["reference_text"][0] == "Der Lappen liegt auf dem Eisschrank."
    say(tmp_path / "wav" / "03a01Xa.wav")
    assert rejected(emodb.read(tmp_path, settings("emodb"))) == {
        "03a01Xa": "misnamed: wav/03a01Xa.wav: emotion 'X' is unknown, expected one of"
        " ['A', 'E', 'F', 'L', 'N', 'T', 'W']"
    }


def test_tess_reads_the_file_name_whatever_the_folder_is_called(tmp_path, say, settings):
    say(tmp_path / "OAF_Pleasant_surprise" / "OAF_back_ps.wav")
    say(tmp_path / "YAF_pleasant_surprised" / "YAF_bite_ps.wav")
    say(tmp_path / "OAF_neutral" / "OA_bite_neutral.wav")  # a slip in the distribution
    frame = tess.read(tmp_path, settings("tess"))
    assert rows(frame, "speaker", "emotion", "reference_text") == [
        ["OAF", "surprise", "Say the word back"],
        ["OAF", "neutral", "Say the word bite"],
        ["YAF", "surprise", "Say the word bite"],
    ]
    say(tmp_path / "OAF_joy" / "OAF_back_joy.wav")
    (reason,) = rejected(tess.read(tmp_path, settings("tess"))).values()
    assert reason.startswith("misnamed: OAF_joy/OAF_back_joy.wav: emotion 'joy' is unknown")


NEMO = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"


def test_nemo_takes_text_and_gender_from_its_table(tmp_path, say, settings):
    say(tmp_path / "samples" / "WR0_surprised_4.wav")
    (tmp_path / "data.tsv").write_text(
        NEMO + "WR0_surprised_4.wav\tsurprised\tLubię czytać.\tlubię czytać\tWR0\tmale\t24\n"
    )
    frame = nemo.read(tmp_path, settings("nemo"))
    assert rows(frame, "utterance_id", "speaker", "gender", "emotion", "reference_text") == [
        ["WR0_surprised_4", "WR0", "male", "surprise", "Lubię czytać."]
    ]


def test_nemo_without_a_table_and_with_the_cut_down_copys_table(tmp_path, say, settings):
    say(tmp_path / "audio" / "EB0_anger_1.flac")
    assert rows(nemo.read(tmp_path, settings("nemo")), "speaker", "gender") == [["EB0", None]]
    header = "utterance_id,audio,speaker,gender,emotion,reference_text\n"
    (tmp_path / "manifest.csv").write_text(
        header + "EB0_anger_1,audio/EB0_anger_1.opus,EB0,female,anger,Tak.\nEB0_fear_1,x,EB0,female,fear,Nie.\n"
    )
    frame = nemo.read(tmp_path, settings("nemo"))
    assert rows(frame, "audio", "gender", "reference_text") == [
        ["audio/EB0_anger_1.flac", "female", "Tak."],
        ["audio/EB0_fear_1.wav", "female", "Nie."],  # in the table only: for the quarantine
    ]


def test_a_nemo_table_that_contradicts_a_name_stops_with_the_line(tmp_path, say, settings):
    say(tmp_path / "samples" / "WR0_fear_4.wav")
    (tmp_path / "data.tsv").write_text(NEMO + "WR0_fear_4.wav\tanger\tTak.\ttak\tWR0\tmale\t24\n")
    with pytest.raises(
        InputError, match=r"data\.tsv, line 2: emotion is 'anger', expected 'fear' as in the recording's name"
    ):
        nemo.read(tmp_path, settings("nemo"))


VOTES = '"","A","D","F","H","N","S","fileName","numResponses"\n'
CLIP = "1001_DFA_ANG_XX"


def votes_file(tmp_path, text):
    (tmp_path / "processedResults").mkdir(exist_ok=True)
    (tmp_path / "processedResults" / "tabulatedVotes.csv").write_text(VOTES + text)


def test_crema_d_is_labelled_by_the_plurality_of_the_chosen_presentation(tmp_path, say, settings):
    say(tmp_path / "AudioWAV" / f"{CLIP}.wav")
    (tmp_path / "VideoDemographics.csv").write_text('"ActorID","Age","Sex"\n1001,51,"Male"\n')
    votes_file(
        tmp_path,
        f'"100001",5,0,0,0,4,1,"{CLIP}",10\n"200001",3,3,0,0,1,0,"{CLIP}",7\n"300001",1,0,0,6,0,0,"{CLIP}",7\n',
    )
    result = {}
    for chosen in ("voice", "face", "both", "intended"):
        frame = crema_d.read(tmp_path, settings("crema_d", crema_d={"emotion": chosen}))
        result[chosen] = rows(frame, "emotion", "votes")[0]
    assert result == {
        "voice": ["anger", {"anger": 5, "neutral": 4, "sadness": 1}],
        "face": ["X", {"anger": 3, "disgust": 3, "neutral": 1}],  # a tie
        "both": ["happiness", {"anger": 1, "happiness": 6}],
        "intended": ["anger", {"anger": 5, "neutral": 4, "sadness": 1}],
    }
    assert rows(frame, "speaker", "gender", "reference_text") == [["1001", "male", "Don't forget a jacket."]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'"100001",5,0,0,0,four,1,"{CLIP}",10\n', r"tabulatedVotes\.csv, line 2: votes for N are 'four'"),
        (f'"7",5,0,0,0,4,1,"{CLIP}",10\n', r"line 2: row name '7', expected 1xxxxx"),
        ('"100001",5,0,0,0,4,1,"1002_DFA_ANG_XX",10\n', rf"has no voice votes on .*{CLIP}\.wav"),
        (f'"100001",5,0,0,0,"{CLIP}",10\n', r"line 2: 7 cells, the header has 9"),
    ],
)
def test_crema_d_votes_that_cannot_be_read_stop_with_the_line(tmp_path, say, settings, text, message):
    say(tmp_path / "AudioWAV" / f"{CLIP}.wav")
    votes_file(tmp_path, text)
    with pytest.raises(InputError, match=message):
        crema_d.read(tmp_path, settings("crema_d"))


def test_crema_d_without_its_votes_names_the_setting_that_does_without(tmp_path, say, settings):
    say(tmp_path / "AudioWAV" / f"{CLIP}.wav")
    with pytest.raises(InputError, match="no tabulatedVotes.csv.*corpus.crema_d.emotion: intended"):
        crema_d.read(tmp_path, settings("crema_d"))
    frame = crema_d.read(tmp_path, settings("crema_d", crema_d={"emotion": "intended"}))
    assert rows(frame, "emotion", "votes", "gender") == [["anger", None, None]]


BROWSER = [
    (ravdess, "ravdess", "Actor_01/03-01-05-02-01-01-01{}.wav", "03-01-05-02-01-01-01"),
    (emodb, "emodb", "wav/03a01Wa{}.wav", "03a01Wa"),
    (tess, "tess", "OAF_angry/OAF_back_angry{}.wav", "OAF_back_angry"),
    (nemo, "nemo", "samples/WR0_anger_4{}.wav", "WR0_anger_4"),
    (crema_d, "crema_d", "AudioWAV/1001_DFA_ANG_XX{}.wav", CLIP),
]


@pytest.mark.parametrize(("reader", "name", "path", "utterance"), BROWSER, ids=[case[1] for case in BROWSER])
@pytest.mark.parametrize("suffix", [" (1)", "(2)", " - Copy", " - Copy (2)", " copy", " copy 3"])
def test_what_browsers_append_to_a_name_is_no_part_of_it(
    tmp_path, say, settings, reader, name, path, utterance, suffix
):
    say(tmp_path / path.format(suffix))
    votes_file(tmp_path, f'"100001",5,0,0,0,4,1,"{CLIP}",10\n')
    frame = reader.read(tmp_path, settings(name))
    assert rows(frame, "utterance_id", "emotion", "reject") == [[utterance, "anger", None]]


def test_one_stray_recording_does_not_cost_the_corpus(tmp_path, say, settings):
    for name in ("03a01Wa", "16b10Lb", "99a01Wa", "take_1"):
        say(tmp_path / "wav" / f"{name}.wav")
    frame = emodb.read(tmp_path, settings("emodb"))
    assert frame["utterance_id"][frame["reject"].isna()].tolist() == ["03a01Wa", "16b10Lb"]
    reasons = rejected(frame)
    assert reasons["99a01Wa"].startswith("misnamed: wav/99a01Wa.wav: speaker '99' is unknown")
    assert reasons["take_1"].startswith("misnamed: wav/take_1.wav is not named as EmoDB")
    assert not any(str(tmp_path) in reason for reason in reasons.values())


def test_a_clip_of_crema_d_with_a_cut_name_is_matched_where_only_one_clip_can_be_meant(tmp_path, say, settings):
    for name in ("1003_DFA_SAD_X", "1004_DFA_ANG_H", "1005_DFA_SAD_X", "1005_DFA_SAD_XX", "1006_DFA_SAD_X"):
        say(tmp_path / "AudioWAV" / f"{name}.wav")
    clips = ("1003_DFA_SAD_XX", "1004_DFA_ANG_HI", "1004_DFA_ANG_LO", "1005_DFA_SAD_XX")
    votes_file(tmp_path, "".join(f'"10000{i}",0,0,0,0,0,5,"{clip}",5\n' for i, clip in enumerate(clips)))
    frame = crema_d.read(tmp_path, settings("crema_d"))
    good = frame[frame["reject"].isna()]
    assert good[["utterance_id", "audio", "emotion"]].values.tolist() == [
        ["1003_DFA_SAD_XX", "AudioWAV/1003_DFA_SAD_X.wav", "sadness"],
        ["1004_DFA_ANG_HI", "AudioWAV/1004_DFA_ANG_H.wav", "sadness"],
        ["1005_DFA_SAD_XX", "AudioWAV/1005_DFA_SAD_XX.wav", "sadness"],
    ]
    assert {name: reason.partition(" (")[0] for name, reason in rejected(frame).items()} == {
        name: f"malformed: tabulatedVotes.csv has no voice votes on AudioWAV/{name}.wav"
        for name in ("1005_DFA_SAD_X", "1006_DFA_SAD_X")  # the clip of the first has a recording of its own
    }
    assert frame.attrs["notes"] == ["2 recordings whose names are cut short are matched to the clip that they begin."]


def test_one_bad_line_of_crema_ds_votes_costs_its_clip_alone(tmp_path, say, settings):
    say(tmp_path / "AudioWAV" / f"{CLIP}.wav")
    say(tmp_path / "AudioWAV" / "1002_DFA_ANG_XX.wav")
    votes_file(
        tmp_path,
        f'"100001",5,0,0,0,4,1,"{CLIP}",10\n"100002",five,0,0,0,4,1,"1002_DFA_ANG_XX",10\n"100003",5,0\n'
        '"100004",5,0,0,0,4,1,"100"4",10\n',
    )
    frame = crema_d.read(tmp_path, settings("crema_d"))
    assert frame["utterance_id"][frame["reject"].isna()].tolist() == [CLIP]
    where = "malformed: processedResults/tabulatedVotes.csv"
    assert list(rejected(frame).values()) == [
        f"{where}, line 4: 3 cells, the header has 9 (a comma in an unquoted text?)",
        f"{where}, line 5: not CSV: ',' expected after '\"'",
        f"{where}, line 3: votes for A are 'five', expected a whole number",
    ]


def test_a_line_of_nemos_table_that_contradicts_costs_its_recording_alone(tmp_path, say, settings):
    for name in ("WR0_fear_4", "WR0_anger_4"):
        say(tmp_path / "samples" / f"{name}.wav")
    good = "WR0_anger_4.wav\tanger\tTak.\ttak\tWR0\tmale\t24\n"
    (tmp_path / "data.tsv").write_text(NEMO + good + "WR0_fear_4.wav\tanger\tTak.\ttak\tWR0\tmale\t24\n")
    frame = nemo.read(tmp_path, settings("nemo"))
    assert rejected(frame) == {
        "WR0_fear_4": "malformed: data.tsv, line 3: emotion is 'anger', expected 'fear' as in the recording's name"
    }


def test_a_folder_without_recordings_that_can_be_read_says_what_is_there(tmp_path, settings):
    for name in ("Audio_Speech_Actors_01-24.zip", "a.m4a", "b.m4a"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"it holds 2 \.m4a, 1 \.zip files \(not unpacked, or to be converted\?\)"):
        ravdess.read(tmp_path, settings("ravdess"))
