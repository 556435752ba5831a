"""A trained expert's word on every utterance of every split: resumable, batches fixed by length.

Without autocast: in float32, or where the encoder's weights are in bfloat16 or 4 bit, the encoder in bfloat16.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.special import softmax
from torch import nn

from pipeline_lib.finetuning.data import Read, Targets
from pipeline_lib.finetuning.outputs import in_batches, outputs_of
from pipeline_lib.finetuning.settings import FinetuningSettings
from pipeline_lib.shards.store import by_length, run_shards
from pipeline_lib.tables.predictions import Predictions

SHARD = 256


def predict(
    name: str,
    network: nn.Module,
    settings: FinetuningSettings,
    *,
    ids: np.ndarray,
    rows: np.ndarray,
    lengths: np.ndarray,
    read: Read,
    targets: Targets,
    prior: np.ndarray | None,
    folder: Path,
) -> Predictions:
    """Return posteriors over the trained labels, attributes on the corpus's scale, and embeddings.

    Args:
        name: of the expert
        network: trained
        settings: the entry
        ids: of all utterances of the manifest
        rows: those to predict
        lengths: seconds or characters, of all
        read: row, start, duration to a waveform or text
        targets: label order, attribute names and scale
        prior: the class prior that the posterior contains
        folder: for unfinished shards
    """

    def compute(places: list[int]) -> pa.Table:
        plan = [rows[batch] for batch in in_batches(places, settings)]
        parts = list(outputs_of(network, plan, lengths, read, settings, half=False))
        found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        return pa.table({"row": pa.array(rows[places]), **{key: _column(values) for key, values in found.items()}})

    plan = by_length(lengths[rows], SHARD, settings.predict.batch_size)
    table = pa.concat_tables(run_shards(folder, plan, compute, f"predicting {name}")).sort_by("row")
    posterior = attributes = None
    if targets.labels:
        posterior = softmax(_matrix(table["logits"]).astype(np.float64), axis=1)
    if targets.attribute_names:
        attributes = targets.on_scale(_matrix(table["attributes"]))
    return Predictions(
        utterance_ids=ids[table["row"].to_numpy()],
        expert=name,
        labels=targets.labels,
        posterior=posterior,
        trained_prior=prior,
        attribute_names=targets.attribute_names,
        attributes=attributes,
        embedding=_matrix(table["embedding"]),
    )


def _column(values: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    width = column.type.list_size
    return np.concatenate([chunk.flatten().to_numpy().reshape(-1, width) for chunk in column.chunks])
