"""What the world has found, told once more by itself, so that it does not hang on a seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy.engine import Connection

from fluxbatch.budget.store import Store
from fluxbatch.errors import LedgerError
from tests.simulation.lives import play_scenario
from tests.simulation.scenario import BOUND_NANO_USD, Life, Scenario
from tests.simulation.virtual_journal import WorldStore

PICTURES = 12
FAIR = Life(
    max_in_flight=4,
    rate=720.0,
    budget_nano_usd=2 * PICTURES * BOUND_NANO_USD,
    rows_per_shard=2,
    resend_failed=0,
    resend_lost=0,
    resend_refused=False,
    patience=5.0,
    spells=(),
    endings=(),
    down_s=0.0,
    rows=tuple(range(1, PICTURES + 1)),
)


def test_a_ledger_that_cannot_be_read_ends_the_sending_and_what_is_in_flight_is_finished(
    monkeypatch: pytest.MonkeyPatch,
):
    """It ended in a traceback, and the answers in flight were lost (mean seed 10010)."""
    failed: list[str] = []

    @contextmanager
    def reading(store: WorldStore) -> Iterator[Connection]:
        world = store.world
        if world.number == 2 and world.phase == "send" and world.provider.arrivals_s and not failed:
            failed.append("once")
            raise LedgerError("the world says that the ledger cannot be read")
        with Store.reading(store) as tx:
            yield tx

    monkeypatch.setattr(WorldStore, "reading", reading)
    some = replace(FAIR, rows=(1, 2))  # so that the second life finds a history, and reads on while it sends
    played = play_scenario(Scenario(1, PICTURES, 1, None, (some, FAIR, FAIR)))
    assert played.broken == []
    assert failed == ["once"]
    assert played.reached["stopped: platform"] == 1
    assert played.reached["stranded"] == 0
    assert played.reached["outcome: Delivered"] == PICTURES
