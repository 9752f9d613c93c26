"""The account's caps for the UTC day and month: counted where it was sent, refused by name, left as it was entered."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from fluxbatch.budget import ledger, windows
from fluxbatch.budget.entries import (
    PERIODS_OF,
    AttemptId,
    Balance,
    Decision,
    Denied,
    Held,
    Payer,
    Period,
    Reserved,
    Resolution,
    Scope,
    State,
    Window,
    windows_at,
)
from fluxbatch.models.money import ZERO, Money, charge
from tests.budget.budget_kit import ACCOUNT, ACTUAL, BOUND, DATASET, LOST, POSTED, VOID, Books, books

OTHER = "b" * 32
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


EVENING = at("2026-11-30 23:59:59")
MORNING = EVENING + 1_000_000
TODAY = Window(ACCOUNT, Period.DAY, date(2026, 11, 30))
TOMORROW = Window(ACCOUNT, Period.DAY, date(2026, 12, 1))
NOVEMBER = Window(ACCOUNT, Period.MONTH, date(2026, 11, 1))
DECEMBER = Window(ACCOUNT, Period.MONTH, date(2026, 12, 1))


def cap(books: Books, period: Period, nano_usd: int | None, account: str = ACCOUNT) -> None:
    books.do(lambda tx: ledger.set_cap(tx, account, period, nano_usd))


def send(books: Books, key: str, now_us: int = EVENING, bound: Money = BOUND, dataset: str = DATASET):
    attempt = AttemptId(dataset, key, 1)
    return books.do(lambda tx: ledger.reserve(tx, attempt, "run-1", "m", bound, now_us))


def end(books: Books, key: str, resolution: Resolution, now_us: int = MORNING) -> None:
    books.do(lambda tx: ledger.resolve(tx, AttemptId(DATASET, key, 1), resolution, now_us))


def held(books: Books, account: str = ACCOUNT) -> dict[Window, Held]:
    """What the windows hold, after comparing it with the sum of the attempts."""
    with books.store.reading() as tx:
        assert ledger.audit_windows(tx) == []
        return windows.stored(tx, account)


@pytest.mark.parametrize(
    ("text", "day", "month", "next_day", "next_month"),
    [
        ("2026-11-30 23:59:59", "2026-11-30", "2026-11-01", "2026-12-01", "2026-12-01"),
        ("2026-12-31 00:00:00", "2026-12-31", "2026-12-01", "2027-01-01", "2027-01-01"),
        ("2028-02-29 12:00:00", "2028-02-29", "2028-02-01", "2028-03-01", "2028-03-01"),
        ("1970-01-01 00:00:00", "1970-01-01", "1970-01-01", "1970-01-02", "1970-02-01"),
    ],
)
def test_a_moment_lies_in_its_utc_day_and_month(text: str, day: str, month: str, next_day: str, next_month: str):
    found = windows_at(ACCOUNT, at(text))
    assert [str(one.first_day) for one in found] == [day, month]
    assert [str(one.resets_on) for one in found] == [next_day, next_month]
    assert windows_at(ACCOUNT, at(text) + 999_999) == found


@pytest.mark.parametrize(("period", "window", "next_one"), [("day", TODAY, TOMORROW), ("month", NOVEMBER, DECEMBER)])
def test_the_last_nano_dollar_of_a_window_can_be_reserved_and_none_beyond_it(
    ledger_books: Books, period: str, window: Window, next_one: Window
):
    cap(ledger_books, Period(period), 2 * BOUND.nano_usd)
    assert isinstance(send(ledger_books, "a"), Reserved)
    assert isinstance(send(ledger_books, "b"), Reserved)
    before = held(ledger_books), ledger_books.balance
    denied = send(ledger_books, "c", bound=Money(1, 1))
    assert denied == Denied(Balance(2 * BOUND.nano_usd, ZERO, BOUND * 2, ZERO), window)
    assert (held(ledger_books), ledger_books.balance) == before
    assert isinstance(send(ledger_books, "c", MORNING), Reserved)  # the next one is free
    assert held(ledger_books)[next_one] == Held(reserved=BOUND)


@pytest.mark.parametrize(
    ("day", "month", "refused_by"), [(0, None, TODAY), (None, 0, NOVEMBER), (0, 0, NOVEMBER), (0, 10**15, TODAY)]
)
def test_a_denial_names_who_refused_and_changes_nothing(
    ledger_books: Books, day: int | None, month: int | None, refused_by: Window
):
    cap(ledger_books, Period.DAY, day)
    cap(ledger_books, Period.MONTH, month)
    denied = send(ledger_books, "k")
    assert isinstance(denied, Denied)
    assert denied.window == refused_by
    assert held(ledger_books) == {}
    assert ledger_books.balance.reserved == ZERO
    with ledger_books.store.reading() as tx:
        assert not ledger.has_attempts(tx, DATASET)


def test_the_reason_says_which_budget_and_when_the_next_begins(ledger_books: Books):
    cap(ledger_books, Period.DAY, 0)
    denied = send(ledger_books, "k")
    assert isinstance(denied, Denied)
    assert denied.reason == (
        "the account's budget for the day 2026-11-30 is used up ($0 left of $0); "
        "the next begins on 2026-12-01 at 00:00 UTC"
    )
    cap(ledger_books, Period.MONTH, 0)
    denied = send(ledger_books, "k")
    assert isinstance(denied, Denied)
    assert denied.reason == (
        "the account's budget for the month 2026-11 is used up ($0 left of $0); "
        "the next begins on 2026-12-01 at 00:00 UTC"
    )
    ledger_books.open(0)
    denied = send(ledger_books, "k")
    assert isinstance(denied, Denied)
    assert (denied.window, denied.reason) == (None, "the budget is used up")


def test_a_cap_that_is_set_later_counts_what_was_spent_before(ledger_books: Books):
    send(ledger_books, "k", EVENING - HOUR_US)
    end(ledger_books, "k", POSTED, EVENING)
    cap(ledger_books, Period.DAY, ACTUAL.nano_usd + BOUND.nano_usd - 1)
    assert isinstance(send(ledger_books, "next"), Denied)
    cap(ledger_books, Period.DAY, ACTUAL.nano_usd + BOUND.nano_usd)
    assert isinstance(send(ledger_books, "next"), Reserved)


def test_a_cap_that_is_taken_away_holds_no_more(ledger_books: Books):
    for period in PERIODS_OF[Scope.ACCOUNT]:
        cap(ledger_books, period, 0)
    assert isinstance(send(ledger_books, "k"), Denied)
    for period in PERIODS_OF[Scope.ACCOUNT]:
        cap(ledger_books, period, None)
    with ledger_books.store.reading() as tx:
        assert ledger.caps_of(tx, ACCOUNT) == {}
    assert isinstance(send(ledger_books, "k"), Reserved)


def test_the_caps_of_an_account_are_read_back(ledger_books: Books):
    cap(ledger_books, Period.DAY, 5)
    cap(ledger_books, Period.DAY, 7)
    cap(ledger_books, Period.MONTH, 9)
    with ledger_books.store.reading() as tx:
        assert ledger.caps_of(tx, ACCOUNT) == {Period.DAY: 7, Period.MONTH: 9}
        assert ledger.caps_of(tx, OTHER) == {}


@pytest.mark.parametrize("period", ["week", "", "Day"])
def test_a_period_that_is_none_is_refused(ledger_books: Books, period: str):
    with pytest.raises(ValueError, match="Period"):
        ledger_books.do(lambda tx: ledger.set_cap(tx, ACCOUNT, period, 5))


def test_the_datasets_of_an_account_share_its_windows_and_other_accounts_have_their_own(ledger_books: Books):
    ledger_books.do(lambda tx: ledger.open_budget(tx, "d2", ACCOUNT, "/two", 10**15))
    ledger_books.do(lambda tx: ledger.open_budget(tx, "d3", OTHER, "/three", 10**15))
    cap(ledger_books, Period.DAY, BOUND.nano_usd)
    assert isinstance(send(ledger_books, "k"), Reserved)
    assert isinstance(send(ledger_books, "k", dataset="d2"), Denied)
    assert isinstance(send(ledger_books, "k", dataset="d3"), Reserved)


@pytest.mark.parametrize(
    "seen_us", [MORNING, MORNING + 40 * DAY_US, EVENING - 40 * DAY_US], ids=["after", "late", "back"]
)
@pytest.mark.parametrize("how", ["post", "void", "unknown", "settle", "adopt", "strand"])
def test_an_attempt_leaves_the_windows_that_it_entered_whatever_the_clock_says(
    ledger_books: Books, how: str, seen_us: int
):
    send(ledger_books, "k")
    attempt = AttemptId(DATASET, "k", 1)
    expected = {"post": Held(spent=ACTUAL), "adopt": Held(spent=ACTUAL), "unknown": Held(unknown=BOUND)}
    expected |= {"strand": Held(unknown=BOUND), "settle": Held(spent=BOUND)}
    if how in ("post", "void", "unknown", "settle"):
        first = {"post": POSTED, "void": VOID}.get(how, LOST)
        end(ledger_books, "k", first, seen_us)
    if how == "settle":
        ledger_books.do(lambda tx: ledger.settle(tx, attempt, Decision(State.POSTED), "seen", seen_us))
    elif how == "adopt":
        ledger_books.do(lambda tx: ledger.adopt(tx, attempt, ACTUAL, "run-2", seen_us, seen_us))
    elif how == "strand":
        ledger_books.do(lambda tx: ledger.strand(tx, DATASET, seen_us))
    found = held(ledger_books)
    assert found == ({TODAY: expected[how], NOVEMBER: expected[how]} if how in expected else {})


def test_what_was_lost_with_the_ledger_counts_in_the_day_in_which_it_was_made(ledger_books: Books):
    for key, made_at_us in {"then": EVENING, "now": None}.items():
        attempt = AttemptId(DATASET, key, 1)
        ledger_books.do(lambda tx, a=attempt, t=made_at_us: ledger.adopt(tx, a, ACTUAL, "r", MORNING, t))
    each = Held(spent=ACTUAL)
    assert held(ledger_books) == {TODAY: each, NOVEMBER: each, TOMORROW: each, DECEMBER: each}


def test_a_clock_that_jumps_back_over_midnight_finds_yesterdays_window_as_it_was(ledger_books: Books):
    cap(ledger_books, Period.DAY, BOUND.nano_usd)
    assert isinstance(send(ledger_books, "a", EVENING), Reserved)
    assert isinstance(send(ledger_books, "b", MORNING), Reserved)
    assert isinstance(send(ledger_books, "c", EVENING), Denied)
    end(ledger_books, "b", VOID, EVENING)
    assert isinstance(send(ledger_books, "c", EVENING), Denied)  # b was of tomorrow
    assert isinstance(send(ledger_books, "c", MORNING), Reserved)


def test_a_dataset_that_goes_to_another_account_leaves_what_it_spent_with_the_first(ledger_books: Books):
    send(ledger_books, "old")
    end(ledger_books, "old", LOST)
    ledger_books.do(lambda tx: ledger.open_budget(tx, DATASET, OTHER, "/pictures", None))
    attempt = AttemptId(DATASET, "new", 1)
    ledger_books.do(lambda tx: ledger.reserve(tx, attempt, "run-2", "m", BOUND, EVENING))
    old = AttemptId(DATASET, "old", 1)
    ledger_books.do(lambda tx: ledger.settle(tx, old, Decision(State.POSTED, ACTUAL), "seen", MORNING))
    assert held(ledger_books)[TODAY] == Held(spent=ACTUAL)
    assert held(ledger_books, OTHER) == {
        Window(OTHER, Period.DAY, TODAY.first_day): Held(reserved=BOUND),
        Window(OTHER, Period.MONTH, NOVEMBER.first_day): Held(reserved=BOUND),
    }
    ledger_books.do(lambda tx: ledger.open_budget(tx, DATASET, ACCOUNT, "/pictures", None))  # and back again
    ledger_books.do(lambda tx: ledger.resolve(tx, attempt, VOID, MORNING))
    send(ledger_books, "third")
    assert held(ledger_books, OTHER) == {}
    assert ledger_books.balance.spent == ACTUAL


def test_windows_are_kept_over_a_restart(tmp_path: Path):
    with books(tmp_path) as own:
        own.open()
        cap(own, Period.DAY, BOUND.nano_usd)
        send(own, "k")
    with books(tmp_path) as own:
        assert isinstance(send(own, "next"), Denied)
        assert held(own)[TODAY] == Held(reserved=BOUND)


@pytest.mark.parametrize("damage", ["UPDATE windows SET unknown_centineurons = 1", "DELETE FROM windows"])
def test_the_audit_finds_a_window_that_was_tampered_with(ledger_books: Books, damage: str):
    send(ledger_books, "k")
    end(ledger_books, "k", POSTED)
    ledger_books.do(lambda tx: tx.execute(sa.text(damage)))
    with ledger_books.store.reading() as tx:
        run = Window("run-1", Period.TOTAL, None, Scope.RUN)
        assert ledger.audit_windows(tx) == ledger.audit_windows(tx, ACCOUNT, None, DATASET) == [TODAY, NOVEMBER, run]
        assert ledger.audit_windows(tx, ACCOUNT) == [TODAY, NOVEMBER]
        assert ledger.audit_windows(tx, OTHER) == []


def test_a_denial_leaves_the_others_of_its_transaction_standing(ledger_books: Books):
    cap(ledger_books, Period.MONTH, 2 * BOUND.nano_usd)
    with ledger_books.store.transaction() as tx:
        answers = [ledger.reserve(tx, AttemptId(DATASET, k, 1), "r", "m", BOUND, EVENING) for k in "abc"]
        ledger.resolve(tx, AttemptId(DATASET, "a", 1), POSTED, MORNING)
    assert [type(answer) for answer in answers] == [Reserved, Reserved, Denied]
    assert held(ledger_books)[NOVEMBER] == Held(spent=ACTUAL, reserved=BOUND)


def test_a_free_picture_is_refused_by_a_cap_that_was_lowered_below_what_is_gone(ledger_books: Books):
    send(ledger_books, "k")
    cap(ledger_books, Period.DAY, 1)
    assert isinstance(send(ledger_books, "free", bound=charge(0)), Denied)


def test_a_reservation_and_a_resolution_cost_three_statements_each(ledger_books: Books):
    """Each is paid for by every picture; the first of a day or a run makes its windows and may cost more."""
    ledger_books.do(lambda tx: ledger.begin_run(tx, DATASET, Payer(ACCOUNT, "r", "cats", "parent"), 10**12))
    ledger_books.do(lambda tx: ledger.reserve(tx, AttemptId(DATASET, "first", 1), "r", "m", BOUND, EVENING))
    for period in PERIODS_OF[Scope.ACCOUNT]:
        cap(ledger_books, period, 10**12)
    statements: list[str] = []
    with ledger_books.store.transaction() as tx:
        sa.event.listen(tx, "before_cursor_execute", lambda c, cursor, text, *_: statements.append(text.split()[0]))
        ledger.reserve(tx, AttemptId(DATASET, "k", 1), "r", "m", BOUND, EVENING)
        ledger.resolve(tx, AttemptId(DATASET, "k", 1), POSTED, MORNING)
    assert statements == ["UPDATE", "UPDATE", "INSERT", "UPDATE", "UPDATE", "UPDATE"]


def test_every_statement_of_the_guard_finds_its_rows_by_their_key(tmp_path: Path):
    """A year of windows must cost no more than the first day."""
    with books(tmp_path) as own, own.store.reading() as tx:
        for statement in (windows._RESERVE[0], windows._MOVE[0]):
            text = str(statement.compile(dialect=tx.dialect, compile_kwargs={"render_postcompile": True}))
            names = statement.compile(dialect=tx.dialect).positiontup or ()
            plan = tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", tuple(1 for _ in names)).all()
            steps = [row[-1] for row in plan]
            assert [step for step in steps if step.startswith("SCAN")] == []
            assert sum("scope=? AND name=? AND period=? AND first_day=?" in step for step in steps) == 7


def begin(books: Books, run: str, project: str | None = None, dataset: str = DATASET, **more: object) -> None:
    cap = more.pop("cap", None)
    account = str(more.pop("account", ACCOUNT))
    payer = Payer(account, run, project, **more)  # type: ignore[arg-type]
    books.do(lambda tx: ledger.begin_run(tx, dataset, payer, cap))  # type: ignore[arg-type]


def send_by(books: Books, run: str, key: str, at_us: int = EVENING, dataset: str = DATASET, bound: Money = BOUND):
    return books.do(lambda tx: ledger.reserve(tx, AttemptId(dataset, key, 1), run, "m", bound, at_us))


def project_of(period: Period, first_day: date | None) -> Window:
    return Window("cats", period, first_day, Scope.PROJECT)


PROJECT_WINDOWS = [
    project_of(Period.DAY, TODAY.first_day),
    project_of(Period.MONTH, NOVEMBER.first_day),
    project_of(Period.TOTAL, None),
]


@pytest.mark.parametrize("window", PROJECT_WINDOWS, ids=lambda window: window.period)
def test_the_last_nano_dollar_of_a_project_can_be_reserved_over_accounts_and_none_beyond_it(
    ledger_books: Books, window: Window
):
    ledger_books.do(lambda tx: ledger.open_budget(tx, "d2", OTHER, "/two", 10**15))
    begin(ledger_books, "r1", "cats")
    begin(ledger_books, "r2", "cats", "d2", account=OTHER)
    begin(ledger_books, "r3", "dogs", "d2", account=OTHER)
    ledger_books.do(lambda tx: ledger.set_cap(tx, "cats", window.period, 2 * BOUND.nano_usd, Scope.PROJECT))
    assert isinstance(send_by(ledger_books, "r1", "a"), Reserved)
    assert isinstance(send_by(ledger_books, "r2", "b", dataset="d2"), Reserved)
    denied = send_by(ledger_books, "r1", "c", bound=Money(1, 1))
    assert denied == Denied(Balance(2 * BOUND.nano_usd, ZERO, BOUND * 2, ZERO), window)
    assert isinstance(send_by(ledger_books, "r3", "c", dataset="d2"), Reserved)
    tomorrow = send_by(ledger_books, "r1", "c", MORNING)
    assert isinstance(tomorrow, Denied) is (window.period == Period.TOTAL)
    with ledger_books.store.reading() as tx:
        assert ledger.audit_windows(tx) == ledger.audit_windows(tx, OTHER, "cats", "d2") == []


def test_a_reason_says_whose_budget_it_is_and_what_to_do(ledger_books: Books):
    begin(ledger_books, "r", "cats", cap=BOUND.nano_usd - 1)
    denied = send_by(ledger_books, "r", "k")
    assert isinstance(denied, Denied)
    assert denied.reason == (
        "this run's budget is used up ($0.041249999 left of $0.041249999); the next run has one of its own"
    )
    ledger_books.do(lambda tx: ledger.set_cap(tx, "cats", Period.TOTAL, 0, Scope.PROJECT))
    denied = send_by(ledger_books, "r", "k")
    assert isinstance(denied, Denied)
    assert denied.reason == (
        "the budget of project cats is used up ($0 left of $0); raise it with `fluxbatch budget set --project`"
    )


def test_an_attempt_stays_in_its_runs_project_whoever_resolves_it_and_whoever_pays_by_then(ledger_books: Books):
    begin(ledger_books, "r1", "cats")
    for key in ("posted", "adopted", "settled"):
        send_by(ledger_books, "r1", key)
    begin(ledger_books, "r2", "dogs")
    ledger_books.do(lambda tx: ledger.open_budget(tx, DATASET, OTHER, "/pictures", None))
    begin(ledger_books, "r3", "dogs", account=OTHER)
    end(ledger_books, "posted", POSTED)
    adopted = AttemptId(DATASET, "adopted", 1)
    ledger_books.do(lambda tx: ledger.adopt(tx, adopted, ACTUAL, "r3", MORNING))
    end(ledger_books, "settled", LOST)
    settled = AttemptId(DATASET, "settled", 1)
    ledger_books.do(lambda tx: ledger.settle(tx, settled, Decision(State.POSTED, ACTUAL), "seen", MORNING))
    with ledger_books.store.reading() as tx:
        assert ledger.audit_windows(tx) == []
        found = windows.stored(tx)
    assert {window: held.spent for window, held in found.items()} == dict.fromkeys(
        (TODAY, NOVEMBER, *PROJECT_WINDOWS, Window("r1", Period.TOTAL, None, Scope.RUN)), ACTUAL * 3
    )


def test_a_limit_of_one_run_on_the_accounts_day_binds_that_run_alone(ledger_books: Books):
    begin(ledger_books, "free", account_day_nano_usd=2 * BOUND.nano_usd)
    begin(ledger_books, "paid")
    assert isinstance(send_by(ledger_books, "paid", "a"), Reserved)
    assert isinstance(send_by(ledger_books, "free", "b"), Reserved)
    assert send_by(ledger_books, "free", "c") == Denied(Balance(2 * BOUND.nano_usd, ZERO, BOUND * 2, ZERO), TODAY)
    assert isinstance(send_by(ledger_books, "paid", "c"), Reserved)
    assert isinstance(send_by(ledger_books, "free", "d", MORNING), Reserved)


@pytest.mark.parametrize(("period", "scope"), [(Period.TOTAL, Scope.ACCOUNT), (Period.DAY, Scope.RUN)])
def test_a_cap_that_nothing_would_keep_is_refused(ledger_books: Books, period: Period, scope: Scope):
    with pytest.raises(ValueError, match=f"is no Period of a {scope}"):
        ledger_books.do(lambda tx: ledger.set_cap(tx, "x", period, 5, scope))
