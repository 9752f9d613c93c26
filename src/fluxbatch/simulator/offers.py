"""What the simulated platform offers: one row a model, written from CLOUDFLARE.md and from nothing of the client.

The client has a table of its own (`models/catalogue.py`). Two tables on purpose: where one of them has a wrong name, a
wrong body or a wrong price, the contract tests find it, because the other does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fluxbatch.simulator import price
from fluxbatch.simulator.price import Price

Kind = Literal["text", "integer", "number", "picture"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing that a body may say. A missing one has its default; None is no default, or "by chance".

    `least` and `most` bound a number, or the length of a text.
    """

    kind: Kind
    default: int | float | None = None
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """One model. `answer` is "json" (base64 in JSON) or the content type under which the bare bytes come."""

    id: str
    body: Literal["form", "json"]
    parameters: Mapping[str, Parameter]
    price: Price
    latency_s: float
    """Seen at print sizes, on a platform that had room; invented where nobody has published one."""
    answer: str = "json"
    says_charge: bool = True
    strict: bool = False
    """An unknown key is refused; elsewhere it is ignored in silence."""
    references_max: int = 0
    side_multiple: int = 1
    """Sides are cut down to a multiple of this, and billed uncut."""
    side_said: int = 0
    """The largest side that a refusal names, where that is not the one that is enforced."""
    pixels_served_max: int | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    """What a parameter is called here, where it is not as we say: width, height, steps, guidance, seed."""
    fixed: Mapping[str, int] = field(default_factory=dict)
    """What is so whatever is sent: width, height, steps."""

    @property
    def name(self) -> str:
        return self.id.rpartition("/")[2]


PROMPT = Parameter("text")
SEED = Parameter("integer")
PICTURE = Parameter("picture")
NUM_STEPS = {"steps": "num_steps"}


def _flux_2(side_most: int, steps: Parameter) -> dict[str, Parameter]:
    return {
        "prompt": PROMPT,
        "steps": steps,
        "guidance": Parameter("number"),
        "width": Parameter("integer", 1024, 256, side_most),
        "height": Parameter("integer", 768, 256, side_most),
        "seed": SEED,
        **{f"input_image_{index}": PICTURE for index in range(4)},
    }


def _stable_diffusion(name: str) -> Offer:
    """Defaults of the sides are not published."""
    return Offer(
        name,
        "json",
        {
            "prompt": Parameter("text", least=1),
            "negative_prompt": PROMPT,
            "width": Parameter("integer", 1024, 256, 2048),
            "height": Parameter("integer", 1024, 256, 2048),
            "num_steps": Parameter("integer", 20, 1, 20),
            "guidance": Parameter("number", 7.5),
            "seed": SEED,
            "image_b64": PICTURE,
            "strength": Parameter("number", 1.0, 0, 1),
        },
        price.nothing,
        latency_s=4.0,
        answer="image/png",  # and the bytes are a JPEG (seen)
        references_max=1,
        names=NUM_STEPS,
    )


def _flux_2_klein(name: str, cost: Price, latency_s: float) -> Offer:
    # Steps are "fixed at 4 on klein: sent values are ignored", whatever they are.
    return Offer(
        name, "form", _flux_2(2048, Parameter("integer")), cost, latency_s,
        references_max=4, side_multiple=16, fixed={"steps": 4},
    )  # fmt: skip


OFFERS = (
    Offer(
        "@cf/black-forest-labs/flux-2-dev",
        "form",
        # Default steps are not published: a call without cost 7,500 neurons at 1024x1024 (seen), which is 50 steps.
        # Above the documented side of 1920, 1408x2112 was served and 1536x2304 failed with 500 (seen).
        _flux_2(2304, Parameter("integer", 50, 1, 50)),
        price.tile_steps("37.50", "18.75"),
        latency_s=190.0,
        references_max=4,
        side_multiple=16,
        side_said=1920,
        pixels_served_max=1408 * 2112,
    ),
    _flux_2_klein("@cf/black-forest-labs/flux-2-klein-4b", price.tiles("26.05", "5.37"), latency_s=17.0),
    _flux_2_klein(
        "@cf/black-forest-labs/flux-2-klein-9b", price.megapixels("1363.64", "181.82", "181.82"), latency_s=3.7
    ),
    Offer(
        "@cf/black-forest-labs/flux-1-schnell",
        "json",
        {"prompt": Parameter("text", least=1, most=2048), "steps": Parameter("integer", 4, 1, 8)},
        price.tiles_by_steps("4.80", "9.60"),
        latency_s=2.0,
        strict=True,
        fixed={"width": 1024, "height": 1024},
    ),
    Offer(
        "@cf/leonardo/lucid-origin",
        "json",
        {
            "prompt": Parameter("text", least=1),
            "guidance": Parameter("number", 4.5, 0, 10),
            "seed": SEED,
            "width": Parameter("integer", 1120, 1, 2500),
            "height": Parameter("integer", 1120, 1, 2500),
            "num_steps": Parameter("integer", 15, 1, 40),
        },
        price.tiles_by_steps("636", "12"),
        latency_s=5.0,
        names=NUM_STEPS,
    ),
    Offer(
        "@cf/leonardo/phoenix-1.0",
        "json",
        {
            "prompt": Parameter("text", least=1),
            "negative_prompt": PROMPT,
            "guidance": Parameter("number", 2, 2, 10),
            "seed": SEED,
            "width": Parameter("integer", 1024, 1, 2048),
            "height": Parameter("integer", 1024, 1, 2048),
            "num_steps": Parameter("integer", 25, 1, 50),
        },
        price.tiles_by_steps("530", "10"),
        latency_s=6.0,
        answer="image/jpeg",
        says_charge=False,
        names=NUM_STEPS,
    ),
    _stable_diffusion("@cf/bytedance/stable-diffusion-xl-lightning"),
    _stable_diffusion("@cf/stabilityai/stable-diffusion-xl-base-1.0"),
    _stable_diffusion("@cf/lykon/dreamshaper-8-lcm"),
)
_BY_NAME = {name: offer for offer in OFFERS for name in (offer.id, offer.name)}


def find_offer(name: str) -> Offer | None:
    """The offer with this id, or the end of it (flux-2-dev)."""
    return _BY_NAME.get(name)
