"""Some worlds again, with budgets that are spent in another order than the manifest's, in rounds."""

from __future__ import annotations

import pytest

from fluxbatch.settings import Settings
from tests.simulation.lives import play

SEEDS = range(400, 406)


@pytest.mark.parametrize("on_budget", ["cheapest-first", "spread"])
def test_every_promise_is_kept_in_whatever_order_the_budget_is_spent(on_budget: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLUXBATCH_ON_BUDGET", on_budget)
    assert Settings(_env_file=None).on_budget == on_budget  # type: ignore[call-arg]
    for seed in SEEDS:
        played = play(seed)
        assert not played.broken, (
            f"FLUXBATCH_ON_BUDGET={on_budget} python -m tests.simulation {seed}: {played.broken[0]}"
        )


@pytest.mark.parametrize("on_budget", ["cheapest-first", "spread"])
def test_a_model_that_is_given_up_alone_keeps_no_round_from_ending(on_budget: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLUXBATCH_ON_BUDGET", on_budget)
    for seed in (1024, 1088):
        played = play(seed)
        assert not played.broken, f"FLUXBATCH_ON_BUDGET={on_budget} python -m tests.simulation {seed}"
        assert played.reached["a model is given up alone"]
