"""What of an entry of ``finetuning`` contradicts itself; every refusal says what is, what was expected and the fix."""

from collections.abc import Sequence

from pipeline_lib.modalities import BOTH, combinations_of, members
from pipeline_lib.params.branches import BranchSettings, check_branch
from pipeline_lib.params.expert import ExpertEntry
from pipeline_lib.params.network import MixerSettings
from pipeline_lib.params.training import AUXILIARY, CATEGORICAL, OF_SEVERAL, LossSettings


def check(entry: ExpertEntry) -> None:
    """Refuse an entry of either kind whose options do not fit one another.

    Raises:
        ValueError: the first that does not
    """
    _check_targets(entry)
    _check_head(entry)
    _check_cache(entry)
    for name, phase in entry.phases.items():
        _check_losses(entry, name, entry.losses_of(phase))
        if phase.batch_size == 1:
            _check_batches_of_one(entry, name, entry.losses_of(phase))


def check_single(entry: ExpertEntry) -> None:
    """Refuse in an expert of one modality what its encoder cannot be trained with.

    Raises:
        ValueError: the first that does not fit
    """
    for name, phase in entry.phases.items():
        if phase.train == "both_head":
            raise ValueError(
                f"phases.{name}.train is 'both_head', which applies only to modality 'joint' (got {entry.modality!r}):"
                " set it to all or head"
            )
    for modality, branch in entry.branches.items():
        check_branch(branch, modality)


def check_joint(entry: ExpertEntry) -> None:
    """Refuse what a joint expert's branches, passes and heads cannot be trained with.

    Raises:
        ValueError: the first that does not fit
    """
    for modality, branch in entry.branches.items():
        check_branch(branch, modality, f"branches.{modality}.")
    for name, phase in entry.phases.items():
        passes = entry.passes_of(phase)
        _check_passes(entry, name, passes)
        if entry.modality_dropout > 0 and len(passes) == 1 and len(members(passes[0], list(entry.branches))) == 1:
            raise ValueError(
                f"modality_dropout is {entry.modality_dropout:g} and phase {name!r} trains one modality alone, of which"
                " it would hide utterances; set it to 0, or name more passes"
            )
        if phase.train == "both_head" and (entry.heads == "shared" or passes != [BOTH]):
            raise ValueError(
                f"phases.{name}.train is 'both_head', heads {entry.heads!r} and the passes {passes}; expected heads"
                " 'separate' and passes ['both'], or set train to all or head"
            )
    trained = {combination for phase in entry.phases.values() for combination in entry.passes_of(phase)}
    untrained = [each for each in combinations_of(entry.branches) if each not in trained]
    if entry.heads == "separate" and untrained:
        raise ValueError(
            f"heads is 'separate' and no phase trains {untrained[0]!r}, whose head would predict by chance; name it in"
            " passes, or set heads to 'shared'"
        )


def _check_targets(entry: ExpertEntry) -> None:
    if not entry.targets.emotion and not entry.targets.attributes:
        raise ValueError(
            "targets.emotion is false and targets.attributes empty, which leaves nothing to train; set emotion to true"
            " or name attributes"
        )
    if entry.targets.soft_labels and not entry.targets.emotion:
        raise ValueError(
            "targets.soft_labels is true and targets.emotion false, which it is a form of; set soft_labels to false"
        )
    if entry.targets.annotator_dropout > 0 and not entry.targets.soft_labels:
        raise ValueError(
            f"targets.annotator_dropout is {entry.targets.annotator_dropout:g} and targets.soft_labels false, whose"
            " annotators it leaves out; set soft_labels to true, or annotator_dropout to 0"
        )
    if len(set(entry.targets.attributes)) != len(entry.targets.attributes):
        raise ValueError(f"targets.attributes is {entry.targets.attributes}, expected each once: remove the second")
    metric = entry.early_stopping.metric
    if metric in ("macro_f1", "ua") and not entry.targets.emotion:
        raise ValueError(
            f"early_stopping.metric is {metric!r} and targets.emotion false; set the metric to mean_ccc or loss"
        )
    if metric == "mean_ccc" and not entry.targets.attributes:
        raise ValueError(
            "early_stopping.metric is 'mean_ccc' and targets.attributes empty; set the metric to macro_f1, ua or loss"
        )


def _check_head(entry: ExpertEntry) -> None:
    if entry.head.kind != "sequence_classification":
        return
    if entry.modality != "text":
        raise ValueError(
            "head.kind is 'sequence_classification', which applies only to modality 'text' (got"
            f" {entry.modality!r}): set it to dense, relu or tanh"
        )
    (branch,) = entry.branches.values()
    if branch.layers == "weighted":
        raise ValueError(
            "layers is 'weighted' and head.kind 'sequence_classification', which reads the last layer; set layers to"
            " last"
        )
    if branch.embedding is not None or entry.cache_embeddings:
        name = "cache_embeddings" if branch.embedding is None else "embedding"
        raise ValueError(
            f"{name} is set and head.kind 'sequence_classification', which runs the text model whole; set"
            f" cache_embeddings to false{'' if branch.embedding is None else ' and embedding to null'}, or head.kind to"
            " dense"
        )
    if entry.targets.sentiment.enabled:
        raise ValueError(
            "targets.sentiment.enabled is true and head.kind 'sequence_classification', which has no such output; set"
            " head.kind to dense"
        )


