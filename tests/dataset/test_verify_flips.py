"""Every flipped bit and every truncation is found, wherever it is, in every file that a dataset is made of."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fluxbatch.dataset.catalogue import CATALOGUE, Dataset
from fluxbatch.dataset.failures import FAILURES, FailureWriter, check_failures
from fluxbatch.dataset.lines import was_changed
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.dataset.recovery import recover
from fluxbatch.dataset.spool import Spool, Spooled, scan
from fluxbatch.dataset.verify import verify_dataset
from fluxbatch.errors import DatasetError
from fluxbatch.models.money import ZERO
from tests.dataset.dataset_kit import NO_COLUMNS, asked, sealed, spool_many
from tests.soak import soak

SEED = 20261122
FOOT = 8
"""A Parquet file ends in the footer's length and the magic."""


def hurt(path: Path, count: int, regions: dict[str, range]) -> Iterator[tuple[str, str]]:
    """The file with one bit flipped or its end cut off, again and again; what was done to it, and in which region.
    Two thirds are flips, spread over the regions as evenly as over the bytes in them."""
    chance, whole = random.Random(f"{path.name} {SEED}"), path.read_bytes()
    names = list(regions)
    for number in range(count):
        region = names[number % len(names)]
        position = chance.choice(regions[region])
        if number % 3 == 2:
            content = whole[:position]
            done = f"cut at {position} of {len(whole)}"
        else:
            bit = chance.randrange(8)
            content = whole[:position] + bytes([whole[position] ^ (1 << bit)]) + whole[position + 1 :]
            done = f"bit {bit} of byte {position} of {len(whole)} flipped"
        path.write_bytes(content)
        yield region, f"{done} (seed {SEED}, number {number})"
    path.write_bytes(whole)


def regions_of(path: Path) -> dict[str, range]:
    """The parts of a Parquet file: the magics, the pages of each column, the footer, its length."""
    size = path.stat().st_size
    footer = int.from_bytes(path.read_bytes()[-FOOT:-4], "little")
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    starts = [(c.dictionary_page_offset if c.has_dictionary_page else c.data_page_offset) for c in columns]
    found = {
        f"pages of {c.path_in_schema}": range(start, start + c.total_compressed_size)
        for c, start in zip(columns, starts, strict=True)
    }
    indexes = range(max(places.stop for places in found.values()), size - FOOT - footer)
    if len(indexes):
        found["page indexes"] = indexes
    ends = {"first magic": range(4), "footer": range(size - FOOT - footer, size - FOOT)}
    return found | ends | {"footer's length": range(size - FOOT, size - 4), "last magic": range(size - 4, size)}


def test_each_flip_and_truncation_of_a_part_is_found(dataset: Dataset, spool: Spool) -> None:
    [part] = sealed(dataset, spool, 2)
    path = dataset.path(part)
    count, reached = soak(1_000, 10_000), Counter[str]()
    for region, done in hurt(path, count, regions_of(path)):
        assert part.file in {finding.place for finding in verify_dataset(dataset)}, f"{region}: {done}"
        reached[region] += 1
    assert reached.total() == count
    assert {"first magic", "footer", "footer's length", "last magic", "pages of image.bytes"} <= set(reached)
    assert min(reached.values()) >= count // len(reached)
    assert verify_dataset(dataset) == []


def test_each_flip_and_truncation_of_the_catalogue_is_found(dataset: Dataset, spool: Spool) -> None:
    for first in (1, 10, 20):
        sealed(dataset, spool, 1, first=first)
    path = dataset.folder / CATALOGUE
    lines = path.read_bytes().splitlines(keepends=True)
    starts = [sum(map(len, lines[:number])) for number in range(len(lines))]
    regions = {
        f"line {number}": range(start, start + len(line))
        for number, (start, line) in enumerate(zip(starts, lines, strict=True), start=1)
    }
    for region, done in hurt(path, soak(1_000, 10_000), regions):
        try:
            found = verify_dataset(Dataset.open(dataset.folder)) if was_changed_or_cut(dataset) else None
        except DatasetError:
            continue
        assert found, f"{region}: {done}"
    assert verify_dataset(Dataset.open(dataset.folder)) == []


def was_changed_or_cut(dataset: Dataset) -> bool:
    """A cheap look first: a whole `verify` for each flip would only read the parts again."""
    return was_changed(dataset.folder) or len(Dataset.open(dataset.folder).parts) < len(dataset.parts)


def test_each_flip_and_truncation_of_a_spool_file_is_found(dataset: Dataset, spool: Spool) -> None:
    [entry] = spool_many(dataset, spool, 1)
    size = entry.size_bytes
    regions = {"row": range(size - 104), "tail": range(size - 104, size)}
    for region, done in hurt(entry.path, soak(1_000, 10_000), regions):
        [found] = scan(spool.folder)
        assert not isinstance(found, Spooled), f"{region}: {done}"
    assert verify_dataset(dataset) == []


@pytest.fixture
def failures(dataset: Dataset) -> Path:
    path = dataset.folder / FAILURES
    with FailureWriter(path, NO_COLUMNS) as writer:
        for row in range(1, 6):
            writer.add(asked(f"a fox {row}", row=row), "lost", "http 502", "no answer", 1, ZERO)
    return path


def test_flips_and_truncations_of_the_failures_are_found(dataset: Dataset, failures: Path) -> None:
    """No hash of them is kept, so not by construction: the version in the writer's signature may be another's."""
    count, missed = soak(300, 10_000), []
    for region, done in hurt(failures, count, regions_of(failures)):
        try:
            check_failures(failures)
        except Damaged:
            continue
        missed.append(f"{region}: {done}")
    assert {one.split(":")[0] for one in missed} <= {"footer"}, missed
    assert len(missed) <= count // 100, missed
    assert verify_dataset(dataset) == []
    failures.write_bytes(failures.read_bytes()[:-1])
    [finding] = verify_dataset(dataset)
    assert finding.place == FAILURES
    assert "nothing in it was paid for" in finding.remedy


def test_a_part_that_is_not_listed_yet_is_not_listed_with_a_flipped_bit(dataset: Dataset, spool: Spool) -> None:
    """A run that died between the part and its line: its hash is kept nowhere, and checksums cover pages of data only.
    One flip in three was listed as sound, with a hash that said so for ever."""
    [part] = sealed(dataset, spool, 2)
    catalogue = dataset.folder / CATALOGUE
    before = catalogue.read_text().splitlines(keepends=True)
    path, count, listed = dataset.path(part), soak(150, 3_000), []
    for region, done in hurt(path, count, regions_of(path)):
        content = path.read_bytes()
        catalogue.write_text(before[0])
        found = recover(Dataset.open(dataset.folder), spool)
        if found.listed:
            listed.append(f"{region}: {done}")
        path.write_bytes(content)
    assert {one.split(":")[0] for one in listed} <= {"footer"}, listed
    assert len(listed) <= count // 50, listed
    catalogue.write_text(before[0])
    assert [one.rows for one in recover(Dataset.open(dataset.folder), spool).listed] == [2], "unhurt, it is listed"
