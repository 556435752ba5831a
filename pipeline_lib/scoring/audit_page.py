"""metrics/audit.csv and metrics/audit.html: the likeliest label errors as a table, and as a page with players.

The page needs no network and no script. A player reads its recording below ``corpus.root`` when it is started: by a
path relative to the page where the root is relative, by a link to the file where it is absolute.
"""

import csv
import io
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from pipeline_lib.errors import InputError
from pipeline_lib.scoring.audit import Audit, sentence

STYLE = """:root { color-scheme: light dark }
body { font: 1rem/1.4 system-ui, sans-serif; margin: 1.5rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid GrayText; padding: .4rem .6rem; text-align: left; vertical-align: top }
td.number { font-variant-numeric: tabular-nums; text-align: right }
audio { height: 2rem; min-width: 14rem }
small { color: GrayText; overflow-wrap: anywhere }"""
COLUMNS = ("utterance_id", "audio", "start_s", "end_s", "speaker", "label", "likelier_label")


def table(records: Sequence[dict[str, Any]], labels: Sequence[str]) -> str:
    """Return the CSV: ``COLUMNS``, and a column ``p_<label>`` with each label's probability.

    Args:
        records: see ``audit.records``
        labels: the manifest's
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"p_{label}" for label in labels)])
    for record in records:
        values = [record[name] for name in COLUMNS[:5]] + [record["emotion"], record["likelier"]]
        writer.writerow([*("" if value is None else value for value in values), *_probabilities(record, labels)])
    return file.getvalue()


def page(result: Audit, records: Sequence[dict[str, Any]], corpus: str, notice: str, root: str, folder: Path) -> str:
    """Return the HTML page.

    Args:
        result: of ``audit``
        records: see ``audit.records``
        corpus: its name
        notice: of the corpus, may be empty
        root: ``corpus.root``, relative to the project or absolute
        folder: of the page, relative to the project

    Raises:
        InputError: a recording's path leaves the root
    """
    title = f"Likely label errors of {corpus}"
    head = [f"<h1>{escape(title)}</h1>"] + ([f"<p><strong>{escape(notice)}</strong></p>"] if notice else [])
    if not result.system:
        head.append("<p>Nothing was audited: scoring.audit.recordings is 0.</p>")
    else:
        method = "Confident learning, Northcutt, Jiang and Chuang (2021); the likeliest error comes first."
        head += [f"<p>{escape(sentence(result))}</p>", f"<p>{method}</p>"]
    rows = [_row(number, record, root, folder) for number, record in enumerate(records, 1)]
    names = ("", "utterance", "label", "likelier", "recording", "speaker")
    header = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = [f"<table><thead><tr>{header}</tr></thead>", "<tbody>", *rows, "</tbody></table>"] if rows else []
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style></head>",
            "<body>",
            *head,
            *body,
            "</body></html>\n",
        ]
    )


def link(audio: str, start: float | None, end: float | None, root: str, folder: Path) -> str:
    """Return the address of a recording or of a part of it, as a page in the folder reaches it.

    Args:
        audio: path relative to the root
        start: of the part, in seconds, None for the recording's beginning
        end: likewise, None for its end
        root: ``corpus.root``
        folder: of the page

    Returns:
        percent-encoded; a part has the media fragment ``#t=start,end`` (W3C, Media Fragments URI 1.0)

    Raises:
        InputError: the path leaves the root
    """
    if PurePosixPath(audio).is_absolute() or ".." in PurePosixPath(audio).parts:
        raise InputError(f"the manifest's recording {audio!r} is not below corpus.root: run dvc repro corpus")
    file = Path(root) / audio
    address = file.as_uri() if file.is_absolute() else quote(Path(os.path.relpath(file, folder)).as_posix())
    if start is None and end is None:
        return address
    return f"{address}#t={start or 0:.3f}" + (f",{end:.3f}" if end is not None else "")


def _row(number: int, record: dict[str, Any], root: str, folder: Path) -> str:
    posterior = record["posterior"]
    labels = [f"{escape(name)}<br>{posterior[name]:.3f}" for name in (record["emotion"], record["likelier"])]
    every = ", ".join(f"{escape(label)} {p:.3f}" for label, p in posterior.items())
    cells = [
        f'<td class="number">{number}</td>',
        f"<td>{escape(record['utterance_id'])}<br><small>{every}</small></td>",
        *(f"<td>{label}</td>" for label in labels),
        f"<td>{_recording(record, root, folder)}</td>",
        f"<td>{escape(record['speaker'] or '')}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _recording(record: dict[str, Any], root: str, folder: Path) -> str:
    """Return a player, of an utterance without a recording its text."""
    if record["audio"] is None:
        return escape(record["reference_text"] or "no recording")
    source = link(record["audio"], record["start_s"], record["end_s"], root, folder)
    player = f'<audio controls preload="none" src="{escape(source)}"></audio>'
    return f'{player}<br><a href="{escape(source)}"><small>{escape(record["audio"])}</small></a>'


def _probabilities(record: dict[str, Any], labels: Sequence[str]) -> list[str]:
    return [f"{record['posterior'][label]:.6f}" for label in labels]
