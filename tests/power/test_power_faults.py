"""A disk that fails: each sync, write, open, rename … of a short run in turn. The run stops, says why, keeps all."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dispatch.stop import StoppedBy
from fluxbatch.errors import StorageError
from fluxbatch.exit_codes import EXIT_STOPPED
from fluxbatch.summary import Summary
from tests.power.disk import LOCK
from tests.power.power_check import Books, at_the_end, pictures_of, spooled_of
from tests.power.power_kit import IN_FLIGHT, PICTURES, Home, Provider, SharedLedger, new_home, run, tapped
from tests.power.tap import Touch

PROMPTS = (*(f"picture {number}" for number in range(PICTURES - 1)), "refused 5")
"""One without a picture, so that failures.parquet is written as well."""
EACH = (
    ("sync", errno.EIO),
    ("sync_folder", errno.EIO),
    ("open_folder", errno.EMFILE),
    ("open", errno.ENOSPC),
    ("write", errno.ENOSPC),
    ("rename", errno.ENOSPC),
    ("mkdir", errno.ENOSPC),
    ("remove", errno.EIO),
    ("truncate", errno.EIO),
)
SAMPLED = (("open", errno.EROFS), ("write", errno.EDQUOT), ("rename", errno.EROFS), ("sync", errno.ENOSPC))


@dataclass
class Fault:
    """The `number`-th touch of a kind fails; for good (`for_good`), or this once. What was seen of it."""

    kind: str
    code: int
    number: int
    provider: Provider
    for_good: bool = False
    path: str | None = None
    sent_before: int = 0
    out_before: int = 0
    retried: list[str] = field(default_factory=list)
    _seen: int = 0

    def __call__(self, touch: Touch) -> None:
        if self.path is not None and touch.kind.startswith("sync") and touch.path == self.path:
            self.retried.append(touch.kind)
        if touch.kind != self.kind:
            return
        self._seen += 1
        if self._seen == self.number or (self.for_good and self._seen > self.number):
            if self.path is None:
                self.path, self.sent_before = touch.path, self.provider.asked.total()
            raise OSError(self.code, os.strerror(self.code))


def touched(memory: Path, shared: SharedLedger) -> Counter[str]:
    """How often a run without a fault does what."""
    home = new_home(memory / "sound", None, PROMPTS, shared)
    with tapped(home) as made:
        run(home, Provider())
    return made.touched


def run_into(fault: Fault, home: Home) -> Summary | StorageError:
    with tapped(home, fault) as made:
        try:
            return run(home, fault.provider)
        except StorageError as error:
            return error
        finally:
            made.history()


def check(fault: Fault, home: Home) -> str:
    """What holds after any fault; how it was told."""
    came = run_into(fault, home)
    assert fault.path is not None, "never reached"
    at_lock = fault.path.endswith(f"/{LOCK}") and fault.kind == "truncate"
    if isinstance(came, StorageError):
        said = str(came)
    elif at_lock and came.stopped_by is None:
        return "the lock was let go"
    else:
        assert (came.stopped_by, came.exit_code) == (StoppedBy.PLATFORM, EXIT_STOPPED), fault
        said = came.reason or ""
    assert str(home.disk) in said
    assert os.strerror(fault.code) in said
    assert "; " in said, "and what to do"
    if fault.kind.startswith("sync"):
        assert fault.retried == [], "a failed sync was tried again"
    assert fault.provider.asked.total() == fault.sent_before, "sent after the fault"
    _nothing_is_marked_that_is_not(home)
    return "at the start" if isinstance(came, StorageError) else "in the run"


def _nothing_is_marked_that_is_not(home: Home) -> None:
    books = Books.read(home, None)
    if not Dataset.exists(home.dataset):
        assert not books.attempts
        return
    dataset = Dataset.open(home.dataset)
    assert books.names("posted") <= set(pictures_of(dataset)) | spooled_of(dataset)


def healthy_again(fault: Fault, home: Home) -> None:
    summary = run(home, fault.provider)
    at_the_end(home, summary, fault.provider, PROMPTS, IN_FLIGHT)


@pytest.mark.parametrize(
    ("kind", "code", "for_good"),
    [*((*one, False) for one in (*EACH, *SAMPLED)), *((*one, True) for one in EACH)],
)
def test_each_in_turn(kind: str, code: int, for_good: bool, memory: Path, shared: SharedLedger) -> None:
    """Once: a disk that recovers must not be believed. For good (every third): a disk that stays full."""
    most = touched(memory, shared)[kind]
    step = 1 if (kind, code) in EACH and not for_good else 3
    told: Counter[str] = Counter()
    for number in range(1, most + 1, step):
        home = new_home(memory / f"{number}", None, PROMPTS, shared)
        fault = Fault(kind, code, number, Provider(number), for_good)
        try:
            told[check(fault, home)] += 1
            healthy_again(fault, home)
        except BaseException as error:
            error.add_note(f"{kind} {number} of {most}: {fault}")
            raise
        shutil.rmtree(home.folder)
    assert told.total() == len(range(1, most + 1, step)) > 0
