"""Bundles on the Hugging Face hub: a repository of the bundle's files, its model card, and LoRA in PEFT's layout.

A bundle is pushed in one commit: a reader sees the earlier one or all of this one. What a push that was interrupted has
uploaded is on the hub and is not uploaded again by the next. Pulling goes on likewise, from huggingface_hub's cache.
"""

import glob
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from httpx2 import TransportError
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError

from pipeline_lib.bundle import format, peft_layout
from pipeline_lib.bundle.card import card, licence_of
from pipeline_lib.errors import InputError
from pipeline_lib.experts import folds
from pipeline_lib.storage import atomic, checksummed_json

CARD, ADAPTERS = "README.md", "adapters"
OTHERS = (".gitattributes", CARD, "LICENSE")  # that a repository may hold beside a bundle
TRIES = 3  # each of which has huggingface_hub's own
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Pushed:
    """A bundle on the hub.

    Attributes:
        url: of the repository
        commit: that holds it
        files: number of its files
    """

    url: str
    commit: str
    files: int


def push(
    bundle: Path,
    repo: str,
    *,
    private: bool = True,
    licence: str | None = None,
    message: str = "Push a bundle",
    api: HfApi | None = None,
) -> Pushed:
    """Upload a bundle with its model card in one commit; files of an earlier bundle that it lacks are deleted.

    Args:
        bundle: folder of the bundle
        repo: owner/name on the hub, made where it does not exist
        private: whether only the owner sees it
        licence: a sentence on the licence of the corpus, where this code does not know it
        message: of the commit
        api: of the hub, by default the account's that is logged in

    Raises:
        InputError: the bundle is damaged, the licence of its corpus is not known, the repository holds something else
            or is public and was to be private, or the hub refuses
    """
    record = format.read(bundle)
    known = ("other", licence) if licence is not None else licence_of(record["corpus"]["name"])
    if known is None:
        raise InputError(
            f"{bundle} was trained on {record['corpus']['name']}, whose licence is not known; state it with"
            " --corpus-licence, it is printed on the model card"
        )
    api = HfApi() if api is None else api
    with tempfile.TemporaryDirectory() as temporary:
        files = {name: bundle / name for name in _files_of(bundle)}
        adapters = _adapters(bundle, Path(temporary))
        files |= {name: Path(temporary) / name for name in adapters}
        folders = sorted({name.rpartition("/")[0] for name in adapters})
        details = files.get(format.SCORES)
        scores = None if details is None else json.loads(details.read_bytes())
        text = card(record, scores, repo, known, folders)
        url = _repository(api, repo, private)
        there = _hub(lambda: api.list_repo_files(repo), repo)
        foreign = sorted(name for name in there if name not in OTHERS)
        if foreign and format.RECORD not in there:
            raise InputError(f"{repo} holds {foreign[0]!r} and no bundle; name another repository")
        operations = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
        operations.append(CommitOperationAdd(CARD, text.encode()))
        deleted = [CommitOperationDelete(name) for name in foreign if name not in files]
        commit = _hub(lambda: api.create_commit(repo, [*operations, *deleted], commit_message=message), repo)
    return Pushed(url, commit.oid, len(operations))


def pull(repo: str, out: Path, *, revision: str | None = None, api: HfApi | None = None) -> dict[str, Any]:
    """Download a bundle into a folder, verified, and return its record; an earlier bundle in it is replaced.

    Args:
        repo: owner/name on the hub
        out: folder of the bundle
        revision: commit, branch or tag; None for the branch main
        api: of the hub, by default the account's that is logged in

    Raises:
        InputError: the repository holds no bundle or a damaged one, the hub refuses, or ``out`` holds something else
    """
    if out.exists() and not format.is_bundle(out) and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out} exists and is no bundle, expected another --out")
    api = HfApi() if api is None else api
    commit = _commit(api, repo, revision)
    first = _snapshot(api, repo, commit, [format.RECORD])
    if not format.is_bundle(first):
        raise InputError(f"{repo} has no {format.RECORD}, expected a repository that ser push wrote")
    names = [*_files_of(first), CARD, "LICENSE"]
    source = _snapshot(api, repo, commit, names)
    with atomic.replace_folder(out) as folder:
        for name in names:
            if (source / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, folder / name)
        return format.read(folder)


def local(repo: str, *, revision: str | None = None, api: HfApi | None = None) -> Path:
    """Return the folder of a bundle on the hub in huggingface_hub's own folder, pulled once a commit.

    Args:
        repo: owner/name on the hub
        revision: commit, branch or tag; None for the branch main
        api: of the hub

    Raises:
        InputError: see ``pull``; without a network the commit that was pulled last is taken, and named
    """
    folder = Path(constants.HF_HOME) / "speech-emotion-bundles" / repo.replace("/", "--")
    api = HfApi() if api is None else api
    try:
        commit = _commit(api, repo, revision)
    except InputError as error:
        there = sorted(folder.glob("*/bundle.json"), key=lambda path: path.stat().st_mtime)
        if isinstance(error, _MissingError) or revision is not None or not there:
            raise
        print(f"{error}: commit {there[-1].parent.name[:12]} is taken, which was pulled last", file=sys.stderr)
        return there[-1].parent
    if not format.is_bundle(folder / commit):
        pull(repo, folder / commit, revision=commit, api=api)
    return folder / commit


