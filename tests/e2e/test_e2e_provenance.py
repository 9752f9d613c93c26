"""`--embed-provenance`: each picture says in its own bytes that a machine made it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import Any

from fluxbatch.provenance import Provenance, read
from tests.e2e.e2e_kit import Desk, rows, table


def _pictures(desk: Desk) -> list[dict[str, Any]]:
    return [row for row in table(desk.out).to_pylist() if row["image"]]


def _mark_of(row: dict[str, Any]) -> Provenance:
    return Provenance.of(row["model"], row["prompt"], row["key"], row["created_at"])


def test_every_picture_carries_its_mark_and_the_dataset_is_whole(desk: Desk) -> None:
    asked = [*rows(2), *rows(1, "]]><script>&amp;")]
    desk.run(desk.manifest(asked), "--embed-provenance").ended(0)
    found = _pictures(desk)
    assert len(found) == 3
    for row in found:
        content = row["image"]["bytes"]
        assert read(content) == _mark_of(row)
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert (row["size_bytes"], row["check"]) == (len(content), "ok")
    desk.command("verify", str(desk.out)).ended(0)


def test_exiftool_reads_it_from_the_dataset_itself(desk: Desk) -> None:
    desk.run(desk.manifest(rows(1)), "--embed-provenance").ended(0)
    (row,) = _pictures(desk)
    command = ["exiftool", "-json", "-XMP:all", "-"]
    told = json.loads(subprocess.run(command, input=row["image"]["bytes"], capture_output=True, check=True).stdout)[0]
    assert told["DigitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert (told["AISystemUsed"], told["Key"]) == (row["model"], row["key"])
    assert told["PromptSHA256"] == hashlib.sha256(row["prompt"].encode()).hexdigest()


def test_without_it_the_bytes_are_those_that_came_and_a_later_run_may_mark_its_own(desk: Desk) -> None:
    desk.run(desk.manifest(rows(1))).ended(0)
    desk.run(desk.manifest(rows(2)), "--embed-provenance").ended(0)
    before, after = _pictures(desk)
    assert read(before["image"]["bytes"]) is None
    assert read(after["image"]["bytes"]) == _mark_of(after)
    desk.command("verify", str(desk.out)).ended(0)
