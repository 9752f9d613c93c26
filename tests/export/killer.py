"""`python -m tests.export.killer DATASET FOLDER TO STEPS [--replace]`: an export is killed at steps, and goes on.

A step is a call that changes the disk (a file written, half of it; a sync, a rename, a removal, a folder made); the
process gets a real SIGKILL before it or after it. Each life is a fork, so that importing is paid once. After each kill,
what has the export's name is whole; after going on, it is what an undisturbed export is. Says what it tried, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from fluxbatch.dataset import files
from fluxbatch.dataset.catalogue import Dataset
from tests.export.export_kit import bytes_of, exported

STEPS = {os: ("replace", "fsync", "unlink", "rmdir", "mkdir"), Path: ("write_bytes",), shutil: ("rmtree",)}
SMALL = {"shard_bytes": 14_000}
LOADED = (pd,)
"""What pyarrow loads when it makes its first array, half a second: once, rather than in every life."""


def lived(act: Callable[[], None]) -> int:
    """The exit code of a life of its own, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        files._WRITER = f"{os.getpid()}-{os.getpid():x}"  # a fork is a process of its own
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status)


def die_at(step: int, is_after: bool) -> None:
    """From now on count the steps, and be killed at this one."""
    passed = 0

    def counting(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal passed
            passed += 1
            if passed < step:
                return real(*args, **options)
            if name == "write_bytes":
                real(args[0], args[1][: len(args[1]) // 2])
            elif is_after:
                real(*args, **options)
            return os.kill(os.getpid(), signal.SIGKILL)

        return call

    for owner, names in STEPS.items():
        for name in names:
            setattr(owner, name, counting(getattr(owner, name), name))


def main() -> None:
    dataset, folder, to, count = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    is_replaced = "--replace" in sys.argv
    whole = folder / "whole" / "cats"
    lived(lambda: make(dataset, whole, to, {}))
    earlier = folder / "earlier" / "cats"
    lived(lambda: make(dataset, earlier, to, {"where": "row < 3"}))
    tried = []
    for number in chosen(count):
        step, is_after = divmod(number, 2)
        target = folder / f"{number}" / "cats"
        if is_replaced:
            shutil.copytree(earlier, target)
        ended = lived(lambda: (die_at(step + 1, bool(is_after)), make(dataset, target, to, {}))[1])  # noqa: B023
        wholes = [bytes_of(whole), bytes_of(earlier)] if is_replaced else [bytes_of(whole)]
        assert ended in (0, -signal.SIGKILL), ended
        assert not target.exists() or bytes_of(target) in wholes, (number, "half an export has the name")
        assert lived(lambda: make(dataset, target, to, {})) == 0  # noqa: B023
        assert bytes_of(target) == bytes_of(whole), number
        assert [path.name for path in target.parent.iterdir()] == ["cats"], number
        tried.append((number, ended))
        if ended == 0 and count == 0:
            break
    print(json.dumps(tried))


def chosen(count: int) -> list[int]:
    """So many steps by chance, or, for 0, all: until an export is done before its step comes."""
    return list(range(400)) if count == 0 else random.Random(6).sample(range(60), count)


def make(dataset: Path, target: Path, to: str, wishes: dict[str, Any]) -> None:
    exported(Dataset.open(dataset), target, to, force=True, **SMALL, **wishes)


if __name__ == "__main__":
    main()
