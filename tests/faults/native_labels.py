"""Licensed and acted corpora with one thing wrong in their native labels: name, reader, how to lay it out, message."""

from collections.abc import Callable, Iterator
from pathlib import Path

MSP = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
MELD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
IEMOCAP = "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.0000, 3.5000]\nC-E2:\tNeutral;\t()\n"
VOTES = '"","A","D","F","H","N","S","fileName"\n'
Lay = Callable[[Path], None]


def files(**contents: str | bytes) -> Lay:
    """Return what writes these files; ``__`` in a name stands for a folder, a dot for what follows ``_DOT_``."""

    def lay(root: Path) -> None:
        for name, content in contents.items():
            path = root / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return lay


def msp(rows: str, header: str = MSP, **more: str | bytes) -> Lay:
    return files(Labels__labels_consensus_DOT_csv=header + rows, **more)


def meld(row: str) -> Lay:
    tables = {f"{split}_sent_emo_DOT_csv": MELD for split in ("train", "dev", "test")}
    return files(**tables | {"dev_sent_emo_DOT_csv": MELD + row})


def iemocap(old: str, new: str | bytes) -> Lay:
    text = IEMOCAP.replace(old, new) if isinstance(new, str) else IEMOCAP.encode().replace(old.encode(), new)
    return files(Session1__dialog__EmoEvaluation__Ses01F_impro01_DOT_txt=text)


def named(*names: str, **more: str) -> Lay:
    """Return what lays empty recordings of these names."""

    def lay(root: Path) -> None:
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        files(**more)(root)

    return lay


GOOD = "a.wav,A,5,5,5,1,Male,Train\n"


def native() -> Iterator[tuple[str, str, Lay, str]]:
    """Yield what is wrong, the reader, what lays the corpus out, and what the message must say."""
    yield "an unknown code", "msp_podcast", msp("a.wav,Q,5,5,5,1,Male,Train\n"), "line 2: EmoClass 'Q' is unknown"
    yield "a word for a number", "msp_podcast", msp("a.wav,A,high,5,5,1,Male,Train\n"), "line 2: EmoAct is 'high'"
    yield "a value off the scale", "msp_podcast", msp("a.wav,A,52,5,5,1,Male,Train\n"), "'a' .*arousal is 52.*1 to 7"
    yield "an unknown split", "msp_podcast", msp("a.wav,A,5,5,5,1,Male,Dev\n"), "line 2: Split_Set 'dev' is unknown"
    yield "a cell missing", "msp_podcast", msp("a.wav,A,5,5,1,Male,Train\n"), "line 2: 7 cells, the header has 8"
    yield "no name", "msp_podcast", msp(",A,5,5,5,1,Male,Train\n"), "line 2: FileName is empty"
    yield "a column renamed", "msp_podcast", msp(GOOD, MSP.replace("EmoAct", "Act")), "no column 'EmoAct'"
    yield "labels in Latin-1", "msp_podcast", files(Labels__labels_consensus_DOT_csv=b"FileN\xe4me\n"), "is not UTF-8"
    yield "no labels", "msp_podcast", files(Labels__readme_DOT_txt="-"), "has no labels_consensus.csv"
    yield (
        "a partition without separator",
        "msp_podcast",
        msp("", Partitions_DOT_txt="Test3 a.wav\n"),
        "line 1: .*expected 'split; file'",
    )
    yield (
        "an unknown partition",
        "msp_podcast",
        msp("", Partitions_DOT_txt="Test9; b.wav\n"),
        "line 1: split 'test9' is unknown",
    )
    yield (
        "votes cut short",
        "msp_podcast",
        msp(GOOD, Labels__labels_detailed_DOT_json='{"a.wav": {"W1"'),
        "labels_detailed.json, line 1: not JSON",
    )
    yield (
        "votes of another shape",
        "msp_podcast",
        msp(GOOD, Labels__labels_detailed_DOT_json='{"a.wav": [1]}'),
        "labels_detailed.json: expected",
    )
    yield (
        "a vote before the first turn",
        "msp_podcast",
        msp(GOOD, Labels__labels_DOT_txt="WORKER1; Happy; x; A:5;\n"),
        "line 1: a vote before the first turn",
    )
    yield (
        "a transcript in Latin-1",
        "msp_podcast",
        msp(GOOD, Transcripts__a_DOT_txt=b"caf\xe9"),
        "a.txt is not UTF-8: byte 3",
    )
    yield "an unknown label", "iemocap", iemocap("\tneu\t", "\tmeh\t"), "line 1: label 'meh' is unknown"
    yield "two attributes", "iemocap", iemocap("2.5000, 2.0000, 3.5000", "2.5, 2.0"), "line 1: attributes .*expected"
    yield "a value off the scale", "iemocap", iemocap("[2.5000", "[25.000"), "valence is 25.*1 to 5"
    yield "an unknown category", "iemocap", iemocap("Neutral;", "Neutrel;"), "line 2: category 'neutrel' is unknown"
    yield "no sessions", "iemocap", files(readme_DOT_txt="-"), "has no folder Session1"
    yield "labels in Latin-1", "iemocap", iemocap("Neutral;", b"Neutr\xe4l;"), "is not UTF-8"
    yield "an unknown emotion", "meld", meld('1,"Hm",Joey,bliss,neutral,1,1,1,1,"",""\n'), "line 2: Emotion 'bliss'"
    yield "a word for a number", "meld", meld('1,"Hm",Joey,joy,neutral,x,1,1,1,"",""\n'), "line 2: Dialogue_ID is 'x'"
    yield "no rows", "meld", meld(""), "reads no utterance"
    yield "a foreign file", "ravdess", named("Actor_01/take_1.wav"), "is not named as RAVDESS names recordings"
    yield "an unknown actor", "ravdess", named("03-01-01-01-01-01-25.wav"), "actor '25' is unknown"
    yield "an unknown letter", "emodb", named("wav/03a01Xa.wav"), "emotion 'X' is unknown"
    yield "an unknown emotion", "tess", named("OAF_joy/OAF_back_joy.wav"), "emotion 'joy' is unknown"
    yield "no votes", "crema_d", named("AudioWAV/1001_DFA_ANG_XX.wav"), "has no tabulatedVotes.csv"
    yield (
        "a vote that is no number",
        "crema_d",
        named("AudioWAV/1001_DFA_ANG_XX.wav", tabulatedVotes_DOT_csv=VOTES + "100001,x,0,0,0,1,0,1001_DFA_ANG_XX\n"),
        "line 2: votes for A are 'x'",
    )
    yield (
        "a table against a name",
        "nemo",
        named(
            "samples/WR0_sadness_4.wav",
            data_DOT_tsv="file_id\temotion\traw_text\tspeaker_id\nWR0_sadness_4.wav\tanger\tTak\tWR0\n",
        ),
        "line 2: emotion is 'anger', expected 'sadness' as in the recording's name",
    )