def _check_batches_of_one(entry: ExpertEntry, phase: str, losses: LossSettings) -> None:
    if entry.head.kind == "dense":
        raise ValueError(
            f"phases.{phase}.batch_size is 1 and head.kind 'dense', whose batch norm one utterance does not train;"
            " set head.kind to relu or tanh, or batch_size to at least 2"
        )
    given = [name for name in OF_SEVERAL if losses.weights()[name] > 0]
    if given and entry.phases[phase].gradient_accumulation_steps == 1:
        raise ValueError(
            f"phases.{phase}.batch_size is 1, gradient_accumulation_steps 1, and {given[0]} has a weight, a loss of"
            " several utterances; set either to at least 2"
        )


def _check_losses(entry: ExpertEntry, phase: str, losses: LossSettings) -> None:
    weights, targets = losses.weights(), entry.targets
    for expected, names, target in (
        (targets.emotion, CATEGORICAL, "targets.emotion is true"),
        (bool(targets.attributes), ("concordance",), f"targets.attributes is {targets.attributes}"),
        (targets.gender, ("gender",), "targets.gender is true"),
        (targets.sentiment.enabled, ("sentiment",), "targets.sentiment.enabled is true"),
    ):
        given = [name for name in names if weights[name] > 0]
        if expected and not given:
            raise ValueError(
                f"{target}, but phase {phase!r} gives {' and '.join(names[:2])} no weight in its losses; set a weight"
                f" above 0, or take the target out"
            )
        if given and not expected:
            raise ValueError(
                f"phase {phase!r} gives {' and '.join(given)} a weight in its losses, but no such target is trained;"
                " set it to 0"
            )
    mixed = entry.augmentation.mixing.probability > 0
    if weights["multi_similarity"] > 0 and (targets.soft_labels or mixed):
        soft, mixing = (
            ("targets.soft_labels is true", "soft_labels to false"),
            ("augmentation.mixing is on", "its probability to 0"),
        )
        what, remedy = soft if targets.soft_labels else mixing
        raise ValueError(
            f"phase {phase!r} gives multi_similarity a weight in its losses and {what}; it pairs utterances of one"
            f" label, set {remedy}"
        )
    if losses.label_smoothing > 0 and not (weights["cross_entropy"] or weights["focal"]):
        raise ValueError(
            f"phase {phase!r} has label_smoothing {losses.label_smoothing:g} in its losses and gives neither"
            " cross_entropy nor focal a weight; set label_smoothing to 0, or one of them above 0"
        )
    mixer = entry.join.kind if isinstance(entry.join, MixerSettings) else None
    for name, kind in AUXILIARY.items():
        if weights[name] > 0 and mixer != kind:
            raise ValueError(
                f"phase {phase!r} gives {name} a weight in its losses, which applies only to a joint expert with"
                f" mixer.kind {kind!r} (got {mixer!r}): set it to 0"
            )


def _check_cache(entry: ExpertEntry) -> None:
    """Refuse an embedding that would never be read, and a cache that would never hold anything."""
    cached, reasons = False, []
    for modality, branch in entry.branches.items():
        prefix = f"branches.{modality}." if len(entry.branches) > 1 else ""
        reason = _not_cached(entry, modality, branch, prefix)
        cached = cached or reason is None
        reasons.append(reason)
        if branch.embedding is None:
            continue
        given = f"{prefix}embedding is {branch.embedding!r}"
        if not entry.cache_embeddings:
            raise ValueError(
                f"{given} and cache_embeddings false; set cache_embeddings to true, which reads it into memory, or"
                " embedding to null"
            )
        if reason is not None:
            raise ValueError(f"{given}, of whole utterances as they are, and {reason}, or embedding to null")
    if entry.cache_embeddings and not cached and len(reasons) == 1:  # a joint expert's training prints why
        raise ValueError(f"cache_embeddings is true and {reasons[0]}, or cache_embeddings to false")


def _not_cached(entry: ExpertEntry, modality: str, branch: BranchSettings, prefix: str) -> str | None:
    """Return why a branch's frames differ from epoch to epoch and what to set, None where they do not."""
    if branch.adaptation.method != "frozen":
        method = branch.adaptation.method
        return f"{prefix}adaptation.method {method!r}, which changes the encoder; set the method to frozen"
    chunked = [name for name, phase in entry.phases.items() if phase.chunk_s is not None]
    if modality == "audio" and chunked:
        return f"phases.{chunked[0]}.chunk_s draws chunks; set chunk_s to null"
    if modality == "audio" and entry.augmentation.is_on:
        return "augmentation is on; set its probabilities and speed.share to 0"
    return None


def _check_passes(entry: ExpertEntry, name: str, passes: Sequence[str]) -> None:
    modalities = list(entry.branches)
    for each in passes:
        if each != BOTH and len(members(each, modalities)) == len(modalities):
            raise ValueError(f"phase {name!r} trains {each!r}, all modalities of the expert: write it as {BOTH!r}")
    if len(set(passes)) != len(passes):
        raise ValueError(f"the passes of phase {name!r} are {passes}, expected each once: remove the second")
    measured = entry.early_stopping.shown
    if measured is not None and measured not in passes:
        raise ValueError(
            f"early_stopping.shown is {measured!r}, which phase {name!r} does not train, its passes are {passes}; set"
            " it to one of them, or to null for all of them together"
        )
    if entry.losses_of(entry.phases[name]).contrastive > 0 and not set(modalities) <= set(passes):
        raise ValueError(
            f"phase {name!r} gives contrastive a weight in its losses, its passes are {passes}; expected"
            f" {' and '.join(map(repr, modalities))} among them: name them, or set contrastive to 0"
        )
