"""A repair that dies at any sync of the disk is simply run again: nothing is lost by it, and nothing is bought."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fluxbatch.dataset import files
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.salvage import salvage
from fluxbatch.repair import repair
from fluxbatch.settings import load_settings
from tests.dataset.dataset_kit import Killed
from tests.e2e.e2e_kit import Desk, rows
from tests.e2e.test_e2e_repair import flip, image_at


def damaged(desk: Desk) -> tuple[Path, str]:
    """Three parts: one with a damaged picture, one whose line is lost with the catalogue's end, one torn whose pictures
    are in the spool. The damaged picture's key is the second value."""
    desk.run(desk.manifest(rows(9)), "--rows-per-shard", "3").ended(0)
    dataset = Dataset.open(desk.out)
    first, _, last = (dataset.path(part) for part in dataset.parts)
    key = str(pq.read_table(first).column("key")[1].as_py())
    flip(first, image_at(first, 1))
    spool = dataset.spool()
    for row in salvage(dataset, last):
        spool.put(row.row, row.key, row.attempt)
    last.write_bytes(last.read_bytes()[:-7])
    catalogue = desk.out / "catalogue.jsonl"
    lines = catalogue.read_text().splitlines(keepends=True)
    catalogue.write_text("".join([lines[0], lines[1], lines[3], lines[2][:40]]))
    return desk.out, key


# Who dies closes nothing.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning")
def test_a_repair_that_dies_at_any_sync_is_run_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    _, key = damaged(desk)
    requests = desk.requests
    sound, deaths = files._sync, 0
    for steps in range(200):
        there = desk.folder / f"try-{steps}"
        shutil.copytree(desk.out, there / "out")
        shutil.copytree(desk.ledger.parent, there / "ledger")
        settings = load_settings(ledger=f"sqlite:///{there}/ledger/ledger.sqlite3")
        left = steps

        def dying(descriptor: int) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            sound(descriptor)

        monkeypatch.setattr(files, "_sync", dying)
        try:
            repair(there / "out", settings)
            died = False
        except Killed:
            died, deaths = True, deaths + 1
        monkeypatch.setattr(files, "_sync", sound)
        again = repair(there / "out", settings)
        assert again.left == [], f"died at sync {steps}: {again.left}"
        dataset = Dataset.open(there / "out")
        held = [found for part in dataset.parts for found, _, _ in dataset.keys(part)]
        assert sorted(held) == sorted(set(held)), f"died at sync {steps}: a picture stands twice"
        assert len(held) == 8, f"died at sync {steps}: {len(held)} pictures are left"
        assert key not in held
        assert repair(there / "out", settings).exit_code == 0
        shutil.rmtree(there)
        if not died:
            break
    else:
        pytest.fail("the repair never ended")
    assert deaths > 15, deaths
    assert desk.requests == requests
