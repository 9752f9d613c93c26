"""The models as one table: what each is asked with, what it answers, its limits and its price. A new model is a row.

Everything here is Cloudflare's, read on the date in `PRICES_READ` from each model's page
(developers.cloudflare.com/workers-ai/models/…) and the price list (…/workers-ai/platform/pricing), or seen on live
accounts; where nothing is published, the comment says what stands in for it. It changes: a row here, or a user's own
`models.toml` (`models/custom.py`), is the only place to follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from fluxbatch.models.tariff import (
    FreePrice,
    MegapixelPrice,
    Price,
    TileAndStepPrice,
    TilePrice,
    TileStepPrice,
    price_table,
)

PRICES_READ = date(2026, 11, 22)

REFERENCES = ("input_image_0", "input_image_1", "input_image_2", "input_image_3")
"""Our names of the reference images, which are flux-2's."""
SIDE_MAX = 2500
"""No model may be asked for more, nor one of a user's own: what is held in memory for an answer follows from it."""
PROMPT_CHARACTERS_MAX = 100_000
"""Ours, where nothing is published."""


class Body(StrEnum):
    """How a request is written."""

    MULTIPART = "multipart"
    JSON = "json"


class Answer(StrEnum):
    """How a picture comes back: in base64 inside of JSON, or as the plain bytes of the body."""

    BASE64 = "base64"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One text-to-image model: what it may be asked, what comes back, and what it costs. Sides in pixels.

    `sends` is all that is sent, in order: our name of each parameter, and its name on the wire. What is not in it is
    never sent: the model has one fixed value for it (then least and most are that value), or knows no such thing.
    """

    name: str
    id: str
    body: Body
    answer: Answer
    tells_neurons: bool = True
    """Whether the charge comes with the answer (the header `cf-ai-neurons`). Without it, the bound is booked."""
    sends: tuple[tuple[str, str], ...]
    price: Price
    prices_read: date = PRICES_READ
    prompt_characters_max: int = PROMPT_CHARACTERS_MAX
    side_min: int = 256
    side_max: int
    side_multiple: int = 1
    """Sides are cut down to a multiple of this by the platform, and billed uncut."""
    width_default: int = 1024
    height_default: int = 1024
    """Size and steps are always said where the model takes them, so these are what a silent row gets."""
    steps_min: int = 1
    steps_max: int
    steps_default: int
    guidance_min: float | None = None
    guidance_max: float | None = None
    """None: nothing is published, and any number is sent."""
    guidance_default: float | None = None
    """What the platform takes when nothing is sent, as far as it is published. Not sent by itself."""
    references_max: int = 0
    reference_side_max: int = 0
    requests_per_minute: int = 720
    """Per account, over all text-to-image models; the published limit of the platform."""

    def __hash__(self) -> int:
        return hash(self.id)  # prices are looked up by model for every row: the id tells nearly all apart

    def takes(self, parameter: str) -> bool:
        """Whether the parameter (by our name) is sent to this model."""
        return any(name == parameter for name, _ in self.sends)

    def wire_name(self, parameter: str) -> str | None:
        """What the parameter is called on the wire; None when it is not sent."""
        return next((wire for name, wire in self.sends if name == parameter), None)


def sends(*same: str, **renamed: str) -> tuple[tuple[str, str], ...]:
    """What is sent: the names that are the same here and there, then those that differ (ours=theirs)."""
    return (*((name, name) for name in same), *renamed.items())


FLUX_2 = sends("prompt", "width", "height", "steps", "guidance", "seed", *REFERENCES)
KLEIN = sends("prompt", "width", "height", "guidance", "seed", *REFERENCES)  # steps are 4, and sent values are ignored
STABLE_DIFFUSION = sends(
    *("prompt", "negative_prompt", "width", "height", "guidance", "seed", "strength"),
    steps="num_steps",
    input_image_0="image_b64",
)

FLUX_2_DEV = Model(
    name="flux-2-dev",
    id="@cf/black-forest-labs/flux-2-dev",
    body=Body.MULTIPART,
    answer=Answer.BASE64,
    sends=FLUX_2,
    # 37.50 and 18.75 neurons, $0.00041 and $0.00021, per tile and step.
    price=TileStepPrice(3750, 1875, 410_000, 210_000),
    side_max=1920,
    side_multiple=16,
    steps_max=50,  # not published; what is accepted in practice
    steps_default=25,  # not published; what Cloudflare's examples use
    references_max=4,
    reference_side_max=511,  # "smaller than 512x512"
)

FLUX_2_KLEIN_4B = Model(
    name="flux-2-klein-4b",
    id="@cf/black-forest-labs/flux-2-klein-4b",
    body=Body.MULTIPART,
    answer=Answer.BASE64,
    sends=KLEIN,
    # 26.05 and 5.37 neurons, $0.000287 and $0.000059, per tile; steps do not count.
    price=TilePrice(2605, 537, 287_000, 59_000),
    side_max=2048,  # 1920 is documented, this is enforced (seen)
    side_multiple=16,
    steps_min=4,
    steps_max=4,
    steps_default=4,
    references_max=4,
    reference_side_max=511,
)

FLUX_2_KLEIN_9B = Model(
    name="flux-2-klein-9b",
    id="@cf/black-forest-labs/flux-2-klein-9b",
    body=Body.MULTIPART,
    answer=Answer.BASE64,
    sends=KLEIN,
    # 1363.64 neurons for the first megapixel, 181.82 for each further and each of input; $0.015 and $0.002.
    price=MegapixelPrice(136_364, 18_182, 18_182, 15_000_000, 2_000_000, 2_000_000),
    side_max=2048,
    side_multiple=16,
    steps_min=4,
    steps_max=4,
    steps_default=4,
    references_max=4,
    reference_side_max=511,
)

FLUX_1_SCHNELL = Model(
    name="flux-1-schnell",
    id="@cf/black-forest-labs/flux-1-schnell",
    body=Body.JSON,
    answer=Answer.BASE64,
    sends=sends("prompt", "steps"),  # an extra key is 400 / 5006
    # 4.80 neurons per tile and 9.60 per tile and step, $0.0000528 and $0.0001056.
    price=TileAndStepPrice(480, 960, 52_800, 105_600),
    prompt_characters_max=2048,
    side_min=1024,
    side_max=1024,
    steps_max=8,
    steps_default=4,
)

LUCID_ORIGIN = Model(
    name="lucid-origin",
    id="@cf/leonardo/lucid-origin",
    body=Body.JSON,
    answer=Answer.BASE64,
    sends=sends("prompt", "width", "height", "guidance", "seed", steps="num_steps"),
    # 636 neurons per tile and 12 per tile and step, $0.006996 and $0.000132.
    price=TileAndStepPrice(63_600, 1_200, 6_996_000, 132_000),
    side_max=SIDE_MAX,
    width_default=1120,
    height_default=1120,
    steps_max=40,
    steps_default=15,  # inferred from what was billed
    guidance_min=0,
    guidance_max=10,
    guidance_default=4.5,
)

PHOENIX_1_0 = Model(
    name="phoenix-1.0",
    id="@cf/leonardo/phoenix-1.0",
    body=Body.JSON,
    answer=Answer.BYTES,
    tells_neurons=False,
    sends=sends("prompt", "negative_prompt", "width", "height", "guidance", "seed", steps="num_steps"),
    # 530 neurons per tile and 10 per tile and step, $0.005830 and $0.000110.
    price=TileAndStepPrice(53_000, 1_000, 5_830_000, 110_000),
    side_max=2048,
    steps_max=50,
    steps_default=25,
    guidance_min=2,
    guidance_max=10,
    guidance_default=2,
)


def _stable_diffusion(name: str, model_id: str, side_default: int) -> Model:
    """One of the free models that share a documentation: they differ in what they were trained on."""
    return Model(
        name=name,
        id=model_id,
        body=Body.JSON,
        answer=Answer.BYTES,
        sends=STABLE_DIFFUSION,
        price=FreePrice(),
        side_max=2048,
        width_default=side_default,
        height_default=side_default,
        steps_max=20,
        steps_default=20,
        guidance_default=7.5,
        references_max=1,
        reference_side_max=2048,  # not published: no larger than what may be asked for
    )


SDXL_LIGHTNING = _stable_diffusion(
    "stable-diffusion-xl-lightning", "@cf/bytedance/stable-diffusion-xl-lightning", side_default=1024
)
SDXL_BASE_1_0 = _stable_diffusion(
    "stable-diffusion-xl-base-1.0", "@cf/stabilityai/stable-diffusion-xl-base-1.0", side_default=1024
)
DREAMSHAPER_8_LCM = _stable_diffusion(
    "dreamshaper-8-lcm",
    "@cf/lykon/dreamshaper-8-lcm",
    side_default=512,  # not published; what Stable Diffusion 1.5, its base, was trained on
)

MODELS = (
    FLUX_2_DEV,
    FLUX_2_KLEIN_4B,
    FLUX_2_KLEIN_9B,
    FLUX_1_SCHNELL,
    LUCID_ORIGIN,
    PHOENIX_1_0,
    SDXL_LIGHTNING,
    SDXL_BASE_1_0,
    DREAMSHAPER_8_LCM,
)
DEFAULT_MODEL = FLUX_2_DEV


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The models that can be asked: Cloudflare's as above, and a user's own. A value; it is passed, never changed."""

    models: tuple[Model, ...] = MODELS

    def find(self, name: str) -> Model | None:
        """The model with this short name or full id, or None."""
        wanted = name.strip()
        return next((model for model in self.models if wanted in (model.name, model.id)), None)

    def price_list(self) -> dict[str, dict[str, str]]:
        """What each model costs, by its id, and the day its price was read: as a dataset keeps it."""
        return {m.id: {**price_table(m.price), "read": m.prices_read.isoformat()} for m in self.models}

    def alike(self, name: str) -> tuple[Model, ...]:
        """The models with this in their short name."""
        wanted = name.strip().lower()
        return tuple(model for model in self.models if wanted in model.name)

    def hint(self, name: str) -> str:
        """What to do about a name that is no model's, for a message."""
        names = ", ".join(f"{model.name} ({model.id})" for model in self.models)
        if near := " or ".join(model.name for model in self.alike(name)):
            return f"did you mean {near}? There is: {names}"
        return f"take one of: {names}"


CATALOGUE = Catalogue()


def find_model(name: str) -> Model | None:
    """The model of Cloudflare's own with this short name or full id, or None."""
    return CATALOGUE.find(name)
