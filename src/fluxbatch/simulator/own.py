"""A user's own `models.toml`, so that a run with it can be rehearsed: other prices, and models that are not ours.

Of a model of their own nothing is known but what the user has written, so it is served by that: this is no contract.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from fluxbatch.models.catalogue import CATALOGUE, REFERENCES, Answer, Body, Model
from fluxbatch.models.custom import read_catalogue
from fluxbatch.models.price import quote
from fluxbatch.simulator.offers import OFFERS, PICTURE, Offer, Parameter, find_offer
from fluxbatch.simulator.price import Price

LATENCY_S = 5.0


@lru_cache(maxsize=4)
def offers_with(models_file: str | None) -> tuple[Offer, ...]:
    """What is offered, with the user's file (None: as it is). UsageError or ManifestError when it makes no sense."""
    if models_file is None:
        return OFFERS
    own = {model.id: model for model in read_catalogue(Path(models_file)).models if model not in CATALOGUE.models}
    served = [replace(one, price=_price_of(own.pop(one.id))) if one.id in own else one for one in OFFERS]
    return (*served, *map(_offer_of, own.values()))


def _price_of(model: Model) -> Price:
    def price(width: int, height: int, steps: int, references: int) -> Fraction:
        return Fraction(quote(model, width, height, steps, references).expected.centineurons, 100)

    return price


def _offer_of(model: Model) -> Offer:
    sized = {"width": model.width_default, "height": model.height_default, "steps": model.steps_default}
    return Offer(
        model.id,
        "form" if model.body == Body.MULTIPART else "json",
        {wire: _parameter(model, name) for name, wire in model.sends},
        _price_of(model),
        LATENCY_S,
        answer="json" if model.answer == Answer.BASE64 else "image/jpeg",
        says_charge=model.tells_neurons,
        references_max=model.references_max,
        side_multiple=model.side_multiple,
        names={name: wire for name, wire in model.sends if name not in REFERENCES},
        fixed={name: value for name, value in sized.items() if not model.takes(name)},
    )


def _parameter(model: Model, name: str) -> Parameter:
    sides = (model.side_min, model.side_max)
    return {
        "prompt": Parameter("text", None, 1, model.prompt_characters_max),
        "negative_prompt": Parameter("text"),
        "width": Parameter("integer", model.width_default, *sides),
        "height": Parameter("integer", model.height_default, *sides),
        "steps": Parameter("integer", model.steps_default, model.steps_min, model.steps_max),
        "guidance": Parameter("number", None, model.guidance_min, model.guidance_max),
        "seed": Parameter("integer"),
        "strength": Parameter("number", None, 0, 1),
    }.get(name, PICTURE)


def find_in(offers: tuple[Offer, ...], name: str) -> Offer | None:
    """The offer with this id, or the end of it (flux-2-dev)."""
    if offers is OFFERS:
        return find_offer(name)
    return next((offer for offer in offers if name in (offer.id, offer.name)), None)
