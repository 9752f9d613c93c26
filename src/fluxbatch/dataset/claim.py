"""Of several runs that make the same new dataset in a store at once, at most one does, without an exclusive put.

Each puts a claim of its own and then lists the claims. Of two that do so, the later one to put sees the other's claim;
whoever sees another's withdraws. So it is never made twice; that both withdraw is said, and the next run makes it.

The dead leave their claims. One from this machine is known for dead by the lock, which its writer would hold; one from
elsewhere is let go of after a while, counted by the store's own clock.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fluxbatch.dataset import place
from fluxbatch.dataset.objects import ObjectPath
from fluxbatch.dataset.place import Place
from fluxbatch.errors import DatasetInUse

CLAIMS = ".fluxbatch/claims"
LIVES_S = 600.0
"""From its claim to its first catalogue a run makes a handful of requests."""


@contextmanager
def claimed(folder: ObjectPath, held: Path) -> Iterator[None]:
    """The block is the only one that makes the dataset, if it then still finds that there is none. DatasetInUse when
    another run is about to. Only while this machine's lock, which lies in the folder `held`, is held."""
    machine = _machine(held)
    mine = folder / CLAIMS / f"{machine}-{secrets.token_hex(8)}"
    place.put_atomic(mine, b"")
    try:
        put_at = mine.stat().st_mtime
        for other in (folder / CLAIMS).glob("*"):
            if other.name != mine.name and not _is_dead(other, machine, put_at):
                raise DatasetInUse(
                    f"{folder}: another run is making this dataset just now; run the same command again "
                    f"(if it died, its claim is let go of {LIVES_S / 60:.0f} minutes after it was made)"
                )
        yield
    finally:
        mine.remove()


def claims_left(folder: Place) -> Iterable[ObjectPath]:
    """The claims that lie beside a dataset that is made: nobody needs them any more."""
    return (folder / CLAIMS).glob("*") if isinstance(folder, ObjectPath) else ()


def _is_dead(claim: ObjectPath, machine: str, now: float) -> bool:
    if claim.name.startswith(f"{machine}-"):
        claim.remove()
        return True
    try:
        return now - claim.stat().st_mtime > LIVES_S
    except FileNotFoundError:  # it was withdrawn, or its dataset is made: the caller looks for that now
        return True


def _machine(held: Path) -> str:
    """Those who share the folder of locks are one machine."""
    path = held / "machine"
    with place.told(path), suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
        file.write(secrets.token_hex(8))
    with place.told(path):
        return path.read_text(encoding="utf-8") or "unknown"
