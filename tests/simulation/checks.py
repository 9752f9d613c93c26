"""What has to be true when a life of the program is over, however it ended."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.budget import ledger, windows
from fluxbatch.budget.entries import Period, Scope
from fluxbatch.budget.store import Store
from fluxbatch.dataset.catalogue import CATALOGUE, Dataset
from fluxbatch.dataset.spool import Spooled, scan
from fluxbatch.dispatch.pace import LEASES_AHEAD
from fluxbatch.dispatch.rate import WINDOW_S
from fluxbatch.summary import Summary
from tests.simulation.scenario import Life
from tests.simulation.world import NANO_USD_PER_CENTINEURON, World

Name = tuple[str, int]
Rows = dict[Name, tuple[bytes, int]]
"""Of each row of a part: the picture, and what it cost."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of the ledger."""

    key: str
    number: int
    state: str
    end: str | None
    bound: int
    actual: int
    run: str


def attempts_of(store: Store) -> list[Attempt]:
    with store.reading() as tx:
        rows = tx.exec_driver_sql(
            'SELECT key, number, state, "end", bound_nano_usd, actual_nano_usd, run FROM attempts ORDER BY key, number'
        ).all()
    return [Attempt(row[0], row[1], row[2], row[3], row[4], row[5] or 0, row[6]) for row in rows]


def check_again(world: World, attempts: list[Attempt], run: str, life: Life) -> None:
    """What may have been billed is sent again only as often as this life's options allow."""
    before: dict[str, Counter[str | None]] = {}
    for one in attempts:  # in the order of their numbers
        ends = before.setdefault(one.key, Counter())
        if one.run == run and (ends["failed"] > life.resend_failed or ends["lost"] > life.resend_lost):
            world.violated(f"{one} was sent after {dict(ends)}")
        ends[one.end] += 1


def check_life(world: World, store: Store, out: Path, prompts: dict[str, str], seen: dict[str, Rows]) -> None:
    """Money, pictures and rate. `prompts` are the manifest's, by key."""
    if world.is_without_books:
        return
    attempts = attempts_of(store)
    _check_books(world, store)
    check_bills(world, attempts, prompts)
    _check_pictures(world, attempts, out, prompts, seen)
    _check_rate(world)


def _check_books(world: World, store: Store) -> None:
    with store.reading() as tx:
        names = [row[0] for row in tx.exec_driver_sql("SELECT dataset FROM datasets").all()]
        for name in names:
            stored, folded = ledger.balance(tx, name), ledger.audit(tx, name)
            if stored != folded:
                world.violated(f"the attempts add up to {folded}, the balance says {stored}")
    if len(names) > 1:
        world.violated(f"{len(names)} datasets in the ledger: {names}")
    world.check_money()


def check_bills(world: World, attempts: list[Attempt], prompts: dict[str, str]) -> None:
    """The bill of each picture is covered by its own attempts; what is known to the end is booked as it was billed."""
    covered: Counter[str] = Counter()
    for one in attempts:
        covered[prompts[one.key]] += {"posted": one.actual, "void": 0}.get(one.state, one.bound)
    open_ = {prompts[one.key] for one in attempts if one.state in ("sent", "unknown")}
    for prompt in sorted(set(prompts.values())):
        bill = world.provider.bills[prompt] * NANO_USD_PER_CENTINEURON
        if bill > covered[prompt] + world.forgotten[prompt]:
            world.violated(f"{prompt} was billed {bill}, its attempts cover {covered[prompt]}")
        if prompt not in open_ | world.provider.headless | set(world.forgotten) and bill != covered[prompt]:
            world.violated(f"{prompt} was billed {bill}, booked {covered[prompt]}, and nothing is unknown")


def _check_pictures(
    world: World, attempts: list[Attempt], out: Path, prompts: dict[str, str], seen: dict[str, Rows]
) -> None:
    posted = {(one.key, one.number): one for one in attempts if one.state == "posted"}
    twice = [key for key, count in Counter(key for key, _ in posted).items() if count > 1]
    if twice:
        world.violated(f"bought twice: {[prompts[key] for key in twice]}")
    again = [one for one in attempts if (one.key, one.number - 1) in posted]
    if again:
        world.violated(f"sent again after it was booked: {again}")
    kept: Rows = {}
    if (out / CATALOGUE).exists():
        _check_parts(world, Dataset.open(out), posted, kept, seen)
    for found in scan(out / ".fluxbatch" / "spool"):
        if isinstance(found, Spooled):
            kept.setdefault((found.key, found.attempt), (b"", found.actual.nano_usd))
        else:
            world.violated(f"damaged in the spool: {found}")
    for name, one in posted.items():
        if name not in kept:
            world.violated(f"{prompts[name[0]]} #{name[1]} is booked and not kept")
        elif kept[name][1] != one.actual:
            world.violated(f"{prompts[name[0]]} #{name[1]} is booked with {one.actual}, kept with {kept[name][1]}")
        elif kept[name][0] and kept[name][0] not in world.provider.made.get(prompts[name[0]], ()):
            world.violated(f"{prompts[name[0]]} #{name[1]} is not a picture that was delivered for it")
    aside = [path.name for path in (out / ".fluxbatch" / "quarantine").glob("*") if path.suffix != ".reason"]
    if aside:
        world.violated(f"set aside: {aside}")


