"""What can go wrong in the world, as one tree.

    FluxbatchError                  something the user can act on; its text says what, where and what to do
    ├── UsageError                  the command, the settings or the manifest has to change
    │   ├── ManifestError           complaints about rows; carries them
    │   └── DatasetError            the folder given as dataset cannot be used as one
    │       └── DatasetInUse        a run that is alive holds it
    ├── StorageError                the disk did not keep what it was given; never retried
    ├── HubError                    the Hugging Face Hub did not take what it was given
    └── LedgerError                 the ledger did not keep what it was given
        ├── AlreadyResolved         an attempt was to be resolved a second time; names the first resolution
        ├── LedgerAway              its server cannot be reached now: it may be back soon
        │   └── LedgerBusy          somebody was in the way: what was begun is undone, and may be tried again
        └── LeaseLost               another run has taken the dataset over: this one may not spend or write any more

Anything else that is raised is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence

from fluxbatch.plain import with_its_end

MESSAGE_MAX = 4_000


class FluxbatchError(Exception):
    """Something the user can act on. Its text is shown in terminals and logs, and holds paths, headers and cells from
    outside: so it is plain, whoever shows it."""

    def __str__(self) -> str:
        return with_its_end(super().__str__(), MESSAGE_MAX)


class UsageError(FluxbatchError):
    """The command, the settings or the manifest has to change before anything can be done."""


class ManifestError(UsageError):
    """The manifest has rows or headers that cannot be sent. Carries every complaint, not the first."""

    def __init__(self, message: str, complaints: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.complaints = tuple(complaints)


class DatasetError(UsageError):
    """The folder given as dataset cannot be used as one."""


class DatasetInUse(DatasetError):
    """A run that is alive holds the dataset; `by` says which, as far as that is known."""

    def __init__(self, message: str, by: str = "another process") -> None:
        super().__init__(message)
        self.by = by


class StorageError(FluxbatchError):
    """The disk did not keep what it was given. A failed sync is final: the pages may be gone (fsyncgate)."""


class HubError(FluxbatchError):
    """The Hugging Face Hub cannot be reached, or did not take what it was given: later, the same command may do."""


class LedgerError(FluxbatchError):
    """The ledger did not keep what it was given."""


class LedgerAway(LedgerError):
    """The ledger's server cannot be reached, or does not take anything now. It may be back soon; a file never is."""


class LedgerBusy(LedgerAway):
    """Somebody was in the way (a deadlock, a lock held for long): all of it is undone, and may be tried again."""


class AlreadyResolved(LedgerError):
    """A second resolution of one attempt; the text names the first."""


class LeaseLost(LedgerError):
    """Another run has taken the dataset over, because nothing was heard of this one for too long."""

    @classmethod
    def to(cls, run: str | None) -> LeaseLost:
        """The error that names the run which has it now."""
        return cls(
            f"{f'run {run}' if run else 'somebody'} has taken this dataset over, because nothing was heard of this run "
            "for longer than its lease (its machine stood still, or was cut off from the ledger); it sends and writes "
            "nothing more"
        )
