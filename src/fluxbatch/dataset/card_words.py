"""What a dataset card says to people, as Markdown. Pure. Names from outside are text in it, never markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fluxbatch.many import many
from fluxbatch.models.money import exact
from fluxbatch.plain import plain

if TYPE_CHECKING:
    from fluxbatch.dataset.card import Card, Made

BEGIN = "<!-- fluxbatch: written anew by each run, up to the next such line; your own words go above or below -->"
END = "<!-- fluxbatch: up to here -->"
SIZES_MAX = 12

# A backslash makes each of these itself (CommonMark 0.31, 2.4); a colon and a dot so that no address becomes a link.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|&~@$^=:.])")

_READ = """\
```python
from datasets import load_dataset

pictures = load_dataset({address}, split="train")
pictures[0]["image"]  # a PIL image; prompt, seed, cost and the manifest's own columns are beside it
```"""

_PROVENANCE = """\
All pictures are **made by AI**: none shows what a camera has seen. Each row says how (`prompt`, `model`, `seed`,
`steps`, …).
{marked}"""
_MARKED = {
    True: "Each picture says so in its own bytes as well",
    False: "The pictures' own bytes do not say so",
    None: "Pictures of runs with `--embed-provenance` say so in their own bytes as well",
}
_AS = """
(XMP: IPTC digital source type `trainedAlgorithmicMedia`, the model, the prompt's SHA-256, the key, the date)"""

_UNDECIDED = """\
Whoever made this dataset has not named a licence; `other` in the YAML stands for that, and waits to be replaced. What
may be done with the pictures follows from the terms of the model that made them, and from Cloudflare's, who ran it."""
_NON_COMMERCIAL = """
FLUX.2 [dev] stands under Black Forest Labs' FLUX Non-Commercial License: its section on outputs claims no rights in
them and allows their use, but not to train a model that competes; how that goes together with its other sections is
disputed, and whether Cloudflare's terms say otherwise has to be read there. This is no legal advice."""


def shown(text: str, limit: int = 200) -> str:
    """Text from outside on one line, in which Markdown finds nothing to do."""
    return _MARKUP.sub(r"\\\1", plain(text, limit))


def title(name: str) -> str:
    return shown(name) or "Pictures"


def section(card: Card) -> str:
    """All of the text that is ours, ending in a line's end."""
    return "\n".join(_lines(card)) + "\n"


def _lines(card: Card) -> Iterator[str]:
    maker = "of fluxbatch's simulator: no model made them, nothing was charged" if card.simulated else (
        "of Cloudflare Workers AI"
    )  # fmt: skip
    yield f"{many(card.pictures, 'picture')} {maker}. Made with fluxbatch; {shown_size(card.size_bytes)} of Parquet."
    yield from ("", _READ.format(address=_quoted(card.address)), "")
    if card.made:
        yield from ("## How they were made", "", *_made_table(card), "")
        yield from ("## What they cost", "", *_costs(card), "")
    if not card.simulated:
        marked = _MARKED[card.marked] + ("" if card.marked is False else _AS) + "."
        yield from ("## Provenance", "", _PROVENANCE.format(marked=marked), "")
        yield from ("## Licence", "", _licence(card), "")


def _quoted(address: str) -> str:
    """Within a block of code, where only the fence has a meaning, and as a string of Python."""
    return '"' + re.sub(r"[^\w./@:-]", "_", address) + '"'


def shown_size(size_bytes: int) -> str:
    """In powers of ten, as the Hub shows sizes."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} bytes"


def _made_table(card: Card) -> Iterator[str]:
    yield "| model | pictures | width x height | steps | guidance |"
    yield "|---|---:|---|---|---|"
    for made in card.made:
        ranges = (_range(made.steps), _range(made.guidance))
        yield f"| {shown(made.model)} | {made.pictures:,} | {_sizes(made)} | {' | '.join(ranges)} |"


def _sizes(made: Made) -> str:
    listed = [f"{width} x {height} ({count:,})" for width, height, count in made.sizes[:SIZES_MAX]]
    more = len(made.sizes) - len(listed)
    return ", ".join(listed) + (f" and {more:,} more sizes" if more else "")


def _range(ends: tuple[float, float] | None) -> str:
    if ends is None:
        return "not sent"
    return f"{ends[0]:g}" if ends[0] == ends[1] else f"{ends[0]:g} to {ends[1]:g}"


def _costs(card: Card) -> Iterator[str]:
    """What was spent, exactly, and the prices of the models that are in the dataset, by the run that first had them."""
    spent = f"${exact(card.spent.usd)} ({exact(card.spent.neurons)} neurons)"
    yield f"{spent} for the pictures in it, at list prices: what was free of charge is counted as well."
    models = {made.model for made in card.made}
    rows = [
        f"| {shown(model)} | {shown(_price(price))} | {shown(prices.since)} |"
        for prices in card.prices
        for model, price in prices.models.items()
        if model in models
    ]
    if rows:
        yield from ("", "| model | price | used since |", "|---|---|---|", *dict.fromkeys(rows))


def _price(price: object) -> str:
    """`{"kind": …, "tile_usd": "0.00041", "read": "2026-11-20"}` as one phrase."""
    if not isinstance(price, dict):
        return ""
    amounts = [f"{name.replace('_', ' ')} {value}" for name, value in price.items() if name not in ("kind", "read")]
    return f"{price.get('kind', '')}: {', '.join(amounts)} (read {price.get('read', '?')})"


def _licence(card: Card) -> str:
    if card.license is not None and card.license != "other":
        return f"{shown(card.license)}, as whoever published it says."
    is_dev = any("flux-2-dev" in made.model for made in card.made)
    return _UNDECIDED + (_NON_COMMERCIAL if is_dev else "")
