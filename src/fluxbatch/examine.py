"""Looking without touching: the books of a dataset, whether it is sound, whether this machine could run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from fluxbatch import tell
from fluxbatch.budget import ledger
from fluxbatch.budget import store as side
from fluxbatch.budget.entries import Balance, Settlement, State
from fluxbatch.budget.quarters import account_of
from fluxbatch.budget.store import Store
from fluxbatch.cloudflare.client import Client
from fluxbatch.cloudflare.outcome import Fatal
from fluxbatch.dataset import files, place
from fluxbatch.dataset.catalogue import CATALOGUE, Dataset, looks_like_one
from fluxbatch.dataset.chunks import chunks_of
from fluxbatch.dataset.lines import AND_REBUILD, REBUILD
from fluxbatch.dataset.objects import ObjectPath
from fluxbatch.dataset.place import Place, place_of
from fluxbatch.dataset.probe import try_rights
from fluxbatch.dataset.spool import Spooled, scan
from fluxbatch.dataset.verify import Finding, verify_dataset
from fluxbatch.errors import DatasetError, DatasetInUse, FluxbatchError, ManifestError, StorageError
from fluxbatch.holder import holder_of
from fluxbatch.job import SIMULATOR_ACCOUNT_ID, credentials_of, defaults_of
from fluxbatch.many import many
from fluxbatch.models.catalogue import MODELS
from fluxbatch.models.money import Money, decimal_usd, exact
from fluxbatch.settings import Settings

DISK_FREE_MIN = 2_000_000_000
CLOCK_OFF_MAX_S = 30.0
_BOOK = "the next run books it, and so does `fluxbatch verify --repair`"
_GONE = (
    "look in .fluxbatch/quarantine, and bring its part back from a copy; without one, `fluxbatch verify --repair` says "
    "what it would cost anew and how to ask for it"
)


def show_status_of(folder: Place, settings: Settings, console: Console, *, as_json: bool) -> None:
    """What the dataset holds, what it has cost, and every charge that is not known."""
    folder = place_of(folder)
    dataset = Dataset.open(folder)
    with contextlib.closing(Store(settings.ledger)) as store:
        by = holder_of(dataset, store)
        with store.reading() as tx:
            balance = ledger.balance(tx, dataset.id)
            unknown = ledger.open_attempts(tx, dataset.id)
            decided = ledger.decisions(tx, dataset.id)
            runs = side.last_runs(tx, dataset.id, 1)
    in_spool = spooled(dataset)
    unknown = [one for one in unknown if (one.key, one.number) not in in_spool]  # the next start books those
    told: dict[str, Any] = {
        "dataset": str(folder),
        "id": dataset.id,
        "simulated": dataset.simulated,
        "pictures": sum(part.rows for part in dataset.parts),
        "parts": len(dataset.parts),
        "in_spool": len(in_spool),
        "not_known": len(unknown),
        "settled": _settled(decided),
        "last_run": _last(runs[0], by is not None) if runs else None,
        "held_by": by,
    }
    if not as_json:
        tell.show_status(console, told, balance, unknown)
        return
    attempts = [{**asdict(one), "bound": exact(one.bound.usd)} for one in unknown]
    print(json.dumps(told | _amounts(balance) | {"unknown": attempts}))  # noqa: T201


def _settled(decided: Sequence[Settlement]) -> str | None:
    billed = sum(one.state == State.POSTED for one in decided)
    return f"{billed} billed, {len(decided) - billed} not billed" if decided else None


def _last(run: Any, is_held: bool) -> str:
    if run.ended_at_us is None:
        return f"{run.run} {'is under way' if is_held else 'was ended from outside: run the same command again'}"
    return f"{run.run} stopped by {run.stopped_by or 'nothing'}"


def _amounts(balance: Balance | None) -> dict[str, str]:
    if balance is None:
        return {}
    return {
        "budget_usd": exact(decimal_usd(balance.cap_nano_usd)),
        "spent_usd": exact(balance.spent.usd),
        "spent_neurons": exact(balance.spent.neurons),
        "unknown_usd": exact(balance.unknown.usd),
        "unknown_neurons": exact(balance.unknown.neurons),
        "reserved_usd": exact(balance.reserved.usd),
    }


def verify_against_ledger(folder: Place, settings: Settings, console: Console, *, as_json: bool) -> int:
    """0 when the dataset is whole and the ledger agrees with it, else 1. UsageError when there is no dataset,
    DatasetInUse when a run is working on it, so that it cannot be said now."""
    findings, told = _looked_at(folder, settings)
    if as_json:
        print(json.dumps({"findings": [str(finding) for finding in findings]}))  # noqa: T201
    for line in [] if as_json else map(str, findings) if findings else [told]:
        console.print(tell.shown(line, 600), highlight=False, soft_wrap=True)
    return 1 if findings else 0


def _looked_at(folder: Place, settings: Settings) -> tuple[list[Finding], str]:
    folder = place_of(folder)
    try:
        dataset = Dataset.open(folder)
    except DatasetError as error:
        if not looks_like_one(folder):
            raise
        return [Finding(CATALOGUE, str(error).removesuffix(AND_REBUILD), REBUILD)], ""
    with contextlib.closing(Store(settings.ledger)) as store:
        by = holder_of(dataset, store)
        findings = all_findings(store, dataset)
        by = by or holder_of(dataset, store)
    if findings and by is not None:
        raise DatasetInUse(
            f"{folder}: a run is working on this dataset ({by}), so pictures move while they are compared with the "
            "ledger; verify it again when the run is done"
        )
    pictures = sum(part.rows for part in dataset.parts)
    are = "is" if pictures == 1 else "are"
    count = f"{many(pictures, 'picture')} in {many(len(dataset.parts), 'part')}"
    return findings, f"{count} {are} whole, and the ledger agrees"


def paying_account(store: Store, dataset: Dataset, settings: Settings) -> str:
    """The account that the ledger has for the dataset; when it knows none, the one that a run would now be paid by."""
    with store.reading() as tx:
        known = account_of(tx, dataset.id)
    return known or (SIMULATOR_ACCOUNT_ID if dataset.simulated else settings.account_id or "")


def all_findings(store: Store, dataset: Dataset) -> list[Finding]:
    """What is wrong with the dataset by itself, and what the ledger says otherwise. Not while a chunk's pictures lie
    beside it: they are booked, and are in no part yet."""
    outside = [_not_taken_in(chunk) for chunk in chunks_of(dataset)]
    return [*verify_dataset(dataset), *(outside or _disagreements(store, dataset))]


def _not_taken_in(chunk: Dataset) -> Finding:
    path = place.below(chunk.home, chunk.folder)
    remedy = "run it again, or `fluxbatch verify --repair`: both take in what is there"
    return Finding(path, f"chunk {chunk.folder.name} of a batch has not been taken into the dataset", remedy)


def _disagreements(store: Store, dataset: Dataset) -> Iterator[Finding]:
    in_parts, unread = held(dataset)
    in_spool = spooled(dataset)
    with store.reading() as tx:
        if ledger.audit(tx, dataset.id) != ledger.balance(tx, dataset.id):
            yield Finding(store.url, "the attempts do not add up to the balance", "bring back a copy of the ledger")
        for window in ledger.audit_windows(tx):
            place = f"{store.url}, {window.told}"
            yield Finding(
                place, "what was sent in it does not add up to what it holds", "bring back a copy of the ledger"
            )
        for key, number, actual in ledger.made_keys(tx, dataset.id):
            found = in_parts.pop((key, number), None)
            place = f"attempt {number} of {key}"
            if found is None and (key, number) not in in_spool and not unread:
                yield Finding(place, "is booked, and its picture is in no part and not in the spool", _GONE)
            elif found is not None and found != actual:
                yield Finding(place, f"cost {actual.usd} in the ledger and {found.usd} in its part", "trust the ledger")
    for key, number in in_parts:
        yield Finding(f"attempt {number} of {key}", "is in a part and not in the ledger", _BOOK)


def held(dataset: Dataset) -> tuple[dict[tuple[str, int], Money], bool]:
    """Key, attempt and charge of every picture in the parts, and whether a part could not be read."""
    held: dict[tuple[str, int], Money] = {}
    unread = False
    for part in dataset.parts:
        try:
            held.update({(key, number): actual for key, number, actual in dataset.keys(part)})
        except StorageError:
            unread = True
    return held, unread


def spooled(dataset: Dataset) -> set[tuple[str, int]]:
    """Key and attempt of every sound picture in the spool."""
    found = (entry for entry in scan(dataset.spool_folder) if isinstance(entry, Spooled))
    return {(entry.key, entry.attempt) for entry in found}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `fault` is None when it is well."""

    what: str
    told: str
    fault: str | None = None


