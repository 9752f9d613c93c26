"""What is wished of a run, and what it tells of itself: heard by its holder's runs alone, and gone with the holder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from fluxbatch.budget import lease, wishes
from fluxbatch.budget.here import Here
from fluxbatch.budget.wishes import NOTHING_SAID, Said, Told, Wish
from tests.budget.budget_kit import DATASET, NOW_US, Books

SECOND_US = 1_000_000
WINDOW_US = 60 * SECOND_US
THERE = Here("there", 7, "boot-1", "pid:[1] 5")
WHO = Said("ann@there", NOW_US)


def take(books: Books, run: str, holder: str | None = None, now_us: int = NOW_US, seat: str | None = None) -> None:
    taken = books.do(lambda tx: lease.take(tx, DATASET, run, THERE, 90.0, holder=holder, seat=seat, now_us=now_us))
    assert isinstance(taken, lease.Taken)


def say(books: Books, holder: str = "run-1", **changed: object) -> Wish:
    return books.do(lambda tx: wishes.say(tx, DATASET, holder, lambda wish: replace(wish, **changed)))  # type: ignore[arg-type]


def hear(books: Books, run: str = "run-1", holder: str = "run-1", known: Wish = NOTHING_SAID, text: str = "{}") -> Wish:
    return books.do(lambda tx: wishes.tell_and_hear(tx, DATASET, run, holder, known, text, NOW_US))


def told(books: Books) -> dict[str, Told]:
    return books.do(lambda tx: wishes.told(tx, DATASET))


def test_what_was_said_is_heard_and_that_it_is_taken_up_is_told(ledger_books: Books):
    take(ledger_books, "run-1")
    assert hear(ledger_books, text="begun") == NOTHING_SAID
    said = say(ledger_books, paused=WHO, rate_per_minute=300.0)
    heard = hear(ledger_books)
    assert heard == said == Wish(1, WHO, 300.0, None, None)
    assert told(ledger_books)["run-1"].taken == 0, "it has only just heard"
    assert hear(ledger_books, known=heard, text="paused") is heard
    assert told(ledger_books) == {"run-1": Told("run-1", NOW_US, 1, "paused")}


def test_each_word_is_added_to_what_was_said_before(ledger_books: Books):
    take(ledger_books, "run-1")
    say(ledger_books, paused=WHO)
    say(ledger_books, in_flight_max=7)
    say(ledger_books, paused=None)
    assert hear(ledger_books) == say(ledger_books, stopped=WHO).__class__(3, None, None, 7, None)
    assert hear(ledger_books) == Wish(4, None, None, 7, WHO)


def test_a_wish_is_for_its_holder_and_for_all_runs_of_it(ledger_books: Books):
    take(ledger_books, "parent")
    for run in ("first", "second"):
        take(ledger_books, run, "parent", seat=run)
    said = say(ledger_books, "parent", paused=WHO)
    assert [hear(ledger_books, run, "parent") for run in ("first", "second", "later")] == [said] * 3
    assert hear(ledger_books, "first", "another") == NOTHING_SAID
    with ledger_books.store.reading() as tx:
        assert wishes.wish_of(tx, "another dataset", "parent") == NOTHING_SAID


def test_a_next_run_starts_unsteered_whether_the_one_before_ended_or_died(ledger_books: Books):
    take(ledger_books, "run-1")
    say(ledger_books, "run-1", paused=WHO)
    hear(ledger_books)
    ledger_books.do(lambda tx: lease.release(tx, DATASET, "run-1"))
    assert told(ledger_books) == {}
    take(ledger_books, "run-2")
    say(ledger_books, "run-2", paused=WHO)
    hear(ledger_books, "run-2", "run-2")
    take(ledger_books, "run-3", now_us=NOW_US + 90 * SECOND_US)  # nothing was heard of run-2 any more
    assert told(ledger_books) == {}
    with ledger_books.store.reading() as tx:
        assert [wishes.wish_of(tx, DATASET, run) for run in ("run-1", "run-2", "run-3")] == [NOTHING_SAID] * 3


def test_a_chunk_that_ends_leaves_the_wish_to_the_others(ledger_books: Books):
    for run in ("first", "second"):
        take(ledger_books, run, "parent", seat=run)
        hear(ledger_books, run, "parent")
    said = say(ledger_books, "parent", paused=WHO)
    ledger_books.do(lambda tx: lease.release(tx, DATASET, "first"))
    assert list(told(ledger_books)) == ["second"]
    assert hear(ledger_books, "second", "parent") == said


def test_a_look_is_one_statement_and_two_when_something_is_new(ledger_books: Books):
    take(ledger_books, "run-1")
    hear(ledger_books)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "progress" in statement or "wishes" in statement:
            statements.append(statement)

    sa.event.listen(ledger_books.store._engine, "before_cursor_execute", note)
    known = hear(ledger_books)
    assert len(statements) == 1
    say(ledger_books, paused=WHO)
    statements.clear()
    known = hear(ledger_books, known=known)
    assert len(statements) == 2
    statements.clear()
    hear(ledger_books, known=known)
    assert len(statements) == 1


def test_a_moment_of_the_wish_is_an_interval_after_the_last_whoever_took_that(ledger_books: Books):
    take(ledger_books, "run-1")
    say(ledger_books, rate_per_minute=6.0)

    def moment(interval_us: int, now_us: int) -> int:
        return ledger_books.do(lambda tx: wishes.next_moment(tx, DATASET, "run-1", interval_us, now_us, WINDOW_US))

    assert moment(10 * SECOND_US, NOW_US) == NOW_US
    ledger_books.do(lambda tx: wishes.gave(tx, DATASET, "run-1", NOW_US))
    assert moment(10 * SECOND_US, NOW_US + SECOND_US) == NOW_US + 10 * SECOND_US
    assert moment(SECOND_US, NOW_US + SECOND_US // 2) == NOW_US + SECOND_US, "faster: from the last all the same"
    assert moment(10 * SECOND_US, NOW_US + 99 * SECOND_US) == NOW_US + 99 * SECOND_US, "nothing is caught up with"


def test_a_clock_that_jumped_back_stops_a_wish_for_a_window_and_not_for_the_jump(ledger_books: Books):
    take(ledger_books, "run-1")
    say(ledger_books, rate_per_minute=60.0)
    ledger_books.do(lambda tx: wishes.gave(tx, DATASET, "run-1", NOW_US + 3600 * SECOND_US))

    def moment(now_us: int) -> int:
        return ledger_books.do(lambda tx: wishes.next_moment(tx, DATASET, "run-1", SECOND_US, now_us, WINDOW_US))

    first = moment(NOW_US)
    assert first == NOW_US + WINDOW_US + SECOND_US
    assert moment(first) == first


def test_a_name_is_cut_and_kept_as_it_is(ledger_books: Books):
    take(ledger_books, "run-1")
    say(ledger_books, paused=Said("\x1b[31m" + "x" * 500, NOW_US))
    paused = hear(ledger_books).paused
    assert paused is not None
    assert len(paused.by) == wishes.BY_MAX


@pytest.mark.parametrize("now_us", [None, NOW_US])
def test_a_word_has_the_databases_own_time_unless_one_is_given(ledger_books: Books, now_us: int | None):
    take(ledger_books, "run-1")
    ledger_books.do(lambda tx: wishes.tell_and_hear(tx, DATASET, "run-1", "run-1", NOTHING_SAID, "", now_us))
    with ledger_books.store.reading() as tx:
        clock_us = lease.clock_us(tx)
    at_us = told(ledger_books)["run-1"].at_us
    assert at_us == now_us or abs(at_us - clock_us) < 5 * SECOND_US
