"""The lease: one holder a dataset, kept by heartbeats, taken over when it ran out; who was pushed out spends none."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fluxbatch.budget import here, lease, ledger
from fluxbatch.budget.entries import AttemptId, Held, Payer, Period, Reserved, Scope, Window
from fluxbatch.budget.here import Here, is_gone
from fluxbatch.budget.lease import Busy, Lease, Taken
from fluxbatch.errors import AlreadyResolved, LeaseLost
from tests.budget.budget_kit import ACCOUNT, BOUND, DATASET, NOW_US, POSTED, Books

LENGTH_S = 90.0
LENGTH_US = 90_000_000
SECOND_US = 1_000_000
THERE = Here("there", 7, "boot-1", "pid:[1] 100")
ELSEWHERE = Here("elsewhere", 8, "boot-2", "pid:[1] 200")


def take(books: Books, run: str, at_us: int = NOW_US, holder: str | None = None, where: Here = THERE) -> Taken | Busy:
    return books.do(lambda tx: lease.take(tx, DATASET, run, where, LENGTH_S, holder=holder, now_us=at_us))


def renew(books: Books, run: str, at_us: int) -> None:
    books.do(lambda tx: lease.renew(tx, DATASET, run, LENGTH_S, at_us))


def check(books: Books, run: str) -> None:
    books.do(lambda tx: lease.check(tx, DATASET, run))


def reserve(books: Books, run: str, key: str) -> object:
    return books.do(lambda tx: ledger.reserve(tx, AttemptId(DATASET, key, 1), run, "m", BOUND, NOW_US))


def test_a_dataset_has_one_holder_and_the_other_hears_who_it_is(ledger_books: Books):
    first = take(ledger_books, "run-a")
    assert first == Taken(Lease(DATASET, "run-a", "run-a", THERE, NOW_US, NOW_US, NOW_US + LENGTH_US))
    second = take(ledger_books, "run-b", NOW_US + 30 * SECOND_US, where=ELSEWHERE)
    assert second == Busy(first.lease, 60.0)
    assert str(second.by) == "run run-a (process 7 on there)"
    with ledger_books.store.reading() as tx:
        assert lease.leases_of(tx, DATASET) == [first.lease]
        assert lease.leases_of(tx, "another") == []


def test_a_lease_that_was_given_back_is_free_at_once_and_nobody_is_fenced(ledger_books: Books):
    take(ledger_books, "run-a")
    ledger_books.do(lambda tx: lease.release(tx, DATASET, "run-a"))
    assert take(ledger_books, "run-b", NOW_US + 1) == Taken(
        Lease(DATASET, "run-b", "run-b", THERE, NOW_US + 1, NOW_US + 1, NOW_US + 1 + LENGTH_US)
    )
    assert isinstance(reserve(ledger_books, "run-a", "late"), Reserved)


def test_heartbeats_keep_it_for_as_long_as_they_come(ledger_books: Books):
    take(ledger_books, "run-a")
    for beat in range(1, 20):
        now_us = NOW_US + beat * LENGTH_US * 9 // 10
        renew(ledger_books, "run-a", now_us)
        assert isinstance(take(ledger_books, "run-b", now_us + LENGTH_US - 1), Busy)


def test_a_lease_that_ran_out_is_renewed_when_nobody_took_it(ledger_books: Books):
    take(ledger_books, "run-a")
    late_us = NOW_US + 100 * LENGTH_US
    renew(ledger_books, "run-a", late_us)
    assert isinstance(take(ledger_books, "run-b", late_us + 1), Busy)
    assert isinstance(reserve(ledger_books, "run-a", "k"), Reserved)


@pytest.mark.parametrize("silent_us", [LENGTH_US, 100 * LENGTH_US])
def test_who_was_silent_for_its_whole_lease_is_taken_over_and_named(ledger_books: Books, silent_us: int):
    first = take(ledger_books, "run-a")
    assert isinstance(take(ledger_books, "run-b", NOW_US + LENGTH_US - 1), Busy)
    second = take(ledger_books, "run-b", NOW_US + silent_us)
    assert isinstance(first, Taken)
    assert isinstance(second, Taken)
    assert second.over == (first.lease,)
    check(ledger_books, "run-b")


def test_who_wakes_up_after_a_take_over_spends_nothing_renews_nothing_and_writes_nothing(ledger_books: Books):
    take(ledger_books, "run-a")
    assert isinstance(reserve(ledger_books, "run-a", "before"), Reserved)
    take(ledger_books, "run-b", NOW_US + LENGTH_US)
    before = ledger_books.balance
    for number in range(5):
        with pytest.raises(LeaseLost, match="run run-b has taken this dataset over"):
            reserve(ledger_books, "run-a", f"after-{number}")
    for action in (lambda: renew(ledger_books, "run-a", NOW_US), lambda: check(ledger_books, "run-a")):
        with pytest.raises(LeaseLost, match="run-b"):
            action()
    assert ledger_books.balance == before
    with ledger_books.store.reading() as tx:
        assert ledger.audit_windows(tx) == []
        assert {one.key for one in ledger.open_attempts(tx, DATASET)} == {"before"}
    assert isinstance(reserve(ledger_books, "run-b", "mine"), Reserved)


def test_a_run_that_had_sent_nothing_yet_is_fenced_as_well(ledger_books: Books):
    take(ledger_books, "run-a")
    take(ledger_books, "run-b", NOW_US + LENGTH_US)
    with pytest.raises(LeaseLost):
        reserve(ledger_books, "run-a", "first")
    assert ledger_books.balance.reserved.nano_usd == 0


def test_a_fenced_reservation_leaves_the_others_of_its_transaction_standing(ledger_books: Books):
    take(ledger_books, "run-a")
    take(ledger_books, "run-b", NOW_US + LENGTH_US)
    with ledger_books.store.transaction() as tx:
        ledger.reserve(tx, AttemptId(DATASET, "x", 1), "run-b", "m", BOUND, NOW_US)
        with pytest.raises(LeaseLost):
            ledger.reserve(tx, AttemptId(DATASET, "y", 1), "run-a", "m", BOUND, NOW_US)
        ledger.resolve(tx, AttemptId(DATASET, "x", 1), POSTED, NOW_US)
    assert ledger_books.balance.spent == POSTED.actual
    with ledger_books.store.reading() as tx:
        assert ledger.audit_windows(tx) == []


def test_what_the_sleeper_had_under_way_is_the_new_holders_to_call_lost(ledger_books: Books):
    take(ledger_books, "run-a")
    reserve(ledger_books, "run-a", "k")
    take(ledger_books, "run-b", NOW_US + LENGTH_US)
    assert [one.key for one in ledger_books.strand()] == ["k"]
    with pytest.raises(AlreadyResolved):
        ledger_books.resolve("k", POSTED)
    assert ledger_books.balance.unknown == BOUND


def test_several_runs_of_one_holder_work_in_one_dataset_at_once(ledger_books: Books):
    assert isinstance(take(ledger_books, "chunk-1", holder="parent"), Taken)
    assert isinstance(take(ledger_books, "chunk-2", holder="parent", where=ELSEWHERE), Taken)
    assert isinstance(take(ledger_books, "other"), Busy)
    for run in ("chunk-1", "chunk-2"):
        payer = Payer(ACCOUNT, run, None, "parent")
        ledger_books.do(lambda tx, p=payer: ledger.begin_run(tx, DATASET, p, 2 * BOUND.nano_usd))
        assert isinstance(reserve(ledger_books, run, run), Reserved)
    assert not isinstance(reserve(ledger_books, "chunk-1", "one more"), Reserved), "they share one budget"
    renew(ledger_books, "chunk-1", NOW_US + LENGTH_US)
    late = take(ledger_books, "other", NOW_US + LENGTH_US)
    assert isinstance(late, Busy), "one of them is alive"
    over = take(ledger_books, "other", NOW_US + 2 * LENGTH_US)
    assert isinstance(over, Taken)
    assert [one.run for one in over.over] == ["chunk-1", "chunk-2"]
    for run in ("chunk-1", "chunk-2"):
        with pytest.raises(LeaseLost):
            reserve(ledger_books, run, f"{run} later")


def test_the_first_to_come_after_it_ran_out_has_it(ledger_books: Books):
    take(ledger_books, "run-a")
    late_us = NOW_US + LENGTH_US
    assert isinstance(take(ledger_books, "run-b", late_us), Taken)
    assert isinstance(take(ledger_books, "run-c", late_us), Busy)
    with pytest.raises(LeaseLost):
        renew(ledger_books, "run-a", late_us)


def test_who_is_certainly_dead_is_not_waited_for(ledger_books: Books):
    first = take(ledger_books, "run-a")
    assert isinstance(first, Taken)
    found = ledger_books.do(
        lambda tx: lease.take(
            tx, DATASET, "run-b", ELSEWHERE, LENGTH_S, is_dead=lambda one: one == first.lease, now_us=NOW_US + 1
        )
    )
    assert isinstance(found, Taken)
    assert found.over == (first.lease,)


def test_the_databases_own_clock_is_near_and_runs(ledger_books: Books):
    import time

    with ledger_books.store.reading() as tx:
        first = lease.clock_us(tx)
    assert abs(first - time.time_ns() // 1000) < 2_000_000
    assert isinstance(ledger_books.do(lambda tx: lease.take(tx, DATASET, "a", THERE)), Taken)
    assert isinstance(ledger_books.do(lambda tx: lease.take(tx, DATASET, "b", THERE)), Busy)


def test_this_process_lives_and_a_process_that_has_ended_is_gone():
    me = here.here()
    assert not is_gone(me, replace(me, pid=1))
    done = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    other = replace(me, pid=done.pid, born=here._born(done.pid) or "")
    assert not is_gone(other, me)
    done.kill()
    assert _until_gone(other, me), "also before its parent has asked how it ended"
    done.communicate()
    assert is_gone(other, me)


def _until_gone(other: Here, me: Here) -> bool:
    return any(is_gone(other, me) for _ in range(100_000))


def test_a_number_that_was_given_again_is_another_process():
    me = here.here()
    assert is_gone(replace(me, born=f"{me.born}0"), me)


@pytest.mark.parametrize("change", [{"machine": "boot-2"}, {"born": "pid:[2] 1"}, {"born": ""}])
def test_of_what_cannot_be_seen_from_here_nobody_is_called_dead(change: dict[str, str]):
    me = here.here()
    assert not is_gone(replace(me, pid=2**22 + 1, **change), me)


def test_who_has_the_others_lock_knows_that_it_is_dead(tmp_path: Path):
    (tmp_path / "lock").touch()
    me = here.here(tmp_path / "lock")
    assert me.pid == os.getpid()
    assert is_gone(replace(me, pid=1), me)
    assert not is_gone(replace(me, pid=1, machine="boot-2"), me), "a disk of several machines: the number says nothing"


def test_a_fenced_runs_window_still_adds_up(ledger_books: Books):
    take(ledger_books, "run-a")
    reserve(ledger_books, "run-a", "k")
    take(ledger_books, "run-b", NOW_US + LENGTH_US)
    ledger_books.resolve("k", POSTED)
    with ledger_books.store.reading() as tx:
        assert ledger.audit_windows(tx) == []
        run = Window("run-a", Period.TOTAL, None, Scope.RUN)
        assert ledger.windows.stored(tx)[run] == Held(spent=POSTED.actual)


def test_a_chunk_that_is_begun_again_takes_its_seat_from_the_run_before_and_no_other(ledger_books: Books):
    take(ledger_books, "parent")
    for run, seat in (("first-1", "first"), ("second-1", "second")):
        assert isinstance(sit(ledger_books, run, seat), Taken)
        reserve(ledger_books, run, f"key of {run}")
    assert isinstance(sit(ledger_books, "first-2", "first"), Busy), "who sits there is alive"
    renew(ledger_books, "second-1", NOW_US + LENGTH_US)
    took = sit(ledger_books, "first-2", "first", NOW_US + LENGTH_US)
    assert isinstance(took, Taken)
    assert [one.run for one in took.over] == ["first-1"]
    assert [one.key for one in ledger_books.strand()] == ["key of first-1"], "the other chunk is alive"
    with pytest.raises(LeaseLost):
        reserve(ledger_books, "first-1", "one more")
    assert isinstance(reserve(ledger_books, "second-1", "one more"), Reserved)


def sit(books: Books, run: str, seat: str, at_us: int = NOW_US) -> Taken | Busy:
    return books.do(lambda tx: lease.take(tx, DATASET, run, THERE, LENGTH_S, holder="parent", seat=seat, now_us=at_us))
