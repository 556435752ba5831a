"""Signs of Windows that became control characters are read as they were meant, in tables and in MELD."""

import pytest

from pipeline_lib.corpus import meld, table
from pipeline_lib.errors import InputError
from pipeline_lib.storage import cell_text

HEADER = "audio,emotion,split,reference_text"


@pytest.fixture
def read(tmp_path, settings):
    """Write corpus.csv with one row and read it."""

    def write(header: str, row: str):
        (tmp_path / "corpus.csv").write_text(f"{header}\n{row}\n", encoding="utf-8")
        return table.read(tmp_path, settings("table"))

    return write


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("can\x92t", "can’t"),
        ("\x93Well\x85\x94", "“Well…”"),
        ("Wait\x85", "Wait…"),
        ("\x85now", "…now"),
        ("I \x96 I mean \x97 no", "I – I mean — no"),
        ("can\u00e2\x80\x99t", "can’t"),  # UTF-8 read as Latin-1
        ("can\u00c2\x92t", "can’t"),  # the same of a text that was already wrong
        ("caf\u00e9\x92s", "café’s"),
        ("plain", "plain"),
        ("Ã©", "Ã©"),  # no control character, so it may be meant
    ],
)
def test_signs_of_windows_are_read_as_they_were_meant(read, text, expected):
    frame = read(HEADER, f"a.wav,joy,train,{text}")
    assert frame["reference_text"].tolist() == [expected]
    assert len(frame.attrs["notes"]) == (text != expected)
    if text != expected:
        assert "replaced by the signs that were meant: reference_text 1." in frame.attrs["notes"][0]


def test_signs_of_windows_are_python_s_own():
    for code in range(0x80, 0xA0):
        one = bytes([code])
        try:
            assert cell_text.repaired("x" + one.decode("latin-1")) == "x" + one.decode("cp1252")
        except UnicodeDecodeError:
            assert cell_text.CONTROL.search(cell_text.repaired("x" + one.decode("latin-1")))


@pytest.mark.parametrize("code", [0x81, 0x8D, 0x9D, 0x07, 0x1B, 0x7F])
def test_other_controls_are_refused(read, code):
    with pytest.raises(InputError, match="line 2: reference_text is .* which holds a control character"):
        read(HEADER, f"a.wav,joy,train,x{chr(code)}y")


def test_meld_s_texts_are_read_as_they_were_meant(tmp_path, settings):
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}_sent_emo.csv").write_text(
            "Sr No.,Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID\n"
            "1,I can\x92t\x85,Joey\x92s Date,joy,0,0\n2,Ring\x07\x81,Ross,joy,0,1\n",
            encoding="utf-8",
        )
    frame = meld.read(tmp_path, settings("meld"))
    assert frame["reference_text"].tolist() == ["I can’t…", "Ring  "] * 3
    assert frame["speaker"].tolist() == ["Joey’s Date", "Ross"] * 3
    assert frame.attrs["notes"][0].startswith("9 texts held control characters")
