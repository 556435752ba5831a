"""What the entries of params.yaml write, by their names, and what earlier entries left."""

import shutil
from pathlib import Path

from pipeline_lib.params.inputs import entries_with_slots
from pipeline_lib.params.sections import Params

OUTPUTS = {  # section: the outs of an entry in dvc.yaml, {} for its name
    "demonstration": ["data/demonstration/{}"],
    "embedding": ["data/embeddings/{}"],
    "finetuning": [
        "models/{}",
        "data/predictions/{}.parquet",
        "data/predictions_alone/{}",
        "data/predictions_folds/{}",
        "metrics/plots/training/{}.csv",
    ],
    "rebalancing": [
        "data/rebalanced/{}.parquet",
        "data/rebalanced_folds/{}",
        "models/rebalancing/{}",
        "metrics/rebalancing/{}.json",
        "metrics/plots/layers/{}.csv",
        "metrics/plots/learning/{}.csv",
    ],
}
EXPERT = ("settings.json", "folds.json")  # a trained expert has one; other folders of models/ belong to the user
NOT_EXPERTS = {"demo", "fusion"}  # folders of models/
METRICS = "metrics"


def stale_outputs(params: Params, root: Path = Path()) -> list[Path]:
    """Return the outputs of earlier parameters that no entry of these parameters names or reads.

    Args:
        params: the present parameters
        root: of the project

    Returns:
        files and folders, sorted; of models/ only folders of experts, so that a user's checkpoints stay
    """
    read = {root / path for _, _, reads in entries_with_slots(params) for path in reads.values()}
    stale: list[Path] = []
    for section, patterns in OUTPUTS.items():
        keep = {*getattr(params, section), *NOT_EXPERTS}
        for pattern in patterns:
            paths = [path for path in root.glob(pattern.format("*")) if path not in read]
            stale += [path for path in paths if path.name.split(".")[0] not in keep and path.name[0] != "."]
    return sorted(
        path for path in stale if path.parent.name != "models" or any((path / name).is_file() for name in EXPERT)
    )


def stale_figures(params: Params, root: Path = Path()) -> list[Path]:
    """Return the figures' tables and the metrics among ``stale_outputs``.

    Args:
        params: the present parameters
        root: of the project
    """
    return [path for path in stale_outputs(params, root) if path.is_relative_to(root / METRICS)]


def remove(path: Path) -> None:
    """Remove an output; of a link the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