def examine(settings: Settings, out: Place, console: Console) -> int:
    """Look at everything a run needs; 0 when all is well, else 1."""
    out = place_of(out)
    checks = [
        _tried("ledger", lambda: _ledger(settings)),
        _tried("store" if isinstance(out, ObjectPath) else "disk", lambda: _room(out)),
        _tried("prices", lambda: _prices(settings)),
        *asyncio.run(_platform(settings)),
    ]
    for check in checks:
        mark = "[green]ok[/]   " if check.fault is None else "[red]fault[/]"
        console.print(f"{mark} {check.what:8} {tell.shown(check.fault or check.told, 500)}", highlight=False)
    return 0 if all(check.fault is None for check in checks) else 1


def _tried(what: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except ManifestError as error:  # what it is about stands in its complaints
        return Check(what, "", "; ".join([str(error), *map(str, error.complaints)]))
    except FluxbatchError as error:
        return Check(what, "", str(error))


def _ledger(settings: Settings) -> Check:
    with contextlib.closing(Store(settings.ledger)) as store, store.transaction():
        return Check("ledger", f"{store.url} can be written")


def _room(out: Place) -> Check:
    return Check("store", try_rights(out)) if isinstance(out, ObjectPath) else _disk(out)


def _disk(out: Path) -> Check:
    folder = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.is_dir())
    probe = folder / ".fluxbatch-doctor"
    files.put_atomic(probe, b"probe")
    files.remove(probe)
    free = shutil.disk_usage(folder).free
    told = f"{free / 1e9:.0f} GB free at {folder}, which syncs"
    return Check(
        "disk", told, None if free >= DISK_FREE_MIN else f"only {free / 1e9:.1f} GB free at {folder}: make room"
    )


