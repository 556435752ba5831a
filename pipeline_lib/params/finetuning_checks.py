"""What of an entry of ``finetuning`` contradicts itself; every refusal says what is and what was expected."""

from collections.abc import Sequence

from pipeline_lib.params.branches import COMBINATIONS, OF_BRANCHES, check_modality, check_training_only, check_weights
from pipeline_lib.params.expert import ExpertEntry
from pipeline_lib.params.training import AUXILIARY, CATEGORICAL, OF_SEVERAL, LossSettings


def check(entry: ExpertEntry) -> None:
    """Refuse an entry whose options do not fit one another.

    Raises:
        ValueError: the first that does not
    """
    _check_targets(entry)
    if entry.is_joint:
        _check_joint(entry)
    else:
        _check_single(entry)
    _check_sound_and_head(entry)
    for name, phase in entry.phases.items():
        _check_losses(entry, name, entry.losses_of(phase))
        if phase.batch_size == 1:
            _check_batches_of_one(entry, name, entry.losses_of(phase))


def _check_targets(entry: ExpertEntry) -> None:
    if not entry.targets.emotion and not entry.targets.attributes:
        raise ValueError("targets has neither emotion nor attributes, there is nothing to train")
    if entry.targets.soft_labels and not entry.targets.emotion:
        raise ValueError("targets.soft_labels is true and targets.emotion false, which it is a form of")
    if len(set(entry.targets.attributes)) != len(entry.targets.attributes):
        raise ValueError(f"targets.attributes is {entry.targets.attributes}, one is named twice")
    metric = entry.early_stopping.metric
    if metric in ("macro_f1", "ua") and not entry.targets.emotion:
        raise ValueError(
            f"early_stopping.metric is {metric!r} and targets.emotion false; expected 'mean_ccc' or 'loss'"
        )
    if metric == "mean_ccc" and not entry.targets.attributes:
        raise ValueError(
            "early_stopping.metric is 'mean_ccc' and targets.attributes empty; expected 'macro_f1', 'ua' or 'loss'"
        )


def _check_sound_and_head(entry: ExpertEntry) -> None:
    chunked = [name for name, phase in entry.phases.items() if phase.chunk_s is not None]
    if entry.modality == "text" and chunked:
        raise ValueError(f"phases.{chunked[0]}.chunk_s is for audio, a text is read whole; expected null")
    if entry.modality == "text" and entry.augmentation.is_on:
        raise ValueError("augmentation is for audio, a text has no sound; expected probabilities and speed.share of 0")
    if entry.head.kind == "sequence_classification":
        if entry.modality != "text":
            raise ValueError("head.kind is 'sequence_classification', which is for text; expected 'dense'")
        if entry.layers == "weighted":
            raise ValueError(
                "layers is 'weighted', head.kind 'sequence_classification' reads the last layer; expected 'last'"
            )
        if entry.targets.sentiment.enabled:
            raise ValueError(
                "targets.sentiment.enabled is true, head.kind 'sequence_classification' has no such output; expected"
                " 'dense'"
            )


def _check_batches_of_one(entry: ExpertEntry, phase: str, losses: LossSettings) -> None:
    if entry.head.kind == "dense":
        raise ValueError(
            f"phases.{phase}.batch_size is 1 and head.kind 'dense', whose batch norm one utterance does not train;"
            " expected 'relu' or 'tanh', or at least 2"
        )
    given = [name for name in OF_SEVERAL if losses.weights()[name] > 0]
    if given and entry.phases[phase].gradient_accumulation_steps == 1:
        raise ValueError(
            f"phases.{phase}.batch_size is 1, gradient_accumulation_steps 1, and {given[0]} has a weight, a loss of"
            " several utterances; expected at least 2 of either"
        )


def _check_losses(entry: ExpertEntry, phase: str, losses: LossSettings) -> None:
    weights, targets = losses.weights(), entry.targets
    for expected, names, what in (
        (targets.emotion, CATEGORICAL, "targets.emotion is true"),
        (bool(targets.attributes), ("concordance",), f"targets.attributes is {targets.attributes}"),
        (targets.gender, ("gender",), "targets.gender is true"),
        (targets.sentiment.enabled, ("sentiment",), "targets.sentiment.enabled is true"),
    ):
        given = [name for name in names if weights[name] > 0]
        if expected and not given:
            raise ValueError(f"{what}, but phase {phase!r} gives {' and '.join(names[:2])} no weight in its losses")
        if given and not expected:
            said = f"gives {' and '.join(given)} a weight in its losses"
            raise ValueError(f"phase {phase!r} {said}, but no such target is trained")
    if weights["multi_similarity"] > 0 and targets.soft_labels:
        raise ValueError(
            f"phase {phase!r} gives multi_similarity a weight in its losses and targets.soft_labels is true; it"
            " pairs utterances of one label, expected false"
        )
    for name, kind in AUXILIARY.items():
        if weights[name] > 0 and (entry.mixer is None or entry.mixer.kind != kind):
            raise ValueError(
                f"phase {phase!r} gives {name} a weight in its losses, which is for a joint expert with mixer.kind"
                f" {kind!r}; expected 0"
            )


