"""Malformed label tables: each is refused by a message that says where, what is and what was expected, or read right.

The table is ``corpus.csv`` of eight recordings by four speakers (``reader: table``), or the native labels of a licensed
corpus; each case spoils one thing.
"""

import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from pipeline_lib.corpus.collect import Collected, collect
from pipeline_lib.params.corpus import CorpusSettings, check_root
from tests.faults.cases import Case, command, refused, share
from tests.faults.native_labels import native

HEADER = "audio,emotion,split,speaker"
ROWS = [
    "a.wav,anger,train,s1",
    "b.wav,joy,train,s1",
    "c.wav,anger,dev,s2",
    "d.wav,joy,dev,s2",
    "e.wav,anger,test,s3",
    "f.wav,joy,test,s3",
    "g.wav,anger,train,s4",
    "h.wav,joy,train,s4",
]
Verdict = str | Callable[[Collected], bool]


def table(*extra: str, header: str = HEADER, cells: str = "", rows: list[str] | None = None, end: str = "\n") -> str:
    """Return the table with ``cells`` added to its first row, nothing to the others, and rows added at the end."""
    rows = list(ROWS if rows is None else rows)
    blank = "," * (header.count(",") - HEADER.count(","))
    rows = [row + (("," + cells) if cells and i == 0 else blank) for i, row in enumerate(rows)]
    return end.join([header, *rows, *extra]) + end


def with_column(name: str, value: str) -> str:
    """Return the table with one column more, its first cell as given."""
    return table(header=f"{HEADER},{name}", cells=value)


def quoted(value: str) -> str:
    """Return a cell as CSV quotes it."""
    return '"' + value.replace('"', '""') + '"'


def first(text: str, old: str = "a.wav,anger") -> str:
    """Return the table with the first row's path and emotion replaced."""
    return table(rows=[ROWS[0].replace(old, text), *ROWS[1:]])


def kept(n: int = 8, **values: object) -> Callable[[Collected], bool]:
    """Return whether so many rows are in the manifest, and the first has these values."""

    def holds(found: Collected) -> bool:
        row = found.manifest.frame.iloc[0]
        return len(found.manifest) == n and all(row[name] == value for name, value in values.items())

    return holds


def quarantined(reason: str) -> Callable[[Collected], bool]:
    """Return whether one row went to the quarantine for that reason."""
    return lambda found: len(found.quarantine) == 1 and found.quarantine["reason"][0].startswith(reason)


