"""data/embeddings/<name>/: hidden states of an encoder, a file a layer, so that reading one touches no other.

===================================  ==================================================================================
embedding.json                       encoder, checkpoint, revision, width, frame rate, layers, pooling, device,
                                     precision, type of the stored values (``Info``)
layer_00.parquet, layer_01 ...       an utterance a row: utterance_id, vector (fixed-size list of float16; of float32
                                     where embedding.json says so: hand-made functionals reach from 1e-3 to 1e5)
frames/layer_00.parquet ...          optional; an utterance a row: utterance_id, n_frames, frames (n_frames x width
                                     float16, one frame behind the other)
===================================  ==================================================================================

Layer 0 is what enters the first block, i the output of block i, the last one with the model's final norm where it has
one. Rows are sorted by utterance_id; a row group is a shard. The folder is written atomically. Neither dictionaries nor
statistics are written, they took three quarters of the time and saved nothing; bytes of the float16 are stored split
(BYTE_STREAM_SPLIT), which compresses noise-like values best.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline_lib.errors import InputError
from pipeline_lib.storage import atomic, checksummed_json
from pipeline_lib.tables import _parquet
from pipeline_lib.tables.origin import Origin
from pipeline_lib.tables.provenance import NAMES, UNKNOWN, Provenance

INFO = "embedding.json"
DTYPE = "float16"
DTYPES = (DTYPE, "float32")  # of stored values


@dataclass(frozen=True)
class Info:
    """The metadata of an embedding.

    Attributes:
        encoder: its architecture, transformers' model_type; "whisper of true length" where clips are not padded
        checkpoint: name on the hub, or folder; for a tuned encoder the expert's folder
        revision: commit on the hub, None for a folder
        modality: audio or text
        width: of a hidden state
        frame_rate_hz: None for text
        layers: numbers of the stored layers, ascending
        pooling: mean, or mean_std: the standard deviation (population) after the mean
        frames: whether every frame is stored too
        n_utterances: rows of each layer
        n_without: utterances of the manifest that lack the modality and have no row
        device: kind of device that the encoder ran on, None in files of older code
        precision: of its forward pass, None likewise
        dtype: of the stored values, float16 in files of older code
        provenance: splits that the encoder was tuned on; of a checkpoint that no stage tuned none, whatever it was
            trained on before
    """

    encoder: str
    checkpoint: str
    revision: str | None
    modality: str
    width: int
    frame_rate_hz: float | None
    layers: tuple[int, ...]
    pooling: str
    frames: bool
    n_utterances: int
    n_without: int = 0
    device: str | None = None
    precision: str | None = None
    dtype: str = DTYPE
    provenance: Provenance = UNKNOWN

    @property
    def vector_width(self) -> int:
        """Width of a pooled vector."""
        return self.width * (2 if self.pooling == "mean_std" else 1)


class Writer:
    """Writes utterances in the order of their identifiers, a row group at a time.

    Args:
        vectors: open file of each layer
        frames: open file of each layer, none where frames are not stored
        info: metadata of the embedding, whose origin ``origin`` replaces in the end
    """

    def __init__(
        self, vectors: Mapping[int, _parquet.Writer], frames: Mapping[int, _parquet.Writer], info: Info
    ) -> None:
        """Hold the open files of each layer; made by ``writing``."""
        self._vectors, self._frames, self._info = vectors, frames, info
        self.ids: list[str] = []
        self.origin = Origin(info.device, info.precision)

    def add(
        self,
        ids: Sequence[str],
        vectors: Mapping[int, np.ndarray],
        frames: Mapping[int, Sequence[np.ndarray]] | None = None,
    ) -> None:
        """Write the next utterances.

        Args:
            ids: ascending, all after the earlier ones
            vectors: of each layer, of the type in ``info``, shape ``(n, vector_width)``
            frames: of each layer one array an utterance, of that type, shape ``(n_frames, width)``
        """
        column = pa.array(list(ids), pa.string())
        for layer, writer in self._vectors.items():
            values = _of_type(vectors[layer], self._info)
            table = [column, _parquet.matrix(values, self._info.vector_width, _arrow(self._info))]
            writer.write_table(pa.Table.from_arrays(table, schema=writer.schema))
        for layer, writer in self._frames.items():
            each = [_of_type(states, self._info) for states in (frames or {})[layer]]
            flat = pa.array(np.concatenate([states.reshape(-1) for states in each]), type=_arrow(self._info))
            ends = np.cumsum([0, *(states.size for states in each)])
            lists = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), flat)
            counts = pa.array([len(states) for states in each], pa.int32())
            writer.write_table(pa.Table.from_arrays([column, counts, lists], schema=writer.schema))
        self.ids += ids


@contextmanager
def writing(folder: Path, info: Info) -> Iterator[Writer]:
    """Yield a writer; on leaving, the folder replaces an earlier one, on an error nothing changes.

    Args:
        folder: of the embedding
        info: its metadata

    Raises:
        ValueError: identifiers out of order, twice, or not as many as ``info`` says
    """
    with atomic.replace_folder(folder) as temporary:
        with ExitStack() as stack:
            vectors = {layer: stack.enter_context(_open(temporary, layer, info)) for layer in info.layers}
            frames = {layer: stack.enter_context(_open_frames(temporary, layer, info)) for layer in _framed(info)}
            writer = Writer(vectors, frames, info)
            yield writer
            _parquet.check_ids(folder, writer.ids)
            if len(writer.ids) != info.n_utterances:
                raise ValueError(f"{folder}: {len(writer.ids)} utterances were written, expected {info.n_utterances}")
        _write_info(temporary / INFO, replace(info, **asdict(writer.origin)))


def to_dtype(values: np.ndarray, layer: int, ids: Sequence[str], dtype: str = DTYPE) -> np.ndarray:
    """Return values as the type that is stored.

    Args:
        values: shape ``(n, ...)``, the first axis an utterance
        layer: its number, for the message
        ids: utterance identifiers, ``n`` in number
        dtype: one of ``DTYPES``

    Returns:
        of the same shape, finite; of float16 in [-65504, 65504]

    Raises:
        InputError: a value that the type cannot hold, or that is not finite
    """
    largest = float(np.finfo(dtype).max)
    bad = np.flatnonzero(~(np.abs(values).reshape(len(values), -1).max(axis=1, initial=0) <= largest))
    if len(bad):
        worst = np.abs(values[bad[0]]).max()
        why = "is not finite (a damaged checkpoint?)" if not np.isfinite(worst) else f"reaches {worst:.6g}"
        fix = f"embeddings are stored as {dtype}, which ends at {largest:.6g}: leave layer {layer} out of layers"
        raise InputError(f"layer {layer} of {ids[bad[0]]!r} {why}; {fix}")
    return values.astype(dtype)


def read_info(folder: Path) -> Info:
    """Return the metadata of the embedding.

    Raises:
        InputError: missing, damaged or of another format version
    """
    path = folder / INFO
    try:
        metadata, _ = checksummed_json.read(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; the stage embedding writes it (dvc repro)") from None
    version = metadata.pop("format_version", None)
    if version != _parquet.FORMAT_VERSION:
        raise InputError(
            f"{path} has format version {version}, this code reads {_parquet.FORMAT_VERSION}; run its stage again"
        )
    record = Provenance.of(metadata, folder.name)
    described = {key: value for key, value in metadata.items() if key not in (*NAMES, "out_of_fold")}
    info = Info(**{**described, "layers": tuple(metadata["layers"]), "provenance": record})
    if info.dtype not in DTYPES:
        raise InputError(
            f"{path} says values of type {info.dtype!r}, expected one of {list(DTYPES)}; run its stage again"
        )
    return info


def read_layer(folder: Path, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """Return identifiers and pooled vectors of one layer; opens no other file.

    Args:
        folder: of the embedding
        layer: its number

    Returns:
        identifiers, shape ``(n,)``, and vectors, float32, shape ``(n, vector_width)``

    Raises:
        InputError: the layer is not stored, or damaged
    """
    table, _ = _parquet.read(_path(folder, layer), "embedding")
    ids = np.array(table.column("utterance_id").to_pylist(), dtype=object)
    return ids, _parquet.to_matrix(table.column("vector")).astype(np.float32)


def iter_frames(folder: Path, layer: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield identifier and frames of each utterance, a row group in memory at a time.

    Args:
        folder: of the embedding
        layer: its number

    Yields:
        the identifier, and frames, float32, shape ``(n_frames, width)``

    Raises:
        InputError: frames of this layer are not stored, or damaged
    """
    for table, metadata in _parquet.iter_groups(_path(folder, layer, frames=True), "embedding_frames"):
        for row in range(len(table)):
            states = table.column("frames")[row].values.to_numpy(zero_copy_only=False)
            shaped = states.reshape(table.column("n_frames")[row].as_py(), metadata["width"])
            yield table.column("utterance_id")[row].as_py(), shaped.astype(np.float32)