async def _platform(settings: Settings) -> list[Check]:
    """Token, account and model by the free pre-flight, and the clock by the answer's date."""
    try:
        credentials, model = credentials_of(settings), defaults_of(settings).model
    except FluxbatchError as error:
        return [Check("account", "", str(error))]
    async with Client(credentials, connections=1) as client:
        found = await client.preflight(model)
        theirs = await client.server_time(model)
    if isinstance(found, Fatal):
        account = Check("account", "", f"{found.message}; {found.remedy}")
    elif found is not None:
        account = Check("account", "", f"{found.message}; check the network and CLOUDFLARE_BASE_URL")
    else:
        account = Check("account", f"token, account and model {model.name} are good")
    return [account, _clock(theirs)]


def _prices(settings: Settings) -> Check:
    """The model that is asked for, and whose prices it would be reserved by."""
    model = defaults_of(settings).model
    source = "Cloudflare's list" if model in MODELS else str(settings.models)
    return Check("prices", f"{model.name} by {source} as read on {model.prices_read}")


def _clock(theirs: datetime | None) -> Check:
    if theirs is None:
        return Check("clock", "the answer had no date, so the clock was not compared")
    off_s = abs((theirs - datetime.now(UTC)).total_seconds())
    told = f"within {off_s:.0f} s of Cloudflare's"
    fault = f"the clock is {off_s:.0f} s off: set it, days and the pace are counted by it"
    return Check("clock", told, fault if off_s > CLOCK_OFF_MAX_S else None)
