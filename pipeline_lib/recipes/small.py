"""A recipe on stand-ins: synthetic speech in MSP-Podcast's layout and the small checkpoints that ship.

Everything that makes the recipe what it is stays: experts, adaptation, phases, chunks, samplers, losses, augmentation,
priors, fusion. What depends on the size of models and corpus is taken from the default's expert of that modality:
LoRA's rank, widths, epochs, batch sizes, learning rates. It shows that every part runs; it says nothing about scores.
"""

from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from pipeline_lib.params.base import ParameterError
from pipeline_lib.recipes.compose import ENTRIES, compose, merge, read_yaml

STAND_INS = Path(__file__).parent / "stand_ins" / "small.yaml"
OF_THE_SIZE = ("epochs", "batch_size", "accumulation", "learning_rate", "head_learning_rate", "weight_decay")


def shrink(params: CommentedMap) -> None:
    """Put a recipe's corpus, checkpoints and sizes by stand-ins, in place.

    Raises:
        ParameterError: a checkpoint has no stand-in
    """
    default, stand_ins = compose("default"), read_yaml(STAND_INS)
    checkpoints, labels = stand_ins.pop("checkpoints"), stand_ins.pop("labels")
    if params["corpus"]["labels"] is not None:
        params["corpus"]["labels"] = [labels.get(each, each) for each in params["corpus"]["labels"]]
    merge(params, stand_ins, STAND_INS.name)
    for entry in params["embedding"].values():
        _load_small(entry, checkpoints)
    for entry in params["finetuning"].values():
        _load_small(entry, checkpoints)
        known = default["finetuning"] | {"joint": read_yaml(ENTRIES / "joint.yaml")}
        _size_down(entry, known[entry["modality"]])


def _load_small(entry: dict[str, Any], checkpoints: dict[str, str]) -> None:
    for part in (entry.get("branches") or {"only": entry}).values():
        if part["encoder"] is not None:
            _load_stand_in(part, checkpoints)


def _load_stand_in(part: dict[str, Any], checkpoints: dict[str, str]) -> None:
    """Give an entry or a branch its small checkpoint."""
    asked = part["encoder"]["checkpoint"]
    checkpoints = checkpoints | {small: small for small in checkpoints.values()}
    if asked not in checkpoints:
        raise ParameterError(f"{STAND_INS.name} has no stand-in for {asked!r}, only for {sorted(checkpoints)}")
    part["encoder"] |= {"checkpoint": checkpoints[asked], "revision": None, "layers_kept": None}


def _size_down(entry: dict[str, Any], default: dict[str, Any]) -> None:
    """Give an expert the sizes of the default's expert; without recordings of noise it hears simulated rooms only."""
    if entry["modality"] == "joint":
        entry["mixer"] |= {key: default["mixer"][key] for key in ("width", "layers", "heads", "dropout")}
        parts = [(branch, default["branches"][name]) for name, branch in entry["branches"].items()]
    else:
        entry["pooling"]["attention_width"] = default["pooling"]["attention_width"]
        parts = [(entry, default)]
    for part, like in parts:
        part["adaptation"]["lora"] |= {key: like["adaptation"]["lora"][key] for key in ("rank", "alpha")}
    entry["head"] |= {key: default["head"][key] for key in ("width", "dropout")}
    sizes = default["phases"]["main"]
    for phase in entry["phases"].values():
        phase |= {key: sizes[key] for key in OF_THE_SIZE}
    entry["early_stopping"] |= {key: default["early_stopping"][key] for key in ("every", "patience")}
    entry["augmentation"]["noise"] |= {"probability": 0.0, "root": None}
    entry["augmentation"]["reverberation"] |= {"root": None, "rooms": 20}
    entry["predict"] = default["predict"]