SPOILED: list[tuple[str, str | bytes, Verdict]] = [
    ("no bytes", b"", r"corpus\.csv is empty, expected a header"),
    ("a byte-order mark alone", b"\xef\xbb\xbf", r"is empty, expected a header"),
    ("line ends alone", "\n\n\n", r"is empty, expected a header"),
    ("a header alone", HEADER + "\n", "has a header and no rows"),
    ("a header and blank lines", HEADER + "\n\n  \n,,,\n", "has a header and no rows"),
    ("semicolons", table().replace(",", ";"), "cells are separated by ';', expected ','"),
    ("tabs", table().replace(",", "\t"), r"cells are separated by '\\t', expected ','"),
    ("a column twice", with_column("emotion", "x"), r"the header names \['emotion'\] twice"),
    ("no paths", table().replace("audio", "nothing"), r"no column 'audio', its columns are \['nothing'"),
    ("no labels", table().replace("emotion", "nothing"), "no column 'emotion' and none of"),
    ("neither split nor speaker", "audio,emotion\na.wav,x\n", "neither 'split' nor 'speaker'.*allow_speaker_leak"),
    ("a cell missing", table("i.wav,joy,test"), "line 10: 3 cells, the header has 4"),
    ("an unquoted comma", table("i.wav,joy, sort of,test,s3"), "line 10: 5 cells.*unquoted"),
    ("a quote not closed", table('"i.wav,joy,test,s3'), "line 10: not CSV"),
    ("a quote inside a cell", first('a.wav,"an"ger'), "line 2: not CSV"),
    ("a label of code", first("a.wav,<script>"), "line 2: emotion names '<script>', expected letters"),
    ("a label of a formula", first("a.wav,=A1"), "line 2: emotion names '=A1', expected letters"),
    ("a NUL in a label", first("a.wav,ang\0er"), "line 2: .*control character"),
    ("a control character in a path", first("a\x07.wav,anger"), "line 2: .*control character"),
    ("UTF-16", table().encode("utf-16"), "is not UTF-8: byte 0 is 0xff"),
    ("UTF-16 without mark", table().encode("utf-16-le"), "not UTF-8|control character|no column|NUL"),
    ("Latin-1", first("a.wav,colère").encode("latin-1"), "is not UTF-8: byte .* is 0xe8"),
    ("gzip", gzip.compress(table().encode(), mtime=0), "is not UTF-8: byte 1 is 0x8b"),
    ("a web page", "<html><body>404</body></html>\n", "no column 'audio'; its columns are"),
    ("JSON", json.dumps({"audio": ["a.wav"]}), "no column 'audio'"),
    ("a cell of two million letters", first("a.wav," + "x" * (1 << 21)), "line 2: not CSV: field larger"),
    ("line ends of old Macs", table(end="\r"), kept()),
    ("line ends of Windows", table(end="\r\n"), kept()),
    ("a byte-order mark", b"\xef\xbb\xbf" + table().encode(), kept()),
    (
        "columns without names",
        with_column("", "").replace("speaker,\n", "speaker,,\n"),
        kept(),
    ),
    ("blanks around cells", first(" a.wav , anger "), kept(emotion="anger")),
    ("no-break spaces around a label", first("a.wav,\u00a0anger\u00a0"), kept(emotion="anger")),
    ("a quoted header", table(header='"audio","emotion","split","speaker"'), kept()),
    ("capitals in the header", table(header="Audio,Emotion,Split,Speaker"), "'Audio': did you mean 'audio'"),
    ("another usual name", table(header="audio,label,split,speaker"), "'label': did you mean 'emotion'"),
    ("a slip in a column's name", table(header="audio,emotoin,split,speaker"), "'emotoin': did you mean 'emotion'"),
    ("a comment on top", "# labels of 2024\n" + table(), "no column 'audio'; its columns are"),
    ("a split of another word", table().replace("dev", "validation"), "line 4: split is 'validation'.*mean 'dev'"),
    ("a split in capitals", table().replace("train", "TRAIN"), "line 2: split is 'TRAIN'.*mean 'train'"),
    ("a row without split", table("i.wav,joy,,s3"), "line 10: split is '', expected train"),
    ("a row without path", table(",joy,test,s3"), "line 10: audio is empty"),
    ("a path that climbs", first("../a.wav,anger"), r"line 2: audio: '\.\./a\.wav' is no path below"),
    ("a path from the root", first("/etc/passwd,anger"), "line 2: audio: '/etc/passwd' is an absolute path"),
    ("a path of Windows", first("C:\\audio\\a.wav,anger"), "line 2: audio: .* is an absolute path and"),
    ("a path longer than the system takes", first("a" * 300 + ".wav,anger"), quarantined("unreadable")),
    ("a recording that is not there", first("z.wav,anger"), quarantined("missing")),
    ("a comma as decimal point", with_column("arousal", '"2,5"'), "line 2: arousal is '2,5', expected a number"),
    ("a word for a number", with_column("arousal", "high"), "line 2: arousal is 'high', expected a number"),
    ("infinity", with_column("arousal", "inf"), "line 2: arousal is 'inf', expected a finite"),
    ("a number beyond floats", with_column("arousal", "1e400"), "line 2: arousal is '1e400', expected a finite"),
    ("a number with underscore", with_column("arousal", "0_5"), "line 2: arousal is '0_5', expected a number"),
    ("an attribute below the scale", with_column("valence", "0"), "line 2: valence is 0, .*from 1 to 7"),
    ("an attribute above the scale", with_column("dominance", "7.01"), "line 2: dominance is 7.01, .*from 1 to 7"),
    ("NaN as a number", with_column("arousal", "nan"), kept()),
    ("votes that are no JSON", with_column("votes", "anger:2"), "line 2: votes is 'anger:2', expected a JSON object"),
    ("votes as a list", with_column("votes", quoted("[1, 2]")), "line 2: votes is .*expected a JSON object"),
    ("votes below 0", with_column("votes", quoted('{"anger": -1}')), "line 2: votes is .*whole numbers"),
    ("votes with a fraction", with_column("votes", quoted('{"anger": 1.5}')), "line 2: votes is .*whole numbers"),
    ("votes that are true", with_column("votes", quoted('{"anger": true}')), "line 2: votes is .*whole numbers"),
    ("votes of NaN", with_column("votes", quoted('{"anger": NaN}')), "line 2: votes is .*whole numbers"),
    ("a vote twice", with_column("votes", quoted('{"anger": 1, "anger": 2}')), "line 2: votes .*'anger' twice"),
    ("votes of 5,000 digits", with_column("votes", quoted('{"anger": %s}' % ("9" * 5000))), "line 2: votes"),
    ("votes nested deeply", with_column("votes", "[" * 100_000), "line 2: votes"),
    ("a label in two spellings", first("a.wav,Anger"), "'Anger' and 'anger' differ in capitals"),
    ("a label with an invisible letter", first("a.wav,ang\u200ber"), "line 2: emotion names"),
    (
        "a label composed in two ways",
        table().replace("joy", "colère", 1).replace("joy", "cole\u0300re"),
        "emotions .* differ",
    ),
    ("a row twice", table(ROWS[0]), kept()),
    ("a speaker in two splits", table("i.wav,joy,test,s1"), "1 speakers have utterances in two"),
    (
        "a label that train lacks",
        table(rows=[*ROWS[:-1], "h.wav,fear,test,s3"]),
        "label 'fear' has no utterance in train",
    ),
    ("a subset named as a split", with_column("subsets", "test"), "line 2: subsets names 'test'"),
    ("a subset that is made later", with_column("subsets", "mine;dev_bal"), "line 2: subsets names 'dev_bal'"),
]


