"""What a failing disk once broke, each by its name."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from fluxbatch.dataset import failures, files, lock
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.failures import FailureWriter
from fluxbatch.errors import StorageError
from fluxbatch.models.money import ZERO
from fluxbatch.start import open_dataset
from tests.dataset.dataset_kit import NO_COLUMNS, asked, delivered, row_of
from tests.power.disk import cuts
from tests.power.power_kit import Home
from tests.power.tap import Touch, tap


def failing(kind: str, code: int, times: int = 1_000) -> tuple[Callable[[Touch], None], list[str]]:
    """A disk that fails so many times at this, and where it was asked."""
    failed: list[str] = []

    def before(touch: Touch) -> None:
        if touch.kind == kind:
            failed.append(touch.path)
            if len(failed) <= times:
                raise OSError(code, os.strerror(code))

    return before, failed


def test_a_lock_on_a_full_disk_is_said_and_no_traceback(tmp_path: Path) -> None:
    before, failed = failing("write", errno.ENOSPC)
    with tap(tmp_path, before), pytest.raises(StorageError, match="lock: could not be written: No space left"):  # noqa: SIM117
        with lock.hold(tmp_path / "lock"):
            pytest.fail("held")
    assert failed == ["lock"]
    with lock.hold(tmp_path / "lock"):
        assert str(os.getpid()) in (tmp_path / "lock").read_text()


def test_a_lock_that_cannot_be_wiped_lets_go_all_the_same(tmp_path: Path) -> None:
    seen = []

    def before(touch: Touch) -> None:
        seen.append(touch.kind)
        if seen.count("truncate") == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with tap(tmp_path, before), lock.hold(tmp_path / "lock"):
        pass
    assert seen.count("truncate") == 2
    with lock.hold(tmp_path / "lock"):
        pass


@pytest.mark.parametrize("kind", ["open", "write"])
def test_failures_that_the_disk_refused_once_are_not_tried_again_and_break_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The row after it raised AssertionError from a closed writer, and took the pictures in flight with it."""
    monkeypatch.setattr(failures, "_ROWS_MAX", 3)
    before, failed = failing(kind, errno.ENOSPC)
    told = 0
    with tap(tmp_path, before):
        writer = FailureWriter(tmp_path / "failures.parquet", NO_COLUMNS)
        for row in range(9):
            try:
                writer.add(asked(secrets.token_hex(30_000), row=row + 1), "refused", None, None, 1, ZERO)
            except StorageError:
                told += 1
        opened = failed.count(failed[0])
        with pytest.raises(StorageError, match="No space left"):
            writer.close()
        writer.discard()
    assert told == 1
    assert opened == failed.count(failed[0]), "closing did not try again"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_sync_has_failed_is_not_synced_again_by_this_run(tmp_path: Path) -> None:
    """Linux marks the pages clean, so the second one would say that all is well."""
    dataset = Dataset.create(tmp_path / "pictures", NO_COLUMNS, True)
    before, failed = failing("sync_folder", errno.EIO, times=1)
    with tap(tmp_path, before):
        for name in ("a", "b"):
            with pytest.raises(StorageError, match="spool: could not be synced: Input/output error"):
                files.put_atomic(dataset.spool_folder / name, b"kept, and not sure")
        assert failed == ["pictures/.fluxbatch/spool"]
        assert sorted(path.name for path in dataset.spool_folder.iterdir()) == ["a", "b"], "what came is kept"
        open_dataset(dataset.folder, NO_COLUMNS, True)  # the next run, of the same process
        files.put_atomic(dataset.spool_folder / "c", b"sure")
    assert failed[1:] == ["pictures/.fluxbatch/spool"]


@pytest.mark.parametrize("what", ["a spool file", "the next part"])
def test_a_disk_that_cannot_even_be_looked_at_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A stale network mount raised OSError past the engine, and took the pictures in flight with it."""
    dataset = Dataset.create(tmp_path / "pictures", NO_COLUMNS, True)
    spool, request = dataset.spool(), asked("a lighthouse")
    row = row_of(delivered(request))
    look = dataset.next_part if what == "the next part" else partial(spool.put, row, request.key, 1)
    real = {name: getattr(os, name) for name in ("stat", "listdir", "scandir")}

    def stale(name: str) -> Callable[..., object]:
        def looked(path: object = ".", *args: object, **other: object) -> object:
            if "pictures" in str(path):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            return real[name](path, *args, **other)

        return looked

    with monkeypatch.context() as patched:
        for name in real:
            patched.setattr(os, name, stale(name))
        with pytest.raises(StorageError, match="Stale file handle"):
            look()


def test_the_folder_of_a_new_ledger_has_a_durable_name_before_anything_is_reserved(tmp_path: Path) -> None:
    """A power cut took it with all that SQLite had synced in it: what was in flight was forgotten, and paid again."""
    job = Home(tmp_path).job()
    wanted = tmp_path / "share" / "fluxbatch"
    settings = job.settings.model_copy(update={"ledger": f"sqlite:///{wanted / 'ledger.sqlite3'}"})
    with tap(tmp_path) as made, closing(replace(job, settings=settings).open_store()):
        pass
    end = len(made.history().operations)
    assert [sorted(state.tree) for state in cuts(made.history(), 1, 100, since=end)] == [["share", "share/fluxbatch"]]


def test_only_the_folders_of_the_run_that_begins_are_trusted_again(tmp_path: Path) -> None:
    before, failed = failing("sync_folder", errno.EIO, times=1)
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    with tap(tmp_path, before):
        with pytest.raises(StorageError):
            files.sync_folder(tmp_path / "one")
        files.trust(tmp_path / "other")
        with pytest.raises(StorageError, match="one: could not be synced"):
            files.sync_folder(tmp_path / "one")
        assert failed == ["one"]
        files.trust(tmp_path)
        files.sync_folder(tmp_path / "one")


def test_a_parent_that_we_may_not_read_keeps_no_dataset_from_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder above that may only be passed through holds no name that a run of ours has made."""
    (tmp_path / "passage" / "mine").mkdir(parents=True)
    readable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "passage" and readable(path, mode))
    before, synced = failing("sync_folder", errno.EIO, times=0)
    with tap(tmp_path, before):
        files.make_folders(tmp_path / "passage" / "mine")
        files.make_folders(tmp_path / "passage" / "mine" / "data")
    assert synced == ["passage/mine"]
