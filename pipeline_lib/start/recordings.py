"""The recordings of a folder, found again from what a table calls them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from pipeline_lib.audio.decoding import BadAudio, probe
from pipeline_lib.corpus import layout, table_rows
from pipeline_lib.corpus.identity import composed

PROBED = 5000  # recordings whose headers are read; of more, so many evenly spaced ones

Explained = tuple[str | None, str | None]  # path below the root, how it differs from the table's


class Recordings:
    """The recordings below a root.

    Args:
        root: folder of the corpus; it is only read

    Attributes:
        paths: relative to the root, sorted
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = [str(path) for path in layout.files(root)]
        self._known = {*self.paths}
        self._by_name: dict[str, list[str]] = {}
        for path in self.paths:
            name = _key(PurePosixPath(path).name)
            for key in {name, str(PurePosixPath(name).with_suffix(""))}:
                self._by_name.setdefault(key, []).append(path)

    def find(self, written: str) -> Explained:
        """Return the recording that a cell names.

        It is taken as it is written, else below an absolute path, else as the only recording whose path ends like the
        cell's, capitals and suffix apart.

        Args:
            written: the cell

        Returns:
            the path, None where there is no or more than one such recording, and what was changed, None for nothing
        """
        if written in self._known:
            return written, None
        windows = "\\" in written
        path = PurePosixPath(PureWindowsPath(written).as_posix() if windows else written)
        if str(path) in self._known:
            return str(path), "back-slashes" if windows else None
        if path.is_absolute() and ".." not in path.parts:
            below = table_rows.below(self.root, str(path))
            if below in self._known:
                return below, None
        return self._near(path)

    def _near(self, path: PurePosixPath) -> Explained:
        name = _key(path.name)
        candidates = self._by_name.get(name) or self._by_name.get(str(PurePosixPath(name).with_suffix(""))) or []
        parts = [_key(part) for part in path.parent.parts]
        agreeing = {each: _agreement(parts, each) for each in candidates}
        most = max(agreeing.values(), default=0)
        best = [each for each, n in agreeing.items() if n == most]
        if len(best) != 1:
            return None, None
        found = PurePosixPath(best[0])
        if found.name == path.name:
            return best[0], "other folders"
        if _key(found.name) == name:
            return best[0], "other capitals"
        return best[0], "no suffix" if _key(found.stem) == name else "another suffix"


def hours_of(root: Path, paths: Sequence[str]) -> tuple[float, Counter[str], float]:
    """Return the length of recordings by their headers, in hours.

    Args:
        root: folder of the corpus
        paths: relative to it, each once; of more than ``PROBED`` a sample stands for all

    Returns:
        hours, the number of recordings that cannot be opened by reason, and the longest one's seconds
    """
    step = max(1, -(-len(paths) // PROBED))
    lengths, bad = [], Counter[str]()
    for path in paths[::step]:
        try:
            lengths.append(probe(root / path).duration_s)
        except BadAudio as error:
            bad[error.reason] += 1
    mean = sum(lengths) / len(lengths) if lengths else 0.0
    return mean * len(paths) / 3600, bad, max(lengths, default=0.0)


def _agreement(parts: list[str], path: str) -> int:
    """Return how many folders next to the file are the same in both."""
    others = [_key(part) for part in PurePosixPath(path).parent.parts]
    n = 0
    for one, other in zip(reversed(parts), reversed(others)):
        if one != other:
            break
        n += 1
    return n


def _key(name: str) -> str:
    return composed(name).casefold()
