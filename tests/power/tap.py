"""The file operations that the real code really makes below a folder: written down, made to fail, or cut off by a kill.

It stands at the system's edge (os and io), not at files.py's own functions, so that a sync that is missing there is
missing here. An audit hook watches that no change goes past it.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.power.disk import (
    ROOT,
    Commit,
    History,
    Make,
    Mark,
    Operation,
    Rename,
    Sync,
    SyncFolder,
    Tree,
    Unlink,
    Write,
)

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_REAL: dict[str, Callable[..., Any]] = {
    name: getattr(os, name) for name in ("open", "replace", "rename", "unlink", "remove", "mkdir", "fsync", "fdatasync")
}
_real_open = io.open
_here = threading.local()
_taps: list[Tap] = []


class Killed(BaseException):
    """The process dies here: nothing in the program may catch it and tidy up."""


@dataclass(frozen=True, slots=True)
class Touch:
    """About to be done: open, write, truncate, sync, rename, remove, mkdir, open_folder, sync_folder, commit."""

    kind: str
    path: str
    """Below the root; a rename's is where it goes."""


class Tap:
    """`before` hears of each touch first: it may raise OSError (a disk that fails) or Killed.

    `pause` comes before each: a place to let others go first.

    After Killed everything is refused with it until `revive`; what the dead left in buffers is not written.
    """

    def __init__(self, root: Path, before: Callable[[Touch], None] = lambda touch: None) -> None:
        self.root = root.resolve()
        self.before = before
        self.operations: list[Operation] = []
        self.touched: Counter[str] = Counter()
        self.unseen: list[str] = []
        self.pause: Callable[[], None] = lambda: None
        self.life = 0
        self.is_dead = False
        self._lock = threading.RLock()
        self._opened: list[_Raw] = []
        self._nodes: dict[str, int] = {"": ROOT}
        self._next = ROOT + 1
        self._base = self._read_base()
        self._ledger: bytes | None = None

    def history(self) -> History:
        """All that was done so far. Nothing may have gone past."""
        assert not self.unseen, self.unseen
        with self._lock:
            return History(self._base, tuple(self.operations), self._ledger)

    def begin_with(self, ledger: bytes | None) -> None:
        """The ledger's database as it stands at the beginning."""
        self._ledger = ledger

    def committed(self, ledger: bytes) -> None:
        self._note(Commit(ledger))

    def mark(self, text: str) -> None:
        self._note(Mark(text))

    def revive(self) -> None:
        """The next process starts. What the dead had open is closed, as the system does."""
        for raw in self._opened:
            io.FileIO.close(raw)
        self._opened.clear()
        self.is_dead = False

    def touch(self, kind: str, path: str) -> None:
        """Ask `before`; a kill counts from here on."""
        if self.is_dead:
            raise Killed
        self.touched[kind] += 1
        try:
            self.before(Touch(kind, path))
        except Killed:
            self.is_dead = True
            self.life += 1
            raise

    def relative(self, path: object) -> str | None:
        """A path below the root, or None."""
        if isinstance(path, (str, bytes, os.PathLike)):
            full = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - resolve() would follow links and touch the disk
        elif isinstance(path, int):
            try:
                full = os.readlink(f"/proc/self/fd/{path}")  # noqa: PTH115
            except OSError:
                return None
        else:
            return None
        root = str(self.root)
        if full == root:
            return ""
        return full[len(root) + 1 :] if full.startswith(f"{root}/") else None

    def _read_base(self) -> Tree:
        names: dict[tuple[int, str], int] = {}
        folders, contents = {ROOT}, {}
        for path in sorted(self.root.rglob("*")):
            node = self._named(path.relative_to(self.root).as_posix())
            names[self._nodes[_above(self._path_of(node))], path.name] = node
            if path.is_dir():
                folders.add(node)
            else:
                contents[node] = path.read_bytes()
        return Tree(names, frozenset(folders), contents)

    def _path_of(self, node: int) -> str:
        return next(path for path, known in self._nodes.items() if known == node)

    def _named(self, path: str) -> int:
        self._nodes[path] = self._next
        self._next += 1
        return self._nodes[path]

    def _note(self, operation: Operation) -> None:
        with self._lock:
            last = self.operations[-1] if self.operations else None
            if isinstance(operation, Write) and isinstance(last, Write) and last.node == operation.node:
                self.operations.pop()  # a torn state of the longer one is a state of the shorter one as well
            self.operations.append(operation)

    @contextmanager
    def _doing(self, kind: str, path: str) -> Iterator[None]:
        self.pause()
        with self._lock, _seen():
            self.touch(kind, path)
            yield

    # The operations, each: ask, do, write down.

    def make(self, path: str, is_folder: bool) -> None:
        folder, name = self._nodes[_above(path)], path.rpartition("/")[2]
        self._note(Make(folder, name, self._named(path), is_folder))

    def rename(self, source: str, target: str, do: Callable[[], Any]) -> Any:
        with self._doing("rename", target):
            done = do()
            node = self._nodes.pop(source)
            self._nodes[target] = node
            folders = self._nodes[_above(source)], self._nodes[_above(target)]
            names = source.rpartition("/")[2], target.rpartition("/")[2]
            self._note(Rename(folders[0], names[0], folders[1], names[1], node))
            return done

    def remove(self, path: str, do: Callable[[], Any]) -> Any:
        with self._doing("remove", path):
            done = do()
            self._note(Unlink(self._nodes[_above(path)], path.rpartition("/")[2], self._nodes.pop(path)))
            return done

    def mkdir(self, path: str, do: Callable[[], Any]) -> Any:
        with self._doing("mkdir", path):
            done = do()
            self.make(path, is_folder=True)
            return done

    def sync(self, descriptor: int, path: str, do: Callable[[], Any]) -> Any:
        node = self._nodes[path]
        is_folder = (self.root / path).is_dir()
        with self._doing("sync_folder" if is_folder else "sync", path):
            done = do()
            self._note(SyncFolder(node) if is_folder else Sync(node))
            return done

    def open_folder(self, path: str, do: Callable[[], Any]) -> Any:
        with self._doing("open_folder", path):
            return do()

    def open_file(self, path: str, mode: str, buffering: int, text: tuple[Any, ...]) -> Any:
        with self._doing("open", path):
            full = self.root / path
            is_new = not full.exists()
            raw = _Raw(self, path, mode)
            self._opened.append(raw)
            if is_new:
                self.make(path, is_folder=False)
            elif "w" in mode:
                self._note(Write(self._nodes[path], b""))
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *text)  # type: ignore[type-var]

    def write(self, raw: _Raw, content: Any, do: Callable[[Any], Any]) -> Any:
        if raw.life != self.life:
            return len(content)
        with self._doing("write", raw.path):
            done = do(content)
            self._changed(raw)
            return done

    def truncate(self, raw: _Raw, do: Callable[[], Any]) -> Any:
        if raw.life != self.life:
            return 0
        with self._doing("truncate", raw.path):
            done = do()
            self._changed(raw)
            return done

    def _changed(self, raw: _Raw) -> None:
        with _real_open(f"/proc/self/fd/{raw.fileno()}", "rb") as file:
            self._note(Write(raw.node, file.read()))


