"""Everything that has to be true before a cent is spent: a sound manifest, books that agree, a plan.

Nothing here talks to Cloudflare, and nothing needs an event loop.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from fluxbatch.budget import ledger
from fluxbatch.budget.axes import Survey
from fluxbatch.budget.coverage import Coverage, cover
from fluxbatch.budget.entries import Balance, History
from fluxbatch.budget.limits import Standing, unspent
from fluxbatch.budget.plan import Histories, Plan, make_plan
from fluxbatch.budget.selection import OnBudget, Picked, Selection, highest_lot
from fluxbatch.budget.standings import standings_of
from fluxbatch.budget.store import Store, file_of
from fluxbatch.dataset import place
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.cited import write_cited
from fluxbatch.dataset.header import PriceList
from fluxbatch.dataset.spool import Spool
from fluxbatch.dispatch.retry import is_due
from fluxbatch.errors import ManifestError
from fluxbatch.held import Hold, check_batch, holding, when_free
from fluxbatch.job import Job, credentials_of
from fluxbatch.manifest.reader import Manifest, Rejected
from fluxbatch.manifest.rejected import RejectedWriter
from fluxbatch.manifest.request import Complaint, ImageRequest
from fluxbatch.models.money import ZERO
from fluxbatch.start import Recovery, book_parts, open_dataset, recover_all

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that could begin now: its dataset is held, its plan is made."""

    job: Job
    run: str
    manifest: Manifest
    store: Store
    dataset: Dataset
    spool: Spool
    recovery: Recovery
    plan: Plan
    hold: Hold


@contextmanager
def prepared(job: Job) -> Iterator[Prepared]:
    """Read the manifest once, bring dataset and ledger together, plan; the dataset is held for the block.

    ManifestError carries every complaint; DatasetError and LedgerError say what to do.
    """
    if not job.simulate:
        credentials_of(job.settings)  # said now, before a dataset is made for a run that cannot begin
    manifest = job.open_manifest()
    selection = job.selection()
    is_new = not Dataset.exists(job.out)
    if manifest.complaints:
        sound(_plan_of_new(job, manifest, selection), job, manifest)
    selection = surveyed(selection, manifest)
    # A manifest that is refused leaves no folder behind, so a new dataset is planned before it is made.
    is_early = is_new and not job.settings.skip_invalid
    plan = sound(_plan_of_new(job, manifest, selection), job, manifest) if is_early else None
    with ExitStack() as stack:
        store = stack.enter_context(contextlib.closing(job.open_store()))
        run = new_run_id() if job.chunk is None else job.chunk.run
        prices = PriceList(run, now_text(), job.catalogue.price_list())
        dataset, hold, waited = _hold(job, store, manifest, run, prices, stack)
        spool = dataset.spool()
        recovery = recovered(job, store, dataset, spool, hold)
        dataset.use_prices(prices)
        if plan is None or waited:
            with _kept_rejected(job, manifest, dataset) as rows:
                histories = histories_of(store, dataset.id)
                given = (recovery.balance, histories, due_rule(job), selection, budgets_of(job, store, run))
                plan = make_plan(rows, manifest.complaints, *given)
                sound(_hosts_told(plan, manifest), job, manifest)
        write_cited(dataset.folder, plan.cited)
        for text in job.defaults().not_sent(plan.pictures_by_model()):
            log.warning("not sent: %s", text)
        yield Prepared(job, run, manifest, store, dataset, spool, recovery, plan, hold)


def _hold(
    job: Job, store: Store, manifest: Manifest, run: str, prices: PriceList, stack: ExitStack
) -> tuple[Dataset, Hold, bool]:
    """The dataset, held until the stack ends, and whether another run was waited for."""
    found: list[tuple[Dataset, Hold]] = []

    def take() -> None:
        dataset = open_dataset(job.out, manifest.own_schema, job.is_simulated, prices)
        now_us = None if job.clock is None else job.now_us
        if (chunk := job.chunk) is not None:
            check_batch(store, dataset.id, chunk.batch)
            dataset = dataset.chunk(chunk.name)
        batch, seat = (None, None) if chunk is None else (chunk.batch, chunk.name)
        held = holding(dataset, store, run, job.settings.lease, holder=batch, seat=seat, now_us=now_us)
        hold = stack.enter_context(held)
        found.append((dataset, hold))

    waited = when_free(take, wait=job.settings.if_running == "wait")
    [(dataset, hold)] = found
    return dataset, hold, waited


def recovered(job: Job, store: Store, dataset: Dataset, spool: Spool, hold: Hold) -> Recovery:
    """Bring the job's dataset and ledger together."""
    return recover_all(
        store,
        dataset,
        spool,
        job.account,
        job.budget_nano_usd if job.chunk is None else None,  # the batch has set it
        hold.run,
        job.now_us(),
        payer=job.payer(hold.run),
        run_cap_nano_usd=job.run_cap_nano_usd,
        checked=hold.checked,
    )


def look_ahead(job: Job) -> tuple[Plan, Coverage]:
    """The plan of a run, without a run: sends nothing, makes no dataset, holds nothing, refuses no row.

    What it covers is counted where the budget does not cover everything, in another reading.
    """
    manifest = job.open_manifest()
    selection = surveyed(job.selection(), manifest)
    if not Dataset.exists(job.out):
        return _covered(job, manifest, _plan_of_new(job, manifest, selection), lambda keys: {})
    with contextlib.closing(job.open_store()) as store:
        dataset = open_dataset(job.out, manifest.own_schema, job.is_simulated)
        with store.transaction() as tx:
            if ledger.balance(tx, dataset.id) is None:
                ledger.open_budget(tx, dataset.id, job.account, str(job.out.resolve()), None)
        book_parts(store, dataset, job.now_us())
        with store.reading() as tx:
            balance = ledger.balance(tx, dataset.id)
        assert balance is not None
        balance = replace(balance, cap_nano_usd=job.budget_nano_usd)
        histories = histories_of(store, dataset.id)
        given = (balance, histories, due_rule(job), selection, budgets_of(job, store))
        plan = make_plan(manifest.rows(), manifest.complaints, *given)
        return _covered(job, manifest, _hosts_told(plan, manifest), histories)


