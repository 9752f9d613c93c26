"""YAML as nodes that know their line. Only texts, numbers, true and false, lists and mappings; no tag makes an object.

YAML 1.1 reads `no` as false, `1:30` as 90, `010` as 8 and `2026-11-22` as a date. Nobody means that in a list of words,
so such a value is a complaint that says what YAML read, instead of a silent surprise in ten thousand prompts.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from fluxbatch import libyaml
from fluxbatch.errors import ManifestError, UsageError
from fluxbatch.manifest.lines import check_is_text
from fluxbatch.manifest.request import Complaint
from fluxbatch.manifest.values import shown

SPEC_BYTES_MAX = 4_000_000
LONG = 50_000
"""Characters; longer files are read by libyaml, which is 20 times as fast and says less well what is wrong."""
NODES_MAX = 200_000
NESTING_MAX = 24
COMPLAINTS_MAX = 100
_TOO_DEEP = f"over {NESTING_MAX} levels deep; write it flatter"

_TAG = "tag:yaml.org,2002:"
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,38})")
_DECIMAL = re.compile(r"[-+]?([0-9]{1,30}\.[0-9]{0,30}|\.[0-9]{1,30})([eE][-+][0-9]{1,3})?")
_TAGS = {
    f"{_TAG}{kind}" for kind in ("str", "null", "bool", "int", "float", "timestamp", "value", "merge", "seq", "map")
}
_READ_AS = {"bool": "true or false", "int": "a number", "float": "a number", "timestamp": "a date"}


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar as it is meant: text, int, Decimal (exact), bool or None; `written` is what stands in the file."""

    value: str | int | Decimal | bool | None
    line: int
    written: str


@dataclass(slots=True)
class Complaints:
    """All that is wrong with a sweep, collected while it is read; the first hundred are kept."""

    file: str
    found: list[Complaint] = field(default_factory=list)
    count: int = 0

    def add(
        self, line: int | None, problem: str, remedy: str, name: str | None = None, file: str | None = None
    ) -> None:
        complaint = Complaint(file or self.file, None, name, problem, remedy, line)
        if complaint in self.found:
            return
        self.count += 1
        if len(self.found) < COMPLAINTS_MAX:
            self.found.append(complaint)

    def check(self) -> None:
        """ManifestError with all of them, in the order of the lines, if there are any."""
        if not self.count:
            return
        ordered = sorted(self.found, key=lambda c: (c.file != self.file, c.file, c.line or 0))
        more = f" (the first {len(ordered)} are shown)" if self.count > len(ordered) else ""
        noun = "complaint" if self.count == 1 else "complaints"
        raise ManifestError(f"{self.count} {noun} about {self.file}{more}; mend them", ordered)


