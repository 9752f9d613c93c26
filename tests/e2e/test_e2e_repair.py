"""`verify` finds every disagreement between catalogue, parts, spool and ledger; `verify --repair` mends what it can,
deletes nothing, and says what is gone and what that would cost."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.salvage import salvage
from tests.e2e.e2e_kit import SMALL_CENTINEURONS, Desk, Said, centineurons, failures, part_files, rows, table

PRICE_USD = "0.0004125"


def verify(desk: Desk, *options: str) -> Said:
    return desk.command("verify", str(desk.out), "--json", *options)


def repair(desk: Desk) -> Said:
    return verify(desk, "--repair")


def whole(desk: Desk, pictures: int) -> None:
    """The dataset is sound and reads, and nothing more was bought."""
    assert verify(desk).ended(0).json["findings"] == []
    assert table(desk.out).num_rows == pictures
    assert repair(desk).ended(0).json == {"mended": [], "gone": [], "findings": []}, "a repair is done once"


def made(desk: Desk, count: int = 6, *options: str) -> Path:
    manifest = desk.manifest(rows(count))
    desk.run(manifest, "--rows-per-shard", "3", *options).ended(0)
    return manifest


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def sql(desk: Desk, statement: str) -> int:
    with closing(sqlite3.connect(desk.ledger)) as connection, connection:
        return connection.execute(statement).rowcount


def quarantined(desk: Desk) -> list[str]:
    return sorted(path.name for path in (desk.out / ".fluxbatch" / "quarantine").iterdir())


def image_at(part: Path, index: int) -> int:
    """A place in the middle of a picture's bytes."""
    picture: bytes = pq.read_table(part).column("image")[index].as_py()["bytes"]
    return part.read_bytes().index(picture) + len(picture) // 2


class TestDisagreements:
    """Each is named; each that can be mended is."""

    def test_a_part_that_is_missing(self, desk: Desk) -> None:
        made(desk)
        part_files(desk.out)[1].unlink()
        assert "is listed and missing" in str(verify(desk).ended(1).json)

    def test_a_part_that_is_not_listed_is_listed(self, desk: Desk) -> None:
        made(desk)
        catalogue = desk.out / "catalogue.jsonl"
        lines = catalogue.read_text().splitlines(keepends=True)
        catalogue.write_text("".join(lines[:-1]))
        found = verify(desk).ended(1).json["findings"]
        assert any("train-00001.parquet: is not listed" in finding for finding in found)
        said = repair(desk).ended(0).json
        assert any("listed now with its 3 pictures" in done for done in said["mended"])
        whole(desk, 6)

    def test_an_extra_row(self, desk: Desk) -> None:
        made(desk)
        first, second = part_files(desk.out)
        pq.write_table(pq.read_table([first, second], partitioning=None), first)
        found = str(verify(desk).ended(1).json)
        assert "has 6 rows" in found
        assert "stands in data/train-00000.parquet as well" in found

    def test_an_attempt_that_is_booked_and_has_no_picture(self, desk: Desk) -> None:
        made(desk, 3)
        kept = "run, model, bound_nano_usd, bound_centineurons, state, end, actual_nano_usd, actual_centineurons"
        row = f"dataset, replace(key, substr(key, 1, 4), 'ffff'), number, {kept}, sent_at_us, resolved_at_us"
        assert sql(desk, f"INSERT INTO attempts SELECT {row}, code, message, request_id FROM attempts LIMIT 1") == 1
        found = str(verify(desk).ended(1).json)
        assert "is booked, and its picture is in no part" in found
        assert "do not add up" in found
        said = desk.command("verify", str(desk.out), "--repair").ended(5)
        assert "contradicts itself" in said.err, "a ledger that does not add up is not written to"

    def test_a_picture_that_the_ledger_does_not_know_is_booked(self, desk: Desk) -> None:
        made(desk)
        sql(desk, "DELETE FROM attempts WHERE key IN (SELECT key FROM attempts LIMIT 2)")
        for books in ("datasets", "windows"):
            less = f"spent_nano_usd - {2 * SMALL_CENTINEURONS * 110}", f"spent_centineurons - {2 * SMALL_CENTINEURONS}"
            sql(desk, f"UPDATE {books} SET spent_nano_usd = {less[0]}, spent_centineurons = {less[1]}")
        assert str(verify(desk).ended(1).json).count("is in a part and not in the ledger") == 2
        said = repair(desk).ended(0).json
        assert any("2 pictures of the parts booked" in done for done in said["mended"])
        whole(desk, 6)
        status = desk.command("status", str(desk.out), "--json").ended(0).json
        assert centineurons(status["spent_neurons"]) == desk.billed == 6 * SMALL_CENTINEURONS

    def test_a_charge_that_differs_is_named_and_left_to_the_user(self, desk: Desk) -> None:
        made(desk, 3)
        dearer = "actual_nano_usd = actual_nano_usd + 110, actual_centineurons = actual_centineurons + 1"
        sql(desk, f"UPDATE attempts SET {dearer} WHERE key IN (SELECT key FROM attempts LIMIT 1)")
        for books in ("datasets", "windows"):
            sql(desk, f"UPDATE {books} SET {dearer.replace('actual', 'spent')}")
        [finding] = verify(desk).ended(1).json["findings"]
        assert "in the ledger and 0.000412500 in its part" in finding
        assert len(repair(desk).ended(1).json["findings"]) == 1

    def test_a_ledger_that_is_gone_is_filled(self, desk: Desk) -> None:
        made(desk)
        shutil.rmtree(desk.ledger.parent)
        assert verify(desk).ended(1)
        assert repair(desk).ended(0)
        whole(desk, 6)


