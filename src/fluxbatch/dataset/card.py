"""The dataset card: a README.md by which `load_dataset` finds the parts, and people what is in them. Pure.

Its YAML: https://github.com/huggingface/hub-docs/blob/main/datasetcard.md. What stands between the two marks is ours
and is written anew; of the YAML that is `configs`, `dataset_info` and `size_categories`, and whatever is missing. All
else is whoever's wrote it, and stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from fluxbatch.dataset.card_words import BEGIN, END, section, title
from fluxbatch.dataset.features import features_of
from fluxbatch.dataset.header import PriceList
from fluxbatch.models.money import ZERO, Money
from fluxbatch.plain import plain

OURS = ("configs", "dataset_info", "size_categories")
"""What of the YAML has to be true for the files to be read, whoever wrote it first."""
PARTS = "data/train-*.parquet"
UNDECIDED = "other"
"""Nobody but who publishes can say what licence pictures have."""
TAGS_MAX = 20
NESTING_MAX = 50

_LINE_END = re.compile(r"\r\n?")
_FRONT = re.compile(r"---\n(.*?)^---[ \t]*$\n?", re.DOTALL | re.MULTILINE)
_TOP_KEY = re.compile(r"^(?=[^\s#\-\]}])", re.MULTILINE)
_COMMENTS = re.compile(r"^(?:[ \t]*(?:#.*)?\n)+\Z", re.MULTILINE)
_TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Made:
    """The pictures of one model: how many, of which sizes (pixels, and how many), with which steps and guidance (the
    least and the most; None: never sent)."""

    model: str
    pictures: int
    sizes: tuple[tuple[int, int, int], ...]
    steps: tuple[float, float] | None
    guidance: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Card:
    """What a card says. `parts` is where the parts are, relative to the card, and `address` how `load_dataset` names
    the place; `size_bytes` is that of the files, `unpacked_bytes` that of what is in them.

    `is_settled`: these are the files, and no others will come beside them. Only then the YAML counts pictures, because
    `load_dataset` refuses files that have more or fewer than it says. `marked`: every picture says itself where it
    comes from (None: not known).
    """

    name: str
    schema: pa.Schema
    simulated: bool
    pictures: int = 0
    size_bytes: int = 0
    unpacked_bytes: int = 0
    made: tuple[Made, ...] = ()
    spent: Money = ZERO
    prices: tuple[PriceList, ...] = ()
    parts: str = PARTS
    address: str = "path/to/this/folder"
    license: str | None = None
    is_settled: bool = False
    marked: bool | None = None


def card_text(card: Card, earlier: str | None = None) -> str:
    """The whole card; `earlier` is the one that stands there, of which all is kept that is not ours.

    A card without our marks keeps its text whole. One whose YAML cannot be read is given back as it is.
    """
    if earlier is None:
        return _joined(_dumped(metadata(card)), f"\n# {title(card.name)}\n\n{BEGIN}\n{section(card)}{END}\n")
    front, body = _split(earlier)
    theirs = _loaded(front)
    if theirs is None:
        return earlier
    if card.license is None and isinstance(theirs.get("license"), str):
        card = replace(card, license=theirs["license"])
    before, begin, rest = body.partition(BEGIN)
    _, end, behind = rest.partition(END)
    if begin and end:
        body = f"{before}{BEGIN}\n{section(card)}{END}{behind}"
    return _joined(_merged(front, theirs, card), body)


def is_kept_up(text: str) -> bool:
    """Whether a card has our marks, so that runs may write into it."""
    return BEGIN in text and END in text


def metadata(card: Card) -> dict[str, Any]:
    """The YAML of a card as values."""
    found: dict[str, Any] = {
        "pretty_name": plain(card.name, 200),
        "license": card.license or UNDECIDED,
        "task_categories": ["text-to-image"],
        "tags": _tags(card),
        "size_categories": [size_category(card.pictures)],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": card.parts}]}],
    }
    known = _dataset_info(card)
    return found | ({"dataset_info": known} if known else {})


def size_category(count: int) -> str:
    """As the Hub names it: n<1K, 1K<n<10K, and so on by tens up to n>1T."""
    steps = ["1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T"]
    above = [name for power, name in enumerate(steps, start=3) if count >= 10**power]
    if not above:
        return "n<1K"
    return "n>1T" if len(above) == len(steps) else f"{above[-1]}<n<{steps[len(above)]}"


def _tags(card: Card) -> list[str]:
    models = (made.model.rsplit("/", 1)[-1].lower() for made in card.made)
    return ["synthetic", "fluxbatch", *(tag for tag in models if _TAG.fullmatch(tag))][:TAGS_MAX]


def _dataset_info(card: Card) -> dict[str, Any]:
    features = features_of(card.schema)
    found: dict[str, Any] = {} if features is None else {"features": features}
    if card.is_settled:
        split = {"name": "train", "num_bytes": card.unpacked_bytes, "num_examples": card.pictures}
        found |= {"splits": [split], "download_size": card.size_bytes, "dataset_size": card.unpacked_bytes}
    return found


def _merged(front: str, theirs: Mapping[str, Any], card: Card) -> str:
    """Their YAML with ours in it, line for line as they wrote it where it says the same."""
    wanted = _wanted(theirs, card)
    if front == _dumped(theirs):  # nobody has touched it: what follows would come to the same, in ten times as long
        return _dumped(wanted)
    kept, seen = [], set[str]()
    for block in _TOP_KEY.split(front):
        found = _loaded(block)
        if found is None or len(found) > 1:
            return _dumped(wanted)  # blocks that do not stand by themselves: anchors, a mapping in braces
        for key, value in found.items():
            seen.add(key)
            if key not in wanted or wanted[key] != value:
                block = _dumped({key: wanted[key]} if key in wanted else {}) + _behind(block)
        kept.append(block)
    text = "".join(kept) + _dumped({key: value for key, value in wanted.items() if key not in seen})
    return text if _loaded(text) == wanted else _dumped(wanted)


def _behind(block: str) -> str:
    """The comments that follow an entry: they are about the next one."""
    match = _COMMENTS.search(block)
    return "" if match is None else match[0]


def _wanted(theirs: Mapping[str, Any], card: Card) -> dict[str, Any]:
    ours = metadata(card)
    wanted = {**theirs, **{key: value for key, value in ours.items() if key in OURS or key not in theirs}}
    if card.license is not None:
        wanted["license"] = card.license
    if isinstance(tags := theirs.get("tags"), list):
        wanted["tags"] = [*tags, *(tag for tag in ours["tags"] if tag not in tags)]
    if "dataset_info" not in ours:
        wanted.pop("dataset_info", None)
    return wanted


def _split(text: str) -> tuple[str, str]:
    """The YAML in front, and what follows it. Whatever ends a line for YAML and Markdown becomes a newline."""
    text = _LINE_END.sub("\n", text.removeprefix("\ufeff"))
    match = _FRONT.match(text)
    return ("", text) if match is None else (match[1], text[match.end() :])


def _joined(front: str, body: str) -> str:
    return f"---\n{front}---\n{body}"


def _loaded(text: str) -> dict[str, Any] | None:
    """YAML as values; None when it is none that a card can have."""
    import yaml  # only cards and sweeps need it

    from fluxbatch import libyaml

    try:
        if libyaml.too_deep_at(text, NESTING_MAX) is not None:
            return None
        found = yaml.load(text, Loader=libyaml.Loader)  # noqa: S506 - it is the safe one
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return {} if found is None else found if isinstance(found, dict) else None


def _dumped(values: Mapping[str, Any]) -> str:
    import yaml

    from fluxbatch import libyaml

    if not values:
        return ""
    text: str = yaml.dump(dict(values), Dumper=libyaml.Dumper, sort_keys=False, allow_unicode=True, width=1_000)
    return text
