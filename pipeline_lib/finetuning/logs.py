"""Logs of a training: event files and dvclive logs under work/, lines on the console, and its curve as a table."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from pipeline_lib.networks.adapters import trained_by_module
from pipeline_lib.storage import atomic

SCORES = ("loss", "macro_f1", "ua", "mean_ccc", "gender_accuracy")


class Logs:
    """TensorBoard event files and dvclive logs of one training, appended to when it is resumed."""

    def __init__(self, folder: Path) -> None:
        """Open both; ``folder`` lies outside DVC's outputs, for event files hold times."""
        from dvclive import Live
        from torch.utils.tensorboard import SummaryWriter

        _clear_half(folder / "dvclive" / "metrics.json")
        self.writer = SummaryWriter(str(folder / "tensorboard"))
        self.live = Live(
            str(folder / "dvclive"), resume=True, report=None, save_dvc_exp=False, dvcyaml=None, monitor_system=False
        )

    def step(self, step: int, values: dict[str, float]) -> None:
        """Log a step to TensorBoard.

        Args:
            step: of all phases, from 0
            values: by name
        """
        for name, value in values.items():
            self.writer.add_scalar(f"step/{name}", value, step)

    def epoch(self, epoch: int, split: str, values: dict[str, float]) -> None:
        """Log an epoch to TensorBoard and dvclive.

        Args:
            epoch: of all phases, from 1
            split: train or dev
            values: by metric
        """
        for name, value in values.items():
            self.writer.add_scalar(f"{split}/{name}", value, epoch)
            self.live.log_metric(f"{split}/{name}", value)
        if split == "dev":
            self.live.next_step()
            self.writer.flush()

    def close(self) -> None:
        """Close both."""
        self.writer.close()
        self.live.end()


class NoLogs(Logs):
    """Logs of a process that is not the main one, and of trials."""

    def __init__(self) -> None:
        """Open nothing."""

    def step(self, step: int, values: dict[str, float]) -> None:
        """Log nothing.

        Args:
            step: ignored
            values: ignored
        """

    def epoch(self, epoch: int, split: str, values: dict[str, float]) -> None:
        """Log nothing.

        Args:
            epoch: ignored
            split: ignored
            values: ignored
        """

    def close(self) -> None:
        """Close nothing."""


@contextmanager
def logs(folder: Path, *, enabled: bool) -> Iterator[Logs]:
    """Open logs and close them in the end.

    Args:
        folder: for both kinds of logs
        enabled: False in processes that are not the main one: nothing is logged
    """
    opened = Logs(folder) if enabled else NoLogs()
    try:
        yield opened
    finally:
        opened.close()


def _clear_half(path: Path) -> None:
    """Remove dvclive's summary where a kill or a full disk cut it in half; it counts epochs from 0 again then."""
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        path.unlink()


def print_line(line: str) -> None:
    """Print a line above the bar."""
    print(line, file=sys.stderr)


def parameter_table(network: nn.Module) -> str:
    """Return trained and all parameters by module, a line each, and their sum."""
    rows = trained_by_module(network)
    rows = [row for row in rows if row[1]] + [
        ("not trained", 0, sum(total for _, trained, total in rows if not trained))
    ]
    rows.append(("in all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    width = max(len(name) for name, _, _ in rows)
    lines = [f"{'module':<{width}} {'trained':>14} {'parameters':>14}"]
    return "\n".join(lines + [f"{name:<{width}} {trained:>14,} {total:>14,}" for name, trained, total in rows])


def write_curve(path: Path, history: list[dict]) -> None:
    """Write the training curve, a row an epoch; ``nan`` where an epoch was not measured, which ``dvc plots`` skips.

    Args:
        path: of the CSV file
        history: rows of ``State.history``, one an epoch and split
    """
    columns = [f"{split}_{name}" for split in ("train", "dev") for name in SCORES]
    epochs: dict[int, dict] = {}
    for row in history:
        scores = {f"{row['split']}_{name}": row[name] for name in SCORES if name in row}
        epochs.setdefault(row["epoch"], {"epoch": row["epoch"], "phase": row["phase"]}).update(scores)
    columns = [column for column in columns if any(column in row for row in epochs.values())]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["epoch", "phase", *columns])
    for row in epochs.values():
        cells = (f"{row[name]:.6f}" if name in row else "nan" for name in columns)
        writer.writerow([row["epoch"], row["phase"], *cells])
    atomic.write_file(path, file.getvalue())
