"""What may have been billed: the ledger against Cloudflare's own figures, and decisions about what is unknown.

Nothing is settled by itself. The figures are late and sampled, so they suggest; a person decides, with `--billed` and
`--not-billed`, and each decision stands in the ledger with its reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fluxbatch.budget import ledger
from fluxbatch.budget.entries import US_PER_DAY, AttemptId, Decision, OpenAttempt, Settlement, State
from fluxbatch.budget.quarters import quarters, sent_between
from fluxbatch.budget.reconcile import QUARTER_US, Name, Stretch, compare, span_of
from fluxbatch.budget.store import Store
from fluxbatch.cloudflare.analytics import NoFigures, Span, billed
from fluxbatch.cloudflare.client import Client
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.place import Place, place_of
from fluxbatch.errors import UsageError
from fluxbatch.examine import paying_account
from fluxbatch.held import holding
from fluxbatch.job import credentials_of
from fluxbatch.models.catalogue import MODELS
from fluxbatch.models.money import Money
from fluxbatch.prepare import new_run_id, now_us
from fluxbatch.reconciled import Reconciled
from fluxbatch.settings import DEFAULT_BASE_URL, Settings
from fluxbatch.start import recover_all

DAYS_MAX = 31
"""Older attempts are not compared: Cloudflare does not keep the figures for ever."""
DAYS_PER_QUERY = 7
ALL = "all"
NO_REASON = "decided with fluxbatch reconcile"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user decides: attempts as KEY or KEY#N (a key's beginning will do), or `all`."""

    billed: Sequence[str] = ()
    not_billed: Sequence[str] = ()
    why: str = NO_REASON


def reconcile(
    folder: Place, settings: Settings, wishes: Wishes, *, offline: bool = False, at_us: int | None = None
) -> Reconciled:
    """Put the books in order, settle what is decided, compare with Cloudflare. DatasetInUse while a run is alive.

    UsageError names a wish that fits no unknown attempt; then nothing is settled.
    """
    now = now_us() if at_us is None else at_us
    folder = place_of(folder)
    dataset = Dataset.open(folder)
    run = new_run_id()
    with contextlib.closing(Store(settings.ledger)) as store, holding(dataset, store, run, settings.lease):
        account = paying_account(store, dataset, settings)
        # What a dead run has left becomes unknown, or is booked from the spool, as at the start of any run.
        before = recover_all(store, dataset, dataset.spool(), account, None, run, now).balance
        settled = _settle(store, dataset.id, wishes, now)
        with store.reading() as tx:
            unknown = ledger.open_attempts(tx, dataset.id)
            after = ledger.balance(tx, dataset.id)
        assert after is not None
        compared, why_not = _compared(store, dataset, settings, account, now, offline=offline)
    return Reconciled(folder, now, unknown, before, after, settled, compared, why_not)


def _settle(store: Store, dataset: str, wishes: Wishes, now: int) -> list[Settlement]:
    if not wishes.billed and not wishes.not_billed:
        return []
    with store.transaction() as tx:
        chosen = choose(ledger.open_attempts(tx, dataset), ledger.decisions(tx, dataset), wishes)
        return [
            ledger.settle(tx, AttemptId(dataset, *name), Decision(state), wishes.why, now)
            for name, state in chosen.items()
        ]


def choose(
    unknown: Sequence[OpenAttempt], decided: Sequence[Settlement], wishes: Wishes
) -> dict[tuple[str, int], State]:
    """What becomes of which attempt. UsageError names the wish that fits none, several, or both decisions. Pure."""
    chosen: dict[tuple[str, int], State] = {}
    for state, option, texts in (
        (State.POSTED, "--billed", wishes.billed),
        (State.VOID, "--not-billed", wishes.not_billed),
    ):
        for text in texts:
            for name in _named(text, option, unknown, decided):
                if chosen.setdefault(name, state) is not state:
                    raise UsageError(f"attempt {name[1]} of {name[0][:16]} is to be billed and not billed; say one")
    return chosen


def _named(
    text: str, option: str, unknown: Sequence[OpenAttempt], decided: Sequence[Settlement]
) -> list[tuple[str, int]]:
    open_names = [(one.key, one.number) for one in unknown]
    if text == ALL:
        return open_names
    match = re.fullmatch(r"([0-9a-f]{8,64})(?:#([0-9]{1,9}))?", text.strip().lower())
    if match is None:
        raise UsageError(f"{option} {text!r} is no attempt; write KEY, KEY#N or all, as `fluxbatch reconcile` lists it")
    key, number = match[1], match[2]
    found = [name for name in open_names if name[0].startswith(key) and number in (None, str(name[1]))]
    if len({name[0] for name in found}) > 1:
        raise UsageError(f"{option} {text}: {len(found)} unknown attempts begin so; write more of the key")
    if found:
        return found
    for one in decided:
        if one.attempt.key.startswith(key) and number in (None, str(one.attempt.number)):
            what = "billed" if one.state is State.POSTED else "not billed"
            raise UsageError(f"{one.attempt} was settled as {what} before ({one.why}); a decision stands")
    raise UsageError(f"{option} {text}: no unknown attempt of this dataset has this key and number")


def _compared(
    store: Store, dataset: Dataset, settings: Settings, account: str, now: int, *, offline: bool
) -> tuple[list[Stretch] | None, str | None]:
    """The stretches that this dataset was sent in, or why there are none."""
    if reason := _why_not(dataset, settings, account, offline=offline):
        return None, reason
    with store.reading() as tx:
        sent = sent_between(tx, dataset.id, now - DAYS_MAX * US_PER_DAY)
        if sent is None:
            return None, f"nothing was sent in the last {DAYS_MAX} days"
        booked = quarters(tx, account, sent[0] - DAYS_MAX * US_PER_DAY, now + QUARTER_US)
    since, until = span_of(booked, *sent)
    ours = {name: sums for name, sums in booked.items() if since <= name[1] < until}
    theirs = asyncio.run(
        _figures(settings, sorted({model for model, _ in ours} | {m.id for m in MODELS}), since, until)
    )
    if isinstance(theirs, NoFigures):
        return None, str(theirs)
    return compare(ours, theirs), None


def _why_not(dataset: Dataset, settings: Settings, account: str, *, offline: bool) -> str | None:
    if offline:
        return "--offline was given"
    if dataset.simulated and settings.base_url == DEFAULT_BASE_URL:
        return "its pictures are a simulator's: only that simulator knows its bill (set CLOUDFLARE_BASE_URL to it)"
    if not settings.account_id or settings.api_token is None:
        return "CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN are not set"
    if settings.account_id != account:
        return "CLOUDFLARE_ACCOUNT_ID is another account than the one that paid for this dataset"
    return None


async def _figures(settings: Settings, models: list[str], since: int, until: int) -> Mapping[Name, Money] | NoFigures:
    """One query for each week, so that an answer is never cut off."""
    found: dict[Name, Money] = {}
    credentials = credentials_of(settings)
    async with Client(credentials, connections=1) as client:
        start, end = _datetime(since), _datetime(until)
        while start < end:
            stop = min(end, start + timedelta(days=DAYS_PER_QUERY))
            figures = await billed(client, credentials.account_id, Span(models, start, stop))
            if isinstance(figures, NoFigures):
                return figures
            found |= {(one.model, int(one.start.timestamp()) * 1_000_000): one.actual for one in figures}
            start = stop
    return found


def _datetime(when_us: int) -> datetime:
    return datetime.fromtimestamp(when_us // 1_000_000, UTC)
