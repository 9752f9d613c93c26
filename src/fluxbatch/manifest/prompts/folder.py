"""A folder of wildcard files: .txt (one entry a line), .yaml and .json (lists, also nested by keys)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from fluxbatch.manifest.prompts.trouble import TemplateTrouble
from fluxbatch.manifest.prompts.wildcards import LINES_MAX, Index, Read, Unreadable, WildcardList, Wildcards

FILES_MAX = 20_000
TEXT_BYTES_MAX = 256 << 20
STRUCTURED_BYTES_MAX = 16 << 20
LEVELS_MAX = 32

_COLOUR = re.compile(r"#(?:[0-9A-Fa-f]{3}){1,2}$")
_WEIGHTED = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*::\s*(.*)", re.DOTALL)


class FolderWildcards(Wildcards):
    """The wildcards in a folder. Links to files are followed where they stay within it; links to folders are not."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._index: Index | None = None

    @property
    def origin(self) -> str:
        return str(self._folder)

    def index(self) -> Index:
        if self._index is None:
            self._index = _indexed(self._folder)
        return self._index


def open_wildcards(folder: Path) -> Wildcards:
    """The wildcards in a folder. It is looked at when a template first asks for one of them."""
    return FolderWildcards(folder)


def _indexed(folder: Path) -> Index:
    """Every list in the folder, by name. Unreadable if a YAML or JSON file is broken: any list could be in it."""
    found: dict[str, list[Read]] = {}
    troubles: list[TemplateTrouble] = []
    for path in _files(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        ending = path.suffix.lower()
        if ending == ".txt":
            found.setdefault(name, []).append(partial(_read_text, folder, path, name))
        elif ending in (".yaml", ".yml", ".json"):
            try:
                for inner, values in _collections(_structured(folder, path), name):
                    place = path.relative_to(folder).as_posix()
                    found.setdefault(inner, []).append(partial(_listed, inner, place, values))
            except Unreadable as error:
                troubles.extend(error.troubles)
    if troubles:
        raise Unreadable(*troubles)
    return found


def _files(folder: Path) -> Iterator[Path]:
    number = 0
    for root, folders, names in os.walk(folder, onerror=_not_entered):
        folders.sort()
        for name in sorted(names):
            number += 1
            if number > FILES_MAX:
                raise _unreadable(str(folder), f"has over {FILES_MAX:,} files", "give a folder of wildcards only")
            yield Path(root, name)


def _not_entered(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise _unreadable(str(error.filename), f"cannot be read ({error.strerror})", "check it") from None


def _unreadable(place: str, problem: str, remedy: str, line: int | None = None) -> Unreadable:
    return Unreadable(TemplateTrouble(place, line, None, problem, remedy))


def _content(folder: Path, path: Path, bytes_max: int) -> str:
    """A file's text. Unreadable if it leads out of the folder, is too large, or is not UTF-8."""
    place = path.relative_to(folder).as_posix()
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise _unreadable(place, "is a link that leads out of the wildcards", "copy the file into the folder")
        if not path.is_file():
            raise _unreadable(place, "is no file", "remove it")
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _unreadable(place, f"cannot be read ({reason})", "check the file") from None
    if len(content) > bytes_max:
        raise _unreadable(place, f"is larger than {bytes_max >> 20} MB", "split it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise _unreadable(place, f"byte 0x{byte:02X} is not UTF-8", "save the file as UTF-8", line) from None
    if "\0" in text:
        raise _unreadable(place, "a NUL character", "remove it", text.count("\n", 0, text.index("\0")) + 1)
    return text


def _read_text(folder: Path, path: Path, name: str) -> WildcardList:
    """One entry a line; empty lines and lines that begin with # are left out, an entry that comes again too."""
    place = path.relative_to(folder).as_posix()
    found: dict[str, int] = {}
    lines = _content(folder, path, TEXT_BYTES_MAX).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    troubles = []
    for number, line in enumerate(lines, 1):
        entry = line.strip()
        if entry and entry[0] != "#":
            found.setdefault(entry, number)
        elif _COLOUR.match(entry):
            remedy = f"write \\{entry} for the colour, or '# {entry[1:]}' for a comment"
            troubles.append(TemplateTrouble(place, number, None, f"{entry} would be left out as a comment", remedy))
        if "::" in entry and _WEIGHTED.match(entry):
            remedy = r"put the list into a YAML file, or write \: for the signs"
            troubles.append(TemplateTrouble(place, number, None, "a text file knows no weights", remedy))
    if troubles:
        raise Unreadable(*troubles)
    return _checked(WildcardList(name, place, list(found), None, list(found.values())))


def _checked(found: WildcardList) -> WildcardList:
    if not found.entries:
        raise _unreadable(found.place, f"__{found.name}__ is empty", "add entries, one a line")
    if len(found.entries) > LINES_MAX:
        raise _unreadable(found.place, f"has {len(found.entries):,} entries", f"split it: at most {LINES_MAX:,} go")
    return found


def _structured(folder: Path, path: Path) -> Any:
    place = path.relative_to(folder).as_posix()
    text = _content(folder, path, STRUCTURED_BYTES_MAX)
    try:
        return json.loads(text) if path.suffix.lower() == ".json" else yaml.load(text, Loader=_Loader)  # noqa: S506
    except json.JSONDecodeError as error:
        raise _unreadable(place, f"is no JSON ({error.msg})", "mend it", error.lineno) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not understood"
        raise _unreadable(place, f"is no YAML ({problem})", "mend it", mark and mark.line + 1) from None
    except (RecursionError, ValueError) as error:
        raise _unreadable(place, f"cannot be understood ({type(error).__name__})", "write it flatter") from None


class _Loader(yaml.SafeLoader):  # type: ignore[misc] # PyYAML has no types
    """YAML without references: a few lines of them can stand for gigabytes. Words and numbers stay as written."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(None, None, "a reference, *name, is not supported", event.start_mark)
        return super().compose_node(parent, index)


# The scalars stay texts (1234, yes and 2024-05-01 are words here): no resolver but the one for merging keys.
_Loader.yaml_implicit_resolvers = {}


def _collections(
    content: Any, name: str, level: int = 0
) -> Iterator[tuple[str, Callable[[], list[tuple[str, float]]]]]:
    """The lists in a file by their names: nested keys are a path, from the file's folder on; a bare list has the file's
    own name. What is no list is left out, as dynamic prompts does."""
    folder = name.rpartition("/")[0]
    if isinstance(content, list):
        yield name, partial(_entries, content, name)
    elif isinstance(content, dict) and level < LEVELS_MAX:
        for key, value in content.items():
            path = f"{folder}/{key}" if level == 0 and folder else key if level == 0 else f"{name}/{key}"
            if isinstance(value, list | dict):
                yield from _collections(value, str(path), level + 1)


def _entries(values: list[Any], name: str) -> list[tuple[str, float]]:
    """Texts, texts with a weight in front ("3::red"), or objects of text (or content) and weight."""
    entries = []
    for number, value in enumerate(values, 1):
        weight: Any = 1.0
        if isinstance(value, dict):
            weight, value = value.get("weight", 1.0), value.get("text", value.get("content"))
        elif isinstance(value, str) and (found := _WEIGHTED.fullmatch(value)):
            weight, value = found.groups()
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        try:
            weight = float(weight)
        except (TypeError, ValueError):
            weight = -1.0
        if not isinstance(value, str) or not 0 <= weight < float("inf"):
            problem = f"entry {number} of {name} is neither a text nor a text with a weight"
            raise _unreadable("", problem, "write a text, '3::text', or {text: …, weight: 3}")
        if value.strip():
            entries.append((value.strip(), weight))
    return entries


def _listed(name: str, place: str, values: Callable[[], list[tuple[str, float]]]) -> WildcardList:
    try:
        entries: dict[str, float] = {}
        for entry, weight in values():
            entries.setdefault(entry, weight)
    except Unreadable as error:
        trouble = error.troubles[0]
        raise _unreadable(place, trouble.problem, trouble.remedy) from None
    weights = list(entries.values())
    return _checked(WildcardList(name, place, list(entries), weights if set(weights) - {1.0} else None))
