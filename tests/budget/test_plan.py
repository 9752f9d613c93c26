from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.budget import plan as planning
from fluxbatch.budget.entries import NEVER_SENT, Balance, End, History
from fluxbatch.budget.plan import Plan, Shape, make_plan, with_histories
from fluxbatch.dispatch.retry import RetryPolicy, is_due
from fluxbatch.manifest.reader import Rejected
from fluxbatch.manifest.request import Complaint, ImageRequest, Reference
from fluxbatch.models.catalogue import FLUX_2_DEV
from fluxbatch.models.money import ZERO, Money
from fluxbatch.models.price import quote

POLICY = RetryPolicy()
FITTED = Reference("ab" * 32, width=2048, height=1024, fitted_width=511, fitted_height=256)
SMALL = Reference("cd" * 32, width=300, height=200, fitted_width=300, fitted_height=200)


def request(
    row: int, width: int = 1024, height: int = 1024, steps: int = 25, references: tuple[Reference, ...] = ()
) -> ImageRequest:
    return ImageRequest(
        row, None, FLUX_2_DEV, f"picture {row}", width, height, steps, None, None, references, 0, key=f"{row:064x}"
    )


def rejected(row: int, count: int = 1) -> Rejected:
    complaints = tuple(Complaint("m.csv", row, "width", f"wrong {n}", "mend it") for n in range(count))
    return Rejected(row, complaints, {})


def cap(usd: str | int) -> Balance:
    nano_usd = usd if isinstance(usd, int) else round(float(usd) * 10**9)
    return Balance(nano_usd, ZERO, ZERO, ZERO)


def planned(
    rows: Sequence[ImageRequest | Rejected],
    balance: Balance | None = None,
    histories: Mapping[str, History] | None = None,
    policy: RetryPolicy = POLICY,
    header: Sequence[Complaint] = (),
) -> Plan:
    known = histories or {}
    return make_plan(
        iter(rows), header, balance or cap("1000"), lambda keys: known, lambda history: is_due(history, policy)
    )


def brute_force(requests: Sequence[ImageRequest], balance: Balance) -> int:
    """Reserve the bound, post the expected price, in order, until one is denied: what a run one at a time makes."""
    spent, made = balance.gone.nano_usd + balance.reserved.nano_usd, 0
    for one in requests:
        if spent + one.quote.bound.nano_usd > balance.cap_nano_usd:
            break
        spent += one.quote.expected.nano_usd
        made += 1
    return made


def test_an_empty_manifest_asks_for_nothing():
    plan = planned([])
    assert (plan.asked, plan.due, plan.fits, plan.expected, plan.bound) == (0, 0, 0, ZERO, ZERO)


def test_new_pictures_are_due_and_priced():
    plan = planned([request(1), request(2, 768, 512), request(3, 768, 512)])
    assert (plan.asked, plan.already, plan.due, plan.ended) == (3, 0, 3, {})
    assert plan.shapes == {Shape(FLUX_2_DEV, 1024, 1024, 25, 0): 1, Shape(FLUX_2_DEV, 768, 512, 25, 0): 2}
    assert (
        plan.expected == quote(FLUX_2_DEV, 1024, 1024, 25, 0).expected + quote(FLUX_2_DEV, 768, 512, 25, 0).expected * 2
    )
    assert plan.bound == quote(FLUX_2_DEV, 1024, 1024, 25, 0).bound + quote(FLUX_2_DEV, 768, 512, 25, 0).bound * 2
    assert Plan.price(Shape(FLUX_2_DEV, 768, 512, 25, 0)) == request(1, 768, 512).quote


@pytest.mark.parametrize(
    ("history", "counted"),
    [
        (History(1, made=True, end=End.MADE), "already"),
        (History(2, made=True, end=End.FAILED, failed=1), "already"),
        (History(1, end=End.REFUSED), End.REFUSED),
        (History(1, end=End.INVALID), End.INVALID),
        (History(1, end=End.FAILED, failed=1), "due"),
        (History(2, end=End.FAILED, failed=2), End.FAILED),
        (History(1, end=End.LOST, lost=1), End.LOST),
        (History(3), "due"),
    ],
)
def test_every_picture_is_counted_once(history: History, counted: str | End):
    plan = planned([request(1), request(2)], histories={request(1).key: history})
    assert plan.asked == 2 == plan.already + plan.ended.total() + plan.due
    if isinstance(counted, End):
        assert dict(plan.ended) == {counted: 1}
    else:
        assert getattr(plan, counted) == (2 if counted == "due" else 1)
    assert plan.expected == request(1).quote.expected * plan.due  # what is made or ended costs nothing


@pytest.mark.parametrize(
    ("policy", "due"),
    [
        (RetryPolicy(), 1),
        (RetryPolicy(resend_failed=2), 2),
        (RetryPolicy(resend_lost=1), 2),
        (RetryPolicy(resend_refused=True), 2),
        (RetryPolicy(resend_failed=0), 0),
    ],
)
def test_the_policy_says_what_is_sent_again(policy: RetryPolicy, due: int):
    past = [
        History(1, end=End.FAILED, failed=1),
        History(2, end=End.FAILED, failed=2),
        History(1, end=End.LOST, lost=1),
        History(1, end=End.REFUSED),
    ]
    rows = [request(n) for n in range(len(past))]
    histories = {row.key: history for row, history in zip(rows, past, strict=True)}
    assert planned(rows, histories=histories, policy=policy).due == due