def _check_parts(
    world: World, dataset: Dataset, posted: dict[Name, Attempt], kept: Rows, seen: dict[str, Rows]
) -> None:
    for part in dataset.parts:
        content = dataset.path(part).read_bytes()
        if hashlib.sha256(content).hexdigest() != part.sha256:
            world.violated(f"{part.file} is not what the catalogue says")
            continue
        if part.sha256 not in seen:  # a part is not read twice: it takes longer than all else here
            seen[part.sha256] = _rows(content)
        for name, row in seen[part.sha256].items():
            if any(name[0] == key for key, _ in kept):
                world.violated(f"{name} stands twice in the parts")
            if name not in posted:
                world.violated(f"{name} stands in a part and is not booked")
            kept[name] = row


def _rows(content: bytes) -> Rows:
    table = pq.ParquetFile(pa.BufferReader(content)).read(columns=["key", "attempts", "image", "usd"])
    return {
        (row["key"], row["attempts"]): (row["image"]["bytes"], int(row["usd"].scaleb(9))) for row in table.to_pylist()
    }


def _check_rate(world: World) -> None:
    life = world.life
    if life is None or not life.rate:
        return
    arrivals, limit = sorted(world.provider.arrivals_s[world.paced_from :]), int(life.rate)
    for first, beyond in zip(arrivals, arrivals[limit:], strict=False):
        if beyond - first < WINDOW_S:
            world.violated(f"{limit + 1} requests in {beyond - first:.3f} s from {first:.3f} s on")
            return


def check_stranded(world: World, stranded: int, most: int | None) -> None:
    """What a life that died has left open is bounded by what it had in flight."""
    if most is None:
        if stranded:
            world.violated(f"{stranded} answers were lost by a run that ended by itself")
    elif stranded > most:
        world.violated(f"{stranded} answers were lost, at most {most} were in flight")


def check_days(world: World, store: Store, life: Life) -> None:
    """Every window adds up, and no day and no month of the account has more than it may."""
    with store.reading() as tx:
        if wrong := ledger.audit_windows(tx):
            world.violated(f"{wrong} do not add up")
        held = windows.stored(tx)
    most = {Period.DAY: life.day_nano_usd, Period.MONTH: life.month_nano_usd}
    for window, what in held.items():
        cap = most.get(window.period) if window.scope == Scope.ACCOUNT else None
        if cap is not None and what.gone_nano_usd > cap:
            world.violated(f"{window.told} holds {what}, at most {cap}")
        world.reached[f"windows of a {window.scope} {window.period}"] += 1


def check_sends(world: World, summary: Summary, sent: int, due: int) -> None:
    """What may have been billed is bought again within the quota only."""
    again_most = max(1, due // 10) + int(0.2 * summary.made) + world.scenario.models
    certainly_free = sum(count for code, count in summary.codes.items() if code in ("3021", "3040", "4002", "notsent"))
    strange = sum(count for code, count in summary.codes.items() if code in ("http 403", "1"))
    if sent - certainly_free - strange > due + again_most:
        world.violated(f"{sent} sends for {due} pictures, {certainly_free} of them turned away")


def check_last(world: World, summary: Summary, store: Store, seconds: float) -> None:
    """Faults have stopped: all is made, refused, or listed; what is billed is what is booked, where all is known."""
    pictures = world.scenario.pictures * world.scenario.samples
    listed = summary.already + summary.made + summary.refused + summary.failed + summary.unknown + summary.left
    if summary.asked != pictures or listed != pictures:
        world.violated(f"{pictures} were asked for, the summary says {summary.to_json()}")
    if summary.left and summary.stopped_by != "budget":
        world.violated(f"{summary.left} were left, and it is not the budget: {summary.reason}")
    if summary.stopped_by not in (None, "budget"):
        world.violated(f"stopped by {summary.stopped_by} in fair weather: {summary.reason}")
    life = world.life
    assert life is not None
    # A clock that has jumped back leaves the grid as far ahead as leases could put it: 700 s at six a minute.
    ahead_s = WINDOW_S + LEASES_AHEAD * 60.0 / life.rate if life.rate else 0.0
    longest_s = max(600.0, ahead_s) + pictures * (5.0 + (60.0 * 1.1 / life.rate if life.rate else 60.0))
    if seconds > longest_s:
        world.violated(f"it took {seconds:.0f} s in fair weather, at most {longest_s:.0f} were expected")
    _check_sums(world, summary, store)


def _check_sums(world: World, summary: Summary, store: Store) -> None:
    attempts = attempts_of(store)
    if any(one.state == "sent" for one in attempts):
        world.violated("a run that ended by itself has left attempts open")
    books = world.books
    said = summary.spent.nano_usd, summary.unknown_charges.nano_usd
    if said != (books.spent, books.unknown + books.reserved):
        world.violated(f"the summary says {said}, the ledger {books}")
