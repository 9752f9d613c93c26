from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from fluxbatch.dataset import files
from fluxbatch.errors import StorageError

FULL = Path("/dev/full")


def test_a_file_is_there_with_its_content_and_nothing_beside_it(tmp_path: Path) -> None:
    files.put_atomic(tmp_path / "a", b"one")
    files.put_atomic(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_content_can_be_written_by_a_function(tmp_path: Path) -> None:
    files.put_atomic(tmp_path / "a", lambda file: file.writelines([b"one", b"two"]))
    assert (tmp_path / "a").read_bytes() == b"onetwo"


def test_a_failure_while_writing_leaves_the_old_file_and_no_temp(tmp_path: Path) -> None:
    files.put_atomic(tmp_path / "a", b"old")

    def broken(file: BinaryIO) -> None:
        file.write(b"half")
        raise RuntimeError("our bug")

    with pytest.raises(RuntimeError, match="our bug"):
        files.put_atomic(tmp_path / "a", broken)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_said_with_the_path_and_how_to_go_on(tmp_path: Path) -> None:
    def full(file: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError) as caught:
        files.put_atomic(tmp_path / "a", full)
    assert str(tmp_path / "a") in str(caught.value)
    assert "No space left on device" in str(caught.value)
    assert "free some space" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
def test_a_flush_that_fails_on_keeping_is_a_storage_error(tmp_path: Path) -> None:
    draft = files.Draft(tmp_path / "a")
    draft.file.close()
    draft.file = FULL.open("wb")
    draft.file.write(b"small enough to wait in the buffer")
    with pytest.raises(StorageError, match="free some space"):
        draft.keep()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_sync_is_final_and_never_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.put_atomic(tmp_path / "a", b"old")
    tried: list[int] = []

    def failing(descriptor: int) -> None:
        tried.append(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StorageError, match="the disk reports an error"):
        files.put_atomic(tmp_path / "a", b"new")
    assert len(tried) == 1
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_the_folder_is_synced_after_the_rename_and_not_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, bool]] = []
    sync = files._sync

    def noting(descriptor: int) -> None:
        seen.append((os.path.isdir(descriptor), (tmp_path / "a").exists()))  # noqa: PTH112 - a descriptor, no path
        sync(descriptor)

    monkeypatch.setattr(files, "_sync", noting)
    files.put_atomic(tmp_path / "a", b"new")
    assert seen == [(False, False), (True, True)]


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        files.put_atomic(tmp_path / "none" / "a", b"x")


def test_folders_are_made_with_their_parents_and_each_parent_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_folder", synced.append)
    files.make_folders(tmp_path / "a" / "b")
    files.make_folders(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert synced == [tmp_path, tmp_path / "a"]


def test_a_file_where_a_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(StorageError, match=r"a: could not be made"):
        files.make_folders(tmp_path / "a")


def test_moving_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(StorageError, match="is there already"):
        files.move(tmp_path / "a", tmp_path / "b")
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"a", b"b")


def test_leftovers_are_the_temp_files_of_the_dead_not_our_own(tmp_path: Path) -> None:
    draft = files.Draft(tmp_path / "a")
    dead = tmp_path / ".b.12345-0badcafe-0.tmp"
    dead.write_bytes(b"half")
    (tmp_path / "c").write_bytes(b"whole")
    assert list(files.leftovers(tmp_path)) == [dead]
    draft.drop()


def test_removing_what_is_gone_is_no_error(tmp_path: Path) -> None:
    files.remove(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"")
    files.remove(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
