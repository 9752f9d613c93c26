"""YAML nodes -> the sweep as it is written. Says all that is wrong with the form; what it means is `bind`'s."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from fluxbatch.manifest.sweep import nodes
from fluxbatch.manifest.sweep.nodes import Complaints, Value
from fluxbatch.manifest.sweep.spec import Draw, Entry, FromFile, InPlace, Level, Listed, Prompt, Range, Spec
from fluxbatch.manifest.values import shown

T = TypeVar("T")

SHARED_KEYS = ("prompt", "alternatives", "defaults", "axes", "zip", "exclude", "include", "blocks")
TOP_KEYS = (*SHARED_KEYS, "wildcards", "sample")
BLOCK_KEYS = ("name", *SHARED_KEYS)
RANGE_KEYS = ("range", "step", "exclusive")
FILE_KEYS = ("from", "column")
DRAW_KEYS = ("count", "seed")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
DRAW_COUNT_MAX = 10_000_000


def parse(path: Path, complaints: Complaints) -> Spec:
    """The sweep file. UsageError if it is no YAML; all else that is wrong goes to `complaints`."""
    root = nodes.compose(path)
    found = {key: (value, line) for key, value, line in nodes.entries(root, complaints, "the sweep", TOP_KEYS)}
    wildcards = found.pop("wildcards", None)
    sample = found.pop("sample", None)
    return Spec(
        _level(found, nodes.line_of(root), complaints),
        None if wildcards is None else _text(wildcards[0], complaints, "wildcards"),
        None if sample is None else _draw(sample[0], complaints, "sample"),
    )


def _level(found: Mapping[str, tuple[yaml.Node, int]], line: int, complaints: Complaints) -> Level:
    def read(key: str, reader: Callable[[yaml.Node, Complaints], T], silent: T) -> T:
        return reader(found[key][0], complaints) if key in found else silent

    return Level(
        line,
        read("name", partial(_text, what="name"), None),
        read("prompt", _prompts, ()),
        read("alternatives", _alternatives, None),
        read("defaults", partial(_names, what="defaults", read=_constant), {}),
        read("axes", partial(_names, what="axes", read=_many), {}),
        read("zip", _zips, ()),
        read("exclude", partial(_entries, what="exclude"), ()),
        read("include", partial(_entries, what="include"), ()),
        read("blocks", _blocks, ()),
    )


def _blocks(node: yaml.Node, complaints: Complaints) -> tuple[Level, ...]:
    blocks = []
    for item in nodes.items(node, complaints, "blocks"):
        what = "a block"
        found = {key: (value, line) for key, value, line in nodes.entries(item, complaints, what, BLOCK_KEYS)}
        blocks.append(_level(found, nodes.line_of(item), complaints))
    if isinstance(node, yaml.SequenceNode) and not node.value:
        complaints.add(nodes.line_of(node), "blocks is an empty list", "add a block, or remove the key")
    return tuple(blocks)


def _prompts(node: yaml.Node, complaints: Complaints) -> tuple[Prompt, ...]:
    """One template, or a list of them."""
    if isinstance(node, yaml.SequenceNode):
        if not node.value:
            complaints.add(nodes.line_of(node), "prompt is an empty list", "write at least one prompt")
        return tuple(prompt for item in node.value for prompt in _prompts(item, complaints))
    line = nodes.line_of(node)
    if isinstance(node, yaml.MappingNode):
        return (Prompt(nodes.plain_structure(node, complaints, "prompt"), line),)
    value = nodes.scalar(node, complaints, "prompt")
    if value is None:
        return ()
    if not isinstance(value.value, str):
        complaints.add(line, f"the prompt is {nodes.kind_of(node)}, no text", "quote it", "prompt")
        return ()
    if not value.value.strip():
        complaints.add(line, "the prompt is empty", "write what the picture shall show", "prompt")
        return ()
    return (Prompt(value.value, line),)


def _alternatives(node: yaml.Node, complaints: Complaints) -> Draw | None:
    """`all`, or a random sample of the prompt's alternatives."""
    if isinstance(node, yaml.ScalarNode) and node.value == "all":
        return None
    if isinstance(node, yaml.ScalarNode):
        remedy = "write all, or {count: 20, seed: 7}"
        complaints.add(nodes.line_of(node), f"alternatives is {nodes.kind_of(node)}", remedy)
        return None
    return _draw(node, complaints, "alternatives")


