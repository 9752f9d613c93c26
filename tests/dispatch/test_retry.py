from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.budget.entries import NEVER_SENT, End, History
from fluxbatch.cloudflare.outcome import Delivered, Failed, Fatal, Invalid, Lost, NotSent, Outcome, Refused, Throttled
from fluxbatch.dispatch.retry import (
    BACKOFF_MAX_S,
    RETRY_AFTER_MAX_S,
    STRANGE_MAX,
    Again,
    Finish,
    Quota,
    RetryPolicy,
    backoff_s,
    is_due,
    next_step,
)

RATE = Throttled("rate", code="3021")
ROOM = Throttled("room", code="3040")
STRANGE = Throttled("room", code="http 403")


def step(
    outcome: Outcome,
    *,
    tries: int = 1,
    failed: int = 0,
    lost: int = 0,
    policy: RetryPolicy | None = None,
    quota: Quota | None = None,
) -> Again | Finish:
    return next_step(outcome, tries, failed, lost, policy or RetryPolicy(), quota or Quota(1000), chance=0.5)


@pytest.mark.parametrize(
    ("outcome", "counts", "expected"),
    [
        (RATE, {}, Again(0.0)),  # the pace and the hold make it wait
        (ROOM, {}, Again(1.0)),
        (ROOM, {"tries": 1000}, Again(30.0)),
        (NotSent(), {}, Again(1.0)),
        (NotSent(), {"tries": 1000}, Again(30.0)),
        (Failed(), {"failed": 1}, Again(1.0)),
        (Failed(), {"failed": 2}, Finish(End.FAILED)),
        (Failed(), {"failed": 1, "lost": 1}, Finish(End.FAILED)),
        (Failed(), {"failed": 2, "policy": RetryPolicy(resend_failed=2)}, Again(1.0)),
        (Failed(), {"failed": 1, "policy": RetryPolicy(resend_failed=0)}, Finish(End.FAILED)),
        (Lost(), {"lost": 1}, Finish(End.LOST)),
        (Lost(), {"lost": 1, "policy": RetryPolicy(resend_lost=1)}, Again(1.0)),
        (Lost(), {"lost": 2, "policy": RetryPolicy(resend_lost=1)}, Finish(End.LOST)),
        (Lost(), {"lost": 1, "failed": 2, "policy": RetryPolicy(resend_lost=1)}, Finish(End.LOST)),
        (Refused("no"), {}, Finish(End.REFUSED)),
        (Refused("perhaps"), {}, Finish(End.REFUSED)),
        (Invalid(), {}, Finish(End.INVALID)),
        (Fatal("token", "check it"), {}, Finish(None)),
        (STRANGE, {"tries": STRANGE_MAX - 1}, Again(0.5 * 2 ** (STRANGE_MAX - 1))),
        (STRANGE, {"tries": STRANGE_MAX}, Finish(End.FAILED)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_follows_each_outcome(outcome: Outcome, counts: dict[str, object], expected: Again | Finish):
    assert step(outcome, **counts) == expected  # type: ignore[arg-type]


def test_a_picture_has_no_next_step():
    with pytest.raises(AssertionError):
        step(Delivered(b""))


@pytest.mark.parametrize("reason", ["rate", "room"])
@pytest.mark.parametrize(("said_s", "waits_s"), [(0.0, 0.0), (7.0, 7.0), (3600.0, RETRY_AFTER_MAX_S)])
def test_retry_after_is_honoured_within_reason(reason: str, said_s: float, waits_s: float):
    assert step(Throttled(reason, said_s, code="3040")) == Again(waits_s)  # type: ignore[arg-type]


@pytest.mark.parametrize("outcome", [RATE, ROOM, NotSent(), Refused("perhaps"), Invalid()], ids=repr)
def test_only_what_may_have_been_billed_uses_the_quota(outcome: Outcome):
    quota = Quota(10)
    for _ in range(20):
        step(outcome, quota=quota)
    assert quota.take()


def test_no_quota_no_second_try():
    quota = Quota(10)
    assert quota.take()
    assert step(Failed(), failed=1, quota=quota) == Finish(End.FAILED)
    assert step(Lost(), lost=1, policy=RetryPolicy(resend_lost=1), quota=quota) == Finish(End.LOST)


@pytest.mark.parametrize("pictures", [1, 5, 10, 99, 200, 10_000])
def test_when_everything_fails_sends_stay_within_a_tenth_more(pictures: int):
    quota, sends = Quota(pictures), 0
    for _ in range(pictures):
        failed, again = 0, True
        while again:
            sends, failed = sends + 1, failed + 1
            again = isinstance(step(Failed(), failed=failed, quota=quota), Again)
    assert sends <= pictures + max(1, pictures // 10)


def test_pictures_give_retries_back_up_to_where_it_began():
    quota = Quota(20)
    assert [quota.take() for _ in range(3)] == [True, True, False]
    for _ in range(4):
        quota.refund()
    assert not quota.take()
    quota.refund()
    assert quota.take()
    for _ in range(1000):
        quota.refund()
    assert [quota.take() for _ in range(3)] == [True, True, False]


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_backoff_is_full_jitter_under_a_doubling_cap(tries: int, chance: float):
    waits_s = backoff_s(tries, chance)
    assert 0 <= waits_s <= min(BACKOFF_MAX_S, 2.0 ** min(tries, 10))
    assert backoff_s(tries, 1.0) == min(BACKOFF_MAX_S, 2.0 ** min(tries, 16))


@pytest.mark.parametrize(
    ("history", "policy", "due"),
    [
        (NEVER_SENT, RetryPolicy(), True),
        (History(3), RetryPolicy(), True),  # turned away only
        (History(1, made=True, end=End.MADE), RetryPolicy(9, 9, True), False),
        (History(2, made=True, end=End.REFUSED), RetryPolicy(9, 9, True), False),
        (History(1, end=End.REFUSED), RetryPolicy(), False),
        (History(1, end=End.INVALID), RetryPolicy(), False),
        (History(1, end=End.REFUSED), RetryPolicy(resend_refused=True), True),
        (History(1, end=End.INVALID), RetryPolicy(resend_refused=True), True),
        (History(2, end=End.FAILED, failed=2), RetryPolicy(resend_refused=True), False),
        (History(2, end=End.REFUSED, failed=1), RetryPolicy(resend_refused=True), True),
        (History(2, end=End.REFUSED, failed=1), RetryPolicy(resend_failed=0, resend_refused=True), False),
        (History(2, end=End.INVALID, lost=1), RetryPolicy(resend_refused=True), False),
        (History(2, end=End.INVALID, lost=1), RetryPolicy(resend_lost=1, resend_refused=True), True),
        (History(1, end=End.FAILED, failed=1), RetryPolicy(), True),
        (History(2, end=End.FAILED, failed=2), RetryPolicy(), False),
        (History(2, end=End.FAILED, failed=2), RetryPolicy(resend_failed=2), True),
        (History(1, end=End.FAILED, failed=1), RetryPolicy(resend_failed=0), False),
        (History(1, end=End.LOST, lost=1), RetryPolicy(), False),
        (History(1, end=End.LOST, lost=1), RetryPolicy(resend_lost=1), True),
        (History(2, end=End.FAILED, failed=1, lost=1), RetryPolicy(), False),
        (History(2, end=End.LOST, failed=1, lost=1), RetryPolicy(resend_lost=1), True),
    ],
)
def test_whether_a_row_with_this_past_is_sent(history: History, policy: RetryPolicy, due: bool):
    assert is_due(history, policy) is due


@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3), st.integers(0, 3))
def test_a_run_sends_again_what_the_next_run_would_call_due(failed: int, lost: int, may_fail: int, may_lose: int):
    """The rule within a run and the rule between runs are one: else a crash would buy more, or less."""
    policy = RetryPolicy(may_fail, may_lose)
    again = step(Failed(), failed=failed + 1, lost=lost, policy=policy)
    assert isinstance(again, Again) == is_due(History(1, end=End.FAILED, failed=failed + 1, lost=lost), policy)
    again = step(Lost(), failed=failed, lost=lost + 1, policy=policy)
    assert isinstance(again, Again) == is_due(History(1, end=End.LOST, failed=failed, lost=lost + 1), policy)
