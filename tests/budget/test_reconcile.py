"""The ledger held against the platform's figures: nothing is decided that the figures do not decide."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import event, given, settings
from hypothesis import strategies as st

from fluxbatch.budget.entries import State
from fluxbatch.budget.reconcile import QUARTER_US, Booked, Name, Stretch, Verdict, added, compare, span_of
from fluxbatch.models.money import ZERO, Money, charge
from tests.soak import soak

MODEL = "@cf/black-forest-labs/flux-2-dev"
NOON = 1_795_348_800_000_000
BOUND = charge(15_000)
PRICE = charge(3_750)


def at(quarters: int) -> Name:
    return MODEL, NOON + quarters * QUARTER_US


def booked(posted: int = 0, unknown: int = 0, settled: int = 0) -> Booked:
    """So many pictures at 37.50 neurons, and so many at a bound of 150."""
    smallest = BOUND.centineurons if unknown else 0
    return Booked(PRICE * posted, posted, BOUND * unknown, unknown, smallest, BOUND * settled)


def one(ours: dict[Name, Booked], theirs: dict[Name, Money]) -> Stretch:
    [found] = compare(ours, theirs)
    return found


class TestVerdict:
    def test_the_same_agrees(self) -> None:
        found = one({at(0): booked(3)}, {at(0): PRICE * 3})
        assert (found.verdict, found.suggestion) == (Verdict.AGREES, None)

    def test_a_charge_that_slipped_into_the_next_quarter_agrees(self) -> None:
        found = one({at(0): booked(3), at(1): booked(1)}, {at(0): PRICE, at(1): PRICE * 2, at(2): PRICE})
        assert [quarter.start_us for quarter in found.quarters] == [at(0)[1], at(1)[1], at(2)[1]]
        assert found.verdict is Verdict.AGREES

    def test_a_gap_ends_a_stretch_so_that_one_hour_does_not_pay_for_another(self) -> None:
        first, second = compare({at(0): booked(3), at(2): booked(3)}, {at(0): PRICE * 2, at(2): PRICE * 4})
        assert (first.verdict, second.verdict) == (Verdict.LESS, Verdict.MORE)

    def test_what_the_platform_alone_has_is_more(self) -> None:
        assert one({}, {at(0): PRICE}).verdict is Verdict.MORE

    def test_what_the_ledger_alone_has_is_less(self) -> None:
        assert one({at(0): booked(1)}, {}).verdict is Verdict.LESS

    def test_a_hundredth_of_a_neuron_a_picture_is_rounding(self) -> None:
        for noise in (-3, 3):
            assert one({at(0): booked(3)}, {at(0): PRICE * 3 + charge(noise)}).verdict is Verdict.AGREES
        assert one({at(0): booked(3)}, {at(0): PRICE * 3 + charge(4)}).verdict is Verdict.MORE
        assert one({at(0): booked(3)}, {at(0): PRICE * 3 - charge(4)}).verdict is Verdict.LESS

    def test_models_are_kept_apart(self) -> None:
        other = ("@cf/another", NOON)
        found = compare({at(0): booked(1), other: booked(1)}, {at(0): PRICE, other: ZERO})
        assert {stretch.model: stretch.verdict for stretch in found} == {
            MODEL: Verdict.AGREES,
            "@cf/another": Verdict.LESS,
        }


class TestSuggestion:
    def test_nothing_beyond_what_is_posted_means_that_none_was_billed(self) -> None:
        assert one({at(0): booked(3, 2)}, {at(0): PRICE * 3}).suggestion is State.VOID

    def test_all_bounds_billed_means_that_all_were(self) -> None:
        assert one({at(0): booked(3, 2)}, {at(0): PRICE * 3 + BOUND * 2}).suggestion is State.POSTED

    def test_one_that_cost_something_was_billed_whatever_it_cost(self) -> None:
        assert one({at(0): booked(3, 1)}, {at(0): PRICE * 4}).suggestion is State.POSTED

    def test_one_of_two_may_be_either(self) -> None:
        assert one({at(0): booked(3, 2)}, {at(0): PRICE * 4}).suggestion is None

    def test_figures_that_disagree_decide_nothing(self) -> None:
        assert one({at(0): booked(3, 1)}, {at(0): PRICE * 2}).suggestion is None
        assert one({at(0): booked(3, 1)}, {at(0): PRICE * 9}).suggestion is None

    def test_so_many_pictures_that_one_could_hide_in_the_rounding_decide_nothing(self) -> None:
        many = 10_000
        assert one({at(0): booked(many, 1)}, {at(0): PRICE * many}).suggestion is None

    def test_one_that_was_settled_before_may_have_cost_less_than_its_bound(self) -> None:
        assert one({at(0): booked(3, 1, settled=1)}, {at(0): PRICE * 4}).suggestion is None
        assert one({at(0): booked(3, 0, settled=1)}, {at(0): PRICE * 4}).verdict is Verdict.AGREES


_SENT = st.tuples(
    st.integers(0, 3 * QUARTER_US),  # when it was sent
    st.integers(-30_000_000, 300_000_000),  # how much later (or by another clock earlier) it was billed
    st.sampled_from(["posted", "billed", "not billed", "void"]),
    st.integers(4_000, 400_000),  # its bound in centineurons
    st.sampled_from([4, 3, 2, 1]),  # the bound is so many times the price
)


@settings(max_examples=soak(200, 20_000), deadline=None)
@given(st.lists(_SENT, max_size=12))
def test_what_the_figures_suggest_is_what_happened_wherever_a_charge_slipped_to(
    sent: list[tuple[int, int, str, int, int]],
) -> None:
    ours: dict[Name, list[Booked]] = defaultdict(list)
    theirs: dict[Name, Money] = defaultdict(lambda: ZERO)
    fates: dict[int, set[str]] = defaultdict(set)
    for when, later, fate, bound, share in sent:
        quarter, price = when // QUARTER_US, charge(bound // share)
        ours[at(quarter)].append(_entry(fate, price, charge(bound)))
        fates[NOON + quarter * QUARTER_US].add(fate)
        if fate in ("posted", "billed"):
            theirs[at((when + later) // QUARTER_US)] += price
    for stretch in compare({name: added(entries) for name, entries in ours.items()}, theirs):
        assert stretch.verdict is Verdict.AGREES
        happened = set().union(*(fates[quarter.start_us] for quarter in stretch.quarters)) & {"billed", "not billed"}
        event(f"{stretch.suggestion} of {len(happened)} fates")
        if stretch.suggestion is not None:
            assert happened == {"billed" if stretch.suggestion is State.POSTED else "not billed"}


def _entry(fate: str, price: Money, bound: Money) -> Booked:
    if fate == "posted":
        return Booked(posted=price, posted_count=1)
    return Booked(void_count=1) if fate == "void" else Booked(ZERO, 0, bound, 1, bound.centineurons)


def test_the_span_begins_and_ends_where_the_account_sent_nothing() -> None:
    ours = [at(number) for number in (0, 3, 4, 5, 6, 9)]
    since, until = span_of(ours, at(4)[1] + 17, at(5)[1] + 17)
    assert (since, until) == (at(2)[1], at(8)[1])
