"""The commit of a checkpoint on the hub before the engine is loaded: transcripts of two commits are different ones."""

import re
from pathlib import Path

from huggingface_hub import HfApi, constants

TIMEOUT_S = 10.0
COMMIT = re.compile(r"[0-9a-f]{40}")


def commit_of(checkpoint: str, revision: str | None) -> str | None:
    """Return the commit that a name on the hub stands for, None where neither the hub nor this machine knows it.

    Args:
        checkpoint: "owner/model"; of anything else the commit is None
        revision: branch, tag or commit; None for the branch main
    """
    if Path(checkpoint).exists() or checkpoint.startswith((".", "/", "models/", "data/")) or checkpoint.count("/") != 1:
        return None
    if revision and COMMIT.fullmatch(revision):
        return revision
    try:
        return HfApi().model_info(checkpoint, revision=revision, timeout=TIMEOUT_S).sha
    except Exception:  # noqa: BLE001 - no network, gated ...: loading gives the reason, where anything is to be loaded
        folder = Path(constants.HF_HUB_CACHE) / f"models--{checkpoint.replace('/', '--')}"
        reference = folder / "refs" / (revision or "main")
        return reference.read_text(encoding="utf-8").strip() if reference.is_file() else None
