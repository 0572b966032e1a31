"""Download of files from the Hugging Face hub within bounded times. Knows nothing of their contents."""

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

from phi2demo.errors import HubUnreachableError, ModelError, quoted

logger = logging.getLogger(__name__)

REACH_S = 10.0
"""Seconds to wait for the list of files in a repository."""
SMALL_FILES_S = 90.0
"""Seconds to wait for configuration and tokenizer."""
_REQUEST_S = 5.0

SMALL_FILES = ("*.json", "*.txt", "*.model", "*.md")
"""Patterns of files to download at once. Since they match across '/', `_IGNORED` leaves out files in folders."""
_IGNORED = ("*/*", ".*")

_TRANSPORT_ERROR: type[BaseException] = HfHubHTTPError.__mro__[1]
"""Base class of network errors, which depends on the version of huggingface_hub."""

T = TypeVar("T")


@dataclass(frozen=True)
class Snapshot:
    """A hub repository at one commit; its small files are in `folder`, its weights may still be missing."""

    repo_id: str
    commit: str
    folder: Path
    files: set[str]
    """Names of the files at the top of the repository; offline, of those in the cache."""
    sizes: dict[str, int]
    """Bytes of each file that is not in the cache."""
    offline: bool = False
    """Whether the hub was not reached, so that only the cache is known."""


def fetch(repo_id: str, *, revision: str | None, token: str | None, hint: str) -> Snapshot:
    """Fetch the small files of `repo_id` from the hub, or from the cache where the hub does not answer.

    Raises ModelError where the hub has no such repository, or is not reached within REACH_S and nothing is cached.
    `hint` is appended to the message.
    """
    try:
        sizes, commit = run_with_timeout(REACH_S, lambda: _listing(repo_id, revision, token))
        folder = run_with_timeout(SMALL_FILES_S, lambda: _download(repo_id, revision, token, list(SMALL_FILES)))
    except HubUnreachableError as error:
        return _cached(repo_id, revision, reason=str(error), hint=hint)
    except HfHubHTTPError as error:
        raise ModelError(f"{_refusal(repo_id, revision, error)} {hint}".rstrip()) from error
    missing = {file: size for file, size in sizes.items() if not (folder / file).exists()}
    return Snapshot(repo_id, commit, folder, set(sizes), missing)


def fetch_weights(snapshot: Snapshot, files: tuple[str, ...], *, token: str | None) -> None:
    """Download those of `files` that the snapshot lacks. Raises ModelError where the download fails."""
    missing = [file for file in files if not (snapshot.folder / file).exists()]
    if not missing:
        return
    logger.info("downloading %s of %s", ", ".join(missing), snapshot.repo_id)
    try:
        _download(snapshot.repo_id, snapshot.commit, token, missing)
    except (_TRANSPORT_ERROR, OSError) as error:
        raise ModelError(
            f"The weights of {snapshot.repo_id} could not be downloaded ({_first_line(error)}). "
            "Start again to resume the download, or give a folder."
        ) from error


def _listing(repo_id: str, revision: str | None, token: str | None) -> tuple[dict[str, int], str]:
    """Return the size of each file at the top of the repository, and the commit."""
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
            ignore_patterns=list(_IGNORED),
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
                ignore_patterns=list(_IGNORED),
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{repo_id} is no folder on this machine, and the hub cannot be reached ({reason}). "
            f"Check the connection, or download the repository elsewhere and give its folder. {hint}".rstrip()
        ) from error
    logger.warning(
        "the hub cannot be reached (%s): using %s from the cache, commit %s", reason, repo_id, folder.name[:12]
    )
    return Snapshot(repo_id, folder.name, folder, {path.name for path in folder.iterdir()}, {}, offline=True)


def run_with_timeout(seconds: float, function: Callable[[], T]) -> T:
    """Return the result of `function`. Raises HubUnreachableError where it takes longer than `seconds` or finds no hub.

    It runs in a thread because the look-up of a host name has no timeout, and in a daemon thread so that a look-up that
    hangs does not delay the exit.
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
    """Say why the hub refuses the repository, and what to do."""
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id} has no revision {quoted(revision)} on the hub; give one of its branches, tags or commits."
    if isinstance(error, GatedRepoError) or _status(error) == 403:
        return (
            f"{repo_id} is gated and this account may not read it: accept its terms on the hub and set HF_TOKEN "
            "to a token of that account."
        )
    if isinstance(error, RepositoryNotFoundError) or _status(error) in (401, 404):
        return (
            f"{repo_id} is no folder on this machine, and on the hub it does not exist or is private: "
            "check the spelling, and set HF_TOKEN where it is private."
        )
    return f"The hub refuses {repo_id}: {_first_line(error)}."


def _status(error: HfHubHTTPError) -> int:
    return int(error.response.status_code)


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
