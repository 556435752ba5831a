"""One flipped bit anywhere in an artifact: it is refused by a message, healed, or changes nothing that is read.

A file of the kind is drawn, then a bit of it. A flip that changes nothing (a statistic that no reader uses) is not
counted as accepted: what is understood is compared to the last bit.
"""

import contextlib
import io
import random
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pipeline_lib.errors import InputError
from tests.faults.artifacts import Kind, copied, files, kinds
from tests.faults.cases import Case, command


def flipped(kind: Kind, original: Path, expected: object, which: float, folder: Path) -> None:
    """Flip one bit, chosen by ``which`` in [0, 1), each file alike, and read."""
    copied(original, folder)
    paths = files(folder)
    path = paths[int(which * len(paths))]
    at = int(which * len(paths) % 1 * path.stat().st_size * 8)
    data = bytearray(path.read_bytes())
    data[at // 8] ^= 1 << at % 8
    path.write_bytes(data)
    where = f"{path.relative_to(folder)}, byte {at // 8} of {len(data)}, bit {at % 8}"
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            found = kind.read(folder)
    except InputError as error:
        assert str(folder) in str(error) or "settings.json" in str(error), f"{where}: {error} names no file"
        return
    except BaseException as error:
        raise AssertionError(f"{where}: {type(error).__name__}: {str(error)[:200]}") from error
    assert found == expected, f"{where}: was accepted"


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield flips, every kind in turn."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="fault_bits_") as place:
        root = Path(place)
        every = kinds(root / "checkpoints")
        expected = {}
        for name, kind in every.items():
            (root / name).mkdir()
            kind.write(root / name)
            with contextlib.redirect_stderr(io.StringIO()):
                expected[name] = kind.read(root / name)
        for number in range(count):
            name = list(every)[number % len(every)]
            check: Callable[[Path], None] = partial(flipped, every[name], root / name, expected[name], draw.random())
            yield Case(f"flip {number}", name, check)


if __name__ == "__main__":
    command("bits", cases, 5000)