def _covered(job: Job, manifest: Manifest, plan: Plan, histories: Histories) -> tuple[Plan, Coverage]:
    if plan.fits == plan.due:
        return plan, Coverage()
    return plan, cover(manifest.rows(), plan, histories, due_rule(job))


def _plan_of_new(job: Job, manifest: Manifest, selection: Selection) -> Plan:
    balance = Balance(job.budget_nano_usd, ZERO, ZERO, ZERO)
    given = (balance, _nothing_known, due_rule(job), selection, _budgets_of_new(job))
    plan = make_plan(manifest.rows(), manifest.complaints, *given)
    return _hosts_told(plan, manifest)


def _nothing_known(keys: Sequence[str]) -> Mapping[str, History]:
    return {}


def budgets_of(job: Job, store: Store, run: str = "") -> list[Standing]:
    """Where the budgets stand that a run of this job has to keep, beside its dataset's own."""
    with store.reading() as tx:
        return standings_of(tx, job.payer(run), job.now_us(), job.run_cap_nano_usd)


def _budgets_of_new(job: Job) -> list[Standing]:
    """The same without making a ledger where there is none: then nothing is capped but by this job itself."""
    file = file_of(job.settings.ledger)
    if file is not None and not file.exists():
        return unspent(job.payer(""), job.now_us(), job.run_cap_nano_usd)
    with contextlib.closing(job.open_store()) as store:
        return budgets_of(job, store)


def _hosts_told(plan: Plan, manifest: Manifest) -> Plan:
    """The plan; where several hosts are not allowed, all of them stand before the complaints about single rows."""
    hosts = manifest.hosts_refused
    if len(hosts) > 1:
        problem = f"{len(hosts)} hosts of addresses are not allowed"
        allowing = " ".join(f"--allow-host {host}" for host in hosts)
        plan.complain_first(Complaint(str(manifest.path), None, None, problem, f"to allow them all: {allowing}"))
    return plan


def surveyed(selection: Selection, manifest: Manifest) -> Selection:
    """The selection with what only the manifest can say: one reading for a sample, and one for the axes.

    UsageError when a preview is asked for and the manifest has no corners.
    """
    if selection.preview is not None:
        selection = replace(selection, rows=frozenset(manifest.corners(selection.preview)))
    if selection.sample is not None:
        keys = (row.key for row in manifest.rows() if isinstance(row, ImageRequest))
        selection = replace(selection, lot_max=highest_lot(keys, selection.sample, selection.seed))
    if selection.on_budget is OnBudget.SPREAD:
        survey = Survey()
        for row in Picked(manifest.rows(), selection):
            if isinstance(row, ImageRequest):
                survey.see(row)
        selection = replace(selection, axes=survey.axes())
    return selection


def sound(plan: Plan, job: Job, manifest: Manifest) -> Plan:
    """The plan, or ManifestError with every complaint. A wrong header is wrong for every row: never skipped."""
    if not plan.complaint_count or (job.settings.skip_invalid and not manifest.complaints):
        return plan
    count, shown = plan.complaint_count, len(plan.complaints)
    more = f" (the first {shown} are shown)" if count > shown else ""
    hint = "" if manifest.complaints else ", or go on without these rows (--skip-invalid)"
    noun = "complaint" if count == 1 else "complaints"
    raise ManifestError(f"{count} {noun} about {manifest.path}{more}; mend them{hint}", plan.complaints)


def histories_of(store: Store, dataset: str) -> Callable[[Sequence[str]], Mapping[str, History]]:
    """How keys of the dataset have fared, read from the ledger."""

    def look_up(keys: Sequence[str]) -> Mapping[str, History]:
        return store.read(lambda tx: ledger.histories(tx, dataset, keys))

    return look_up if store.read(lambda tx: ledger.has_attempts(tx, dataset)) else lambda keys: {}


def due_rule(job: Job) -> Callable[[History], bool]:
    policy = job.policy()
    return lambda history: is_due(history, policy)


@contextmanager
def _kept_rejected(job: Job, manifest: Manifest, dataset: Dataset) -> Iterator[Iterator[ImageRequest | Rejected]]:
    """The manifest's rows; with --skip-invalid the refused ones go to `rejected.parquet` as they pass."""
    path = dataset.folder / "rejected.parquet"
    if not job.settings.skip_invalid:
        yield manifest.rows()
        return
    draft = place.draft(path)
    try:
        with RejectedWriter(draft.file, manifest.headers) as writer:
            yield _passing(manifest.rows(), place.told(path)(writer.add))
            with place.told(path):
                writer.close()
        if writer.count:
            draft.keep()
        else:
            place.remove(path)
    finally:
        draft.drop()


def _passing(
    rows: Iterator[ImageRequest | Rejected], keep: Callable[[Rejected], None]
) -> Iterator[ImageRequest | Rejected]:
    for row in rows:
        if isinstance(row, Rejected):
            keep(row)
        yield row


def new_run_id() -> str:
    """Sorts by time and is not met twice."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def now_text() -> str:
    """The moment as the catalogue writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def now_us() -> int:
    return time.time_ns() // 1000