class _Raw(io.FileIO):
    """A file below the root, opened for writing: each write and truncation that reaches the system is asked for."""

    def __init__(self, tap: Tap, path: str, mode: str) -> None:
        super().__init__(str(tap.root / path), mode.replace("b", "").replace("t", ""))
        self.tap, self.path, self.life = tap, path, tap.life

    @property
    def node(self) -> int:
        now = self.tap.relative(self.fileno())
        assert now is not None
        return self.tap._nodes[now.removesuffix(" (deleted)")]

    def write(self, content: Any) -> Any:
        return self.tap.write(self, content, super().write)

    def truncate(self, size: int | None = None) -> Any:
        return self.tap.truncate(self, lambda: io.FileIO.truncate(self, size))


def _above(path: str) -> str:
    return path.rpartition("/")[0]


@contextmanager
def tap(root: Path, before: Callable[[Touch], None] = lambda touch: None) -> Iterator[Tap]:
    """Stand at the edge for the block: all changes below `root` are heard of."""
    _watch()
    one = Tap(root, before)
    _taps.append(one)
    kept = {name: getattr(os, name) for name in _REAL}
    opened = io.open, builtins.open
    for name in ("replace", "rename"):
        setattr(os, name, _two(name))
    for name in ("unlink", "remove", "mkdir"):
        setattr(os, name, _one(name))
    for name in ("fsync", "fdatasync"):
        setattr(os, name, _synced(name))
    os.open = _os_open  # type: ignore[assignment]
    io.open = builtins.open = _open  # type: ignore[assignment]
    try:
        yield one
    finally:
        io.open, builtins.open = opened
        for name, function in kept.items():
            setattr(os, name, function)
        _taps.remove(one)


def _whose(path: object) -> tuple[Tap, str] | None:
    for one in _taps:
        found = one.relative(path)
        if found is not None:
            return one, found
    return None


def _two(name: str) -> Callable[..., Any]:
    def renamed(source: Any, target: Any, **other: Any) -> Any:
        found = _whose(source), _whose(target)
        if found[0] is None or found[1] is None:
            return _REAL[name](source, target, **other)
        return found[0][0].rename(found[0][1], found[1][1], lambda: _REAL[name](source, target, **other))

    return renamed


def _one(name: str) -> Callable[..., Any]:
    def done(path: Any, *args: Any, **other: Any) -> Any:
        found = _whose(path)
        if found is None:
            return _REAL[name](path, *args, **other)
        made = found[0].mkdir if name == "mkdir" else found[0].remove
        return made(found[1], lambda: _REAL[name](path, *args, **other))

    return done


def _synced(name: str) -> Callable[..., Any]:
    def synced(file: Any) -> Any:
        descriptor = file if isinstance(file, int) else file.fileno()
        found = _whose(descriptor)
        if found is None:
            return _REAL[name](descriptor)
        return found[0].sync(descriptor, found[1], lambda: _REAL[name](descriptor))

    return synced


def _os_open(path: Any, flags: int, *args: Any, **other: Any) -> int:
    found = _whose(path)
    if found is None:
        return int(_REAL["open"](path, flags, *args, **other))
    if flags & _WRITING:
        raise AssertionError(f"{path} is opened for writing past io.open: this tap cannot see what is written")
    return int(found[0].open_folder(found[1], lambda: _REAL["open"](path, flags, *args, **other)))


def _open(
    file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None, newline: Any = None,
    closefd: bool = True, opener: Any = None,
) -> Any:  # fmt: skip
    found = None if isinstance(file, int) or not set(mode) & set("wxa+") else _whose(file)
    if found is None:
        return _real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    return found[0].open_file(found[1], mode, buffering, (encoding, errors, newline))


@contextmanager
def _seen() -> Iterator[None]:
    before = getattr(_here, "seen", False)
    _here.seen = True
    try:
        yield
    finally:
        _here.seen = before


_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod"}


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _taps or getattr(_here, "seen", False):
        return
    changes = event in _CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & _WRITING)
    if changes and (found := _whose(args[0])) is not None:
        found[0].unseen.append(f"{event} {args}")


_watching: list[bool] = []


def _watch() -> None:
    """Once a process: an audit hook cannot be taken away again."""
    if not _watching:
        _watching.append(True)
        sys.addaudithook(_audit)
