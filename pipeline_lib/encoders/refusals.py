"""Why a checkpoint cannot be loaded, in one sentence with the remedy."""

from collections.abc import Iterator

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from pipeline_lib.encoders.settings import EncoderSettings
from pipeline_lib.errors import InputError


def explain(error: BaseException, settings: EncoderSettings, wanted: str) -> InputError:
    """Return what went wrong.

    Args:
        error: what transformers or huggingface_hub raised
        settings: what was to be loaded
        wanted: the part that was asked for ("weights")
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
        said = f"is gated: ask for access at https://huggingface.co/{name}, then log in with 'hf auth login' or set HF_TOKEN"
    elif _any(kinds, RevisionNotFoundError):
        said = f"has no revision {revision!r}; see https://huggingface.co/{name}/commits/main"
    elif status == 401 and "token" in text.lower() and not _any(kinds, RepositoryNotFoundError):
        said = "was refused because the hub does not know the token: log in anew with 'hf auth login', or correct or unset HF_TOKEN"
    elif _any(kinds, RepositoryNotFoundError):
        said = "is neither a folder here nor a checkpoint on the hub that this account may see (a slip in the name, or a missing or wrong token? 'hf auth login')"
    elif _any(kinds, OfflineModeIsEnabled) or (_any(kinds, LocalEntryNotFoundError) and _offline()):
        said = "is not in the local cache and HF_HUB_OFFLINE is set: unset it once to download, or give a local folder as checkpoint"
    elif _any(kinds, LocalEntryNotFoundError) or _any(kinds, ConnectionError) or status is not None:
        reason = f" (status {status})" if status else ""
        said = f"is not in the local cache and the hub cannot be reached{reason}: check the network, or give a local folder as checkpoint"
    elif "safetensors" in text and "appear to have" in text:
        said = (
            "has no safetensors weights, and no other format is loaded because pickle can run code: convert it, or give as revision "
            "the pull request that did (on the hub under Community, such as 'refs/pr/1')"
        )
    elif "trust_remote_code" in text or "custom code" in text:
        said = (
            "needs Python code of its own, which this pipeline never runs: choose an architecture that transformers has"
        )
    else:
        said = f"gives no {wanted}: {text[:300]} (is the checkpoint whole, and the files those of transformers?)"
    return InputError(f"checkpoint {name} {said}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and what caused it, innermost last."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _any(errors: tuple[BaseException, ...], kind: type[BaseException]) -> bool:
    return any(isinstance(error, kind) for error in errors)


def _offline() -> bool:
    return constants.is_offline_mode()
