from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from fluxbatch.dataset import files
from fluxbatch.dataset.own import kept_schema
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.dataset.spool import Spool, Spooled, scan
from fluxbatch.errors import StorageError
from fluxbatch.models.money import charge
from tests.dataset.dataset_kit import asked, delivered, encoded, flip, pixels, row_of

REQUEST = asked("a lighthouse", row=12, sample=3)
ROW = row_of(delivered(REQUEST, attempt=2, actual=charge(93_750)))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def test_a_row_comes_back_as_it_was_put(spool: Spool) -> None:
    entry = spool.put(ROW, REQUEST.key, 2)
    assert (entry.key, entry.attempt, entry.actual) == (REQUEST.key, 2, charge(93_750))
    assert (entry.row, entry.sample, entry.size_bytes) == (12, 3, entry.path.stat().st_size)
    assert entry.path.name == f"{REQUEST.key}-0002.row"
    loaded = spool.load(entry)
    assert loaded.equals(ROW)
    assert loaded.schema.equals(ROW.schema, check_metadata=True)


def test_another_life_finds_the_same_entries(spool: Spool) -> None:
    put = [spool.put(ROW, REQUEST.key, attempt) for attempt in (1, 2, 12_345)]
    assert sorted(Spool(spool.folder).entries(), key=lambda entry: entry.attempt) == put


def test_removed_entries_are_gone_and_the_others_stay(spool: Spool) -> None:
    one, two = spool.put(ROW, REQUEST.key, 1), spool.put(ROW, REQUEST.key, 2)
    spool.remove([one])
    spool.remove([one])
    assert list(spool.entries()) == [two]


def test_many_threads_may_put_at_once(spool: Spool) -> None:
    with ThreadPoolExecutor(8) as pool:
        put = list(pool.map(lambda attempt: spool.put(ROW, REQUEST.key, attempt), range(1, 65)))
    assert list(spool.entries()) == put
    assert not [path for path in spool.folder.iterdir() if path.name.startswith(".")]


def test_a_file_that_is_cut_anywhere_is_refused(spool: Spool) -> None:
    small = row_of(delivered(asked(width=16, height=16), encoded(pixels(16, 16), "WEBP", quality=1)))
    entry = spool.put(small, REQUEST.key, 1)
    whole = entry.path.read_bytes()
    for end in range(len(whole)):
        entry.path.write_bytes(whole[:end])
        with pytest.raises(Damaged):
            spool.load(entry)
    entry.path.write_bytes(whole)
    assert spool.load(entry).equals(small)


def test_every_flipped_bit_is_found(spool: Spool) -> None:
    entry = spool.put(ROW, REQUEST.key, 2)
    size = entry.path.stat().st_size
    for position in [*range(0, size, 7), *range(size - 140, size)]:
        flip(entry.path, position)
        with pytest.raises(Damaged):
            spool.load(entry)
        flip(entry.path, position)
    assert spool.load(entry).equals(ROW)


def test_bytes_behind_the_end_are_found(spool: Spool) -> None:
    entry = spool.put(ROW, REQUEST.key, 2)
    entry.path.write_bytes(entry.path.read_bytes() + b"\0")
    with pytest.raises(Damaged, match="the end is missing"):
        spool.load(entry)


def test_a_file_under_another_name_is_damaged(spool: Spool) -> None:
    entry = spool.put(ROW, REQUEST.key, 2)
    other = entry.path.rename(entry.path.with_name(f"{REQUEST.key}-0003.row"))
    with pytest.raises(Damaged, match="named otherwise"):
        spool.load(replace(entry, attempt=3, path=other))
    assert next(found for found in scan(spool.folder) if not isinstance(found, Spooled))[0] == other


def test_a_damaged_entry_is_set_aside_with_its_reason_and_never_deleted(spool: Spool) -> None:
    sound, broken = spool.put(ROW, REQUEST.key, 1), spool.put(ROW, REQUEST.key, 2)
    flip(broken.path, 100)
    content = broken.path.read_bytes()
    assert list(spool.entries()) == [sound]
    [aside] = spool.quarantined
    assert aside.path.read_bytes() == content
    assert aside.path.parent == spool.quarantine
    assert "SHA-256" in aside.reason
    assert aside.reason in aside.path.with_name(f"{aside.path.name}.reason").read_text()
    assert not broken.path.exists()
    assert list(spool.entries()) == [sound]
    assert len(spool.quarantined) == 1


def test_two_files_of_one_name_are_both_kept_in_quarantine(spool: Spool) -> None:
    for position in (100, 200):
        flip(spool.put(ROW, REQUEST.key, 2).path, position)
        assert list(spool.entries()) == []
    assert len({aside.path for aside in spool.quarantined}) == 2
    assert all(aside.path.exists() for aside in spool.quarantined)


def test_a_second_picture_of_one_attempt_does_not_overwrite_the_first(spool: Spool) -> None:
    first = spool.put(ROW, REQUEST.key, 2).path.read_bytes()
    other = row_of(delivered(REQUEST, encoded(pixels(64, 48, 9)), attempt=2))
    entry = spool.put(other, REQUEST.key, 2)
    assert spool.load(entry).equals(other)
    assert [aside.path.read_bytes() for aside in spool.quarantined] == [first]


def test_a_full_disk_leaves_no_entry(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_sync", full)
    with pytest.raises(StorageError, match="free some space"):
        spool.put(ROW, REQUEST.key, 2)
    assert list(spool.entries()) == []
    assert spool.quarantined == []


def test_a_missing_file_is_a_storage_error_and_not_damage(spool: Spool) -> None:
    entry = spool.put(ROW, REQUEST.key, 2)
    entry.path.unlink()
    with pytest.raises(StorageError, match="could not be read") as caught:
        spool.load(entry)
    assert not isinstance(caught.value, Damaged)


def test_temp_files_and_strangers_are_no_entries(spool: Spool) -> None:
    (spool.folder / f".{REQUEST.key}-0001.row.99-dead-0.tmp").write_bytes(b"half")
    (spool.folder / "notes.txt").write_text("mine")
    assert list(spool.entries()) == []
    assert spool.quarantined == []


def test_an_entry_that_a_live_run_seals_while_others_look_is_no_error(spool: Spool) -> None:
    put = [spool.put(ROW, REQUEST.key, attempt) for attempt in (1, 2, 3)]
    looking = scan(spool.folder)
    assert next(looking) == put[0]
    put[1].path.unlink()
    assert list(looking) == [put[2]]


def test_a_row_of_a_long_manifest_does_not_carry_the_manifest_along(spool: Spool) -> None:
    many = [f"category {number} {'x' * 100}" for number in range(20_000)]
    batch = pa.record_batch({"kind": pa.array(many).dictionary_encode(), "text": many}).slice(15_000, 1)
    row = row_of(delivered(asked(own=batch)), kept_schema(batch.schema))
    entry = spool.put(row, REQUEST.key, 1)
    assert entry.size_bytes < 20_000
    assert spool.load(entry).column("kind").to_pylist() == [many[15_000]]
