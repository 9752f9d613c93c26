"""The command line on a dataset whose address is a store's: the same rows, the same money, the same sentences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.place import Place, source
from tests.e2e.e2e_kit import REPOSITORY, Desk, Said, assert_adds_up, rows
from tests.store.store_kit import KEY_ID, SECRET, Bucket, a_put, a_removal

DEMO = REPOSITORY / "prompts" / "demo.csv"
CHANGING = ("created_at", "latency_s", "request_id", "run_id")


def address(bucket: Bucket, prefix: str) -> Any:
    """As the user writes it, where a test kit says Path."""
    return str(bucket.at(prefix))


def kept(place: Place) -> pa.Table:
    dataset = Dataset.open(place)
    found = [pq.read_table(source(dataset.path(part)), partitioning=None) for part in dataset.parts]
    whole = pa.concat_tables(found).drop_columns(CHANGING).sort_by([("row", "ascending"), ("sample", "ascending")])
    return whole.replace_schema_metadata(None)


def test_the_demo_makes_the_same_rows_in_a_store_as_on_a_disk(stored: Desk, bucket: Bucket) -> None:
    one = ("--max-in-flight", "1")  # rows without a seed get another picture with each request
    there = stored.run(DEMO, *one, out=address(bucket, "demo"), budget="1").ended(0).json
    billed = stored.billed
    stored.simulator.reset()
    here = stored.run(DEMO, *one, budget="1").ended(0).json
    ours, theirs = kept(stored.out), kept(bucket.at("demo"))
    assert [name for name in ours.column_names if ours[name].to_pylist() != theirs[name].to_pylist()] == []
    assert ours.schema.equals(theirs.schema)
    assert {name: there[name] for name in ("made", "refused", "spent_usd")} == {
        name: here[name] for name in ("made", "refused", "spent_usd")
    }
    assert stored.billed == billed
    stored.command("verify", address(bucket, "demo")).ended(0)
    [failed] = pq.read_table(source(bucket.at("demo/failures.parquet"))).to_pylist()
    assert failed["failure"] == "refused"
    left = [name for name in bucket.objects("demo") if "/.fluxbatch/" in name]
    assert left == [], "the spool is empty, and no probe stayed"
    assert not [path for path in stored.folder.rglob("*") if path.name.startswith("s3:")], "a folder was made"


def test_again_pays_nothing_and_the_books_are_read_from_anywhere(stored: Desk, bucket: Bucket) -> None:
    out = address(bucket, "cats")
    manifest = stored.manifest(rows(9))
    first = stored.run(manifest, "--rows-per-shard", "3", out=out).json
    assert_adds_up(first)
    sent = stored.requests
    again = stored.run(manifest, out=out).json
    assert (again["made"], again["already"], stored.requests) == (0, first["made"], sent)
    assert again["dataset"] == out
    said = stored.command("verify", out, "--json").ended(0)
    assert said.json == {"findings": []}
    status = stored.command("status", out, "--json").ended(0).json
    assert (status["dataset"], status["pictures"], status["parts"]) == (out, first["made"], 3)
    assert "all of it fits" in stored.plan(manifest, out=out).ended(0).out
    stored.command("reconcile", out, "--offline").ended(0)
    assert {"cats/report.md", "cats/README.md"} <= bucket.objects("cats").keys()
    assert "picture" in bucket.at("cats/report.md").read_bytes().decode()


def test_a_longer_manifest_adds_what_is_new_and_a_failure_may_be_sent_again(stored: Desk, bucket: Bucket) -> None:
    out = address(bucket, "cats")
    stored.run(stored.manifest(rows(3)), out=out).ended(0)
    more = stored.run(stored.manifest(rows(5)), out=out).ended(0).json
    assert (more["already"], more["made"]) == (3, 2)
    assert len(Dataset.open(bucket.at("cats")).parts) == 2
    wrong = stored.manifest([*rows(5), {"prompt": "too large", "width": 99_999}], "wrong.csv")
    stored.run(wrong, "--skip-invalid", out=out).ended(0)
    assert pq.read_table(source(bucket.at("cats/rejected.parquet"))).num_rows == 1


def test_a_ledger_that_is_gone_is_booked_from_the_parts_in_the_store(stored: Desk, bucket: Bucket) -> None:
    out, manifest = address(bucket, "cats"), stored.manifest(rows(4))
    before = stored.run(manifest, out=out).ended(0).json
    for path in stored.ledger.parent.iterdir():
        path.unlink()
    sent = stored.requests
    after = stored.run(manifest, out=out).ended(0).json
    assert (after["spent_usd"], after["already"], stored.requests) == (before["spent_usd"], 4, sent)


def test_a_dataset_that_was_copied_into_a_store_goes_on_there(stored: Desk, bucket: Bucket) -> None:
    """With the same ledger it is the same dataset: what it has is not paid again."""
    manifest = stored.manifest(rows(4))
    stored.run(manifest).ended(0)
    for path in stored.out.rglob("*"):
        if path.is_file() and path.name != "lock":
            with bucket.files.open_output_stream(f"{bucket.name}/cats/{path.relative_to(stored.out)}") as file:
                file.write(path.read_bytes())
    more = stored.run(stored.manifest(rows(6)), out=address(bucket, "cats")).ended(0).json
    assert (more["already"], more["made"]) == (4, 2)
    stored.command("verify", address(bucket, "cats")).ended(0)
    assert kept(bucket.at("cats")).slice(0, 4).equals(kept(stored.out))


def test_a_picture_of_a_dataset_in_a_store_is_a_reference(stored: Desk, bucket: Bucket) -> None:
    stored.run(stored.manifest(rows(2)), out=address(bucket, "base")).ended(0)
    key = kept(bucket.at("base"))["key"][0].as_py()
    edits = stored.manifest(
        [{"prompt": "in winter", "input_image_0": f"dataset:{bucket.at('base')}#{key}", "steps": 25}], "edits.csv"
    )
    made = stored.run(edits, out=address(bucket, "edits")).ended(0).json
    assert made["made"] == 1
    cited = pq.read_table(source(bucket.at("edits/references.parquet")))
    assert cited["source"].to_pylist() == [f"dataset:{bucket.at('base')}#{key}"]


def test_a_repair_takes_what_is_left_of_a_damaged_part(stored: Desk, bucket: Bucket) -> None:
    out = address(bucket, "cats")
    stored.run(stored.manifest(rows(4)), out=out).ended(0)
    dataset = Dataset.open(bucket.at("cats"))
    path = dataset.path(dataset.parts[0])
    content = bytearray(path.read_bytes())
    content[len(content) // 8] ^= 0x10
    with bucket.files.open_output_stream(path.key) as file:
        file.write(bytes(content))
    assert "its SHA-256 is not the listed one" in stored.command("verify", out).ended(1).out
    said = stored.command("verify", out, "--repair").ended(4).out
    assert "3 of its 4 pictures could be read" in said
    stored.command("verify", out).ended(0)
    assert kept(bucket.at("cats")).num_rows == 3


def test_doctor_tries_the_rights_before_money_is_spent(stored: Desk, bucket: Bucket) -> None:
    out = address(bucket, "cats")
    assert f"{out} lets these keys put, list, get and delete" in _flat(stored.command("doctor", "--out", out).ended(0))
    with bucket.server.refusing(a_removal(""), 403):
        said = _flat(stored.command("doctor", "--out", out).ended(1))
    assert "cannot delete there" in said
    assert "s3:DeleteObject" in said
    nowhere = _flat(stored.command("doctor", "--out", "s3://no-such-bucket/cats").ended(1))
    assert "make the bucket, or correct the address" in nowhere


def _flat(said: Said) -> str:
    return " ".join(said.all.split())


@pytest.mark.parametrize(
    ("which", "status", "says"),
    [
        ("put", 400, "the keys have expired"),
        ("put", 401, "give it good keys"),
        ("list", 403, "allow them to put"),
        ("delete", 403, "s3:DeleteObject"),
    ],
)
def test_a_run_without_its_rights_sends_nothing_and_never_says_the_keys(
    stored: Desk, bucket: Bucket, which: str, status: int, says: str
) -> None:
    chosen = {"put": a_put(""), "list": lambda call: "list-type" in call.query, "delete": a_removal("")}[which]
    with bucket.server.refusing(chosen, status):
        said = stored.run(stored.manifest(rows(2)), out=address(bucket, "cats")).ended(5)
    assert says in said.err
    assert "Traceback" not in said.all
    assert stored.requests == 0
    assert KEY_ID not in said.all
    assert SECRET not in said.all


@pytest.mark.parametrize(
    ("ending", "status"), [(".row", 403), (".row", 503), (".parquet", 403), (".json", 503), ("report.md", 403)]
)
def test_a_store_that_fails_ends_the_spending_and_nothing_is_called_done_that_is_not(
    stored: Desk, bucket: Bucket, ending: str, status: int
) -> None:
    out, manifest = address(bucket, "cats"), stored.manifest(rows(9))
    options = ("--rows-per-shard", "3", "--max-in-flight", "2")
    in_data = a_put(ending) if ending != ".parquet" else lambda call: "/data/" in call.name and a_put(ending)(call)
    with bucket.server.refusing(in_data, status):
        failed = stored.run(manifest, *options, out=out).ended(5)
    told = failed.json
    assert told["stopped_by"] == "platform"
    assert "could not be written" in told["reason"]
    assert told["made"] + told["unknown"] + told["left"] == 9
    if ending == ".row":
        assert stored.requests <= 4, "what was in flight, and no more"
        assert told["made"] == 0
    dataset = Dataset.open(bucket.at("cats"))
    assert dataset.parts == () or ending == "report.md"
    billed = stored.billed
    healed = stored.run(manifest, *options, out=out).json
    assert_adds_up(healed)
    assert healed["already"] >= told["made"]
    assert healed["made"] + healed["already"] + healed["unknown"] == 9
    assert stored.billed - billed == 3750 * healed["made"]
    stored.command("verify", out).ended(0)


def test_what_was_made_before_a_removal_failed_is_not_sealed_twice(stored: Desk, bucket: Bucket) -> None:
    out, manifest = address(bucket, "cats"), stored.manifest(rows(6))
    with bucket.server.refusing(a_removal(".row"), 403):
        assert "could not be removed" in stored.run(manifest, out=out).ended(5).json["reason"]
    sent = stored.requests
    healed = stored.run(manifest, out=out).ended(0).json
    assert (healed["already"], healed["made"], stored.requests) == (6, 0, sent)
    assert [name for name in bucket.objects("cats") if name.endswith(".row")] == []
    stored.command("verify", out).ended(0)


def test_verify_says_that_a_store_does_not_answer_rather_than_that_a_part_is_damaged(
    stored: Desk, bucket: Bucket
) -> None:
    out = address(bucket, "cats")
    stored.run(stored.manifest(rows(2)), out=out).ended(0)
    with bucket.server.refusing(lambda call: call.is_a("GET", ".parquet"), 403):
        said = stored.command("verify", out)
    assert "could not be read" in said.all
    assert "damaged" not in said.all
    stored.command("verify", out).ended(0)
    assert len(Dataset.open(bucket.at("cats")).parts) == 1


def test_a_store_that_is_not_awss_gets_no_checksum_behind_a_body(stored: Desk, bucket: Bucket) -> None:
    """R2 and older MinIOs refuse the trailer that newer SDKs send; every file of ours has its own hash."""
    stored.run(stored.manifest(rows(2)), out=address(bucket, "cats")).ended(0)
    puts = [call for call in bucket.server.calls if call.method == "PUT"]
    assert len(puts) > 5
    assert [call for call in puts if call.has_trailer] == []


def test_keys_stand_in_no_file_of_a_run(stored: Desk, bucket: Bucket) -> None:
    said = stored.run(stored.manifest(rows(2)), out=address(bucket, "cats")).ended(0)
    contents = [bucket.at(name).read_bytes() for name in bucket.objects()]
    contents += [path.read_bytes() for path in Path(stored.folder).rglob("*") if path.is_file()]
    contents.append(json.dumps([said.out, said.err]).encode())
    assert len(contents) > 5
    for secret in (KEY_ID.encode(), SECRET.encode()):
        assert not [content for content in contents if secret in content]
