"""Why a checkpoint cannot be loaded, in one sentence with the remedy; what transformers says beside it is hushed."""

import logging
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers.utils import logging as transformers_logging

from pipeline_lib.errors import InputError
from pipeline_lib.params.encoder import EncoderSettings

logging.getLogger("huggingface_hub.utils._http").setLevel(logging.ERROR)  # each retry's warning; ``explain`` says why

LOG_IN = "log in with 'hf auth login' or set HF_TOKEN"
GIVE_FOLDER = "give a local folder as checkpoint"
CONVERT = "ser convert hub"


def explain(error: BaseException, settings: EncoderSettings, expected: str) -> InputError:
    """Return what went wrong.

    Args:
        error: what transformers or huggingface_hub raised
        settings: what was to be loaded
        expected: the part that was asked for ("weights")
    """
    if isinstance(error, InputError):
        return error
    name, revision = settings.checkpoint, settings.revision or "main"
    kinds = tuple(_chain(error))
    text = " ".join(str(error).split())
    status = next(
        (e.response.status_code for e in kinds if isinstance(e, HfHubHTTPError) and e.response is not None), None
    )
    if _any(kinds, GatedRepoError):
        said = f"is gated: ask for access at https://huggingface.co/{name}, then {LOG_IN}"
    elif _any(kinds, RevisionNotFoundError):
        said = f"has no revision {revision!r}; see https://huggingface.co/{name}/commits/main"
    elif status == 401 and not _any(kinds, RepositoryNotFoundError):
        said = f"was refused because the hub does not know the token: {LOG_IN} anew, or unset HF_TOKEN"
    elif _any(kinds, RepositoryNotFoundError):
        said = f"is neither a folder here nor on the hub for this account (a slip in the name? else {LOG_IN})"
    elif _any(kinds, OfflineModeIsEnabled) or (_any(kinds, LocalEntryNotFoundError) and constants.is_offline_mode()):
        said = f"is not in the local cache and HF_HUB_OFFLINE is set: unset it once to download, or {GIVE_FOLDER}"
    elif (
        _any(kinds, LocalEntryNotFoundError)
        or _any(kinds, ConnectionError)
        or _any(kinds, httpx2.TransportError)
        or status is not None
    ):
        reason = f" (status {status})" if status else ""
        said = f"is not in the local cache and the hub is out of reach{reason}: restore the network, or {GIVE_FOLDER}"
    elif "safetensors" in text and ("appear to have" in text or "no file named" in text):
        said = f"has no safetensors weights: {convert(name)}"
    elif "trust_remote_code" in text or "custom code" in text:
        said = "needs Python code of its own, which is never run: choose an architecture that transformers has"
    else:
        said = f"gives no {expected}: {text[:300]} (is the checkpoint whole, and the files those of transformers?)"
    return InputError(f"checkpoint {name} {said}")


def convert(name: str) -> str:
    """Return the remedy for a checkpoint that has its weights in .bin files only."""
    return (
        f".bin files are not loaded, they can run code; convert it with '{CONVERT} {shlex.quote(name)}"
        f" models/{_folder(name)}' and give that folder as checkpoint, or give as revision the pull request that did"
        " (on the hub under Community, such as 'refs/pr/1')"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from reporting unused weights (heads, poolers) and from showing bars; errors are still said."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and what caused it, innermost last."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _folder(name: str) -> str:
    """Return a name for the converted folder."""
    return re.sub(r"[^a-z0-9]+", "_", PurePosixPath(name).name.lower()).strip("_") or "converted"


def _any(errors: tuple[BaseException, ...], kind: type[BaseException]) -> bool:
    return any(isinstance(error, kind) for error in errors)