def _path(folder: Path, layer: int, *, frames: bool = False) -> Path:
    """Return the layer's file, refusing one that is not stored."""
    path = (folder / "frames" if frames else folder) / f"layer_{layer:02d}.parquet"
    if not path.is_file():
        info = read_info(folder)
        if layer not in info.layers:
            raise InputError(f"{folder} has no layer {layer}, it has {list(info.layers)} (see embedding.<name>.layers)")
        if frames and not info.frames:
            raise InputError(f"{folder} has no frames; set embedding.<name>.frames to true")
        raise InputError(f"{path} does not exist although {INFO} names it (was it removed?)")
    return path


def _framed(info: Info) -> tuple[int, ...]:
    return info.layers if info.frames else ()


def _open(folder: Path, layer: int, info: Info) -> Any:
    schema = pa.schema([("utterance_id", pa.string()), ("vector", pa.list_(_arrow(info), info.vector_width))])
    path = folder / f"layer_{layer:02d}.parquet"
    metadata = {"layer": layer, "pooling": info.pooling}
    encoding = {"vector.list.element": "BYTE_STREAM_SPLIT"}
    return _parquet.stream(
        path, schema, "embedding", metadata, use_dictionary=False, write_statistics=False, column_encoding=encoding
    )


def _open_frames(folder: Path, layer: int, info: Info) -> Any:
    columns = [("utterance_id", pa.string()), ("n_frames", pa.int32()), ("frames", pa.large_list(_arrow(info)))]
    path = folder / "frames" / f"layer_{layer:02d}.parquet"
    metadata = {"layer": layer, "width": info.width}
    encoding = {"frames.list.element": "BYTE_STREAM_SPLIT"}
    return _parquet.stream(
        path,
        pa.schema(columns),
        "embedding_frames",
        metadata,
        use_dictionary=False,
        write_statistics=False,
        column_encoding=encoding,
    )


def _of_type(values: np.ndarray, info: Info) -> np.ndarray:
    if values.dtype != np.dtype(info.dtype):
        raise ValueError(f"values are {values.dtype}, expected {info.dtype}; see to_dtype")
    return values


def _arrow(info: Info) -> pa.DataType:
    return pa.from_numpy_dtype(np.dtype(info.dtype))


def _write_info(path: Path, info: Info) -> None:
    metadata = {**asdict(info), "format_version": _parquet.FORMAT_VERSION}
    del metadata["provenance"]
    metadata |= {} if info.provenance is UNKNOWN else info.provenance.entries()
    atomic.write_file(path, checksummed_json.dumps(metadata, indent=2, sort_keys=True) + "\n")