class TestParts:
    def test_a_flipped_bit_in_a_picture_costs_that_picture_only(self, desk: Desk) -> None:
        manifest = made(desk)
        part = part_files(desk.out)[0]
        damaged_key = pq.read_table(part).column("key")[1].as_py()
        flip(part, image_at(part, 1))
        assert verify(desk).ended(1)
        before = desk.requests

        said = repair(desk).ended(4).json
        assert [(one["key"], one["usd"]) for one in said["gone"]] == [(damaged_key, PRICE_USD)]
        assert part.name in quarantined(desk)
        assert f"{part.name}.reason" in quarantined(desk)
        assert table(desk.out).num_rows == 5
        assert "5 pictures" in (desk.out / "README.md").read_text()
        assert verify(desk).ended(0)
        assert desk.requests == before, "nothing is bought by a repair"

        told = desk.run(manifest).ended(4).json
        assert (told["already"], told["unknown"], told["requests"]) == (5, 1, 0), "nor by the next run, unasked"
        assert told["spent_neurons"] == "225", "what was paid stays paid"
        [lost] = failures(desk.out).values()
        assert (lost["failure"], "could not be brought back" in lost["failure_message"]) == ("lost", True)
        again = desk.run(manifest, "--resend-lost", "1").ended(0).json
        assert (again["already"], again["made"], again["requests"]) == (5, 1, 1)
        assert desk.billed == 7 * SMALL_CENTINEURONS == centineurons(again["spent_neurons"])
        whole(desk, 6)

    def test_what_is_gone_is_said_with_its_price_and_what_to_do(self, desk: Desk) -> None:
        made(desk)
        part_files(desk.out)[1].unlink()
        said = desk.command("verify", str(desk.out), "--repair").ended(4).out
        assert "3 pictures cannot be brought back; $0.0012375 was paid for them" in said
        assert "--resend-lost 1" in said
        assert said.count("gone: attempt 1 of ") == 3

    @pytest.mark.parametrize("place", ["first magic", "last magic", "footer", "half"])
    def test_a_part_that_cannot_be_opened_is_kept_in_quarantine(self, desk: Desk, place: str) -> None:
        made(desk)
        part = part_files(desk.out)[0]
        content = part.read_bytes()
        damages: dict[str, Callable[[], object]] = {
            "first magic": lambda: flip(part, 0),
            "last magic": lambda: flip(part, len(content) - 1),
            "footer": lambda: flip(part, len(content) - 300),
            "half": lambda: part.write_bytes(content[: len(content) // 2]),
        }
        damages[place]()
        damaged = part.read_bytes()
        said = repair(desk).json
        assert (desk.out / ".fluxbatch" / "quarantine" / part.name).read_bytes() == damaged
        assert table(desk.out).num_rows + len(said["gone"]) == 6
        assert verify(desk).ended(0)

    def test_a_copy_of_a_part_that_was_lost_makes_its_pictures_good_again(self, desk: Desk) -> None:
        manifest = made(desk)
        part = part_files(desk.out)[1]
        copy = desk.folder / "copy.parquet"
        shutil.move(part, copy)
        assert len(repair(desk).ended(4).json["gone"]) == 3
        shutil.copy(copy, part)
        assert repair(desk).ended(0).json["gone"] == []
        whole(desk, 6)
        told = desk.run(manifest, "--resend-lost", "5").ended(0).json
        assert (told["already"], told["requests"]) == (6, 0)
        assert desk.billed == 6 * SMALL_CENTINEURONS == centineurons(told["spent_neurons"])

    def test_a_copy_beside_what_was_saved_gives_back_the_one_that_was_not(self, desk: Desk) -> None:
        made(desk)
        part = part_files(desk.out)[0]
        copy = shutil.copy(part, desk.folder / "copy.parquet")
        flip(part, image_at(part, 2))
        assert len(repair(desk).ended(4).json["gone"]) == 1
        shutil.copy(copy, part)
        said = repair(desk).ended(0).json
        assert any("1 picture taken from it" in done for done in said["mended"])
        whole(desk, 6)

    def test_a_part_whose_pictures_are_in_the_spool_still_is_rebuilt_to_the_same_bytes(self, desk: Desk) -> None:
        made(desk)
        part = part_files(desk.out)[0]
        sound = part.read_bytes()
        dataset = Dataset.open(desk.out)
        spool = dataset.spool()
        for row in salvage(dataset, part):
            spool.put(row.row, row.key, row.attempt)
        part.write_bytes(sound[:-50])
        said = repair(desk).ended(0).json
        assert any("rebuilt from the spool with the very same bytes" in done for done in said["mended"])
        assert part.read_bytes() == sound
        whole(desk, 6)

    def test_a_lost_ledger_is_not_filled_from_a_damaged_part(self, desk: Desk) -> None:
        """A dictionary page has no checksum: a flipped charge or key would have been booked as it was read."""
        manifest = made(desk)
        part = part_files(desk.out)[0]
        flip(part, part.stat().st_size - 4000)
        shutil.rmtree(desk.ledger.parent)
        requests = desk.requests
        said = desk.run(manifest).ended(5)
        assert "verify --repair" in said.err
        assert desk.requests == requests
        status = desk.command("status", str(desk.out), "--json").ended(0).json
        assert status.get("spent_usd", "0") == "0"
        repair(desk)
        assert verify(desk).ended(0)


class TestSpoolAndCatalogue:
    def test_a_damaged_spool_file_is_set_aside_and_its_picture_told_as_gone(self, desk: Desk) -> None:
        made(desk, 3)
        dataset = Dataset.open(desk.out)
        [part] = dataset.parts
        spool = dataset.spool()
        kept = [spool.put(row.row, row.key, row.attempt) for row in salvage(dataset, dataset.path(part))]
        dataset.remove_part(part)
        dataset.path(part).unlink()
        flip(kept[0].path, 100)
        [finding] = [f for f in verify(desk).ended(1).json["findings"] if "spool" in f and "attempt" not in f]
        assert "SHA-256" in finding
        said = repair(desk).ended(4).json
        assert [one["key"] for one in said["gone"]] == [kept[0].key]
        assert kept[0].path.name in quarantined(desk)
        whole(desk, 2)

    @pytest.mark.parametrize("damage", ["header", "part", "tail", "empty", "gone", "garbage"])
    def test_a_torn_catalogue_is_written_anew_from_the_parts(self, desk: Desk, damage: str) -> None:
        manifest = made(desk)
        catalogue = desk.out / "catalogue.jsonl"
        before = catalogue.read_bytes()
        damages: dict[str, Callable[[], object]] = {
            "header": lambda: flip(catalogue, 60),
            "part": lambda: flip(catalogue, before.index(b'"part"') + 40),
            "tail": lambda: catalogue.write_bytes(before[:-9]),
            "empty": lambda: catalogue.write_bytes(b""),
            "gone": lambda: catalogue.unlink(),
            "garbage": lambda: catalogue.write_bytes(bytes(range(256)) * 3),
        }
        rows_before = table(desk.out)
        damages[damage]()
        assert "verify --repair" in verify(desk).ended(1).json["findings"][0]
        repair(desk).ended(0)
        assert table(desk.out).equals(rows_before)
        assert damage == "gone" or "catalogue.jsonl" in quarantined(desk)
        whole(desk, 6)
        told = desk.run(manifest).ended(0).json
        assert (told["already"], told["requests"]) == (6, 0)

    def test_a_catalogue_that_nobody_remembers_is_not_made_up(self, desk: Desk) -> None:
        made(desk)
        (desk.out / "catalogue.jsonl").unlink()
        shutil.rmtree(desk.ledger.parent)
        said = desk.command("verify", str(desk.out), "--repair").ended(2)
        assert "from a copy" in said.err
        assert not (desk.out / "catalogue.jsonl").exists()

    def test_damaged_failures_are_no_loss(self, desk: Desk) -> None:
        manifest = desk.manifest([{"prompt": "x [[fault:8007]]"}, *rows(2)])
        desk.run(manifest).ended(0)
        flip(desk.out / "failures.parquet", 900)
        [finding] = verify(desk).ended(1).json["findings"]
        assert "nothing in it was paid for" in finding
        desk.run(manifest).ended(0)
        whole(desk, 2)


class TestHold:
    def test_while_a_run_is_alive_nothing_is_repaired(self, desk: Desk) -> None:
        made(desk)
        part = part_files(desk.out)[0]
        flip(part, 500)
        with Dataset.open(desk.out).hold():
            assert "is working on this dataset" in repair(desk).ended(2).err
        assert part.exists()

    def test_a_folder_that_is_no_dataset(self, desk: Desk) -> None:
        assert "is no dataset" in repair(desk).ended(2).err
        assert "is no dataset" in verify(desk).ended(2).err

    def test_nothing_wrong_is_said(self, desk: Desk) -> None:
        made(desk)
        assert "nothing was wrong" in desk.command("verify", str(desk.out), "--repair").ended(0).out