def _draw(node: yaml.Node, complaints: Complaints, what: str) -> Draw | None:
    numbers: dict[str, int] = {}
    for key, value, line in nodes.entries(node, complaints, what, DRAW_KEYS):
        number = nodes.scalar(value, complaints, what)
        if number is not None and (type(number.value) is not int or number.value < 0):
            complaints.add(line, f"{what}: {key} is {shown(value.value)}", "write a whole number, 0 or above")
        elif number is not None and isinstance(number.value, int):
            numbers[key] = number.value
    line = nodes.line_of(node)
    for key in DRAW_KEYS:
        if isinstance(node, yaml.MappingNode) and not any(k.value == key for k, _ in node.value):
            remedy = f"write {what}: {{count: 500, seed: 7}}: the same seed draws the same rows again"
            complaints.add(line, f"{what} has no {key}", remedy)
    count = numbers.get("count", 1)
    if not 1 <= count <= DRAW_COUNT_MAX:
        complaints.add(line, f"{what}: a count of {count}", f"take 1 to {DRAW_COUNT_MAX:,}")
    return Draw(count, numbers.get("seed", 0), line)


def _text(node: yaml.Node, complaints: Complaints, what: str) -> str | None:
    value = nodes.scalar(node, complaints, what)
    if value is None:
        return None
    if not isinstance(value.value, str) or not value.value:
        complaints.add(value.line, f"{what} is {nodes.kind_of(node)}, no text", "quote it")
        return None
    return value.value


def _names(
    node: yaml.Node, complaints: Complaints, what: str, read: Callable[[yaml.Node, str, Complaints], Listed | None]
) -> dict[str, Listed]:
    """A mapping of names to values."""
    found = {}
    for name, value, line in nodes.entries(node, complaints, what):
        if not NAME.fullmatch(name):
            remedy = "take letters, digits and _, as prompts have them in {{ }}"
            complaints.add(line, f"{shown(name)} is no name for a variable", remedy)
        elif name == "prompt":
            remedy = (
                "several prompts are a list under prompt:; texts from a file are an axis, with prompt: '{{ text }}'"
            )
            complaints.add(line, f"the prompt stands in {what}", remedy)
        elif (listed := read(value, name, complaints)) is not None:
            found[name] = listed
    return found


def _constant(node: yaml.Node, name: str, complaints: Complaints) -> Listed | None:
    if not isinstance(node, yaml.ScalarNode):
        complaints.add(nodes.line_of(node), f"a default is one value, not {nodes.kind_of(node)}", "use axes:", name)
        return None
    return _one(node, name, complaints)


def _one(node: yaml.Node, name: str, complaints: Complaints) -> Listed | None:
    value = nodes.scalar(node, complaints, name)
    return None if value is None else InPlace((value,), value.line)


def _many(node: yaml.Node, name: str, complaints: Complaints) -> Listed | None:
    if isinstance(node, yaml.ScalarNode):
        remedy = f"write a list, [{node.value}], or put a single value under defaults:"
        complaints.add(nodes.line_of(node), f"an axis is {nodes.kind_of(node)}", remedy, name)
        return None
    return _listed(node, name, complaints)