def columns(**changes: object) -> dict[str, object]:
    """Return the table as Parquet's columns, some replaced."""
    plain = {name: [row.split(",")[i] for row in ROWS] for i, name in enumerate(HEADER.split(","))}
    return {**plain, **changes}


def parquet(table: pa.Table) -> bytes:
    """Return the table as Parquet."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def twice() -> pa.Table:
    """Return a table that has a column twice."""
    whole = pa.table(columns())
    return whole.append_column("emotion", whole.column("emotion"))


PARQUET: list[tuple[str, bytes, Verdict]] = [
    ("CSV under its name", table().encode(), "cannot be read as Parquet"),
    ("half of it", parquet(pa.table(columns()))[:500], "cannot be read as Parquet"),
    ("no rows", parquet(pa.table(columns()).slice(0, 0)), "has a header and no rows"),
    ("a column twice", parquet(twice()), r"the header names \['emotion'\] twice"),
    ("bytes as text", parquet(pa.table(columns(emotion=pa.array([b"x"] * 8)))), "column 'emotion' holds binary"),
    ("numbers as paths", parquet(pa.table(columns(audio=list(range(8))))), "column 'audio' holds int64, expected text"),
    ("numbers as labels", parquet(pa.table(columns(emotion=[1, 2] * 4))), kept(emotion="1")),
    ("text as numbers", parquet(pa.table(columns(arousal=["3.5", *["2"] * 7]))), kept(arousal=3.5)),
    (
        "labels as a dictionary",
        parquet(pa.table(columns(emotion=pa.array(["x", "y"] * 4).dictionary_encode()))),
        kept(),
    ),
    (
        "mixed numbers",
        parquet(pa.table(columns(arousal=[1.0, None, float("nan"), 2.0, 3.0, 9.0, 1.0, 1.0]))),
        "row 6: arousal is 9",
    ),
]


def settings(root: Path, reader: str = "table", **more: object) -> CorpusSettings:
    """Return settings of a reader."""
    return CorpusSettings.parse({"reader": reader, "root": str(root), **more}, "corpus")


def recordings(root: Path) -> None:
    """Write the eight recordings, each its own tone."""
    for i, name in enumerate("abcdefgh"):
        tone = 0.3 * np.sin(2 * np.pi * (200 + 30 * i) * np.arange(2_400) / 16_000)
        soundfile.write(root / f"{name}.wav", tone, 16_000)


def judged(root: Path, options: CorpusSettings, verdict: Verdict) -> None:
    """Hold what the corpus stage makes of the folder against the verdict."""
    if isinstance(verdict, str):
        with refused(verdict):
            collect(options)
    else:
        found = collect(options)
        assert verdict(found), f"read as {found.manifest.frame.iloc[0].to_dict()}, {found.quarantine.to_dict('list')}"


def spoiled(name: str, content: bytes, verdict: Verdict) -> Callable[[Path], None]:
    """Return the check of one table of one's own."""

    def check(root: Path) -> None:
        recordings(root)
        (root / name).write_bytes(content)
        judged(root, settings(root, table={"file": name}), verdict)

    return check


def not_a_file(root: Path) -> None:
    """Refuse a folder in the table's place."""
    (root / "corpus.csv").mkdir()
    with refused(r"corpus\.csv is a folder, expected a \.csv or \.parquet, and the folder holds none"):
        check_root(settings(root))


def linked_outside(root: Path) -> None:
    """Refuse a recording that is a link to a file elsewhere."""
    inside = root / "corpus"
    inside.mkdir()
    recordings(inside)
    (inside / "a.wav").rename(root / "a.wav")
    (inside / "a.wav").symlink_to(root / "a.wav")
    (inside / "corpus.csv").write_text(table())
    judged(inside, settings(inside), r"line 2: audio: .*leads to .*outside")


def every() -> Iterator[Case]:
    """Yield all cases."""
    for name, content, verdict in SPOILED:
        data = content if isinstance(content, bytes) else content.encode()
        yield Case(name, "CSV", spoiled("corpus.csv", data, verdict))
    for name, data, verdict in PARQUET:
        yield Case(name, "Parquet", spoiled("corpus.parquet", data, verdict))
    yield Case("a folder in the table's place", "CSV", not_a_file)
    yield Case("a link that leaves the root", "CSV", linked_outside)
    for name, reader, lay, pattern in native():

        def check(root: Path, reader: str = reader, lay: Callable = lay, pattern: str = pattern) -> None:
            lay(root)
            judged(root, settings(root, reader), pattern)

        yield Case(name, reader, check)


def cases(count: int, seed: int) -> list[Case]:
    """Return ``count`` of the cases, or all."""
    return share(every(), count, seed)


if __name__ == "__main__":
    command("tables", cases, 200)
