"""Small artifacts of every kind, each with the reader that the stages use: what is written, and what was understood."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from pipeline_lib.experts import disk
from pipeline_lib.experts.settings import ExpertBranch, ExpertSettings
from pipeline_lib.finetuning import checkpoints
from pipeline_lib.finetuning.checkpoints import State
from pipeline_lib.fusion import model
from pipeline_lib.fusion.fuse import fuse
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.params.network import AdaptationSettings, HeadSettings, LoraSettings, PoolingSettings
from pipeline_lib.params.rebalancing import RebalancingSettings
from pipeline_lib.rebalancing import model as rebalancing_model
from pipeline_lib.rebalancing.rebalance import fit
from pipeline_lib.rebalancing.source import of_predictions
from pipeline_lib.shards import store
from pipeline_lib.tables import embeddings, manifest, predictions, transcripts
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions
from pipeline_lib.tables.provenance import Provenance
from tests.encoders import checkpoints as encoders

CPU = torch.device("cpu")
LABELS = ("anger", "joy", "sadness")
IDS = [f"u{i:03d}" for i in range(40)]


@dataclass(frozen=True)
class Kind:
    """A kind of artifact.

    Attributes:
        write: lays one down in an empty folder
        read: what the stages' reader understands of it, comparable with ``==``
        heals: a damaged one is made again or passed over, in place of being refused
    """

    write: Callable[[Path], None]
    read: Callable[[Path], Any]
    heals: bool = False


def a_manifest() -> Manifest:
    """Return forty utterances by ten speakers, half of them in dev_bal."""
    frame = pd.DataFrame({"utterance_id": IDS})
    rng = np.random.default_rng(2)
    frame["audio"] = [f"audio/{name}.flac" for name in IDS]
    frame["audio_sha256"] = [f"{i:064x}" for i in range(40)]
    frame["video"] = frame["gender"] = None
    frame["duration_s"] = rng.uniform(1, 5, 40)
    frame["split"] = ["train", "dev"] * 20
    frame["subsets"] = [[], ["dev_bal"]] * 20
    frame["speaker"] = [f"s{i % 10}" for i in range(40)]
    frame["emotion"] = [LABELS[i // 2 % 3] for i in range(40)]
    frame["votes"] = [{"anger": 1, "joy": i} for i in range(40)]
    for name in ("arousal", "valence", "dominance"):
        frame[name] = rng.uniform(1, 7, 40)
    frame["reference_text"] = [f"text {i}" for i in range(40)]
    return Manifest(frame, "made up", LABELS, (1.0, 7.0), "A notice.")


def some_predictions(expert: str = "audio", seed: int = 1) -> Predictions:
    """Return posteriors, attributes and embeddings of the forty."""
    rng = np.random.default_rng(seed)
    return Predictions(
        np.array(IDS, dtype=object),
        expert,
        LABELS,
        rng.dirichlet(np.ones(3), 40),
        np.full(3, 1 / 3),
        ("arousal",),
        rng.uniform(1, 7, (40, 1)),
        rng.normal(size=(40, 8)).astype(np.float32),
        Provenance(("dev_bal",)),
    )


def frozen(value: Any) -> Any:
    """Return something that compares bit by bit: bytes for arrays, text for frames."""
    match value:
        case np.ndarray() if value.dtype != object:
            return (str(value.dtype), value.shape, value.tobytes())
        case np.ndarray():
            return value.tolist()
        case torch.Tensor():
            return (
                str(value.dtype),
                tuple(value.shape),
                value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes(),
            )
        case pd.DataFrame():
            return {name: [repr(each) for each in value[name]] for name in value.columns}
        case dict():
            return {key: frozen(each) for key, each in value.items()}
        case list() | tuple():
            return [frozen(each) for each in value]
        case pa.Table():
            return value.to_pydict()
    return frozen(vars(value)) if hasattr(value, "__dict__") else repr(value)


def _write_embedding(folder: Path) -> None:
    info = embeddings.Info("hubert", "models/x", None, "audio", 8, 50.0, (0, 1), "mean", True, 40)
    rng = np.random.default_rng(3)
    with embeddings.writing(folder / "audio", info) as writer:
        for start in range(0, 40, 16):
            ids = IDS[start : start + 16]
            vectors = {layer: rng.normal(size=(len(ids), 8)).astype(np.float16) for layer in (0, 1)}
            frames = {layer: [rng.normal(size=(3, 8)).astype(np.float16) for _ in ids] for layer in (0, 1)}
            writer.add(ids, vectors, frames)


def _read_embedding(folder: Path) -> Any:
    info = embeddings.read_info(folder / "audio")
    layers = [embeddings.read_layer(folder / "audio", layer) for layer in info.layers]
    return frozen([asdict(info), layers, [list(embeddings.iter_frames(folder / "audio", i)) for i in info.layers]])


def _shard(rows: list[int]) -> pa.Table:
    return pa.table({"row": rows, "text": [f"heard {row}" for row in rows]})


def _run_shards(folder: Path) -> Any:
    plan = [[0, 1, 2], [3, 4, 5], [6, 7]]
    return frozen(list(store.run_shards(folder / "shards", plan, _shard, "shards")))


def _checkpoint(total: int) -> tuple[State, dict, dict]:
    state = State(phase=0, epoch=total, step=total, total=total, best=0.5, best_epoch=1, history=[{"loss": 0.25}])
    generator = torch.Generator().manual_seed(total)
    weights = {"head.weight": torch.randn(4, 4, generator=generator), "head.bias": torch.randn(4, generator=generator)}
    return state, weights, {"exp_avg.head.weight": torch.randn(4, 4, generator=generator)}


def _write_checkpoints(folder: Path) -> None:
    checkpoints.write_best(folder, _checkpoint(1)[0], _checkpoint(1)[1])
    for total in (1, 2):
        checkpoints.write(folder, *_checkpoint(total))


def _read_checkpoints(folder: Path) -> Any:
    found = checkpoints.latest(folder)
    for total in (2, 1):  # the one before is as good: training goes on from it to the same weights
        if found is not None and frozen(found) == frozen(_checkpoint(total)):
            found = _checkpoint(2)
            break
    return None if found is None else frozen([found, checkpoints.read_best(folder, _checkpoint(1)[0])])


@cache
def _expert(root: Path) -> tuple[Any, ExpertSettings]:
    place = encoders.write(root, "llama")
    said = ExpertSettings(
        branches={
            "text": ExpertBranch(
                encoder=EncoderSettings(checkpoint=str(place), layers_kept=1),
                layers="last",
                adaptation=AdaptationSettings(method="lora", lora=LoraSettings(r=2)),
            )
        },
        head=HeadSettings(width=6),
        pooling=PoolingSettings(kind="mean"),
        labels=list(LABELS),
        attributes=["arousal"],
        attribute_scale=[1.0, 7.0],
        attribute_range="signed",
        seed=5,
        max_s=30.0,
        text="transcripts",
    )
    return disk.build(said, CPU), said


def expert_kind(root: Path) -> Kind:
    """Return the kind of a trained expert; its encoder's checkpoint lies in ``root``."""

    def read(folder: Path) -> Any:
        said = disk.read_settings(folder / "text")
        return frozen([said.model_dump(), dict(disk.load(folder / "text", CPU).state_dict())])

    return Kind(lambda folder: disk.save_expert(folder / "text", *_expert(root)), read)


