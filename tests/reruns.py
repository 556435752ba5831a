"""Which stages one key of every section reruns, and how a test sets a key."""

from pathlib import Path

from ruamel.yaml import YAML

EVERYTHING_AFTER_CORPUS = {
    "corpus",
    "transcription",
    "embedding@audio",
    "embedding@text",
    "finetuning@audio",
    "finetuning@text",
    "rebalancing@audio",
    "rebalancing@text",
    "rebalancing@audio_layers",
    "rebalancing@text_layers",
    "fusion",
    "scoring",
}
AFTER_LAYERS = {"rebalancing@text_layers", "fusion", "scoring"}  # the fusion reads all of data/rebalanced
AFTER_TEXT = {"embedding@text", "finetuning@text", "rebalancing@text", *AFTER_LAYERS}
MATRIX = {
    "demonstration.english.seed": (2, {"demonstration@english", *EVERYTHING_AFTER_CORPUS}),
    "corpus.dev_bal.seed": (2, EVERYTHING_AFTER_CORPUS),
    "transcription.canary.batch_size": (3, {"transcription", *AFTER_TEXT}),
    "embedding.text.pooling": ("mean_std", {"embedding@text", *AFTER_LAYERS}),
    "rebalancing.text_layers.source.probe.penalty": (2.0, AFTER_LAYERS),
    "finetuning.audio.seed": (2, {"finetuning@audio", "rebalancing@audio", "fusion", "scoring"}),
    "finetuning.text.seed": (2, {"finetuning@text", "rebalancing@text", "fusion", "scoring"}),
    "rebalancing.text.prior": ("none", {"rebalancing@text", "fusion", "scoring"}),
    "fusion.method": ("logreg", {"fusion", "scoring"}),
    "scoring.intervals.samples": (50, {"scoring"}),
}


def set_param(root: Path, dotted: str, value: object) -> None:
    """Set one key of params.yaml to something that it is not."""
    yaml = YAML()
    values = yaml.load(root / "params.yaml")
    *path, last = dotted.split(".")
    inner = values
    for part in path:
        inner = inner[part]
    assert inner[last] != value, f"{dotted} already has the value that the test would set"
    inner[last] = value
    yaml.dump(values, root / "params.yaml")
