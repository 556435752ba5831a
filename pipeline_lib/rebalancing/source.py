"""What an entry reads, an utterance a row: an expert's predictions, another system's probabilities, stored layers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline_lib.classifiers.normalisation import Normalisation
from pipeline_lib.errors import InputError
from pipeline_lib.params.posteriors import POSTERIORS, PosteriorsSettings
from pipeline_lib.params.rebalancing import RebalancingSettings, SourceSettings
from pipeline_lib.rebalancing import posteriors
from pipeline_lib.tables import embeddings, predictions
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions

Layers = tuple[int, ...]  # of an embedding, ascending; () are an expert's own embeddings
MOST_HELD = 2**30  # bytes of layers kept in memory; one that would go beyond is read again whenever it is used


@dataclass(frozen=True)
class Source:
    """What an entry reads.

    Attributes:
        predictions: of the expert; of a stored embedding the utterances alone
        vectors: from layers to what a back end reads, shape ``(n, width)``: their mean, of () the expert's embedding
        stored: layers of the embedding, () of predictions
    """

    predictions: Predictions
    vectors: Callable[[Layers], np.ndarray]
    stored: Layers = ()

    def rows(self, manifest: Manifest) -> np.ndarray:
        """Return each utterance's row in the manifest, int64, shape ``(n,)``.

        Raises:
            InputError: an utterance is unknown to the manifest
        """
        row_of = {name: row for row, name in enumerate(manifest.ids)}
        unknown = [name for name in self.predictions.utterance_ids if name not in row_of]
        if unknown:
            raise InputError(
                f"expert {self.predictions.expert!r} predicts {len(unknown)} utterances that the manifest lacks,"
                f" {unknown[0]!r} first (was the corpus stage run again after fine-tuning?)"
            )
        return np.array([row_of[name] for name in self.predictions.utterance_ids], dtype=np.int64)


def read(settings: RebalancingSettings, manifest: Manifest, name: str) -> Source:
    """Return what an entry reads.

    Args:
        settings: of the entry; its slot names a table of predictions or the folder of an embedding
        manifest: the corpus
        name: of the entry, for messages

    Raises:
        InputError: the table or folder is missing or damaged, or is not of this corpus
    """
    path = Path(settings.reads.source)
    if settings.source is not None:
        return of_embedding(path, manifest, settings.source, name)
    if settings.reads.source.startswith(POSTERIORS):
        layout = settings.posteriors or PosteriorsSettings()
        given = posteriors.read(settings.reads.source, manifest, layout, name)
        return of_predictions(posteriors.with_prior(given, manifest, layout, name))
    if path.is_dir():
        raise InputError(
            f"rebalancing.{name}.reads.source is {str(path)!r}, a folder with a table a fold, and"
            f" rebalancing.{name}.folds is false: set it to true"
        )
    made = of_predictions(predictions.read(path))
    if settings.normalise == "none":
        return made
    speakers = manifest.frame["speaker"].to_numpy()[made.rows(manifest)]
    return of_predictions(made.predictions, _speakers(speakers, f"rebalancing.{name}", "normalise"))


def of_predictions(predicted: Predictions, groups: np.ndarray | None = None) -> Source:
    """Return an expert's predictions as a source, whose vectors are the expert's embeddings.

    Args:
        predicted: as fine-tuning wrote them
        groups: the speaker's number of each row, by whom embeddings are normalised, shape ``(n,)``; None leaves them
    """
    if groups is not None and predicted.embedding is not None:
        predicted = replace(predicted, embedding=normalised(predicted.embedding, groups))

    def vectors(layers: Layers) -> np.ndarray:
        if layers or predicted.embedding is None:
            raise ValueError(f"the predictions of {predicted.expert!r} hold no layers {layers}")
        return predicted.embedding

    return Source(predicted, vectors)


def of_embedding(folder: Path, manifest: Manifest, settings: SourceSettings, name: str) -> Source:
    """Return the layers of a stored embedding as a source; a layer is read when it is first used, and held in memory.

    Utterances that the embedding leaves out (those without its modality) are counted, printed and not part of it.

    Args:
        folder: of the embedding
        manifest: the corpus
        settings: how vectors are normalised
        name: of the entry, for messages

    Raises:
        InputError: the folder is missing or damaged, holds other utterances than the manifest, or vectors are to be
            normalised by speaker and no utterance has one
    """
    info = embeddings.read_info(folder)
    ids, first = embeddings.read_layer(folder, info.layers[0])
    row_of = {utterance: row for row, utterance in enumerate(manifest.ids)}
    if any(utterance not in row_of for utterance in ids) or len(manifest) - len(ids) != info.n_without:
        raise InputError(f"{folder} and the manifest have different utterances (was the corpus changed since?)")
    if info.n_without:
        print(
            f"rebalancing.{name}: {info.n_without} of {len(manifest)} utterances have no vector in {folder}: the table"
            " leaves them out"
        )
    speakers = manifest.frame["speaker"].to_numpy()[[row_of[utterance] for utterance in ids]]
    groups = _speakers(speakers, f"rebalancing.{name}", "source.normalise") if settings.normalise == "speaker" else None
    held = {info.layers[0]: first if groups is None else normalised(first, groups)}

    def values_of(layer: int) -> np.ndarray:
        if layer in held:
            return held[layer]
        read_ids, values = embeddings.read_layer(folder, layer)
        if read_ids.tolist() != ids.tolist():
            raise InputError(f"{folder}: layer {layer} holds other utterances than layer {info.layers[0]}")
        values = values if groups is None else normalised(values, groups)
        if values.nbytes * (len(held) + 1) <= MOST_HELD:
            held[layer] = values
        return values

    def vectors(layers: Layers) -> np.ndarray:
        total = np.zeros((len(ids), info.vector_width))
        for layer in layers:
            total += values_of(layer)
        return total / len(layers)

    table = Predictions(ids, name, provenance=info.provenance, device=info.device, precision=info.precision)
    return Source(table, vectors, info.layers)


def normalised(vectors: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the vectors with mean 0 and deviation 1 a feature within each speaker (z-normalisation).

    Schuller et al., "Cross-corpus acoustic emotion recognition: variances and strategies", IEEE Transactions on
    Affective Computing 2010, call it speaker normalisation. Over all utterances of the speaker, whatever their split;
    no label is read. A feature that does not vary within a speaker becomes 0 there.

    Args:
        vectors: shape ``(n, width)``
        groups: the speaker's number of each row, shape ``(n,)``

    Returns:
        float64, shape ``(n, width)``
    """
    result = np.empty(vectors.shape)
    for group in np.unique(groups):
        rows = groups == group
        result[rows] = Normalisation("standardise").fit(vectors[rows]).transform(vectors[rows])
    return result


def _speakers(speakers: np.ndarray, where: str, key: str) -> np.ndarray:
    """Return each row's speaker as a number, shape ``(n,)``; rows without one are one speaker together."""
    known = np.array([isinstance(speaker, str) for speaker in speakers])
    if not known.any():
        raise InputError(f"{where}.{key} is 'speaker', but no utterance has a speaker; expected 'none'")
    names, groups = np.unique(np.where(known, speakers, "").astype(str), return_inverse=True)
    groups = np.where(known, groups, len(names))
    if not known.all():
        print(f"{where}: {(~known).sum()} of {len(known)} utterances have no speaker: normalised together, as of one")
    alone = (np.unique(groups, return_counts=True)[1] == 1).sum()
    if alone:
        print(f"{where}: {alone} speakers have one utterance alone, whose vector is 0 after normalisation by speaker")
    return groups
