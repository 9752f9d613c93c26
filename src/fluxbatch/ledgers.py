"""Where the ledger is, what it holds, and its upgrade: for `fluxbatch ledger`."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.markup import escape

from fluxbatch.budget.store import Extent, Opening, Store, file_of
from fluxbatch.budget.tables import SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Found:
    """A ledger as it stands. `schema` is None where there is none yet; the counts need this fluxbatch's schema."""

    ledger: str
    schema: int | None
    needed: int
    datasets: int | None = None
    attempts: int | None = None
    on_their_way: int | None = None
    unknown: int | None = None

    @property
    def verdict(self) -> str:
        if self.schema is None:
            return "no ledger yet: the first run makes it"
        if self.schema == self.needed:
            return f"{self.schema} (as this fluxbatch needs it)"
        if self.schema < self.needed:
            return f"{self.schema}, this fluxbatch needs {self.needed}: fluxbatch ledger upgrade"
        return f"{self.schema}, newer than this fluxbatch ({self.needed}): update it"


def look(url: str) -> Found:
    """The ledger as it is; nothing is made or changed. LedgerError when it cannot be reached."""
    path = file_of(url)
    if path is not None and not path.exists():
        return Found(str(path), None, SCHEMA_VERSION)
    with contextlib.closing(Store(url, Opening.LOOK)) as store:
        version, extent = store.version(), None
        if version == SCHEMA_VERSION:
            extent = store.extent()
        return Found(store.url, version, SCHEMA_VERSION, **asdict(extent or Extent()))


def show(console: Console, found: Found, *, as_json: bool) -> None:
    """Where it lies (without a password), its schema and its size."""
    if as_json:
        print(json.dumps(asdict(found)))  # noqa: T201
        return
    console.print(f"ledger    {escape(found.ledger)}", soft_wrap=True)
    console.print(f"schema    {found.verdict}", soft_wrap=True)
    if found.attempts is not None:
        console.print(f"datasets  {found.datasets:,}")
        console.print(f"attempts  {found.attempts:,} ({found.on_their_way:,} on their way, {found.unknown:,} unknown)")


def upgrade(console: Console, url: str) -> None:
    """Bring the ledger to this fluxbatch's schema; one that is there already stays as it is."""
    with contextlib.closing(Store(url, Opening.UPGRADE)) as store:
        before = store.upgraded_from
        told = f"upgraded from schema {before} to {SCHEMA_VERSION}" if before else f"has schema {SCHEMA_VERSION}"
        console.print(f"the ledger {escape(store.url)} {told}", soft_wrap=True)
