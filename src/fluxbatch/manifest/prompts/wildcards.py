"""The lists that `__name__` stands for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from fluxbatch.manifest.prompts.trouble import TemplateTrouble

LINES_MAX = 1_000_000
SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class WildcardList:
    """One list: its entries in order, each once. `place` is the file, `lines` where each entry stands in it.

    `weights` count for chance only; None: all alike.
    """

    name: str
    place: str
    entries: Sequence[str]
    weights: Sequence[float] | None = None
    lines: Sequence[int] | None = None

    def where(self, index: int) -> tuple[str, int]:
        """In which text an entry stands, and on which line."""
        if self.lines is None:
            return f"{self.place}, entry {index + 1}", 1
        return self.place, self.lines[index]


class Unreadable(Exception):
    """A list that cannot be had; says everything that is wrong with it."""

    def __init__(self, *troubles: TemplateTrouble) -> None:
        super().__init__("; ".join(str(trouble) for trouble in troubles))
        self.troubles = troubles


Read = Callable[[], WildcardList]
Index = Mapping[str, Sequence[Read]]
"""By name: what reads the list. More than one where several files claim the name."""


class Wildcards:
    """Wildcard lists by name (`artists/dutch`).

    Lists may be given in memory, `Wildcards({"season": ["summer", "winter"]})`; those of a folder come from
    `open_wildcards`. Nothing is read before a template asks for it; what was read is kept.
    """

    def __init__(self, lists: Mapping[str, Sequence[str]] | None = None) -> None:
        self._given = {name: _in_memory(name, entries) for name, entries in (lists or {}).items()}
        self._read: dict[str, WildcardList] = dict(self._given)

    @property
    def origin(self) -> str:
        """Where a missing list would have to be put."""
        return "the wildcards given"

    def index(self) -> Index:
        """All lists by name. Unreadable if that cannot be told."""
        return {name: (partial(self._given.__getitem__, name),) for name in self._given}

    def find(self, name: str, near: str = "") -> tuple[WildcardList, ...]:
        """The lists that a name or a glob stands for, by name; Unreadable, with all troubles, if there are none.

        `*` and `?` stand for anything but a slash, `**` for anything. A name that is not there is also looked for
        beside the list that mentions it (`near`), and in the folders above that.
        """
        wanted = re.sub(r"[\\/]+", "/", name).strip("/")
        if ".." in wanted.split("/"):
            raise Unreadable(_trouble("__" + name + "__ leads out of the wildcards", "name a list within the folder"))
        index = self.index()
        if not any(sign in wanted for sign in "*?["):
            found = next((path for path in _paths(wanted, near) if path in index), None)
            return (self._get(found, index),) if found else self._missing(name, wanted, index)
        pattern = _pattern(wanted)
        matching = sorted(known for known in index if pattern.fullmatch(known))
        return tuple(self._get(known, index) for known in matching) or self._missing(name, wanted, index)

    def _get(self, name: str, index: Index) -> WildcardList:
        if name not in self._read:
            readers = index[name]
            if len(readers) > 1:
                places = " and ".join(read().place for read in readers)
                raise Unreadable(_trouble(f"__{name}__ is in {places}", "keep one of them, or rename it"))
            self._read[name] = readers[0]()
        return self._read[name]

    def _missing(self, name: str, wanted: str, index: Index) -> tuple[WildcardList, ...]:
        if any(sign in wanted for sign in "*?["):
            deeper = _pattern(wanted.replace("**", "*").replace("*", "**"))
            below = sum(1 for known in index if deeper.fullmatch(known))
            hint = f" ({wanted.replace('*', '**')} would match {below}: ** goes into folders)" if below else ""
            raise Unreadable(
                _trouble(f"no wildcard matches __{name}__{hint}", f"mend it, or add a file to {self.origin}")
            )
        near = difflib.get_close_matches(wanted, index, n=3, cutoff=0.6)
        near = list(dict.fromkeys((*near, *(known for known in index if known.endswith("/" + wanted)))))[:SHOWN_MAX]
        hint = f"did you mean {' or '.join(f'__{known}__' for known in near)}? Else" if near else ""
        remedy = f"{hint} put {wanted}.txt into {self.origin}, or write \\_\\_ for the signs".strip()
        raise Unreadable(_trouble(f"there is no wildcard {wanted}", remedy))


def _trouble(problem: str, remedy: str) -> TemplateTrouble:
    return TemplateTrouble("", None, None, problem, remedy)


def _in_memory(name: str, entries: Sequence[str]) -> WildcardList:
    return WildcardList(name, name, tuple(dict.fromkeys(entries)))


def _paths(wanted: str, near: str) -> list[str]:
    """Where a name may be found: at the top first, then beside the list that mentions it, then above that."""
    folders = near.split("/")[:-1]
    return [wanted, *("/".join((*folders[:depth], wanted)) for depth in range(len(folders), 0, -1))]


def _pattern(glob: str) -> re.Pattern[str]:
    signs = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*|\*|\?|\[!?[^\]/]+\])", glob)
    texts = [signs.get(piece) or (_one_of(piece) if piece[:1] == "[" else re.escape(piece)) for piece in pieces]
    return re.compile("".join(texts))


def _one_of(piece: str) -> str:
    inside = piece[1:-1]
    body = inside.removeprefix("!").replace("\\", "\\\\").replace("^", "\\^").replace("[", "\\[")
    return f"[{'^' if inside.startswith('!') else ''}{body}]"