def _listed(node: yaml.Node, name: str, complaints: Complaints) -> Listed | None:
    """One value, a list of values, a range, or a column of a file."""
    line = nodes.line_of(node)
    if isinstance(node, yaml.ScalarNode):
        return _one(node, name, complaints)
    if isinstance(node, yaml.SequenceNode):
        if not node.value:
            complaints.add(
                line, "the list is empty: there would be no picture at all", "add values, or remove it", name
            )
            return None
        values = [nodes.scalar(item, complaints, name) for item in node.value]
        kept = tuple(value for value in values if value is not None)
        return InPlace(kept, line) if len(kept) == len(values) else None
    keys = {key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)}
    if "range" in keys:
        return _range(node, name, complaints)
    if "from" in keys:
        return _from_file(node, name, complaints)
    remedy = "write a list, {range: [1, 4], step: 1} or {from: styles.csv, column: style}"
    complaints.add(line, "the mapping says neither range nor from", remedy, name)
    return None


def _range(node: yaml.Node, name: str, complaints: Complaints) -> Listed | None:
    found = {key: value for key, value, _ in nodes.entries(node, complaints, "a range", RANGE_KEYS)}
    line = nodes.line_of(node)
    ends = [_number(part, name, complaints) for part in nodes.items(found["range"], complaints, "range")]
    if len(ends) != 2:
        complaints.add(line, f"range has {len(ends)} ends", "write range: [first, last]", name)
        return None
    step = _number(found["step"], name, complaints) if "step" in found else 1
    exclusive = _flag(found["exclusive"], name, complaints) if "exclusive" in found else False
    first, last = ends
    if first is None or last is None or step is None or exclusive is None:
        return None
    if step == 0:
        complaints.add(line, "the step is 0", "write a step that leads from first to last", name)
        return None
    if (last - first) * step < 0 or (exclusive and first == last):
        which = "descending" if step > 0 else "ascending"
        remedy = "swap the ends" + (f", or give it a {which} step" if first != last else ", or remove exclusive")
        complaints.add(line, f"the range from {first} to {last} by {step} is empty", remedy, name)
        return None
    return Range(first, last, step, exclusive, line)


def _number(node: yaml.Node, name: str, complaints: Complaints) -> int | Decimal | None:
    value = nodes.scalar(node, complaints, name)
    if value is None:
        return None
    if isinstance(value.value, int | Decimal) and not isinstance(value.value, bool):
        return value.value
    complaints.add(value.line, f"a range counts numbers, and {shown(value.written)} is none", "write digits", name)
    return None


def _flag(node: yaml.Node, name: str, complaints: Complaints) -> bool | None:
    value: Value | None = nodes.scalar(node, complaints, name)
    if value is not None and not isinstance(value.value, bool):
        complaints.add(value.line, f"exclusive is {shown(value.written)}", "write true or false", name)
        return None
    return None if value is None else bool(value.value)


def _from_file(node: yaml.Node, name: str, complaints: Complaints) -> Listed | None:
    found: dict[str, Any] = {}
    for key, value, _ in nodes.entries(node, complaints, "a file's column", FILE_KEYS):
        found[key] = _text(value, complaints, key)
    if found.get("from") is None or ("column" in found and found["column"] is None):
        return None
    return FromFile(found["from"], found.get("column"), nodes.line_of(node))


def _zips(node: yaml.Node, complaints: Complaints) -> tuple[Mapping[str, Listed], ...]:
    groups = []
    for item in nodes.items(node, complaints, "zip"):
        group = _names(item, complaints, "a zip", _many)
        written = len(item.value) if isinstance(item, yaml.MappingNode) else 2
        if written < 2:
            remedy = "name at least two, or move it to axes:"
            complaints.add(nodes.line_of(item), "a zip of fewer than two names", remedy)
        groups.append(group)
    return tuple(groups)


def _entries(node: yaml.Node, complaints: Complaints, what: str) -> tuple[Entry, ...]:
    found = []
    for item in nodes.items(node, complaints, what):
        before = complaints.count
        names = _names(item, complaints, f"an entry of {what}", _listed)
        line = nodes.line_of(item)
        if isinstance(item, yaml.MappingNode) and not item.value:
            complaints.add(line, f"an entry of {what} is empty", "name at least one axis and its value")
        elif complaints.count == before:
            found.append(Entry(names, line))
    return tuple(found)