def test_references_that_are_fitted_are_counted_each():
    plan = planned([request(1, references=(FITTED, SMALL)), request(2, references=(FITTED,)), request(3)])
    assert plan.fitted_references == 2
    assert set(plan.shapes) == {Shape(FLUX_2_DEV, 1024, 1024, 25, n) for n in (0, 1, 2)}


class TestFits:
    def test_all_fits_when_the_last_bound_still_fits(self):
        price = request(1, 768, 512).quote
        assert price.bound.nano_usd > price.expected.nano_usd
        enough = 9 * price.expected.nano_usd + price.bound.nano_usd
        rows = [request(n, 768, 512) for n in range(10)]
        assert planned(rows, cap(enough)).fits == 10
        assert planned(rows, cap(enough - 1)).fits == 9

    def test_nothing_fits_a_budget_of_nothing(self):
        assert planned([request(1)], cap(0)).fits == 0

    def test_what_is_gone_already_is_not_there_again(self):
        price = request(1).quote
        balance = Balance(3 * price.bound.nano_usd, spent=price.bound, reserved=ZERO, unknown=price.bound)
        assert planned([request(n) for n in range(5)], balance).fits == 1

    def test_a_cap_below_what_is_gone_fits_nothing(self):
        balance = Balance(1, spent=Money(2, 0), reserved=ZERO, unknown=ZERO)
        assert planned([request(1)], balance).fits == 0

    def test_a_smaller_picture_behind_one_that_does_not_fit_is_not_counted(self):
        plan = planned([request(1), request(2, 1920, 1920, 50), request(3, 256, 256, 1)], cap("0.06"))
        assert (plan.fits, plan.due) == (1, 3)
        assert plan.fits_nano_usd == request(1).quote.expected.nano_usd

    def test_pictures_that_are_made_do_not_use_the_budget_up(self):
        made = {request(n).key: History(1, made=True, end=End.MADE) for n in range(5)}
        plan = planned([request(n) for n in range(7)], cap(2 * request(1).quote.bound.nano_usd), made)
        assert (plan.already, plan.fits) == (5, 2)

    @given(
        st.lists(st.tuples(st.integers(16, 120), st.integers(16, 120), st.integers(1, 50), st.booleans()), max_size=25),
        st.integers(0, 10**9),
        st.integers(0, 10**8),
        st.integers(0, 10**8),
    )
    def test_it_is_what_the_guard_would_let_through_in_order(
        self, shapes: list[tuple[int, int, int, bool]], cap_nano: int, spent: int, unknown: int
    ):
        rows = [
            request(n, 16 * w, 16 * h, steps, (SMALL,) if has else ()) for n, (w, h, steps, has) in enumerate(shapes)
        ]
        balance = Balance(cap_nano, Money(spent, 0), ZERO, Money(unknown, 0))
        plan = planned(rows, balance)
        assert plan.fits == brute_force(rows, balance)
        assert plan.fits_nano_usd == sum(row.quote.expected.nano_usd for row in rows[: plan.fits])


def test_rejected_rows_are_counted_and_never_sent():
    plan = planned([request(1), rejected(2, 3), rejected(3)])
    assert (plan.asked, plan.due, plan.rejected_rows, plan.complaint_count) == (1, 1, 2, 4)
    assert [complaint.row for complaint in plan.complaints] == [2, 2, 2, 3]


def test_complaints_about_the_header_come_first():
    header = (Complaint("m.csv", None, "promt", "unknown column", "rename it", line=1),)
    plan = planned([rejected(2)], header=header)
    assert [complaint.row for complaint in plan.complaints] == [None, 2]
    assert plan.complaint_count == 2


def test_all_complaints_are_counted_and_the_first_thousand_kept():
    plan = planned([rejected(n, 7) for n in range(200)])
    assert plan.complaint_count == 1400
    assert len(plan.complaints) == planning.COMPLAINTS_KEPT == 1000
    assert plan.complaints[0].row == 0


def test_histories_are_looked_up_many_at_a_time_and_order_is_kept():
    asked_for: list[int] = []
    rows = [rejected(n) if n % 10 == 0 else request(n) for n in range(2 * planning.LOOK_UP + 5)]
    made = History(1, made=True, end=End.MADE)

    def histories(keys: Sequence[str]) -> Mapping[str, History]:
        asked_for.append(len(keys))
        return {key: made for key in keys if int(key, 16) % 2}

    found = list(with_histories(iter(rows), histories))
    assert [row.row if isinstance(row, Rejected) else row[0].row for row in found] == list(range(len(rows)))
    assert all(row[1] == (made if row[0].row % 2 else NEVER_SENT) for row in found if not isinstance(row, Rejected))
    assert asked_for == [900, 900, 4]


def test_rows_are_read_as_a_stream():
    taken = 0

    def rows() -> Iterator[ImageRequest]:
        nonlocal taken
        for number in range(10 * planning.LOOK_UP):
            taken += 1
            yield request(number)

    next(with_histories(rows(), lambda keys: {}))
    assert taken == planning.LOOK_UP


def test_prompts_that_look_like_broken_json_are_counted_and_the_first_is_said():
    texts = [
        "a plain prompt",
        '{"scene": "a quay", "subjects": [{"type": "crane", "position": "middle"}]}',
        '{"scene": "a quay"}',
        '{"subjects": []}',
    ]
    plan = planned([replace(request(row), prompt=text) for row, text in enumerate(texts, 1)])
    assert plan.odd_json_prompts == 2
    assert plan.first_odd_json is not None
    row, said = plan.first_odd_json
    assert row == 2
    assert said.startswith("subjects[0].position: ")
    assert plan.due == 4, "they are sent as they are"
