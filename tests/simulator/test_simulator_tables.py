"""The client's table of models and the simulator's were written apart: here they are held against each other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxbatch.models.catalogue import MODELS, Answer, Body, Model
from fluxbatch.models.price import quote
from fluxbatch.simulator import price
from fluxbatch.simulator.offers import OFFERS, Offer, find_offer
from fluxbatch.simulator.price import centineurons

SOURCE = Path(price.__file__).parent


def offer_of(model: Model) -> Offer:
    offer = find_offer(model.id)
    assert offer is not None
    return offer


def test_both_have_the_same_models() -> None:
    assert {model.id for model in MODELS} == {offer.id for offer in OFFERS}
    assert len(OFFERS) == 9


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_what_the_client_sends_is_what_the_platform_takes(model: Model) -> None:
    offer = offer_of(model)
    assert {wire for _, wire in model.sends} <= set(offer.parameters)
    assert (model.body == Body.MULTIPART) == (offer.body == "form")
    assert (model.answer == Answer.BASE64) == (offer.answer == "json")
    assert (model.tells_neurons, model.references_max) == (offer.says_charge, offer.references_max)
    assert model.side_multiple == offer.side_multiple


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_what_the_client_never_sends_is_fixed_or_ignored(model: Model) -> None:
    offer = offer_of(model)
    unsent = set(offer.parameters) - {wire for _, wire in model.sends}
    assert unsent == ({"steps"} if "klein" in model.name else set())
    assert all(offer.fixed[name] == getattr(model, f"{name}_default") for name in offer.fixed)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_client_asks_for_nothing_that_the_platform_refuses(model: Model) -> None:
    offer = offer_of(model)
    limits = {"width": (model.side_min, model.side_max), "steps": (model.steps_min, model.steps_max)}
    limits["height"] = limits["width"]
    for name, (least, most) in limits.items():
        wanted = offer.parameters.get(offer.names.get(name, name))
        if wanted is not None and name not in offer.fixed:
            assert wanted.least is not None
            assert wanted.most is not None
            assert wanted.least <= least <= most <= wanted.most
    guidance = offer.parameters.get("guidance")
    if guidance is not None and guidance.least is not None:
        assert (guidance.least, guidance.most) == (model.guidance_min, model.guidance_max)


@settings(max_examples=400)
@given(
    model=st.sampled_from(MODELS),
    width=st.integers(256, 2048),
    height=st.integers(256, 2048),
    steps=st.integers(1, 50),
    references=st.integers(0, 4),
)
def test_both_price_lists_say_the_same(model: Model, width: int, height: int, steps: int, references: int) -> None:
    offer = offer_of(model)
    size = (offer.fixed.get("width", width), offer.fixed.get("height", height))
    asked = (*size, offer.fixed.get("steps", steps), min(references, offer.references_max))
    assert centineurons(offer.price(*asked)) == quote(model, *asked).expected.centineurons


def test_the_simulators_own_table_knows_nothing_of_the_clients() -> None:
    """Only `own.py` reads the client's: there is nothing else to know of a user's own models."""
    reads = {
        path.name
        for path in SOURCE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fluxbatch.models")
    }
    assert reads == {"own.py"}
