"""The Hub, as far as it is needed here, by `huggingface_hub`: the only place that knows it.

Token: HF_TOKEN or what `hf auth login` has kept; it is never shown. HF_ENDPOINT is another Hub.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fluxbatch.dataset.made import CARD
from fluxbatch.dataset.place import storage_error
from fluxbatch.errors import FluxbatchError, HubError, StorageError, UsageError
from fluxbatch.publish.publication import File, There
from fluxbatch.publish.target import MAIN, Target

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

_TYPE = "dataset"
_WHAT_IS_THERE = "what is there already is not sent again"


class Hub:
    """One repository of the Hub. Each method raises UsageError (the user has to change something) or HubError."""

    def __init__(self, target: Target, *, shows_progress: bool = False) -> None:
        try:
            import huggingface_hub
            from huggingface_hub import errors, utils
        except ImportError:
            raise UsageError(
                "publishing needs huggingface_hub, which is not installed; install it: pip install 'fluxbatch[hub]'"
            ) from None
        if not shows_progress:
            utils.disable_progress_bars()  # type: ignore[attr-defined]
        self._hf, self._errors = huggingface_hub, errors
        # Its HTTP library is its own affair, and changes; what that raises is the base of the errors of its own.
        self._transport: type[Exception] = errors.HfHubHTTPError.__bases__[0]
        self._api = huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, library_name="fluxbatch")
        self.target = target

    def look(self) -> There | None:
        """What is there; None: no repository that this token may see."""
        with self._told():
            try:
                try:
                    return self._found(self.target.revision, has_branch=True)
                except self._errors.RevisionNotFoundError:
                    return self._found(MAIN, has_branch=False)
            except self._errors.RepositoryNotFoundError:
                return None

    def _found(self, revision: str, *, has_branch: bool) -> There:
        info = self._api.dataset_info(self.target.repo, revision=revision, files_metadata=True)
        files = {one.rfilename: one.lfs.sha256 if one.lfs else None for one in info.siblings or ()}
        card = self._card(info.sha) if CARD in files else None
        return There(has_branch, bool(info.private), files, card)

    def _card(self, commit: str | None) -> str:
        with TemporaryDirectory(prefix="fluxbatch-") as folder:
            found = self._api.hf_hub_download(
                self.target.repo, CARD, repo_type=_TYPE, revision=commit, local_dir=folder
            )
            return Path(found).read_text(encoding="utf-8", errors="replace")

    def make(self, there: There | None, private: bool) -> None:
        """The repository and the branch, where they are not there yet."""
        with self._told():
            if there is None:
                self._api.create_repo(self.target.repo, repo_type=_TYPE, private=private, exist_ok=True)
            if self.target.revision != MAIN and (there is None or not there.has_branch):
                self._api.create_branch(self.target.repo, branch=self.target.revision, repo_type=_TYPE, exist_ok=True)

    def send(self, file: File) -> CommitOperationAdd:
        """Bring a file's bytes to the Hub, unless it has them. Nobody sees them before they are committed.

        StorageError when they are not those that the dataset lists: such a file is never shown.
        """
        try:
            content = str(file.place) if isinstance(file.place, Path) else file.place.open()
            added = self._hf.CommitOperationAdd(file.name, content)
        except FileNotFoundError:
            raise _damaged(file, "is missing") from None
        except ValueError as error:  # huggingface_hub's word for a path that is no file
            raise _damaged(file, "is missing") from error
        except OSError as error:
            raise storage_error(file.place, error, "could not be read") from error
        with self._told():
            self._api.preupload_lfs_files(
                self.target.repo, additions=[added], repo_type=_TYPE, revision=self.target.revision
            )
        if added.upload_info.sha256.hex() != file.sha256:
            raise _damaged(file, "is not what the catalogue lists")
        return added

    def commit(self, added: Sequence[CommitOperationAdd], removed: Sequence[str], card: str | None, what: str) -> str:
        """All of it in one commit; its address."""
        operations: list[Any] = [*added, *(self._hf.CommitOperationDelete(name) for name in removed)]
        if card is not None:
            operations.append(self._hf.CommitOperationAdd(CARD, card.encode()))
        with self._told():
            done = self._api.create_commit(
                self.target.repo, operations, commit_message=what, repo_type=_TYPE, revision=self.target.revision
            )
        return str(done.commit_url)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the Hub, or the way to it, refuses becomes a sentence; the text of an answer is from outside."""
        try:
            yield
        except (self._transport, OSError, ValueError, RuntimeError) as error:
            # The client wraps what happens to an upload in a RuntimeError.
            known = self._meaning(error.__cause__ or error if isinstance(error, RuntimeError) else error)
            if known is None:
                raise
            raise known from None

    def _meaning(self, error: BaseException) -> FluxbatchError | None:
        said = self._without_token(_first_line(error))
        if isinstance(error, self._errors.HfHubHTTPError):
            if error.server_message:
                said = self._without_token(error.server_message)
            return meaning_of(error.response.status_code, self.target, said)
        if isinstance(error, (self._transport, ConnectionError, TimeoutError)):
            return HubError(
                f"{self._api.endpoint} cannot be reached ({said}); check the network, HF_ENDPOINT and HF_HUB_OFFLINE, "
                f"and publish again: {_WHAT_IS_THERE}"
            )
        if isinstance(error, OSError):
            return StorageError(f"a file could not be read while it was sent ({said}); publish again: {_WHAT_IS_THERE}")
        if isinstance(error, ValueError):  # what it finds wrong with a card or an upload
            return UsageError(f"the Hub does not take it for {self.target}: {self._without_token(str(error))}")
        return None

    def _without_token(self, text: str) -> str:
        token = self._hf.get_token()
        return text.replace(token, "…") if token else text


def meaning_of(status: int, target: Target, said: str) -> FluxbatchError:
    """What an HTTP status of the Hub means for who publishes, and what to do."""
    if status == 401:
        return UsageError(
            f"the Hub does not accept the token for {target}, or there is none ({said}); log in with `hf auth login`, "
            "or set HF_TOKEN to a token that may write"
        )
    if status == 403:
        return UsageError(
            f"the token may not write to {target} ({said}); give it the right to write there "
            "(https://huggingface.co/settings/tokens), or take another USER/NAME"
        )
    if status == 404:
        return UsageError(
            f"{target} is not there, or this token may not see it ({said}); check USER, NAME and branch, and whose "
            "token it is (`hf auth whoami`)"
        )
    if status in (409, 412):
        return HubError(f"somebody else is changing {target} ({said}); publish again: {_WHAT_IS_THERE}")
    if status == 429:
        return HubError(
            f"the Hub has had too many requests of yours ({said}); wait a while and publish again: {_WHAT_IS_THERE}"
        )
    if status >= 500:
        return HubError(f"the Hub has trouble (HTTP {status}: {said}); publish again later: {_WHAT_IS_THERE}")
    return UsageError(f"the Hub does not take it for {target} (HTTP {status}): {said}")


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _damaged(file: File, what: str) -> StorageError:
    return StorageError(f"{file.place} {what}; nothing was published. Mend it with `fluxbatch verify --repair`")
