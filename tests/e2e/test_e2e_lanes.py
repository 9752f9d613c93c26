"""Rows of one manifest for several models, through the command: one that is down ends alone, and is made later."""

from __future__ import annotations

import json
from contextlib import closing

from fluxbatch.budget import store as side
from fluxbatch.budget.store import Store
from tests.e2e.e2e_kit import Desk

MODELS = ("flux-2-dev", "flux-2-klein-4b", "flux-2-klein-9b")
DOWN = "flux-2-klein-4b"
SMALL = {"width": 256, "height": 256}


def rows(count: int) -> list[dict[str, object]]:
    return [{"prompt": f"cat {number}", "model": MODELS[number % 3], **SMALL} for number in range(count)]


def test_a_model_that_is_down_is_told_by_itself_and_the_next_run_makes_its_pictures(desk: Desk) -> None:
    desk.simulator.change(models={DOWN: {"capacity": 0}})
    manifest = desk.manifest(rows(30))
    said = desk.run(manifest, "--patience", "0.02", "--rows-per-shard", "4", "--json").ended(5)
    told = json.loads(said.out)
    by_name = {one["name"]: one for one in told["models"]}
    assert [by_name[name]["made"] for name in MODELS] == [10, 0, 10]
    assert (told["made"], told["left"], by_name[DOWN]["not_reached"]) == (20, 10, 10)
    assert told["stopped_by"] == "platform"
    assert told["reason"].startswith(f"{DOWN}: the platform has no room")
    assert f"sending to {DOWN} pauses" in said.err
    assert f"nothing more is sent to {DOWN}" in said.err

    desk.simulator.change(models={})
    again = json.loads(desk.run(manifest, "--rows-per-shard", "4", "--json").ended(0).out)
    assert (again["made"], again["already"], again["left"]) == (10, 20, 0)
    assert [one["name"] for one in again["models"]] == [DOWN]
    desk.command("verify", str(desk.out)).ended(0)


def test_a_model_that_the_account_may_not_use_ends_alone(desk: Desk) -> None:
    desk.simulator.change(models={DOWN: {"faults": {"5018": 1.0}}})
    told = json.loads(desk.run(desk.manifest(rows(30)), "--json").ended(5).out)
    assert (told["made"], told["left"], told["stopped_by"]) == (20, 10, "account")
    assert "may not use this model" in told["reason"]


def test_what_is_learned_of_each_model_is_remembered_by_itself(desk: Desk) -> None:
    desk.simulator.change(models={DOWN: {"latency_s": 0.9, "latency_spread": 0}, MODELS[0]: {"latency_s": 0.1}})
    desk.run(desk.manifest(rows(12))).ended(0)
    with closing(Store(f"sqlite:///{desk.ledger}")) as store, store.reading() as tx:
        learned = {name: side.recall(tx, "0" * 32, f"@cf/black-forest-labs/{name}") for name in MODELS}
    latency_s = {name: one.latency_s or 0.0 for name, one in learned.items() if one is not None}
    assert latency_s.keys() == set(MODELS)
    assert latency_s[DOWN] > 0.85 > latency_s[MODELS[0]]
