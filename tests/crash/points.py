"""Named points of the real code at which a run kills itself: nothing in the code knows of them.

A point names a function, and whether it dies before or after it; `arm` wraps that function in the process that is to
die. It writes the point's name down before it dies, so that a point that is not reached is noticed.

    python -m tests.crash.points POINT PASSING NOTE run prompts.csv --out cats --budget 5
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Which = Callable[..., bool]


def _target(name: str) -> Which:
    """Renames to a file of this name, or with this ending."""
    return lambda self, target, *more: Path(target).name.endswith(name)


def _part(self: object, target: object, *more: object) -> bool:
    return Path(str(target)).parent.name == "data"


def _draft(name: str) -> Which:
    """A draft of a file of this name, or with this ending."""
    return lambda draft: draft.path.name.endswith(name) and not draft.path.name.startswith("failures")


def _draft_of_part(draft: Any) -> bool:
    return bool(draft.path.parent.name == "data")


def _removal(name: str) -> Which:
    return lambda path: path.name.endswith(name)


def _any(*_: object, **__: object) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Point:
    """`when`: before or after `place`, or "half": the draft is written to the disk by half. `inside`: only while that
    function runs; `outside`: only while it does not."""

    when: str
    place: str
    which: Which = _any
    inside: str | None = None
    outside: str | None = None


_LEDGER = "fluxbatch.budget.ledger:"
_FILES = "fluxbatch.dataset.files:"
_RENAME = "pathlib:Path.replace"
_KEEP = _FILES + "Draft.keep"
_RECOVER = "fluxbatch.start:recover"
_BOOK_PARTS = "fluxbatch.start:book_parts"
_CREATE = "fluxbatch.prepare:open_dataset"
_STRAND = _LEDGER + "strand"

CREATION = {
    "card written, not in place": Point("before", _RENAME, _target("README.md")),
    "first catalogue half written": Point("half", _KEEP, _draft("catalogue.jsonl"), inside=_CREATE),
    "first catalogue written, not in place": Point("before", _RENAME, _target("catalogue.jsonl"), inside=_CREATE),
    "first catalogue in place": Point("after", _RENAME, _target("catalogue.jsonl"), inside=_CREATE),
    "budget opened, not committed": Point("after", _LEDGER + "open_budget"),
    "run noted, not committed": Point("after", "fluxbatch.budget.store:open_run"),
    "rejected rows written, not in place": Point("before", _RENAME, _target("rejected.parquet")),
}

PICTURE = {
    "before the reservation": Point("before", _LEDGER + "reserve"),
    "reserved, not committed": Point("after", _LEDGER + "reserve"),
    "reserved, before the request leaves": Point("before", "fluxbatch.cloudflare.client:Client.send"),
    "request out, answer not in": Point("sent", "fluxbatch.cloudflare.client:_pieces"),
    "answer in, before the spool": Point("before", "fluxbatch.dispatch.keep:Keeper.keep"),
    "spool file half written": Point("half", _KEEP, _draft(".row")),
    "spool file written, not in place": Point("before", _RENAME, _target(".row")),
    "spool file in place, folder not synced": Point("after", _RENAME, _target(".row")),
    "spooled, not booked": Point("after", "fluxbatch.dataset.spool:Spool.put"),
    "booked, not committed": Point("after", _LEDGER + "resolve", outside=_STRAND),
    "booked, not sealed": Point("before", "fluxbatch.dispatch.engine:Engine._tell"),
}

PART = {
    "shard made, before it is sealed": Point("before", "fluxbatch.batch:seal"),
    "part half written": Point("half", _KEEP, _draft_of_part),
    "part written, not in place": Point("before", _RENAME, _part),
    "part in place, folder not synced": Point("after", _RENAME, _part),
    "part in place, not listed": Point("before", "fluxbatch.dataset.catalogue:Dataset.add_part"),
    "catalogue half written": Point("half", _KEEP, _draft("catalogue.jsonl"), outside=_CREATE),
    "catalogue written, not in place": Point("before", _RENAME, _target("catalogue.jsonl"), outside=_CREATE),
    "catalogue in place, folder not synced": Point("after", _RENAME, _target("catalogue.jsonl"), outside=_CREATE),
    "listed, spool not emptied": Point("after", "fluxbatch.dataset.catalogue:Dataset.add_part"),
    "spool half emptied": Point("after", _FILES + "remove", _removal(".row"), outside=_RECOVER),
    "spool emptied, part not marked": Point("after", "fluxbatch.dataset.spool:Spool.remove", outside=_RECOVER),
    "part marked, not committed": Point("after", _LEDGER + "mark_part_booked", outside=_BOOK_PARTS),
    "part marked": Point("after", "fluxbatch.batch:Batch._mark"),
}

CLOSE = {
    "failures half written": Point("half", _KEEP, lambda draft: draft.path.name == "failures.parquet"),
    "failures written, not in place": Point("before", _RENAME, _target("failures.parquet")),
    "failures in place": Point("after", _RENAME, _target("failures.parquet")),
    "run closed, not committed": Point("after", "fluxbatch.budget.store:close_run"),
    "learned, not committed": Point("after", "fluxbatch.budget.store:remember"),
    "report half written": Point("half", _KEEP, _draft("report.md")),
    "report written, not in place": Point("before", _RENAME, _target("report.md")),
    "report in place": Point("after", _RENAME, _target("report.md")),
    "closed": Point("after", "fluxbatch.batch:Batch.close"),
}

ANY_RECOVERY = {
    "held, before the recovery": Point("before", _RECOVER),
    "leftovers removed": Point("before", "fluxbatch.dataset.recovery:_list_parts"),
    "dataset recovered, ledger not opened": Point("after", _RECOVER),
    "ledger opened": Point("before", _BOOK_PARTS),
    "before what was lost is counted": Point("before", _STRAND),
    "lost counted, not committed": Point("after", _STRAND),
    "lost counted, before the audit": Point("before", _LEDGER + "audit"),
    "all recovered": Point("after", "fluxbatch.prepare:recover_all"),
}
"""Every recovery passes these."""

RECOVERY = {
    "leftovers half removed": Point("after", _FILES + "remove", _removal(".tmp"), inside=_RECOVER),
    "unlisted part verified": Point("after", "fluxbatch.dataset.recovery:_examine"),
    "recovered part's line half written": Point("half", _KEEP, _draft("catalogue.jsonl"), inside=_RECOVER),
    "recovered part's line not in place": Point("before", _RENAME, _target("catalogue.jsonl"), inside=_RECOVER),
    "recovered part listed": Point("after", _RENAME, _target("catalogue.jsonl"), inside=_RECOVER),
    "sealed spool files half removed": Point("after", _FILES + "remove", _removal(".row"), inside=_RECOVER),
    "sealed spool files removed": Point("after", "fluxbatch.dataset.spool:Spool.remove", inside=_RECOVER),
    "part of a lost ledger half booked": Point("after", _LEDGER + "adopt", inside=_BOOK_PARTS),
    "part of a lost ledger booked, not committed": Point("after", _LEDGER + "mark_part_booked", inside=_BOOK_PARTS),
    "between two parts of a lost ledger": Point("before", _LEDGER + "part_is_booked", inside=_BOOK_PARTS),
    "spool half adopted": Point("after", _LEDGER + "adopt", outside=_BOOK_PARTS),
    "lost half counted": Point("after", _LEDGER + "resolve", inside=_STRAND),
    "damaged file explained, not moved": Point("before", _FILES + "move"),
    "damaged file moved": Point("after", _FILES + "move"),
}
"""These only pass where there is something of the kind to recover."""

POINTS = CREATION | PICTURE | PART | CLOSE | ANY_RECOVERY | RECOVERY


def arm(name: str, passing: int, note: Path) -> None:
    """Let this process kill itself at the so-many-th passing of a point."""
    point = POINTS[name]
    guards = [_watched(place) for place in (point.inside, point.outside) if place is not None]
    inside = guards[0] if point.inside is not None else None
    outside = guards[-1] if point.outside is not None else None
    counting = threading.Lock()
    passed = 0

    def passes(*args: Any) -> None:
        nonlocal passed
        if (inside is not None and not inside()) or (outside is not None and outside()) or not point.which(*args):
            return
        with counting:
            passed += 1
            if passed == passing:
                _die(name, passing, note, args if point.when == "half" else ())

    def passes_soon(*args: Any) -> None:
        asyncio.get_running_loop().call_later(0.01, passes, *args)

    owner, attribute, original = _found(point.place)
    wrapped = _wrapped(original, point.when, passes_soon if point.when == "sent" else passes)
    setattr(owner, attribute, wrapped)


def _die(name: str, passing: int, note: Path, half: tuple[Any, ...]) -> None:
    for draft in half:
        draft.file.flush()
        os.ftruncate(draft.file.fileno(), draft.file.tell() // 2)
    note.write_text(f"{name} {passing}")
    os.kill(os.getpid(), signal.SIGKILL)


def _found(place: str) -> tuple[Any, str, Any]:
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *owners, attribute = path.split(".")
    for inner in owners:
        owner = getattr(owner, inner)
    return owner, attribute, getattr(owner, attribute)


def _watched(place: str) -> Callable[[], bool]:
    """Whether the function is running now, in any thread."""
    owner, attribute, original = _found(place)
    running = 0

    def watched(*args: Any, **more: Any) -> Any:
        nonlocal running
        running += 1
        try:
            return original(*args, **more)
        finally:
            running -= 1

    setattr(owner, attribute, watched)
    return lambda: running > 0


def _wrapped(original: Any, when: str, passes: Callable[..., None]) -> Any:
    if when == "sent":

        async def sent(*args: Any) -> AsyncIterator[bytes]:
            async for piece in original(*args):
                yield piece
            passes(*args)

        return sent
    before, after = when in ("before", "half"), when == "after"
    if inspect.iscoroutinefunction(original):

        async def called_async(*args: Any, **more: Any) -> Any:
            if before:
                passes(*args)
            result = await original(*args, **more)
            if after:
                passes(*args)
            return result

        return called_async

    def called(*args: Any, **more: Any) -> Any:
        if before:
            passes(*args)
        result = original(*args, **more)
        if after:
            passes(*args)
        return result

    return called


def main() -> None:
    """The command line in this process, armed."""
    name, passing, note, *arguments = sys.argv[1:]
    arm(name, int(passing), Path(note))
    sys.argv = ["fluxbatch", *arguments]
    from fluxbatch.cli import main as run

    run()


if __name__ == "__main__":
    main()
