"""The pictures of a report: which are shown, their thumbnails, and what is said of each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.image import thumbnail
from fluxbatch.dataset.pictures import contents_of
from fluxbatch.dataset.record import LOOKED, MADE
from fluxbatch.errors import UsageError
from fluxbatch.models.money import exact
from fluxbatch.plain import plain
from fluxbatch.query import Rows

PICTURES_MAX = 2_000
SUSPECTS_MAX = 200
GROUPS_MAX = 100
IN_GROUP_MAX = 8
FEW = 400
SIDE_FEW, SIDE_MANY = 320, 160
"""Pixels. With few pictures the thumbnails are larger."""
THUMBNAILS_BYTES_MAX = 8_000_000
"""Base64 makes a third more of it; with the texts the page stays below 15 MB."""
READ_BYTES_MAX = 2_000_000_000
"""Pictures of a larger dataset are taken from a few stretches of it, so that not all of it is read."""
STRETCHES = 32
TEXT_MAX = 600
AXIS_VALUES_MAX = 60
ALWAYS_VALUES_MAX = 12

UNSAID = frozenset({"sha256", "phash", "size_bytes", "run_id", "request_id", "width", "height"})
"""Of no use to who looks at a picture; the size is told as one."""
MEASURED = frozenset([*(column.name for column in LOOKED), *(column.name for column in MADE), "key", "row"]) - {"check"}
"""No axes: nobody asked for them."""
PARAMETERS = frozenset({"model", "size", "steps", "guidance", "seed", "sample", "strength"})
SAME = ("prompt", "width", "height", "steps", "guidance", "seed", "sample")
"""By these a cell is found again in another dataset that has no ids in common."""


@dataclass(frozen=True, slots=True)
class Item:
    """A picture that is shown. `values` are texts, by column; a column that has none is not there."""

    key: str
    values: Mapping[str, str]
    thumbnail: bytes | None
    group: str | None = None
    """That of its near-duplicates."""
    beside: bytes | None = None
    """The thumbnail of the same cell in the other dataset."""

    @property
    def prompt(self) -> str:
        return self.values.get("prompt", "")

    @property
    def is_suspect(self) -> bool:
        return self.values.get("check", "ok") != "ok"


@dataclass(frozen=True, slots=True)
class Axis:
    """A column with few values, in their order: what can be filtered by, and laid out along."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """What is shown, of how many. `beside`: the name of the dataset that is shown beside it."""

    items: tuple[Item, ...] = ()
    total: int = 0
    axes: tuple[Axis, ...] = ()
    groups: int = 0
    """Of near-duplicates, in the whole dataset."""
    suspects: int = 0
    beside: str | None = None

    @property
    def side(self) -> int:
        return side_for(len(self.items))


@dataclass(slots=True)
class _Chosen:
    """A row on its way to the page."""

    part: str
    place: int
    row: Mapping[str, Any]
    picture: bytes | None = None
    beside: bytes | None = None


@dataclass(frozen=True, slots=True)
class Beside:
    """Another dataset, and the columns that say which of its pictures belongs beside which."""

    dataset: Dataset
    match: tuple[str, ...] = field(default=())


def gallery_of(dataset: Dataset, beside: Beside | None = None, pictures_max: int = PICTURES_MAX) -> Gallery:
    """The pictures of a dataset, all of them where they are few enough. Reads the sealed parts.

    UsageError when the two datasets have no column to be matched by.
    """
    rows = Rows(dataset)
    has_groups = "duplicate_group" in rows.schema.names
    count, suspects, groups = _remarkable(rows, has_groups)
    most = pictures_max if beside is None else pictures_max // 2
    size_bytes = sum(part.size_bytes for part in dataset.parts)
    stretches = most if size_bytes <= READ_BYTES_MAX else STRETCHES
    special = [*suspects[:SUSPECTS_MAX], *(one for group in groups[:GROUPS_MAX] for one in group[:IN_GROUP_MAX])]
    wanted = chosen(count, special, most, stretches)
    found = list(_rows_at(rows, wanted))
    side = side_for(len(found))
    for one, picture in zip(found, _thumbnails(dataset, found, side), strict=True):
        one.picture = picture
    if beside is not None:
        _lay_beside(found, rows, beside, side)
    items = tuple(_within(map(_item, found)))
    axes = tuple(axes_of([item.values for item in items]))
    return Gallery(items, count, axes, len(groups), len(suspects), None if beside is None else _name(beside.dataset))


def chosen(count: int, special: Iterable[int], most: int, stretches: int) -> list[int]:
    """At most so many of `count` rows, in order: the special ones, and evenly spaced stretches of neighbours. Pure."""
    if count <= most:
        return list(range(count))
    picked = set(list(dict.fromkeys(special))[: most // 2])
    room = most - len(picked)
    stretches = min(stretches, room)
    length = room // stretches
    for number in range(stretches):
        first = number * (count - length) // max(1, stretches - 1)
        picked.update(range(first, first + length))
    return sorted(picked)


def side_for(count: int) -> int:
    return SIDE_FEW if count <= FEW else SIDE_MANY


def axes_of(items: Sequence[Mapping[str, str]]) -> Iterator[Axis]:
    """The columns whose values the items share: at least two of them and not too many, in the columns' order. Pure."""
    names = dict.fromkeys(name for values in items for name in values if name not in MEASURED)
    for name in names:
        axis = axis_of(name, dict.fromkeys(item[name] for item in items if name in item), len(items))
        if axis is not None:
            yield axis