def _check_single(entry: ExpertEntry) -> None:
    """Refuse in an audio or text expert what only a joint one has."""
    for name in OF_BRANCHES:
        if getattr(entry, name) is None:
            raise ValueError(f"{name} is null, which is for modality 'joint'; the modality is {entry.modality!r}")
    said = f"is for modality 'joint', the modality is {entry.modality!r}"
    for name in ("branches", "mixer", "passes"):
        if getattr(entry, name) is not None:
            raise ValueError(f"{name} {said}; expected null")
    for name, idle in (("heads", "shared"), ("modality_dropout", 0), ("cache_embeddings", False)):
        if getattr(entry, name) != idle:
            raise ValueError(f"{name} {said}; expected {idle!r}")
    if entry.early_stopping.shown is not None:
        raise ValueError(f"early_stopping.shown {said}; expected null")
    for name, phase in entry.phases.items():
        if phase.passes is not None:
            raise ValueError(f"phases.{name}.passes {said}; expected null")
        if phase.train == "both_head":
            raise ValueError(f"phases.{name}.train 'both_head' {said}; expected 'all' or 'head'")
    check_modality(entry.encoder, entry.modality)
    if entry.adaptation is None:
        raise ValueError(f"adaptation is null, expected a method for modality {entry.modality!r}")
    check_weights(entry.encoder, entry.adaptation)
    check_training_only(entry.encoder, entry.modality, trained=entry.adaptation.method != "frozen")


def _check_joint(entry: ExpertEntry) -> None:
    """Refuse what a joint expert's branches, passes and heads cannot be trained with."""
    for name in OF_BRANCHES:
        if getattr(entry, name) is not None:
            there = "mixer.pooling" if name == "pooling" else f"branches.audio.{name} and branches.text.{name}"
            raise ValueError(f"{name} is for audio and text experts, a joint expert has {there}; expected null")
    for name in ("branches", "mixer", "passes"):
        if getattr(entry, name) is None:
            raise ValueError(f"{name} is null and modality 'joint', which needs them")
    for name, phase in entry.phases.items():
        _check_passes(entry, name, entry.passes_of(phase))
        if entry.modality_dropout > 0 and entry.passes_of(phase) in (["audio"], ["text"]):
            raise ValueError(
                f"modality_dropout is {entry.modality_dropout:g} and phase {name!r} trains one modality alone, of which"
                " it would hide utterances; expected 0, or more passes"
            )
        if phase.train == "both_head" and (entry.heads == "shared" or entry.passes_of(phase) != ["both"]):
            raise ValueError(f"phases.{name}.train is 'both_head', expected heads 'separate' and passes ['both']")
    _check_embeddings(entry)
    trained = {combination for phase in entry.phases.values() for combination in entry.passes_of(phase)}
    untrained = [each for each in COMBINATIONS if each not in trained]
    if entry.heads == "separate" and untrained:
        raise ValueError(
            f"heads is 'separate' and no phase trains {untrained[0]!r}, whose head would predict by chance; name it in"
            " passes, or set heads to 'shared'"
        )


def _check_embeddings(entry: ExpertEntry) -> None:
    """Refuse an embedding that would never be read."""
    for modality, branch in entry.branches.items() if entry.branches else ():
        if branch.embedding is None:
            continue
        said = f"branches.{modality}.embedding is {branch.embedding!r}"
        if not entry.cache_embeddings:
            raise ValueError(f"{said} and cache_embeddings false; expected true, which reads it into memory, or null")
        chunked = [name for name, phase in entry.phases.items() if phase.chunk_s is not None]
        if modality == "audio" and chunked:
            raise ValueError(
                f"{said}, of whole utterances, and phases.{chunked[0]}.chunk_s draws chunks; expected null"
            )
        if modality == "audio" and entry.augmentation.is_on:
            raise ValueError(f"{said}, of the audio as it is, and augmentation is on; expected null")


def _check_passes(entry: ExpertEntry, name: str, passes: Sequence[str]) -> None:
    if len(set(passes)) != len(passes):
        raise ValueError(f"the passes of phase {name!r} are {passes}, one is named twice")
    shown = entry.early_stopping.shown
    if shown is not None and shown not in passes:
        raise ValueError(
            f"early_stopping.shown is {shown!r}, which phase {name!r} does not train, its passes are {passes}; expected"
            " one of them, or null for all of them together"
        )
    if entry.losses_of(entry.phases[name]).contrastive > 0 and not {"audio", "text"} <= set(passes):
        raise ValueError(
            f"phase {name!r} gives contrastive a weight in its losses, its passes are {passes}; expected 'audio' and"
            " 'text' among them"
        )
