"""An export at the terminal: a bar while it goes on, and at the end what there is and how it is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.errors import UsageError
from fluxbatch.export.exporter import Exported, Watch, Wish
from fluxbatch.export.survey import Survey
from fluxbatch.many import many
from fluxbatch.plain import plain
from fluxbatch.tell import shown

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_SIZE = re.compile(r"([0-9]{1,12})\s*(k|m|g|ki|mi|gi|)b?", re.IGNORECASE)
PATH_MAX = 4_096


def size_of(text: str) -> int:
    """`500MB`, `64MiB` or a number of bytes. UsageError for what is none."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--shard-size {text!r} is no size; write it as in 500MB, 64MiB, or in bytes")
    return int(match[1]) * _UNITS[match[2].lower()]


def bytes_told(size: int) -> str:
    """Bytes for people."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"


@contextmanager
def watched(console: Console) -> Iterator[Watch]:
    """A bar that moves where there is a terminal; nothing where there is none."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("pictures"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("looking through", total=None)

        def begun(found: Survey, done: int) -> None:
            progress.update(task, description="exporting", total=found.pictures, completed=done)

        yield Watch(begun, lambda pictures, _: progress.advance(task, pictures))


def show_before(console: Console, dataset: Dataset) -> None:
    """That a run is going on, if one is: what it has not sealed is not exported."""
    if (by := dataset.held_by) is not None:
        console.print(
            f"A run is going on ({shown(by)}): exported is what is sealed by now; export again when it is done.",
            soft_wrap=True,
        )


def show_exported(console: Console, done: Exported) -> None:
    what = "was there already, of the same" if done.was_there else "went on" if done.went_on else "written"
    console.print(
        f"export   {shown(done.target, PATH_MAX)}: {many(done.pictures, 'picture')}, {bytes_told(done.size_bytes)} in "
        f"{many(done.files, 'file')} ({what})",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if done.unmarked:
        console.print(f"unmarked {many(done.unmarked, 'picture')} could not be marked: as before", highlight=False)
    console.print(f"load     {shown(done.loading, PATH_MAX)}", highlight=False, soft_wrap=True)


def show_nothing(console: Console, dataset: Dataset, wish: Wish) -> None:
    sealed = sum(part.rows for part in dataset.parts)
    which = (
        f"none of the {sealed:,} sealed pictures fits {shown(wish.where)}" if wish.where and sealed else "it has none"
    )
    console.print(f"No picture of {shown(dataset.folder, PATH_MAX)} is exported: {which}.", soft_wrap=True)


def exported_json(done: Exported) -> str:
    """The same for programs."""
    return json.dumps(
        {
            "target": plain(str(done.target), PATH_MAX),
            "pictures": done.pictures,
            "size_bytes": done.size_bytes,
            "files": done.files,
            "load": done.loading,
            "was_there": done.was_there,
            "went_on": done.went_on,
            "unmarked": done.unmarked,
        }
    )
