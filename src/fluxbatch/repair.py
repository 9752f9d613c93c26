"""`verify --repair`: dataset and ledger are brought to say the same, and what cannot be brought back is said.

A picture that was paid for and is gone stays paid: its row counts as lost, and is bought again only when that is asked
for (`run --resend-lost`). Nothing is sent from here.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from fluxbatch import tell
from fluxbatch.budget import ledger
from fluxbatch.budget.entries import AttemptId
from fluxbatch.budget.lost import forget_part, lose
from fluxbatch.budget.quarters import account_of
from fluxbatch.budget.store import Store
from fluxbatch.dataset.catalogue import INNER, Dataset, locked, looks_like_one
from fluxbatch.dataset.made import refresh_card
from fluxbatch.dataset.place import Place, below, place_of
from fluxbatch.dataset.repair import Mended, is_torn, mend_catalogue, mend_parts, take_missing
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.verify import Finding
from fluxbatch.errors import DatasetError
from fluxbatch.examine import all_findings, held, paying_account, spooled
from fluxbatch.exit_codes import EXIT_COMPLETE, EXIT_SOME_FAILED, EXIT_WRONG
from fluxbatch.held import holding
from fluxbatch.job import SIMULATOR_ACCOUNT_ID
from fluxbatch.many import many
from fluxbatch.models.money import ZERO, Money, exact
from fluxbatch.prepare import new_run_id, now_text, now_us
from fluxbatch.settings import Settings
from fluxbatch.start import Recovery, recover_all

GONE = "was made and paid for; its file was damaged or lost, and could not be brought back"


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was done, which pictures are gone (key, attempt, what it cost), and what is still wrong."""

    folder: Place
    mended: Sequence[Mended]
    gone: Sequence[tuple[str, int, Money]]
    left: Sequence[Finding]

    @property
    def exit_code(self) -> int:
        if self.left:
            return EXIT_WRONG
        return EXIT_SOME_FAILED if self.gone else EXIT_COMPLETE

    def to_dict(self) -> dict[str, Any]:
        gone = [{"key": key, "number": number, "usd": exact(cost.usd)} for key, number, cost in self.gone]
        told = {"mended": [str(one) for one in self.mended], "gone": gone}
        return told | {"findings": [str(finding) for finding in self.left]}


def repair(folder: Place, settings: Settings) -> Repaired:
    """Mend what can be mended. DatasetInUse while a run is alive; DatasetError when nobody can say what it was."""
    folder = place_of(folder)
    with contextlib.closing(Store(settings.ledger)) as store:
        mended = [_mend_catalogue(store, folder)] if looks_like_one(folder) and is_torn(folder) else []
        dataset = Dataset.open(folder)
        run = new_run_id()
        with holding(dataset, store, run, settings.lease):
            spool = dataset.spool()
            listed = dataset.parts
            mended += [*mend_parts(dataset, spool), *take_missing(dataset, spool)]
            recovery = recover_all(store, dataset, spool, paying_account(store, dataset, settings), None, run, now_us())
            mended += _of_recovery(dataset, recovery)
            mended += _book(store, dataset)
            gone = _lose(store, dataset, listed_before={part.sha256 for part in listed})
            waiting = list(recovery.unsealed.values())
            for part in seal(dataset, spool, waiting, run_id=run, sealed_at=now_text()):
                with store.transaction() as tx:
                    ledger.mark_part_booked(tx, dataset.id, part.sha256)
                mended.append(Mended(part.file, f"made of {many(part.rows, 'picture')} from the spool"))
            left = all_findings(store, dataset)
            refresh_card(dataset)
    return Repaired(folder, mended, gone, left)


def _mend_catalogue(store: Store, folder: Place) -> Mended:
    def is_simulated(dataset: str) -> bool | None:
        with store.reading() as tx:
            account = account_of(tx, dataset)
        return None if account is None else account == SIMULATOR_ACCOUNT_ID

    if isinstance(folder, Path) and not (folder / INNER).is_dir():
        raise DatasetError(f"{folder} has a torn catalogue and no {INNER} folder; bring both back from a copy")
    with locked(folder):
        return mend_catalogue(folder, is_simulated)


def _of_recovery(dataset: Dataset, recovery: Recovery) -> Iterator[Mended]:
    for part in recovery.listed:
        yield Mended(part.file, f"is sound, and listed now with its {many(part.rows, 'picture')}")
    for aside in recovery.quarantined:
        yield Mended(below(dataset.folder, aside.path), f"was set aside: {aside.reason}")
    if recovery.adopted:
        yield Mended("ledger", f"{many(recovery.adopted, 'picture was', 'pictures were')} booked that it did not know")
    if recovery.stranded:
        yield Mended("ledger", f"{many(recovery.stranded, 'answer')} of a run that died: lost")


def _book(store: Store, dataset: Dataset) -> list[Mended]:
    """Book what parts hold and the ledger lacks, also of parts that it thought it had booked."""
    booked = 0
    with store.transaction() as tx:
        known = {(key, number) for key, number, _ in ledger.made_keys(tx, dataset.id)}
        for part in dataset.parts:
            for key, number, actual, sent_at_us, model in dataset.sent(part):
                if (key, number) not in known:
                    attempt = AttemptId(dataset.id, key, number)
                    booked += ledger.adopt(tx, attempt, actual, part.run_id, now_us(), sent_at_us, model)
    return [Mended("ledger", f"{many(booked, 'picture')} of the parts booked that it did not know")] if booked else []


def _lose(store: Store, dataset: Dataset, listed_before: set[str]) -> list[tuple[str, int, Money]]:
    """What is booked as made and is nowhere counts as lost from now on. Its money stays spent."""
    found, unread = held(dataset)
    if unread:
        return []  # a part that cannot be read may hold it
    there = found.keys() | spooled(dataset)
    with store.transaction() as tx:
        gone = [one for one in ledger.made_keys(tx, dataset.id) if one[:2] not in there]
        for key, number, _ in gone:
            lose(tx, AttemptId(dataset.id, key, number), GONE)
        for sha256 in listed_before - {part.sha256 for part in dataset.parts}:
            forget_part(tx, dataset.id, sha256)
    return gone


def show_repaired(console: Console, done: Repaired, *, as_json: bool) -> None:
    """What was done, what is gone and what it would cost, what is left."""
    if as_json:
        print(json.dumps(done.to_dict()))  # noqa: T201
        return
    for line in _lines(done):
        console.print(tell.shown(line, 1000), highlight=False, soft_wrap=True)


def _lines(done: Repaired) -> Iterator[str]:
    yield from (str(one) for one in done.mended)
    if done.gone:
        cost = sum((cost for _, _, cost in done.gone), ZERO)
        paid = tell.usd(cost)
        yield (
            f"{many(len(done.gone), 'picture')} cannot be brought back; {paid} was paid for them and stays spent. "
            "Their rows count as lost. If you have a copy of their part, put it into data/ and repair again. To have "
            f"them made anew, for about {paid} more: the same run with --resend-lost 1"
        )
        yield from (f"  gone: attempt {number} of {key}, {tell.usd(money)}" for key, number, money in done.gone)
    yield from (f"still wrong: {finding}" for finding in done.left)
    if not done.mended and not done.gone and not done.left:
        yield "nothing was wrong"