def _write_fusion(folder: Path) -> None:
    settings = FusionSettings(experts=["audio", "text"], method="logreg", crossfit_folds=2)
    model.write(
        folder / "fusion", fuse([some_predictions(), some_predictions("text", 2)], a_manifest(), settings), settings
    )


def _read_fusion(folder: Path) -> Any:
    loaded = model.read(folder / "fusion")
    posteriors = np.stack([some_predictions().posterior, some_predictions("text", 2).posterior])
    weights = loaded.attribute_fuser.weights_
    return frozen([loaded.labels, loaded.posterior_experts, loaded.fuser.predict_proba(posteriors), weights])


def _write_rebalancing(folder: Path) -> None:
    settings = RebalancingSettings(method="lda_logistic", prior="development")
    fitted = fit(of_predictions(some_predictions()), a_manifest(), settings, "mine")
    rebalancing_model.write(folder / "mine", fitted)


def _read_rebalancing(folder: Path) -> Any:
    return frozen(rebalancing_model.apply(rebalancing_model.read(folder / "mine"), of_predictions(some_predictions())))


def kinds(root: Path) -> dict[str, Kind]:
    """Return every kind; ``root`` keeps what experts are built on."""
    return {
        "manifest": Kind(
            lambda f: manifest.write(f / "m.parquet", a_manifest()), lambda f: frozen(manifest.read(f / "m.parquet"))
        ),
        "transcripts": Kind(
            lambda f: transcripts.write(
                f / "t.parquet", IDS, [f"heard {i}" for i in IDS], engine="x", checkpoint="y", decoding={"beam": 1}
            ),
            lambda f: frozen(transcripts.read(f / "t.parquet")),
        ),
        "predictions": Kind(
            lambda f: predictions.write(f / "p.parquet", some_predictions()),
            lambda f: frozen(predictions.read(f / "p.parquet")),
        ),
        "embedding": Kind(_write_embedding, _read_embedding),
        "shards": Kind(lambda f: _run_shards(f), _run_shards, heals=True),
        "training checkpoint": Kind(_write_checkpoints, _read_checkpoints, heals=True),
        "expert": expert_kind(root),
        "fusion": Kind(_write_fusion, _read_fusion),
        "rebalancing": Kind(_write_rebalancing, _read_rebalancing),
    }


def files(folder: Path) -> list[Path]:
    """Return the artifact's files that a reader looks into, sorted."""
    unread = ("curve.csv", ".lock")
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and path.name not in unread and path.stat().st_size
    )


def copied(source: Path, target: Path) -> None:
    """Lay a copy of the artifact down."""
    shutil.copytree(source, target, dirs_exist_ok=True)


def as_json(value: Any) -> str:
    """Return a value for a message."""
    return json.dumps(value, default=str)[:200]