def _commit(api: HfApi, repo: str, revision: str | None) -> str:
    """Return the commit that a branch or tag stands for."""
    commit = _hub(lambda: api.repo_info(repo, revision=revision), repo).sha
    if commit is None:
        raise InputError(f"the hub names no commit of {repo}, expected a repository with files")
    return commit


def _files_of(bundle: Path) -> list[str]:
    """Return the record and the files that it names."""
    _, digests = checksummed_json.read(bundle / format.RECORD)
    return [format.RECORD, *sorted(digests)]


def _adapters(bundle: Path, out: Path) -> list[str]:
    """Write LoRA in PEFT's layout below ``out``; return the paths of the files below it."""
    for expert in sorted(path for path in (bundle / format.MODELS).iterdir() if path.is_dir()):
        for folder in folds.experts_of(expert) or [expert]:
            if (folder / "settings.json").is_file():
                peft_layout.write(folder, out / ADAPTERS / folder.relative_to(bundle / format.MODELS))
    return [path.relative_to(out).as_posix() for path in sorted(out.rglob("*")) if path.is_file()]


def _repository(api: HfApi, repo: str, private: bool) -> str:
    """Return the address of a repository, made where it does not exist; refuse a public one in place of a private."""
    try:
        there = _hub(lambda: api.repo_info(repo), repo)
    except _MissingError:
        return str(_hub(lambda: api.create_repo(repo, private=private, exist_ok=True), repo))
    if private and not there.private:
        raise InputError(
            f"{repo} is public, expected a private repository; change it on the hub, or push with --public"
        )
    return f"{api.endpoint}/{repo}"


def _snapshot(api: HfApi, repo: str, commit: str, names: Sequence[str]) -> Path:
    patterns = [glob.escape(name) for name in names]
    endpoint, token = api.endpoint, api.token
    return Path(
        _hub(
            lambda: snapshot_download(repo, revision=commit, allow_patterns=patterns, endpoint=endpoint, token=token),
            repo,
        )
    )


class _MissingError(InputError):
    """A repository that the account does not see."""


def _hub(request: Callable[[], Result], repo: str) -> Result:
    """Return what the hub answers; where it fails for a moment it is called again, after 1 and 2 seconds."""
    for wait_s in _waits():
        try:
            return request()
        except (OSError, TransportError, RuntimeError) as error:
            cause = _cause(error)
            if wait_s is None or not _is_transient(cause):
                raise _refusal(repo, cause) from None
        time.sleep(wait_s)
    raise AssertionError("the last try returns or raises")


def _waits() -> Iterator[float | None]:
    yield from (2.0**n for n in range(TRIES - 1))
    yield None


def _cause(error: BaseException) -> BaseException:
    """Return what the hub or the network answered; huggingface_hub wraps it where files are uploaded.

    Raises:
        RuntimeError: the error is none of theirs
    """
    if not isinstance(error, RuntimeError):
        return error
    if not isinstance(error.__cause__, (OSError, TransportError)):
        raise error
    return error.__cause__


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in TRANSIENT
    return not isinstance(error, OfflineModeIsEnabled)


def _refusal(repo: str, error: BaseException) -> InputError:
    """Return the sentence on an error of the hub or of the network."""
    if isinstance(error, RepositoryNotFoundError):
        return _MissingError(
            f"{repo} is no folder here, and not on the hub for this account; check it, or log in: hf auth login"
        )
    if isinstance(error, RevisionNotFoundError):
        return InputError(f"{repo} has no such revision, expected a commit, branch or tag of it")
    if isinstance(error, OfflineModeIsEnabled):
        return InputError(f"{repo} cannot be reached: HF_HUB_OFFLINE is set; unset it once")
    if not isinstance(error, HfHubHTTPError):
        return InputError(f"{repo} cannot be reached: {_first_line(error)}; the same command goes on")
    match error.response.status_code:
        case 401:
            return InputError(f"{repo}: the hub does not know the token; log in with one that may write: hf auth login")
        case 403:
            return InputError(f"{repo}: this account may not do that; use a token that may write, or another owner")
        case status if status in TRANSIENT:
            tried = f"(status {status}) after {TRIES} tries"
            return InputError(f"{repo}: the hub is out of order {tried}; the same command goes on")
        case status:
            return InputError(f"{repo}: the hub refuses (status {status}): {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
