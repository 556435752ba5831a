"""Files of rows that grow a row at a time, are readable at any time, and are gone on with by the same command.

Each row is one line that is flushed as it comes; a line that a kill cut short is removed by the next run. Beside
``x.csv`` stands ``x.csv.run.json``: what the rows are made from, which another run must share. A Parquet file cannot
grow: its rows are lines of ``x.parquet.rows.jsonl`` until the run ends, is interrupted or fails.
"""

import csv
import fcntl
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.errors import InputError
from pipeline_lib.prediction import rows
from pipeline_lib.prediction.rows import Row
from pipeline_lib.storage import atomic, checksummed_json

FORMAT_VERSION = 1
SUFFIXES = (".parquet", ".csv", ".jsonl")
GROUP = 4096  # rows of Parquet in memory


@dataclass
class Done:
    """What an earlier run wrote.

    Attributes:
        recordings: of which every part has its row
        parts: rows of the next recording
        statuses: number of rows by status
    """

    recordings: int = 0
    parts: int = 0
    statuses: Counter[str] = field(default_factory=Counter)

    def add(self, segment: int, segments: int, status: str) -> None:
        """Count a row.

        Args:
            segment: number of the part
            segments: how many the recording has
            status: of the row
        """
        self.statuses[status] += 1
        if segment == segments:
            self.recordings, self.parts = self.recordings + 1, 0
        else:
            self.parts += 1