def axis_of(name: str, values: Collection[str], count: int) -> Axis | None:
    """The column of so many pictures as an axis, where it is one. `values`: each that it has, once. Pure."""
    most = ALWAYS_VALUES_MAX if name in PARAMETERS else 0
    is_one = 2 <= len(values) <= min(AXIS_VALUES_MAX, max(most, count // 2))
    return Axis(name, tuple(sorted(values, key=_in_order))) if is_one else None


def _in_order(text: str) -> tuple[bool, float]:
    """Numbers as numbers, sizes by their width; before texts, which stay in the order of the manifest."""
    try:
        return False, float(text.partition("x")[0])
    except ValueError:
        return True, 0.0


def _remarkable(rows: Rows, has_groups: bool) -> tuple[int, list[int], list[list[int]]]:
    """How many rows there are, which of them are suspects, and which are near-duplicates of each other."""
    count = 0
    suspects: list[int] = []
    groups: dict[str, list[int]] = {}
    columns = ["check", "duplicate_group"] if has_groups else ["check"]
    for batch in rows.read(columns):
        for number, check in enumerate(batch.column("check").to_pylist(), count):
            if check != "ok":
                suspects.append(number)
        for number, group in enumerate(batch.column("duplicate_group").to_pylist() if has_groups else (), count):
            if group is not None:
                groups.setdefault(str(group), []).append(number)
        count += len(batch)
    return count, suspects, list(groups.values())


def _chosen(rows: Rows, row: dict[str, Any]) -> _Chosen:
    return _Chosen(str(row.pop(rows.part_column)), int(row.pop(rows.place_column)), row)


def _rows_at(rows: Rows, wanted: Sequence[int]) -> Iterator[_Chosen]:
    """The rows at these places of the dataset's order."""
    first, left = 0, list(reversed(wanted))
    for batch in rows.read(rows.schema.names):
        behind = first + len(batch)
        while left and left[-1] < behind:
            row = batch.slice(left.pop() - first, 1).to_pylist()[0]
            yield _chosen(rows, row)
        if not left:
            return
        first = behind


def _thumbnails(dataset: Dataset, found: Sequence[_Chosen], side: int) -> Iterator[bytes | None]:
    """A thumbnail each, in order. `found` is in the dataset's order, so each part is read once."""
    at = 0
    while at < len(found):
        behind = at
        while behind < len(found) and found[behind].part == found[at].part:
            behind += 1
        places = [one.place for one in found[at:behind]]
        for _, content in contents_of(dataset.folder / found[at].part, places):
            yield thumbnail(content, side)
        at = behind


def _lay_beside(found: Sequence[_Chosen], rows: Rows, beside: Beside, side: int) -> None:
    """Give each row the thumbnail of the same cell in the other dataset."""
    others = Rows(beside.dataset)
    match = beside.match or _matching(rows, others)
    missing = [name for name in match if name not in rows.schema.names or name not in others.schema.names]
    if missing or not match:
        raise UsageError(
            f"{_name(beside.dataset)} cannot be laid beside it: {', '.join(missing) or 'no column'} is not in both "
            "datasets; name columns that are with --match, like --match id or --match prompt,seed"
        )
    wanted: dict[tuple[Any, ...], list[_Chosen]] = {}
    for one in found:
        wanted.setdefault(tuple(one.row[name] for name in match), []).append(one)
    pairs: list[tuple[_Chosen, _Chosen]] = []
    for batch in others.read(list(dict.fromkeys([*match, others.part_column, others.place_column]))):
        for row in batch.to_pylist():
            other = _chosen(others, row)
            pairs += [(one, other) for one in wanted.pop(tuple(row[name] for name in match), ())]
    _draw_beside(pairs, beside.dataset, side)


def _draw_beside(pairs: Sequence[tuple[_Chosen, _Chosen]], dataset: Dataset, side: int) -> None:
    """Several rows may have the same picture beside them."""
    once = list({(other.part, other.place): other for _, other in pairs}.values())
    drawn = zip(once, _thumbnails(dataset, once, side), strict=True)
    pictures = {(other.part, other.place): picture for other, picture in drawn}
    for one, other in pairs:
        one.beside = pictures[other.part, other.place]


def _matching(rows: Rows, others: Rows) -> tuple[str, ...]:
    """By id, where every row of both has one; else by what was asked."""
    if all("id" in one.schema.names and one.count() == one.count("id IS NOT NULL") for one in (rows, others)):
        return ("id", "sample")
    return tuple(name for name in SAME if name in rows.schema.names and name in others.schema.names)


def _item(one: _Chosen) -> Item:
    group = one.row.get("duplicate_group")
    values = dict(told(one.row))
    return Item(str(one.row["key"]), values, one.picture, None if group is None else str(group), one.beside)


def _within(items: Iterable[Item]) -> Iterator[Item]:
    """A picture whose thumbnail would make the page too large is told of, and not shown."""
    left = THUMBNAILS_BYTES_MAX
    for item in items:
        size = len(item.thumbnail or b"") + len(item.beside or b"")
        left -= size
        yield item if left >= 0 else replace(item, thumbnail=None, beside=None)


def told(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is said of a picture to whoever looks at it, by column: a value that is there, as text."""
    for name, value in row.items():
        if name == "steps":
            yield "size", f"{row['width']}x{row['height']}"
        if name not in UNSAID and value is not None and value != []:
            yield name, text_of(value)


def text_of(value: object) -> str:
    """A value of any column, for people, on one line."""
    match value:
        case Decimal():
            return exact(value)
        case float():
            return f"{value:.6g}"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S UTC")
        case list():
            return plain(", ".join(map(str, value)), TEXT_MAX)
        case _:
            return plain(str(value), TEXT_MAX)


def _name(dataset: Dataset) -> str:
    return dataset.folder.resolve().name
