"""Originals that were fetched once: found by their source, proved by their hash, bounded, and whole or not there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.kept import KeptReferences
from fluxbatch.dataset.recovery import recover
from fluxbatch.dataset.spool import Spool
from fluxbatch.errors import StorageError
from fluxbatch.manifest.values import Unusable
from tests.dataset.dataset_kit import flip, small_disk

ONE, TWO = b"one picture", b"another picture"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_was_kept_is_found_by_its_source_also_by_the_next_run(tmp_path: Path) -> None:
    first = KeptReferences(tmp_path / "out")
    assert first.find("https://a/1") is None
    assert not (tmp_path / "out").exists(), "looking makes nothing"
    path = first.keep("https://a/1", ONE, sha(ONE))
    assert path == tmp_path / "out" / "references" / sha(ONE)
    assert path.read_bytes() == ONE
    second = KeptReferences(tmp_path / "out")
    assert second.find("https://a/1") == path
    assert second.find("https://a/2") is None


def test_two_sources_of_the_same_bytes_are_one_file(tmp_path: Path) -> None:
    kept = KeptReferences(tmp_path)
    assert kept.keep("a", ONE, sha(ONE)) == kept.keep("b", ONE, sha(ONE)) == kept.find("a") == kept.find("b")
    assert [path.name for path in kept.folder.iterdir() if path.is_file()] == [sha(ONE)]


def test_a_source_that_has_changed_names_the_new_bytes_and_the_old_ones_stay(tmp_path: Path) -> None:
    kept = KeptReferences(tmp_path)
    old = kept.keep("a", ONE, sha(ONE))
    assert kept.keep("a", TWO, sha(TWO)) == kept.find("a")
    assert old.read_bytes() == ONE


@pytest.mark.parametrize("what", ["flipped", "cut", "gone"])
def test_what_is_no_longer_what_it_was_is_not_found_and_kept_anew(tmp_path: Path, what: str) -> None:
    kept = KeptReferences(tmp_path)
    path = kept.keep("a", ONE, sha(ONE))
    if what == "flipped":
        flip(path, 3)
    elif what == "cut":
        path.write_bytes(ONE[:4])
    else:
        path.unlink()
    assert KeptReferences(tmp_path).find("a") is None
    assert kept.keep("a", ONE, sha(ONE)).read_bytes() == ONE
    assert kept.find("a") == path
    aside = [one for one in (tmp_path / ".fluxbatch" / "quarantine").glob("*") if one.suffix != ".reason"]
    assert len(aside) == (what != "gone"), "nothing is deleted because it looks wrong"


@pytest.mark.parametrize(
    "note", [b"", b"[]", b"{}", b'{"source": "b", "sha256": "x"}', b'{"source": "a", "sha256": "../x"}']
)
def test_a_note_that_makes_no_sense_is_as_none(tmp_path: Path, note: bytes) -> None:
    kept = KeptReferences(tmp_path)
    kept.keep("a", ONE, sha(ONE))
    (path,) = (tmp_path / "references" / "sources").iterdir()
    path.write_bytes(note)
    assert kept.find("a") is None
    kept.keep("a", ONE, sha(ONE))
    assert kept.find("a") is not None


def test_it_does_not_grow_without_bound(tmp_path: Path) -> None:
    kept = KeptReferences(tmp_path, bytes_max=len(ONE) + 3)
    kept.keep("a", ONE, sha(ONE))
    kept.keep("b", ONE, sha(ONE))
    with pytest.raises(Unusable, match="beyond"):
        kept.keep("c", TWO, sha(TWO))
    with pytest.raises(Unusable, match="beyond"):
        KeptReferences(tmp_path, bytes_max=len(ONE) + 3).keep("c", TWO, sha(TWO))
    assert kept.find("a") is not None
    assert kept.find("c") is None


def test_a_disk_that_is_full_leaves_nothing_half_there(tmp_path: Path) -> None:
    kept = KeptReferences(tmp_path)
    content = b"x" * 100_000
    with small_disk(50_000), pytest.raises(StorageError):
        kept.keep("a", content, sha(content))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert kept.find("a") is None


def test_what_dead_writers_left_is_removed_by_the_next_start(dataset: Dataset, spool: Spool) -> None:
    kept = KeptReferences(dataset.folder)
    path = kept.keep("a", ONE, sha(ONE))
    left = path.with_name(f".{path.name}.999999-0badc0de-0.tmp")
    left.write_bytes(b"half")
    with dataset.hold():
        recover(dataset, spool)
    assert not left.exists()
    assert kept.find("a") == path
