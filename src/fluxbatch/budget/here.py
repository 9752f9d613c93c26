"""Who holds a lease, told so that another process of the same machine can see whether it is still alive.

A process number alone says little: it is given again, and containers count from one each. So a lease says the machine's
boot, the number space (Linux's pid namespace) and the moment in which the process began; where any of these cannot be
read, nobody is called dead, and a lease simply has to run out.
"""

from __future__ import annotations

import os
import platform
import uuid
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")
_STATE, _STARTED = 0, 19
"""The fields of /proc/PID/stat behind the name, which may hold anything: proc(5) counts them as 3 and 22."""
own_life: str | None = None
"""In place of this process's own beginning, for who plays several processes in one (the simulation)."""


@dataclass(frozen=True, slots=True)
class Here:
    """This process, as it signs a lease. `lock_file` names the file whose flock it holds, by device and number."""

    host: str
    pid: int
    machine: str
    born: str
    lock_file: str | None = None


def here(lock_file: Path | None = None) -> Here:
    """This process. The lock file has to be held."""
    pid = os.getpid()
    return Here(platform.node(), pid, _machine(), _born(pid) or "", None if lock_file is None else _number(lock_file))


def is_gone(other: Here, me: Here) -> bool:
    """Whether that process is certainly dead: on this machine, and either its flock is mine by now, or no process has
    its number and its beginning."""
    if other.machine != me.machine:
        return False
    if other.lock_file is not None and other.lock_file == me.lock_file:
        return True
    return _space(other.born) == _space(me.born) != "" and _born(other.pid) != other.born


def _number(path: Path) -> str:
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}"


@lru_cache
def _machine() -> str:
    """This boot of this machine."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{platform.node()} {uuid.getnode():x}"


def _born(pid: int) -> str | None:
    """In which number space and when (ticks since boot) a process began; None: there is none, or nothing to read."""
    try:
        space = str((_PROC / "self/ns/pid").readlink())
        if own_life is not None and pid == os.getpid():
            return f"{space} {own_life}"
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    is_dead = fields[_STATE] in (b"Z", b"X")  # over, and nobody has asked how
    return None if is_dead else f"{space} {fields[_STARTED].decode()}"


def _space(born: str) -> str:
    return born.partition(" ")[0]
