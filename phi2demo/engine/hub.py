"""Files of a repository on the Hugging Face hub, within a bounded time. Knows nothing of what is in them."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from phi2demo.errors import HubUnreachableError, ModelError

logger = logging.getLogger(__name__)

REACH_S = 10.0
"""Until the hub has said what the repository holds."""
SMALL_FILES_S = 90.0
"""Until configuration and tokenizer are here."""
_REQUEST_S = 5.0

SMALL_FILES = ("*.json", "*.txt", "*.model", "*.md")
"""Without folders: patterns match across '/', so files in folders are left out by `_NOT_WANTED`."""
_NOT_WANTED = ("*/*", ".*")

_TRANSPORT_ERROR: type[BaseException] = HfHubHTTPError.__mro__[1]
"""The base of its transport's errors: httpx's or httpx2's, by version of huggingface_hub."""

T = TypeVar("T")


@dataclass(frozen=True)
class Snapshot:
    """A repository at one commit, its small files in `folder`, its weights perhaps not yet."""

    repo_id: str
    commit: str
    folder: Path
    files: set[str]
    """At the top of the repository; offline, those in the cache."""
    sizes: dict[str, int]
    """In bytes, of the files not in the cache."""
    offline: bool = False
    """As cached, because the hub was not reached."""


def fetch(repo_id: str, *, revision: str | None, token: str | None, hint: str) -> Snapshot:
    """The small files of `repo_id`, from the hub or, where it does not answer, from the cache.

    Raises ModelError within REACH_S where the hub is not reached and nothing is cached. `hint` ends the message.
    """
    try:
        sizes, commit = within(REACH_S, lambda: _listing(repo_id, revision, token))
        folder = within(SMALL_FILES_S, lambda: _download(repo_id, revision, token, list(SMALL_FILES)))
    except HubUnreachableError as error:
        return _cached(repo_id, revision, reason=str(error), hint=hint)
    except HfHubHTTPError as error:
        raise ModelError(f"{_refusal(repo_id, revision, error)} {hint}".rstrip()) from error
    missing = {file: size for file, size in sizes.items() if not (folder / file).exists()}
    return Snapshot(repo_id, commit, folder, set(sizes), missing)


def fetch_weights(snapshot: Snapshot, files: tuple[str, ...], *, token: str | None) -> None:
    """Download `files` into the snapshot, unless they are there. Raises ModelError where the hub fails."""
    missing = [file for file in files if not (snapshot.folder / file).exists()]
    if not missing:
        return
    logger.info("downloading %s of %s", ", ".join(missing), snapshot.repo_id)
    try:
        _download(snapshot.repo_id, snapshot.commit, token, missing)
    except (_TRANSPORT_ERROR, OSError) as error:
        raise ModelError(
            f"The weights of {snapshot.repo_id} could not be downloaded ({_first_line(error)}). "
            "Start again to go on from where it stopped, or give a folder."
        ) from error


def _listing(repo_id: str, revision: str | None, token: str | None) -> tuple[dict[str, int], str]:
    """Sizes by file at the top of the repository, and its commit."""
    api = HfApi(token=token)
    info = api.model_info(repo_id, revision=revision, timeout=_REQUEST_S, files_metadata=True)
    files = {file.rfilename: file.size or 0 for file in info.siblings or [] if "/" not in file.rfilename}
    return files, info.sha or ""


def _download(repo_id: str, revision: str | None, token: str | None, patterns: list[str]) -> Path:
    return Path(
        snapshot_download(
            repo_id,
            revision=revision,
            token=token,
            allow_patterns=patterns,
            ignore_patterns=list(_NOT_WANTED),
            etag_timeout=_REQUEST_S,
        )
    )


def _cached(repo_id: str, revision: str | None, *, reason: str, hint: str) -> Snapshot:
    try:
        folder = Path(
            snapshot_download(
                repo_id,
                revision=revision,
                allow_patterns=list(SMALL_FILES),
                ignore_patterns=list(_NOT_WANTED),
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{repo_id} is no folder here and the hub cannot be reached for it ({reason}). "
            f"Check the connection, or download it elsewhere and give its folder. {hint}".rstrip()
        ) from error
    logger.warning("the hub cannot be reached (%s): using %s as cached, commit %s", reason, repo_id, folder.name[:12])
    return Snapshot(repo_id, folder.name, folder, {path.name for path in folder.iterdir()}, {}, offline=True)


def within(seconds: float, function: Callable[[], T]) -> T:
    """The result of `function`. Raises HubUnreachableError when it takes longer, or fails for want of a hub.

    In a thread, because the look-up of a name obeys no timeout; a daemon, so that a stuck one does not hold the exit.
    """
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(function())
        except Exception as error:  # handed to the waiting thread
            errors.append(error)

    thread = threading.Thread(target=run, name="hub", daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    if not errors:
        raise HubUnreachableError(f"no answer within {seconds:g} s")
    error = errors[0]
    answered = isinstance(error, HfHubHTTPError) and _status(error) < 500 and _status(error) not in (408, 429)
    if not answered and isinstance(error, _TRANSPORT_ERROR | OSError):
        raise HubUnreachableError(_first_line(error)) from error
    raise error


def _refusal(repo_id: str, revision: str | None, error: HfHubHTTPError) -> str:
    """Why the hub, which answered, does not give the repository."""
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id} has no revision {revision!r} on the hub; give a branch, a tag or a commit that it has."
    if isinstance(error, GatedRepoError) or _status(error) == 403:
        return (
            f"{repo_id} is gated and this account may not read it: accept its terms on the hub and set HF_TOKEN "
            "to a token of that account."
        )
    if isinstance(error, RepositoryNotFoundError) or _status(error) in (401, 404):
        return (
            f"{repo_id} is no folder here, and on the hub it does not exist or is private: "
            "check the spelling, and set HF_TOKEN where it is private."
        )
    return f"The hub refuses {repo_id}: {_first_line(error)}."


def _status(error: HfHubHTTPError) -> int:
    return int(error.response.status_code)


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
