"""Folds across the sections of params.yaml: who fits once a fold, and who then reads the folds' tables."""

from collections.abc import Iterator
from pathlib import Path

from pipeline_lib.params.inputs import parts_with_encoder
from pipeline_lib.params.posteriors import POSTERIORS
from pipeline_lib.params.rebalancing import EMBEDDINGS, PREDICTIONS_FOLDS, RebalancingSettings
from pipeline_lib.params.sections import Params

METHOD = "folds"  # of corpus.split
WITHOUT_DEVELOPMENT = ("uniform", "given", "none")  # priors for which no utterance of a split is read


def wrong_folds(params: Params) -> list[str]:
    """Return, a line each, the entries whose ``folds`` does not fit the corpus or what they read."""
    return [*_of_the_corpus(params), *_of_experts(params), *_of_fusion(params), *_encoders_of_folds(params)]


def _of_the_corpus(params: Params) -> Iterator[str]:
    """Yield experts, and entries on embeddings or given probabilities, whose folds are not those of the corpus."""
    entries: dict[str, bool] = {f"finetuning.{name}": expert.folds for name, expert in params.finetuning.items()}
    without_expert = (EMBEDDINGS, POSTERIORS)
    own = {n: entry for n, entry in params.rebalancing.items() if entry.reads.source.startswith(without_expert)}
    entries |= {f"rebalancing.{name}": entry.folds for name, entry in own.items()}
    method = params.corpus.split.method
    for where, folds in entries.items():
        if folds and method != METHOD:
            yield (
                f"{where}.folds is true, but corpus.split.method is {method!r}: set corpus.split.method: folds, or"
                f" {where}.folds: false"
            )
        if not folds and method == METHOD:
            yield (
                f"{where}.folds is false, but corpus.split.method is 'folds', so that no utterance is in train:"
                f" set {where}.folds: true"
            )


def _of_experts(params: Params) -> Iterator[str]:
    """Yield the entries of rebalancing that have folds where the expert that they read has none, or the reverse."""
    for name, entry in params.rebalancing.items():
        where, source = f"rebalancing.{name}", entry.reads.source
        expert = _expert_of(source, name, params)
        if expert is None:
            continue
        whose = f"finetuning.{expert}.folds"
        with_folds = params.finetuning[expert].folds
        if source.startswith("data/predictions_alone/"):
            if entry.folds:
                yield f"{where}.folds is true, but {source} is one table of all folds: set {where}.folds: false"
            elif with_folds and _reads_a_split(entry):
                yield (
                    f"{where} reads {source}, out of fold, which can be fitted on nothing; expected method: none,"
                    f" calibration: none and prior: one of {list(WITHOUT_DEVELOPMENT)}"
                )
        elif entry.folds != with_folds:
            yield f"{where}.folds is {_yaml(entry.folds)}, but {whose} is {_yaml(with_folds)}: set both alike"


def _of_fusion(params: Params) -> Iterator[str]:
    """Yield why the fusion cannot have, or cannot do without, folds."""
    known = {name: params.rebalancing[name].folds for name in params.fusion.experts if name in params.rebalancing}
    refitted = [name for name in known if params.rebalancing[name].refit]
    if refitted and len(params.fusion.experts) > 1:
        yield (
            f"fusion.experts names {refitted}, fitted on dev too (rebalancing.<entry>.refit), where a fusion would take"
            " them for better than they are: fuse entries with refit: false, or one expert"
        )
    if len(set(known.values())) > 1:
        without = [name for name, folds in known.items() if not folds]
        yield f"fusion.experts {without} have no folds and the others have: fuse experts with folds, or without"
    elif known and params.fusion.folds not in known.values():
        expected = _yaml(not params.fusion.folds)
        yield (
            f"fusion.folds is {_yaml(params.fusion.folds)}, but folds of its experts {[*known]} is {expected}:"
            f" set fusion.folds: {expected}"
        )


def _encoders_of_folds(params: Params) -> list[str]:
    """Return, a line each, the encoders of an expert with folds that are read otherwise than fold by fold.

    A branch of another expert with folds takes, in each fold, the encoder that was trained in it.
    """
    with_folds = {Path(f"models/{name}"): name for name, expert in params.finetuning.items() if expert.folds}
    by_fold = tuple(f"finetuning.{name}." for name in with_folds.values())
    named = [
        (where, Path(part.expert))
        for where, _, part in parts_with_encoder(params)
        if part.expert is not None and not (where.startswith(by_fold) and Path(part.expert) in with_folds)
    ]
    return [
        f"{where}.expert is '{folder}', an expert with folds, whose encoders have seen the utterances of the test"
        f" folds; expected one without: set finetuning.{with_folds[path]}.folds to false, or name a checkpoint"
        for where, folder in named
        for path in (folder, *folder.parents)
        if path in with_folds
    ]


def _expert_of(source: str, name: str, params: Params) -> str | None:
    """Return the expert whose predictions an entry reads; of a slot to be filled the one of its own name."""
    for expert in params.finetuning:
        tables = (f"data/predictions/{expert}.parquet", f"{PREDICTIONS_FOLDS}{expert}")
        if source in tables or source.startswith(f"data/predictions_alone/{expert}/"):
            return expert
    others = ("data/predictions", EMBEDDINGS, POSTERIORS)
    return name if name in params.finetuning and not source.startswith(others) else None


def _reads_a_split(entry: RebalancingSettings) -> bool:
    fitted = entry.method != "none" or entry.calibration != "none"
    return fitted or entry.prior not in WITHOUT_DEVELOPMENT


def _yaml(value: bool) -> str:
    return str(value).lower()