def compose(path: Path) -> yaml.Node:
    """The file's only document. UsageError if it is no YAML, empty or too large."""
    check_is_text(path)
    if path.stat().st_size > SPEC_BYTES_MAX:
        remedy = "put long lists into a CSV, Parquet, JSONL or text file, and name it with from:"
        raise UsageError(f"{path}: a sweep file of over {SPEC_BYTES_MAX // 1_000_000} MB; {remedy}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}:{line}: the text is not UTF-8; save it as UTF-8") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader) if len(text) <= LONG else _composed_fast(path, text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        context = f" {error.context}" if error.context else ""
        raise UsageError(f"{place}: this is no YAML ({error.problem}{context}); {_yaml_remedy(error)}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{path}: this is no YAML ({' '.join(str(error).split())}); correct it") from None
    if root is None:
        raise UsageError(f"{path}: the file is empty; write at least a prompt: and axes:")
    _check_tree(path, root)
    return root


def _composed_fast(path: Path, text: str) -> yaml.Node | None:
    line = libyaml.too_deep_at(text, NESTING_MAX + 1)  # the document's own mapping is the first
    if line is not None:
        raise UsageError(f"{path}:{line}: {_TOO_DEEP}")
    return yaml.compose(text, Loader=libyaml.Loader)


def _yaml_remedy(error: yaml.MarkedYAMLError) -> str:
    if "mapping values are not allowed" in str(error.problem):
        return "quote a text that holds ': '"
    if "expected the node content" in str(error.problem) or "{" in str(error.problem):
        return 'quote a text that begins with { or [: prompt: "{a|b} cat"'
    if "\\t" in str(error.problem):
        return "indent with blanks, not with tabs"
    return "check indentation and quotes near this line; quote texts that hold braces or colons"


def _check_tree(path: Path, root: yaml.Node) -> None:
    """Aliases can make a small file a huge or an endless tree: what would be walked is counted first."""
    seen = 0
    stack: list[tuple[yaml.Node, int]] = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        seen += 1
        if depth > NESTING_MAX:
            raise UsageError(f"{path}:{line_of(node)}: {_TOO_DEEP}")
        if seen > NODES_MAX:
            raise UsageError(f"{path}: over {NODES_MAX:,} values, aliases counted; put long lists into a file (from:)")
        if node.tag not in _TAGS:
            raise UsageError(f"{path}:{line_of(node)}: the tag {shown(node.tag)} is not read; remove it")
        if isinstance(node, yaml.MappingNode):
            stack.extend((part, depth + 1) for pair in node.value for part in pair)
        elif isinstance(node, yaml.SequenceNode):
            stack.extend((part, depth + 1) for part in node.value)


def line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def kind_of(node: yaml.Node) -> str:
    """What a node is, in a message."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if node.tag == f"{_TAG}null":
        return "nothing"
    return f"the value {shown(node.value)}"


def entries(
    node: yaml.Node, complaints: Complaints, what: str, known: Collection[str] | None = None
) -> Iterator[tuple[str, yaml.Node, int]]:
    """The keys of a mapping with their values and lines; a key twice, or one that is not known, is a complaint."""
    if not isinstance(node, yaml.MappingNode):
        remedy = f"write {what} as a mapping, NAME: VALUE" + (f", with the keys {', '.join(known)}" if known else "")
        complaints.add(line_of(node), f"{what} is {kind_of(node)}, not a mapping", remedy)
        return
    first: dict[str, int] = {}
    for key_node, value in node.value:
        line = line_of(key_node)
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
        if key is None:
            complaints.add(line, f"a key of {what} is {kind_of(key_node)}", "write a name")
        elif key_node.tag == f"{_TAG}merge":
            complaints.add(line, "YAML's merge key << is not read", "use defaults:, or write it out")
        elif key in first:
            problem = f"{shown(key)} stands in {what} twice (first in line {first[key]})"
            complaints.add(line, problem, "remove one of them")
        else:
            first[key] = line
            if known is not None and key not in known:
                complaints.add(line, f"{what} has no key {shown(key)}", did_you_mean(key, known))
            else:
                yield key, value, line


def did_you_mean(name: str, known: Collection[str]) -> str:
    """The nearest known name, and what there is."""
    texts = [str(one) for one in known]
    near = difflib.get_close_matches(name, texts, n=1, cutoff=0.6)
    some = f"{', '.join(texts[:12])}{' …' if len(texts) > 12 else ''}" or "none"
    return f"did you mean {near[0]}? There is: {some}" if near else f"there is: {some}"


def items(node: yaml.Node, complaints: Complaints, what: str) -> list[yaml.Node]:
    """The items of a list."""
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    complaints.add(line_of(node), f"{what} is {kind_of(node)}, not a list", "write a list: [a, b], or lines with -")
    return []


def scalar(node: yaml.Node, complaints: Complaints, name: str) -> Value | None:
    """A single value; None, and a complaint, if it is none or YAML reads it as something that nobody means."""
    line = line_of(node)
    if not isinstance(node, yaml.ScalarNode):
        complaints.add(line, f"{kind_of(node)} stands where one value is expected", "write a text or a number", name)
        return None
    written = node.value
    kind = node.tag.removeprefix(_TAG)
    if kind == "null":
        return Value(None, line, written)
    if kind == "bool" and written.lower() in ("true", "false"):
        return Value(written.lower() == "true", line, written)
    if kind == "int" and _WHOLE.fullmatch(written):
        return Value(int(written), line, written)
    if kind == "float" and _DECIMAL.fullmatch(written):
        return Value(Decimal(written), line, written)
    if kind not in _READ_AS:
        return Value(written, line, written)
    complaints.add(line, f"{written} is read by YAML as {_reading(node, kind)}", f'quote it: "{written}"', name)
    return None


def _reading(node: yaml.ScalarNode, kind: str) -> str:
    loader: Any = yaml.SafeLoader("")
    try:
        read = loader.construct_object(node)
    except (ValueError, ArithmeticError, yaml.YAMLError):
        return _READ_AS[kind]
    finally:
        loader.dispose()
    if kind == "timestamp":
        return "a date"
    return str(read).lower() if isinstance(read, bool) else f"the number {read}"


def plain_structure(node: yaml.Node, complaints: Complaints, name: str) -> Any:
    """A JSON prompt: nested mappings and lists of plain values. What is wrong in it is a complaint, and left out."""
    if isinstance(node, yaml.MappingNode):
        return {key: plain_structure(value, complaints, key) for key, value, _ in entries(node, complaints, name)}
    if isinstance(node, yaml.SequenceNode):
        return [plain_structure(part, complaints, name) for part in node.value]
    found = scalar(node, complaints, name)
    if found is None:
        return None
    if isinstance(found.value, Decimal):
        return float(found.value)
    return found.value
