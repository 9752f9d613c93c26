"""The start refuses a ledger whose windows contradict it, and books lost parts in the day in which they were made."""

from __future__ import annotations

from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from fluxbatch.budget import ledger, windows
from fluxbatch.budget.entries import Held, Payer, Period, Window
from fluxbatch.budget.store import Store
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.errors import LedgerError
from fluxbatch.models.catalogue import FLUX_2_DEV
from fluxbatch.start import Recovery, recover_all
from tests.budget.budget_kit import ACCOUNT, NOW_US, url_of
from tests.dataset.dataset_kit import NO_COLUMNS, WHEN, sealed, spool_one

CAP = 10**12


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "pictures", NO_COLUMNS, True)


def start(folder: Path, dataset: Dataset) -> Recovery:
    with closing(Store(url_of(folder))) as store, dataset.hold():
        return recover_all(store, dataset, dataset.spool(), ACCOUNT, CAP, "run-2", NOW_US)


def held(folder: Path) -> dict[Window, Held]:
    with closing(Store(url_of(folder))) as store, store.reading() as tx:
        assert ledger.audit_windows(tx) == []
        return windows.stored(tx, ACCOUNT)


def test_what_the_parts_say_was_paid_counts_in_the_day_in_which_it_was_sent(tmp_path: Path, dataset: Dataset):
    sealed(dataset, dataset.spool(), 2)
    recovery = start(tmp_path, dataset)
    each = Held(spent=recovery.balance.spent)
    assert recovery.adopted == 2
    assert held(tmp_path) == {
        Window(ACCOUNT, Period.DAY, WHEN.date()): each,
        Window(ACCOUNT, Period.MONTH, WHEN.date().replace(day=1)): each,
    }


def test_the_moment_of_sending_is_the_answers_less_its_latency(dataset: Dataset):
    [part] = sealed(dataset, dataset.spool(), 1)
    [(key, number, actual, sent_at_us, model)] = dataset.sent(part)
    assert model == FLUX_2_DEV.id
    assert [(key, number, actual)] == list(dataset.keys(part))
    table = dataset.to_pandas(["created_at", "latency_s"])
    latency = timedelta(seconds=float(table["latency_s"][0]))
    assert latency > timedelta()
    assert sent_at_us == round((WHEN - latency).timestamp() * 1e6)


def test_a_spooled_picture_that_the_ledger_never_saw_counts_in_the_day_of_its_adoption(
    tmp_path: Path, dataset: Dataset
):
    entry = spool_one(dataset, dataset.spool(), "a lighthouse", 1)
    start(tmp_path, dataset)
    day = date(1970, 1, 1) + timedelta(microseconds=NOW_US)
    assert held(tmp_path)[Window(ACCOUNT, Period.DAY, day)] == Held(spent=entry.actual)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            "UPDATE windows SET spent_nano_usd = spent_nano_usd - 1",
            "what stands in the account's budget for the day 2026-11-22",
        ),
        ("DELETE FROM windows WHERE period = 'month'", "what stands in the account's budget for the month 2026-11"),
        ("UPDATE datasets SET spent_nano_usd = spent_nano_usd - 1", "its balance says"),
    ],
)
def test_a_start_refuses_a_ledger_that_contradicts_itself(tmp_path: Path, dataset: Dataset, damage: str, said: str):
    sealed(dataset, dataset.spool(), 1)
    start(tmp_path, dataset)
    with closing(Store(url_of(tmp_path))) as store, store.transaction() as tx:
        tx.execute(sa.text(damage))
    with pytest.raises(LedgerError, match="contradicts itself") as refused:
        start(tmp_path, dataset)
    assert said in str(refused.value)


def test_a_start_is_not_kept_by_another_accounts_damage(tmp_path: Path, dataset: Dataset):
    sealed(dataset, dataset.spool(), 1)
    start(tmp_path, dataset)
    with closing(Store(url_of(tmp_path))) as store, store.transaction() as tx:
        windows.enter(tx, Payer("b" * 32, "run-b", "project-b"), NOW_US)
        others = f"'{'b' * 32}', 'run-b', 'project-b'"
        tx.execute(sa.text(f"UPDATE windows SET spent_nano_usd = 1 WHERE name IN ({others})"))
    assert start(tmp_path, dataset).adopted == 0
