"""A recipe on stand-ins: synthetic speech in MSP-Podcast's layout and the small checkpoints that ship.

The recipe's own choices stay: experts, adaptation, phases, chunks, samplers, losses, augmentation, priors, fusion.
Settings that depend on the size of models and corpus are those of the default's expert of that modality: LoRA's rank,
widths, epochs, batch sizes, learning rates. Texts are read without previous turns, as the corpus has no dialogues. It
shows that every part runs; its scores mean nothing.
"""

from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from pipeline_lib.params.applicable import JOINT
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.encoder import FUNCTIONALS
from pipeline_lib.recipes.compose import ENTRIES, compose, merge, read_yaml

STAND_INS = Path(__file__).parent / "stand_ins" / "small.yaml"
SIZE_KEYS = (
    "epochs",
    "batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "head_learning_rate",
    "weight_decay",
)


def shrink(params: CommentedMap) -> None:
    """Replace a recipe's corpus, checkpoints and sizes by stand-ins, in place.

    Raises:
        ParameterError: a checkpoint has no stand-in
    """
    default, stand_ins = compose("default"), read_yaml(STAND_INS)
    checkpoints, labels, blocks = (stand_ins.pop(key) for key in ("checkpoints", "labels", "blocks"))
    if params["corpus"]["labels"] is not None:
        params["corpus"]["labels"] = [labels.get(label, label) for label in params["corpus"]["labels"]]
    if params["corpus"]["split"]["method"] == "folds":
        del stand_ins["scoring"]  # all that takes part is in the folds; there is no other split to score
        folds = params["corpus"]["split"]["folds"]
        if folds["by"] == "assignment":  # of speakers that the demonstration lacks
            folds |= {"by": "speakers", "k": len(folds["assignment"]), "assignment": []}
    _one_corpus(params)
    merge(params, stand_ins, STAND_INS.name)
    for entry in params["embedding"].values():
        _load_small(entry, checkpoints)
    for entry in params["rebalancing"].values():
        source = entry.get("source")
        if source and isinstance(source["layers"], list):
            source["layers"] = [layer for layer in source["layers"] if layer <= blocks] or [blocks]
    for entry in params["finetuning"].values():
        _load_small(entry, checkpoints)
        known = default["finetuning"] | {JOINT: read_yaml(ENTRIES / "joint.yaml")}
        _size_down(entry, known[entry["modality"]])


def _one_corpus(params: CommentedMap) -> None:
    """Leave out several corpora, in place: the stand-in is one, cut into folds by its speakers."""
    corpora = params["corpus"].get("corpora") or {}
    params["corpus"]["corpora"] = CommentedMap()
    if corpora and params["corpus"]["split"]["folds"]["by"] == "column":
        params["corpus"]["split"]["folds"] |= {"by": "speakers", "column": "fold"}
    params["scoring"]["splits"] = [name for name in params["scoring"]["splits"] if name not in corpora]


def _load_small(entry: dict[str, Any], checkpoints: dict[str, str]) -> None:
    """Give an entry its small checkpoints and no previous turns."""
    if "context" in entry:
        entry["context"] = 0
    for part in entry.get("branches", {"only": entry}).values():
        if part["encoder"] is not None:
            _load_stand_in(part, checkpoints)


def _load_stand_in(part: dict[str, Any], checkpoints: dict[str, str]) -> None:
    """Give an entry or a branch its small checkpoint."""
    name = part["encoder"]["checkpoint"]
    if name in FUNCTIONALS:
        return
    checkpoints = checkpoints | {small: small for small in checkpoints.values()}
    if name not in checkpoints:
        raise ParameterError(f"{STAND_INS.name} has no stand-in for {name!r}, only for {sorted(checkpoints)}")
    part["encoder"] |= {"checkpoint": checkpoints[name], "revision": None, "layers_kept": None}
    if "whisper_length" in part["encoder"]:
        part["encoder"]["whisper_length"] = "padded_30s"  # no stand-in is a Whisper


def _size_down(entry: dict[str, Any], default: dict[str, Any]) -> None:
    """Give an expert the sizes of the default's expert; without noise its augmentation has simulated rooms only."""
    if "branches" in entry:
        entry["mixer"] |= {key: default["mixer"][key] for key in ("width", "layers", "heads", "dropout")}
        parts = [(branch, default["branches"][name]) for name, branch in entry["branches"].items()]
    else:
        entry["pooling"]["attention_width"] = default["pooling"]["attention_width"]
        parts = [(entry, default)]
    for part, like in parts:
        sized = ("r", "lora_alpha", "layers_to_transform")
        part["adaptation"]["lora"] |= {key: like["adaptation"]["lora"][key] for key in sized}
    entry["head"] |= {key: default["head"][key] for key in ("width", "dropout")}
    sizes = default["phases"]["main"]
    for phase in entry["phases"].values():
        phase |= {key: sizes[key] for key in SIZE_KEYS}
    entry["early_stopping"] |= {key: default["early_stopping"][key] for key in ("every", "patience")}
    if "augmentation" in entry:
        entry["augmentation"]["noise"] |= {"probability": 0.0, "root": None}
        entry["augmentation"]["reverberation"] |= {"root": None, "rooms": 20}
    entry["predict"] = default["predict"]
