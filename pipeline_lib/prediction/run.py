"""One call of ``ser predict``: its options read, the bundle opened, its rows written."""

import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_lib.errors import InputError
from pipeline_lib.inference import segmentation
from pipeline_lib.params.base import PARAMS
from pipeline_lib.params.machine import Device
from pipeline_lib.prediction import inputs, job
from pipeline_lib.prediction.output import Output, Printed


@dataclass(frozen=True)
class Chosen:
    """The options, as they were written.

    Attributes:
        bundle: folder, or name on the hub
        out: file of the rows, None to print them
        text: the words of the one recording
        text_column: column of tables
        root: folder of a table's recordings
        prior: ``LABEL=SHARE,...``
        segment: ``none``, ``vad`` or seconds
        batch_size: parts that go through the models together
        device: where models run
        encoders: folder of checkpoints
    """

    bundle: str
    out: Path | None = None
    text: str | None = None
    text_column: str | None = None
    root: Path | None = None
    prior: str | None = None
    segment: str = "none"
    batch_size: int = 1
    device: Device = "cpu"
    encoders: Path | None = None


def run(targets: Sequence[str], chosen: Chosen) -> Counter[str]:
    """Predict what the targets name; return the number of rows by status, an earlier run's among them.

    Args:
        targets: see ``inputs.expand``
        chosen: the options

    Raises:
        InputError: an option is wrong or the bundle cannot be opened; nothing is written then
    """
    output = Printed(sys.stdout) if chosen.out is None else Output(chosen.out)
    segment = job.parse_segment(chosen.segment, None)
    if segment != "none" and (chosen.text is not None or chosen.text_column is not None):
        raise InputError(f"--segment is {chosen.segment}, and a text is of a whole recording; leave out one of the two")
    if segment == "vad":
        segmentation.network()
    given = inputs.expand(targets, sys.stdin, chosen.text, chosen.text_column, chosen.root)
    system = _load(chosen)
    job.parse_segment(chosen.segment, system.longest_s)
    prior = None if chosen.prior is None else job.parse_prior(chosen.prior, system.labels)
    options = job.Options(segment, chosen.batch_size, prior)
    done = output.start(_record(given, chosen, system), system.labels, system.attribute_names)
    shown = chosen.out is not None or not sys.stdout.isatty()
    work, complete = job.Job(system, given, options, done, output, shown), False
    try:
        work.run()
        complete = True
    finally:
        output.end(complete=complete)
    for sentence in work.notes:
        print(sentence, file=sys.stderr)
    where = "" if chosen.out is None else f"{chosen.out}: "
    print(f"{where}{job.summary(work.statuses)}", file=sys.stderr)
    return work.statuses


def _load(chosen: Chosen) -> Any:
    from pipeline_lib.inference.pipeline import Pipeline

    return Pipeline.load(chosen.bundle, device=chosen.device, encoders=chosen.encoders)


def _record(given: Sequence[inputs.Input], chosen: Chosen, system: Any) -> dict[str, Any]:
    """Return what rows are made from; another run that shares all of it may go on."""
    return {
        "bundle": system.digest or _of_project(Path(chosen.bundle)),
        "inputs": inputs.digest(given),
        "recordings": len(given),
        "segment": chosen.segment,
        "prior": chosen.prior,
        "device": chosen.device,
    }


def _of_project(folder: Path) -> str:
    """Return a SHA-256 of the paths, sizes and times of change of a project's parameters and models."""
    total = hashlib.sha256()
    for path in [folder / PARAMS, *sorted((folder / "models").rglob("*"))]:
        if path.is_file():
            status = path.stat()
            total.update(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return total.hexdigest()