class Printed:
    """Rows on a stream: lines for a person in a terminal, else JSON.

    Args:
        stream: standard output
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._form = stream, rows.line if stream.isatty() else rows.as_json

    def start(self, run: Mapping[str, Any], labels: Sequence[str], attributes: Sequence[str]) -> Done:
        """Return that nothing is there.

        Args:
            run: see ``Output``
            labels: see ``Output``
            attributes: see ``Output``
        """
        return Done()

    def write(self, row: Row) -> None:
        """Print a row."""
        print(self._form(row), file=self._stream, flush=True)

    def end(self, *, complete: bool) -> None:
        """Do nothing: every row is printed.

        Args:
            complete: whether all rows are there
        """


class Output:
    """A file of rows.

    Args:
        path: ends in one of ``SUFFIXES``

    Raises:
        InputError: the path ends otherwise, or its folder does not exist
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"--out is {path}, expected a name that ends in {', '.join(SUFFIXES)}")
        if not path.parent.is_dir():
            raise InputError(f"--out is {path}, and {path.parent} is no folder; make it first")
        self.path, self.kind = path, path.suffix.lower()
        self.record = path.with_name(f"{path.name}.run.json")
        self.lines = path.with_name(f"{path.name}.rows.jsonl") if self.kind == ".parquet" else path
        self._file: BinaryIO | None = None

    def start(self, run: Mapping[str, Any], labels: Sequence[str], attributes: Sequence[str]) -> Done:
        """Open the file, or go on with that of an earlier run.

        Args:
            run: what the rows are made from, as JSON holds it
            labels: of the posterior
            attributes: names

        Raises:
            InputError: the file is of another run, of none, or is being written by one
        """
        self.columns, self._run = rows.columns(labels, attributes), {"format_version": FORMAT_VERSION, **run}
        done = self._known()
        if done is not None:
            return done
        self._file = self._locked()
        if self.kind == ".csv" and not self._file.tell():
            self._append(self.columns)
        return self._count()

    def write(self, row: Row) -> None:
        """Append a row; a reader sees it at once."""
        if self._file is None:
            raise ValueError("the file was not started, or all its rows are there")
        if self.kind == ".csv":
            values = rows.flat(json.loads(rows.as_json(row)))
            self._append([rows.cell(name, values.get(name)) for name in self.columns])
        else:
            self._line(rows.as_json(row))

    def end(self, *, complete: bool) -> None:
        """Close the file; of Parquet write it.

        Args:
            complete: whether all rows are there
        """
        if self._file is None:
            return
        self._file.close()
        self._file = None
        if self.kind == ".parquet":
            self._convert()
        if complete:
            self._note(complete=True)
            if self.kind == ".parquet":
                self.lines.unlink()

    def _known(self) -> Done | None:
        """Check the record of an earlier run, or write one; return the rows of a Parquet file that is complete."""
        if not self.path.exists() and not self.lines.exists():
            self._note(complete=False)
            return None
        try:
            known, _ = checksummed_json.read(self.record)
        except FileNotFoundError:
            raise InputError(
                f"{self.path} exists and was not written by ser predict; remove it or name another file"
            ) from None
        known.pop("complete", None)
        other = [key for key in {**known, **self._run} if known.get(key) != self._run.get(key)]
        if other:
            now = ", ".join(f"{key} (then {_short(known.get(key))}, now {_short(self._run.get(key))})" for key in other)
            raise InputError(f"{self.path} has rows of another {now}; remove it or name another file")
        if self.kind == ".parquet" and not self.lines.exists():
            return self._of_parquet()
        return None

    def _of_parquet(self) -> Done:
        done, names = Done(), ["segment", "segments", "status"]
        try:
            for values in pq.read_table(self.path, columns=names).to_pylist():
                done.add(*(values[name] for name in names))
        except (pa.ArrowException, OSError) as error:
            first = str(error).splitlines()[0]
            raise InputError(f"{self.path} cannot be read: {first}; remove it, the rows are predicted again") from None
        return done

    def _note(self, *, complete: bool) -> None:
        text = checksummed_json.dumps({**self._run, "complete": complete}, indent=1)
        atomic.write_file(self.record, text + "\n")

    def _locked(self) -> BinaryIO:
        file = self.lines.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise InputError(f"{self.lines} is being written by another run; name another file, or wait") from None
        return file

    def _count(self) -> Done:
        """Count the rows that are there, and cut off a line that has no end."""
        done, whole = Done(), 0
        header = self.columns if self.kind == ".csv" else None
        with self.lines.open("rb") as file:
            for number, content in enumerate(file, 1):
                if not content.endswith(b"\n"):
                    break
                try:
                    if header is None:
                        values = json.loads(content)
                    else:
                        cells = next(csv.reader([content.decode()]))
                        if len(cells) != len(header) or (number == 1 and cells != header):
                            raise ValueError("other cells")
                        values = dict(zip(header, cells, strict=True))
                    if header is None or number > 1:
                        done.add(int(values["segment"]), int(values["segments"]), values["status"])
                except (ValueError, KeyError, TypeError, StopIteration, csv.Error):
                    raise InputError(
                        f"{self.lines}, line {number} is no row of ser predict (changed by hand?); remove the file or"
                        " name another"
                    ) from None
                whole += len(content)
        if self._file is not None:
            self._file.truncate(whole)
        if header is not None and not whole:
            self._append(header)
        return done

    def _append(self, cells: Sequence[str]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(cells)
        self._line(text.getvalue())

    def _line(self, text: str) -> None:
        if self._file is not None:
            self._file.write(f"{text}\n".encode())
            self._file.flush()

    def _convert(self) -> None:
        """Write the Parquet file from its lines, a group at a time."""
        kinds = {name: pa.string() if name in rows.TEXTS else pa.float64() for name in self.columns}
        kinds |= dict.fromkeys(rows.INTEGERS, pa.int32())
        schema = pa.schema(list(kinds.items()), metadata={"ser_predict": json.dumps(self._run, sort_keys=True)})
        with atomic.replace_file(self.path) as file, pq.ParquetWriter(file, schema) as writer:
            for group in self._groups():
                writer.write_table(pa.Table.from_pylist(group, schema))

    def _groups(self) -> Iterator[list[dict[str, Any]]]:
        group: list[dict[str, Any]] = []
        with self.lines.open("rb") as file:
            for content in file:
                values = rows.flat(json.loads(content))
                group.append({n: rows.encodable(v) if isinstance(v, str) else v for n, v in values.items()})
                if len(group) == GROUP:
                    yield group
                    group = []
        if group:
            yield group


def _short(value: Any) -> str:
    return json.dumps(value)[:40] if value is not None else "none"
