"""A disk that forgets what was not synced: from the operations that were made, the legal states after a power cut.

    with tap(root) as made: ...the real code...          the operations, as the system was asked (tap.py)
    for state in cuts(made.history(), seed, 2_000):      distinct legal states, the same from the same seed
        state.write(fresh_folder)                        on a real disk, to start again from

What may be lost is as much as any file system may lose (the weakest legal model):

- a file's content is sure as of its last fsync; after that it is old, empty, torn anywhere, zero-filled or whole
- a name (create, rename, unlink, mkdir) is sure when its folder was synced later; else it was done or not, each for
  itself. A rename within a folder never loses both names; one into another folder does when only the folder that it
  left was synced. `ordered=True` is a journal: names are lost from the end only, and renames are whole.
- a file that is synced is not thereby named, and a folder that is not named has nothing in it that could be found
- a commit of the ledger is sure when it has returned (`Commit` carries the database as it was then)
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = 0
"""The node of the folder that is watched: its own name is not in question."""
COMBINATIONS_MAX = 64
"""A point with more ways to lose things than this is sampled."""
LOCK = "lock"
"""What such a file says is no state: it is told to who is kept out, and never read by a start."""
MISSES_MAX = 500
"""So many samples in a row that were seen before, and there is nothing new to be found."""


@dataclass(frozen=True, slots=True)
class Make:
    """A new file or folder has got a name."""

    folder: int
    name: str
    node: int
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class Rename:
    folder: int
    name: str
    to_folder: int
    to_name: str
    node: int


@dataclass(frozen=True, slots=True)
class Unlink:
    folder: int
    name: str
    node: int


@dataclass(frozen=True, slots=True)
class Write:
    """`content` is all of the file, as a reader would see it after this write."""

    node: int
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sync:
    """An fsync of a file that has succeeded."""

    node: int


@dataclass(frozen=True, slots=True)
class SyncFolder:
    node: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The ledger's database, durable from here on."""

    ledger: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that the world has seen (a request that was sent): no power cut undoes it."""

    text: str


Operation = Make | Rename | Unlink | Write | Sync | SyncFolder | Commit | Mark
NAMING = (Make, Rename, Unlink)


@dataclass(frozen=True, slots=True)
class Tree:
    """What is on the disk: names in folders, and what the files hold. All of it is durable."""

    names: Mapping[tuple[int, str], int]
    folders: frozenset[int]
    contents: Mapping[int, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class History:
    """A disk as it was, and what was then done to it. `ledger` is the database at the beginning, if there was one."""

    base: Tree
    operations: tuple[Operation, ...]
    ledger: bytes | None = None
    marks: tuple[str, ...] = ()
    """What the world had seen before."""


@dataclass(frozen=True, slots=True)
class State:
    """A disk after a power cut: path -> content, None for a folder. `at` operations had been made."""

    at: int
    tree: Mapping[str, bytes | None] = field(repr=False)
    ledger: bytes | None = field(repr=False)
    marks: tuple[str, ...] = ()
    is_torn: bool = False
    """Whether a file that has a name holds neither its last durable content nor its last one."""

    @property
    def fingerprint(self) -> bytes:
        """Equal for equal disks, ledgers and worlds."""
        digest = hashlib.sha256(repr(self.marks).encode())
        for path, content in sorted(self.tree.items()):
            told = b"" if content is None or path.endswith(f"/{LOCK}") else content
            digest.update(f"{path}\0{content is None}\0{len(told)}\0".encode() + told)
        digest.update(self.ledger or b"")
        return digest.digest()

    def write(self, folder: Path) -> None:
        """Put it on a disk, into an empty folder."""
        for path, content in sorted(self.tree.items()):
            if content is None:
                (folder / path).mkdir()
            else:
                (folder / path).write_bytes(content)


@dataclass(frozen=True, slots=True)
class _Doubt:
    """Something that may have been lost: the operation (or the file) in question and the ways it can have gone.

    A name's ways are which halves of the operation were done: (the new name stands, the old one is gone).
    """

    about: int
    is_content: bool
    ways: tuple[object, ...]


def cuts(history: History, seed: int, count: int, *, ordered: bool = False, since: int = 0) -> Iterator[State]:
    """Up to `count` distinct states, cut at points of the history from `since` on; all of them where they are few.

    First every point with all its ways (a sample where they are many), in an order that the seed gives, then samples
    with other torn places.
    """
    chance = random.Random(seed)
    points = [(at, doubts_at(history, at, ordered=ordered)) for at in range(since, len(history.operations) + 1)]
    chance.shuffle(points)
    seen: set[bytes] = set()
    missed = 0
    for state in itertools.chain(_all(history, points, chance, ordered), _samples(history, points, chance, ordered)):
        fingerprint = state.fingerprint
        missed = missed + 1 if fingerprint in seen else 0
        if fingerprint not in seen:
            seen.add(fingerprint)
            yield state
        if len(seen) == count or missed == MISSES_MAX:
            return


def cut(history: History, at: int, chance: random.Random, *, ordered: bool = False) -> State:
    """One legal state after a power cut when `at` operations had been made, as chance has it."""
    doubts = doubts_at(history, at, ordered=ordered)
    return _after(history, at, _chosen(doubts, chance, ordered))


def whole(history: History, at: int) -> State:
    """What a reader sees when `at` operations were made and none was lost: the disk after a kill."""
    return _after(history, at, {})


def doubts_at(history: History, at: int, *, ordered: bool = False) -> list[_Doubt]:
    """All that is not sure when the power goes after `at` operations."""
    made = history.operations[:at]
    synced: dict[int, int] = {}
    for index, one in enumerate(made):
        if isinstance(one, (Sync, SyncFolder)):
            synced[one.node] = index
    names = [_doubt_of(index, one, synced, ordered) for index, one in enumerate(made) if isinstance(one, NAMING)]
    return [*(doubt for doubt in names if doubt is not None), *_contents_in_doubt(history, made, synced)]


DONE, UNDONE, BOTH, NEITHER = (True, True), (False, False), (True, False), (False, True)


def _doubt_of(index: int, one: Operation, synced: Mapping[int, int], ordered: bool) -> _Doubt | None:
    assert isinstance(one, NAMING)
    left = synced.get(one.folder, -1) > index
    if not isinstance(one, Rename):
        return None if left else _Doubt(index, False, (UNDONE, DONE))
    arrived = synced.get(one.to_folder, -1) > index
    if (left and arrived) or (ordered and (left or arrived)):
        return None
    if ordered:
        return _Doubt(index, False, (UNDONE, DONE))
    ways = {(False, False): (UNDONE, DONE, BOTH), (False, True): (BOTH, DONE), (True, False): (NEITHER, DONE)}
    return _Doubt(index, False, ways[left, arrived])


def _contents_in_doubt(history: History, made: Sequence[Operation], synced: Mapping[int, int]) -> Iterator[_Doubt]:
    sure: dict[int, bytes] = dict(history.base.contents)
    later: dict[int, list[bytes]] = {}
    for index, one in enumerate(made):
        if isinstance(one, Write):
            if index < synced.get(one.node, -1):
                sure[one.node] = one.content
            else:
                later.setdefault(one.node, []).append(one.content)
    locks = {one.node for one in made if isinstance(one, Make) and one.name == LOCK}
    locks |= {node for (_, name), node in history.base.names.items() if name == LOCK}
    for node, contents in later.items():
        if node in locks:
            continue
        yield _Doubt(node, True, tuple(dict.fromkeys(_torn(sure.get(node, b""), contents))))


def _torn(old: bytes, contents: Sequence[bytes]) -> Iterator[bytes]:
    yield old
    for content in contents:
        half = len(content) // 2
        yield from (b"", content[:1], content[:half], content[:-1], _zeroed(content, half), _zeroed(content, 0))
        yield content


def _zeroed(content: bytes, at: int) -> bytes:
    """The length is there, the rest of the pages is not."""
    return content[:at] + bytes(len(content) - at)


_Points = Sequence[tuple[int, list[_Doubt]]]


def _are_few(doubts: Sequence[_Doubt]) -> bool:
    return math.prod(len(doubt.ways) for doubt in doubts) <= COMBINATIONS_MAX


def _all(history: History, points: _Points, chance: random.Random, ordered: bool) -> Iterator[State]:
    for at, doubts in points:
        if ordered or not _are_few(doubts):
            for _ in range(COMBINATIONS_MAX):
                yield _after(history, at, _chosen(doubts, chance, ordered))
            continue
        for ways in itertools.product(*(doubt.ways for doubt in doubts)):
            yield _after(history, at, {_id(doubt): way for doubt, way in zip(doubts, ways, strict=True)})


def _samples(history: History, points: _Points, chance: random.Random, ordered: bool) -> Iterator[State]:
    """Where there is more to be found than `_all` gives: files that may be torn anywhere, and many doubts at once."""
    rich = [
        (at, doubts)
        for at, doubts in points
        if not _are_few(doubts) or any(doubt.is_content and len(doubt.ways[-1]) > 1 for doubt in doubts)  # type: ignore[arg-type]
    ]
    while rich:
        at, doubts = chance.choice(rich)
        yield _after(history, at, _chosen(doubts, chance, ordered))


def _id(doubt: _Doubt) -> tuple[int, bool]:
    return doubt.about, doubt.is_content


def _chosen(doubts: Sequence[_Doubt], chance: random.Random, ordered: bool) -> dict[tuple[int, bool], object]:
    chosen: dict[tuple[int, bool], object] = {}
    names = [doubt for doubt in doubts if not doubt.is_content]
    kept = chance.randint(0, len(names))
    for number, doubt in enumerate(names):
        chosen[_id(doubt)] = (DONE if number < kept else UNDONE) if ordered else chance.choice(doubt.ways)
    for doubt in doubts:
        if doubt.is_content:
            content = chance.choice(doubt.ways)
            assert isinstance(content, bytes)
            at = chance.randint(0, len(content))
            chosen[_id(doubt)] = chance.choice((content, content, content[:at], _zeroed(content, at)))
    return chosen


def _after(history: History, at: int, chosen: Mapping[tuple[int, bool], object]) -> State:
    """The disk when each doubt went as chosen, and everything else was done."""
    names, contents = dict(history.base.names), dict(history.base.contents)
    folders, ledger, marks = set(history.base.folders), history.ledger, list(history.marks)
    for index, one in enumerate(history.operations[:at]):
        match one:
            case Make() | Rename() | Unlink():
                stands, gone = chosen.get((index, False), DONE)  # type: ignore[misc]
                _named(names, one, stands, gone)
                if isinstance(one, Make) and one.is_folder:
                    folders.add(one.node)
            case Write():
                way = chosen.get((one.node, True), one.content)
                assert isinstance(way, bytes)
                contents[one.node] = way
            case Commit():
                ledger = one.ledger
            case Mark():
                marks.append(one.text)
            case _:
                pass
    last = {one.node: one.content for one in history.operations[:at] if isinstance(one, Write)}
    named = set(names.values())
    torn = any(
        node in named and way not in (b"", last[node]) for (node, is_content), way in chosen.items() if is_content
    )
    return State(at, dict(_paths(names, folders, contents)), ledger, tuple(marks), torn)


def _named(names: dict[tuple[int, str], int], one: Make | Rename | Unlink, stands: bool, gone: bool) -> None:
    if isinstance(one, Rename) and stands:
        names[one.to_folder, one.to_name] = one.node
    if isinstance(one, Make):
        if stands:
            names[one.folder, one.name] = one.node
    elif gone and names.get((one.folder, one.name)) == one.node:
        del names[one.folder, one.name]


def _paths(
    names: Mapping[tuple[int, str], int], folders: set[int], contents: Mapping[int, bytes]
) -> Iterator[tuple[str, bytes | None]]:
    inside: dict[int, list[tuple[str, int]]] = {}
    for (folder, name), node in names.items():
        inside.setdefault(folder, []).append((name, node))
    waiting = [("", ROOT)]
    while waiting:
        above, folder = waiting.pop()
        for name, node in inside.get(folder, ()):
            path = f"{above}{name}"
            if node in folders:
                yield path, None
                waiting.append((f"{path}/", node))
            else:
                yield path, contents.get(node, b"")
