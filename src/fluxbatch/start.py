"""The ordinary start-up, which is also the recovery: dataset and ledger are brought to say the same.

| it died after                          | here |
|----------------------------------------|------|
| the reservation, before or in the send | the attempt becomes unknown: spent, listed, not sent again by itself |
| the picture is spooled, not booked     | the spool file is verified and its charge booked |
| booked, not sealed                     | it waits in the spool for its shard, or for the close |
| a part's temp file                     | removed; the part is built again from the spool |
| a part in place, not listed            | verified, then listed |
| a batch in chunks, before they were taken in | their parts and spools are moved into the dataset |
| the ledger is gone, or older           | what the parts say was paid is booked first |

All of it is idempotent, and none of it runs while another process holds the dataset.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from fluxbatch.budget import ledger
from fluxbatch.budget.entries import AttemptId, Balance, Payer
from fluxbatch.budget.lease import Transaction
from fluxbatch.budget.store import Store
from fluxbatch.dataset import place
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.header import Part, PriceList
from fluxbatch.dataset.own import check_own_schema
from fluxbatch.dataset.parts import check_whole
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.quarantine import SetAside
from fluxbatch.dataset.recovery import recover
from fluxbatch.dataset.spool import Spool, Spooled
from fluxbatch.dispatch.drift import beyond_bound
from fluxbatch.errors import DatasetError, LedgerError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What the start found: pictures in the spool that wait to be sealed, and answers that were lost."""

    balance: Balance
    unsealed: dict[str, Spooled]
    adopted: int
    stranded: int
    listed: tuple[Part, ...] = ()
    quarantined: tuple[SetAside, ...] = ()
    too_dear: str | None = None
    """A picture that the run before could not book any more was charged above its bound: nothing may be sent."""


def open_dataset(folder: Place, own_schema: pa.Schema, simulated: bool, prices: PriceList | None = None) -> Dataset:
    """The dataset in this folder, made when there is none. DatasetError when the manifest cannot go into it."""
    place.trust(folder)
    if not Dataset.exists(folder):
        return Dataset.create(folder, own_schema, simulated, prices=prices)
    dataset = Dataset.open(folder)
    if dataset.simulated != simulated:
        made_by = "the simulator" if dataset.simulated else "Cloudflare"
        raise DatasetError(f"{folder} holds pictures made by {made_by}; give another --out, they are not to be mixed")
    check_own_schema(dataset.own_schema, own_schema)
    return dataset


def book_parts(store: Store, dataset: Dataset, now_us: int) -> int:
    """Book what the dataset's parts say was paid, where this ledger does not know it. How many pictures were booked."""
    booked = 0
    for part in dataset.parts:
        with store.reading() as tx:
            if ledger.part_is_booked(tx, dataset.id, part.sha256):
                continue
        check_whole(dataset.path(part), part.sha256)
        sent = list(dataset.sent(part))  # read before: while a transaction writes, all who share the ledger wait
        with store.transaction() as tx:
            for key, number, actual, sent_at_us, model in sent:
                attempt = AttemptId(dataset.id, key, number)
                booked += ledger.adopt(tx, attempt, actual, part.run_id, now_us, sent_at_us, model)
            ledger.mark_part_booked(tx, dataset.id, part.sha256)
    if booked:
        log.warning("the ledger did not know %d pictures of %s: booked from its parts", booked, dataset.folder)
    return booked


def recover_all(
    store: Store,
    dataset: Dataset,
    spool: Spool,
    account: str,
    cap_nano_usd: int | None,
    run: str,
    now_us: int,
    *,
    payer: Payer | None = None,
    run_cap_nano_usd: int | None = None,
    checked: Callable[[Transaction], None] = lambda tx: None,
) -> Recovery:
    """Bring dataset and ledger together. Only while the dataset is held. Without a cap the budget stays as it is.

    `payer`: who pays for what the run will send, and `run_cap_nano_usd` what that may cost. `checked` raises when
    another run has taken the dataset over meanwhile: what that has under way must not be called lost.
    """
    found = recover(dataset, spool)
    for aside in found.quarantined:
        log.warning("set aside: %s (%s)", aside.path, aside.reason)
    with store.transaction() as tx:
        checked(tx)
        ledger.open_budget(tx, dataset.id, account, str(dataset.home.resolve()), cap_nano_usd)
        if payer is not None:
            ledger.begin_run(tx, dataset.id, payer, run_cap_nano_usd)
    adopted = book_parts(store, dataset, now_us)
    with store.transaction() as tx:
        checked(tx)
        for entry in found.adoptable:  # one that the ledger has lost was not sent by this run, nor for its project
            attempt = AttemptId(dataset.id, entry.key, entry.attempt)
            adopted += ledger.adopt(tx, attempt, entry.actual, f"before-{run}", now_us)
        stranded = ledger.strand(tx, dataset.id, now_us)
        above = ledger.first_above_bound(tx, dataset.id, now_us) if adopted else None
    if stranded:
        log.warning(
            "%d answers were lost when a run ended: counted as spent, not sent again by themselves", len(stranded)
        )
    balance = _audited(store, dataset.id, account, None if payer is None else payer.project)
    unsealed = {entry.key: entry for entry in found.adoptable}
    listed, quarantined = tuple(found.listed), tuple(found.quarantined)
    too_dear = None if above is None else beyond_bound(*above)
    return Recovery(balance, unsealed, adopted, len(stranded), listed, quarantined, too_dear)


def _audited(store: Store, dataset: str, account: str, project: str | None) -> Balance:
    """The balance, when the ledger's attempts add up to it, and to what the windows of the account, of the project and
    of the dataset's runs hold."""
    with store.reading() as tx:
        balance, stored = ledger.audit(tx, dataset), ledger.balance(tx, dataset)
        windows = ledger.audit_windows(tx, account, project, dataset)
    fault = None if balance == stored else f"its attempts add up to {balance}, its balance says {stored}"
    if windows:
        fault = f"what was sent does not add up to what stands in {windows[0].told}"
    if balance is None or fault is not None:
        raise LedgerError(
            f"the ledger {store.url} contradicts itself: {fault}; "
            "bring back a copy, or move it away: a new one is filled from the dataset's parts"
        )
    return balance
