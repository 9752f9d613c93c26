"""The price list that a run was reserved by stays with the dataset; another one is another entry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fluxbatch.dataset.catalogue import CATALOGUE, Dataset
from fluxbatch.dataset.header import PriceList
from fluxbatch.dataset.lines import was_changed
from fluxbatch.dataset.verify import verify_dataset
from fluxbatch.job import Job
from fluxbatch.models.catalogue import CATALOGUE as MODELS
from fluxbatch.models.catalogue import FLUX_2_DEV
from fluxbatch.prepare import prepared
from fluxbatch.settings import load_settings
from tests.dataset.dataset_kit import NO_COLUMNS, sealed

DEARER = "[flux-2-dev]\nprices_read = 2026-12-01\nprice = { output_tile_neurons = 75, input_tile_neurons = 18.75 }\n"


def start(folder: Path, models: str | None = None) -> str:
    """Everything up to the first request, as any run; the run's id."""
    file = None
    if models is not None:
        file = folder / "models.toml"
        file.write_text(models)
    manifest = folder / "rows.csv"
    manifest.write_text("prompt\na\n")
    settings = load_settings(ledger=f"sqlite:///{folder / 'ledger.sqlite3'}", models=file)
    with prepared(Job(manifest, folder / "pictures", 10**9, settings, simulate=True)) as ready:
        assert ready.dataset.header.prices_of(ready.run) is not None
        return ready.run


def header(folder: Path) -> dict[str, object]:
    first = (folder / "pictures" / CATALOGUE).read_text().splitlines()[0]
    found: dict[str, object] = json.loads(first)
    return found


def test_a_new_dataset_says_which_prices_and_of_which_day(tmp_path: Path) -> None:
    run = start(tmp_path)
    (entry,) = header(tmp_path)["prices"]  # type: ignore[misc,attr-defined]
    assert entry["run"] == run
    assert entry["models"] == MODELS.price_list()
    assert entry["models"][FLUX_2_DEV.id] == {
        "kind": "tile-step",
        "output_tile_neurons": "37.5",
        "input_tile_neurons": "18.75",
        "output_tile_usd": "0.00041",
        "input_tile_usd": "0.00021",
        "read": "2026-11-22",
    }


def test_the_same_prices_make_no_new_entry(tmp_path: Path) -> None:
    start(tmp_path)
    before = (tmp_path / "pictures" / CATALOGUE).read_bytes()
    start(tmp_path)
    assert (tmp_path / "pictures" / CATALOGUE).read_bytes() == before


def test_changed_prices_make_a_new_entry_and_leave_the_old_ones(tmp_path: Path) -> None:
    runs = [start(tmp_path), start(tmp_path, DEARER), start(tmp_path)]
    entries = header(tmp_path)["prices"]
    assert [entry["run"] for entry in entries] == runs  # type: ignore[attr-defined]
    assert entries[0]["models"] == entries[2]["models"] == MODELS.price_list()  # type: ignore[index]
    assert entries[1]["models"][FLUX_2_DEV.id]["output_tile_neurons"] == "75"  # type: ignore[index]
    assert entries[1]["models"][FLUX_2_DEV.id]["read"] == "2026-12-01"  # type: ignore[index]


def test_each_run_finds_the_list_that_it_was_reserved_by(tmp_path: Path) -> None:
    first, second = start(tmp_path), start(tmp_path, DEARER)
    found = Dataset.open(tmp_path / "pictures").header
    assert found.prices_of(first) == found.prices[0]
    assert found.prices_of(second) == found.prices[1]
    assert found.prices_of("99990101T000000Z-00000000") == found.prices[1]
    assert found.prices_of("20000101T000000Z-00000000") is None


def test_an_entry_outlives_sealing_and_is_covered_by_the_headers_check(tmp_path: Path) -> None:
    start(tmp_path)
    dataset = Dataset.open(tmp_path / "pictures")
    sealed(dataset, dataset.spool(), 1)
    again = Dataset.open(dataset.folder)
    assert again.header.prices == dataset.header.prices != ()
    assert verify_dataset(again) == []
    path = dataset.folder / CATALOGUE
    path.write_text(path.read_text().replace('"37.5"', '"37.6"'))
    with pytest.raises(Exception, match="was changed since it was written"):
        Dataset.open(dataset.folder)


def test_a_dataset_of_before_gets_its_first_entry_with_the_next_run(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "pictures", NO_COLUMNS, True)
    assert dataset.header.prices == ()
    assert not was_changed(dataset.folder)
    run = start(tmp_path)
    (entry,) = Dataset.open(dataset.folder).header.prices
    assert entry == PriceList(run, entry.since, MODELS.price_list())


def test_a_plan_writes_no_prices(tmp_path: Path) -> None:
    from fluxbatch.prepare import look_ahead

    start(tmp_path)
    before = (tmp_path / "pictures" / CATALOGUE).read_bytes()
    file = tmp_path / "models.toml"
    file.write_text(DEARER)
    settings = load_settings(ledger=f"sqlite:///{tmp_path / 'ledger.sqlite3'}", models=file)
    plan, _ = look_ahead(Job(tmp_path / "rows.csv", tmp_path / "pictures", 10**9, settings, simulate=True))
    assert plan.expected.centineurons == 2 * 375_000
    assert (tmp_path / "pictures" / CATALOGUE).read_bytes() == before
