"""Cells that do not mean what they hold: missing values written as words, characters of cp1252 as control characters.

Missing values: ``MISSING`` holds what pandas, R, SQL and spreadsheets write for one, in capitals or not; it counts in
columns of names, labels and numbers. In free text only ``WRITTEN_BY_STR`` counts, and only as the whole cell: what
Python's ``str()`` makes of a missing value. "None." and "na" can be speech.

Control characters: a text of Windows (cp1252) that was read as Latin-1 has the controls U+0080 to U+009F where
quotation marks, dashes and ellipses were (MELD's first files); a UTF-8 text read as Latin-1 has one in most signs.
"""

import re
from contextlib import suppress

MISSING = frozenset(
    (
        *("", "nan", "-nan", "nat", "none", "<na>", "na", "n/a", "n.a.", "#n/a", "#na", "null", "<null>", "(null)"),
        *("\\n", "-", "--", "---", "–", "—", "?"),
    )
)
WRITTEN_BY_STR = frozenset(("", "nan", "NaN", "None", "NaT", "<NA>"))
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
C1 = re.compile(r"[\x80-\x9f]")
UNDEFINED = (0x81, 0x8D, 0x8F, 0x90, 0x9D)  # in cp1252
CP1252 = {code: bytes([code]).decode("cp1252") for code in range(0x80, 0xA0) if code not in UNDEFINED}
BLANKS = "".join(c for c in map(chr, range(0x3001)) if c.isspace() and c != "\x85")  # U+0085 is cp1252's ellipsis


def is_missing(text: str) -> bool:
    """Return whether a name, label or number stands for a missing value."""
    return text.strip().lower() in MISSING


def stripped(text: str) -> str:
    """Return the text without the blanks around it; U+0085, which Python counts as a blank, stays."""
    return text.strip(BLANKS)


def repaired(text: str) -> str:
    """Return the text with the intended characters in place of C1 control characters.

    A text that decodes as UTF-8 once its letters are taken as bytes was UTF-8, any other one was cp1252. The five codes
    that cp1252 does not define stay.
    """
    if not C1.search(text):
        return text
    with suppress(UnicodeError):
        text = text.encode("latin-1").decode("utf-8")
    return text.translate(CP1252)


def without_controls(text: str) -> str:
    """Return the text, repaired, with a blank for every control character whose meaning is not known."""
    return CONTROL.sub(" ", repaired(text))
