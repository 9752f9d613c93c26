"""When the charges leave the price list: the rule, to the picture and to the hundredth of a percent."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest

from fluxbatch.budget.store import Store
from fluxbatch.dispatch.drift import Drift, Record, Watch, has_drifted, noted
from fluxbatch.dispatch.stop import StoppedBy
from fluxbatch.models.catalogue import FLUX_2_DEV, FLUX_2_KLEIN_4B, SDXL_LIGHTNING
from fluxbatch.models.money import ZERO, charge, exact
from fluxbatch.summary import Summary, summarise
from tests.dispatch.dispatch_kit import Reply, Sent, World, error, picture, request
from tests.dispatch.virtual import in_virtual_time

TEN_THOUSAND = 10_000
"""Centineurons: a hundredth of a percent is one."""


def drifts_at(charges: Iterable[tuple[int, int]]) -> int | None:
    """The picture at which the rule speaks first, from 1."""
    record = Record()
    for number, (expected, actual) in enumerate(charges, 1):
        record = noted(record, expected, actual)
        if has_drifted(record):
            return number
    return None


@pytest.mark.parametrize(
    ("actual", "said_at"),
    [(10_000, None), (10_100, None), (10_101, 20), (11_000, 20), (9_900, None), (9_899, 20), (0, 20)],
)
def test_more_than_one_percent_is_said_at_the_twentieth_picture(actual: int, said_at: int | None):
    assert drifts_at([(TEN_THOUSAND, actual)] * 19) is None
    assert drifts_at([(TEN_THOUSAND, actual)] * 500) == said_at


def test_sizes_are_mixed_by_their_sums():
    # One large picture at +1.1 % among 19 small ones at the price: 1.1 % of 90,000 is 990, 1 % of 109,000 is 1,090.
    small = [(1_000, 1_000)] * 19
    assert drifts_at([*small, (90_000, 90_990)]) is None
    assert drifts_at([*small, (90_000, 91_091)]) == 20
    assert drifts_at([*small, (90_000, 91_090)]) is None


def test_what_is_above_and_what_is_below_cancel():
    assert drifts_at([(TEN_THOUSAND, 10_500), (TEN_THOUSAND, 9_500)] * 50) is None


def test_a_price_that_changes_in_the_night_is_seen_within_twenty_pictures():
    found = drifts_at([(TEN_THOUSAND, TEN_THOUSAND)] * 5_000 + [(TEN_THOUSAND, 10_200)] * 100)
    assert found == 5_011, "eleven of twenty at +2 % are +1.1 %"


def test_a_free_model_that_is_charged_has_drifted():
    assert drifts_at([(0, 0)] * 100) is None
    assert drifts_at([(0, 0)] * 30 + [(0, 1)]) == 31


def test_each_model_is_watched_by_itself_and_said_once():
    watch = Watch()
    said: list[Drift] = []
    for _ in range(60):
        for model, actual in ((FLUX_2_DEV, 10_000), (FLUX_2_KLEIN_4B, 10_101)):
            if drift := watch.note(model, charge(10_000), charge(actual)):
                said.append(drift)
    [drift] = said
    assert (drift.model, drift.pictures) == ("flux-2-klein-4b", 20)
    assert (drift.expected, drift.actual, drift.percent) == (charge(200_000), charge(202_020), Decimal("1.01"))
    assert "flux-2-klein-4b" in str(drift)
    assert "2020.20 neurons, expected were 2000.00 (+1.01 %)" in str(drift)
    assert "models.toml" in str(drift)
    assert watch.said == {FLUX_2_KLEIN_4B.id: drift}


def test_nothing_expected_has_no_percentage():
    watch = Watch()
    for _ in range(20):
        drift = watch.note(SDXL_LIGHTNING, ZERO, charge(5))
    assert drift is not None
    assert drift.percent is None
    assert "%" not in str(drift)


# In the engine


def run(store: Store, factor: str, count: int, headless: Iterable[int] = ()) -> World:
    """Pictures of 768x768, whose bound is 1.78 times what is expected, charged at so much of that."""
    one = request(1, 768, 768)
    charged = exact((one.quote.expected.neurons * Decimal(factor)).quantize(Decimal("0.01")))
    unsaid = set(headless)

    def script(sent: Sent) -> tuple[float, Reply]:
        return 0.3, picture(None if sent.number in unsaid else charged)

    async def work() -> World:
        world = World(store, script, pictures=count)
        await world.send([request(number, 768, 768) for number in range(1, count + 1)])
        return world

    return in_virtual_time(work)


def test_a_run_says_it_at_once_and_goes_on(store: Store, caplog: pytest.LogCaptureFixture):
    world = run(store, "1.02", 50)
    assert [record.levelname for record in caplog.records if "has changed" in record.message] == ["WARNING"]
    assert not world.stop.is_set
    assert world.tally.made == 50
    assert [drift.percent for drift in world.tally.watch.said.values()] == [Decimal("2.00")]


@pytest.mark.parametrize("factor", ["1", "1.0099", "0.9901"])
def test_a_run_within_a_percent_says_nothing(store: Store, caplog: pytest.LogCaptureFixture, factor: str):
    assert run(store, factor, 40).tally.watch.said == {}
    assert caplog.records == []


def test_answers_without_a_charge_do_not_count(store: Store):
    assert run(store, "1.02", 38, headless=range(1, 20)).tally.watch.said == {}


def test_answers_without_a_charge_do_not_hide_the_others(store: Store):
    [drift] = run(store, "1.02", 39, headless=range(1, 20)).tally.watch.said.values()
    assert (drift.pictures, drift.percent) == (20, Decimal("2.00"))


def test_a_charge_above_the_bound_stops_the_run_even_without_a_picture(store: Store):
    unreadable = Reply(200, {"cf-ai-neurons": "937.51"}, b"<html>", 0.0)

    async def work(answer: Reply) -> World:
        world = World(store, lambda sent: (0.3, answer), pictures=1)
        await world.send([request(1)])
        return world

    world = in_virtual_time(lambda: work(unreadable))
    assert world.stop.by is StoppedBy.PLATFORM
    assert "a picture of flux-2-dev was charged $0.010312610, more than its bound" in (world.stop.reason or "")
    assert world.balance.unknown == request(1).quote.bound


def test_a_charge_of_a_failure_within_the_bound_is_no_news(store: Store):
    answer = Reply(500, {"cf-ai-neurons": "937.50"}, error(500, 3043).body, 0.0)

    async def work() -> World:
        world = World(store, lambda sent: (0.3, answer), pictures=1)
        await world.send([request(1)])
        return world

    assert in_virtual_time(work).stop.by is None


def test_the_summary_tells_it(store: Store, tmp_path: object):
    world = run(store, "0.95", 20)
    summary: Summary = summarise(
        world.tally, world.stop, expected=ZERO, left_expected=ZERO, spare=ZERO, rejected=0, seconds=1.0,
        dataset=tmp_path, spent_before=ZERO,  # type: ignore[arg-type]
    )  # fmt: skip
    assert summary.to_dict()["drifts"] == [
        {
            "model": "flux-2-dev",
            "pictures": 20,
            "expected_neurons": "42187.6",
            "charged_neurons": "40078.2",
            "percent": "-5.00",
        }
    ]
