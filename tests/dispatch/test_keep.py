"""Answers to outcomes, and pictures to a real spool."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fluxbatch.budget.entries import AttemptId
from fluxbatch.cloudflare.outcome import Broken, Delivered, Failed, Fatal, Lost, NotSent, Refused, Reply, Throttled
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.verify import verify_dataset
from fluxbatch.dispatch.keep import Keeper, look
from fluxbatch.errors import StorageError
from fluxbatch.models.money import Money, charge
from fluxbatch.provenance import Provenance, read
from tests.dataset.dataset_kit import NO_COLUMNS, again, jpeg
from tests.dispatch.dispatch_kit import (
    BAD_TOKEN,
    INTERNAL,
    LOST,
    NOT_SENT,
    REFUSED,
    ROOM,
    picture,
    request,
)

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
ONE = request(1, 64, 48)


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    dataset = Dataset.create(tmp_path / "pictures", NO_COLUMNS, simulated=True)
    return Keeper(dataset.spool(), NO_COLUMNS, "run-1")


def keep(keeper: Keeper, reply: Reply | Broken, number: int = 1):
    return keeper.keep(ONE, AttemptId("d1", ONE.key, number), reply, AT)


def test_a_picture_is_in_the_spool_with_all_that_is_known_of_it(keeper: Keeper):
    answer = keep(keeper, picture("206.06", jpeg(), **{"cf-ai-req-id": "req-9"}), number=3)
    assert isinstance(answer.outcome, Delivered)
    assert answer.actual == charge(20_606)
    assert answer.kept is not None
    assert [entry.key for entry in keeper.spool.entries()] == [ONE.key]
    row = keeper.spool.load(answer.kept).to_pylist()[0]
    assert row["image"] == {"bytes": jpeg(), "path": f"{ONE.key}.jpg"}
    assert (row["attempts"], row["run_id"], row["request_id"], row["created_at"]) == (3, "run-1", "req-9", AT)
    assert (row["prompt"], row["usd"]) == ("picture 1", answer.actual.usd)
    assert (answer.kept.key, answer.kept.attempt, answer.kept.actual) == (ONE.key, 3, answer.actual)


def test_what_is_marked_is_the_picture_from_then_on(keeper: Keeper):
    answer = keep(replace(keeper, marks=True), picture("206.06", jpeg()))
    assert isinstance(answer.outcome, Delivered)
    assert answer.kept is not None
    kept = keeper.spool.load(answer.kept).to_pylist()[0]["image"]["bytes"]
    assert kept != jpeg()
    assert kept == answer.outcome.content, "what is looked at is what is kept"
    assert read(kept) == Provenance.of(ONE.model.id, ONE.prompt, ONE.key, AT)


def test_a_picture_that_cannot_be_marked_is_kept_as_it_came_and_that_is_told(
    keeper: Keeper, caplog: pytest.LogCaptureFixture
):
    answer = keep(replace(keeper, marks=True), picture("9.38", jpeg()[:100]))
    assert answer.kept is not None
    assert keeper.spool.load(answer.kept).to_pylist()[0]["image"]["bytes"] == jpeg()[:100]
    assert [record.message for record in caplog.records] == [
        f"picture {ONE.key} has no mark of its provenance: it is damaged (no encoder builds such a JPEG)"
    ]


def test_a_marked_picture_that_its_run_left_in_the_spool_is_sealed_as_it_lies_there(keeper: Keeper, tmp_path: Path):
    keep(replace(keeper, marks=True), picture("206.06", jpeg()))
    dataset, found = again(Dataset.open(tmp_path / "pictures"))
    seal(dataset, dataset.spool(), found.adoptable, run_id="run-2", sealed_at="2026-11-23T00:00:00+00:00")
    assert verify_dataset(dataset) == []
    (row,) = dataset.to_pandas().to_dict("records")
    assert row["sha256"] == hashlib.sha256(row["image"]["bytes"]).hexdigest()
    assert row["size_bytes"] == len(row["image"]["bytes"])
    assert read(row["image"]["bytes"]) == Provenance.of(row["model"], row["prompt"], row["key"], row["created_at"])


def test_without_a_charge_the_bound_is_what_it_cost(keeper: Keeper):
    answer = keep(keeper, picture(None, jpeg()))
    assert answer.actual == ONE.quote.bound
    assert answer.kept is not None
    assert answer.kept.actual == ONE.quote.bound


@pytest.mark.parametrize(
    ("content", "check"),
    [(jpeg(80, 48), "wrong_size"), (b"\xff\xd8\xff and then nothing", "undecodable")],
    ids=["wrong size", "undecodable"],
)
def test_a_picture_that_looks_wrong_was_paid_for_and_is_kept(keeper: Keeper, content: bytes, check: str):
    answer = keep(keeper, picture("9.38", content))
    assert answer.kept is not None
    row = keeper.spool.load(answer.kept).to_pylist()[0]
    assert (row["image"]["bytes"], row["check"]) == (content, None)
    seen = look(answer.kept, content, ONE)
    assert seen.picture is not None
    assert (seen.picture.check, seen) == (check, answer.kept)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (ROOM, Throttled),
        (INTERNAL, Failed),
        (REFUSED, Refused),
        (BAD_TOKEN, Fatal),
        (LOST, Lost),
        (NOT_SENT, NotSent),
        (picture("1.00", b"no picture at all"), Failed),
    ],
    ids=["room", "internal", "refused", "token", "lost", "not sent", "no picture"],
)
def test_what_is_no_picture_leaves_nothing_on_the_disk_and_no_charge(keeper: Keeper, reply: Reply, kind: type):
    answer = keep(keeper, reply)
    assert isinstance(answer.outcome, kind)
    assert (answer.kept, answer.actual) == (None, Money())
    assert list(keeper.spool.folder.iterdir()) == []


def test_a_disk_that_does_not_take_the_picture_is_an_error_not_an_outcome(keeper: Keeper):
    keeper.spool.folder.rmdir()
    with pytest.raises(StorageError):
        keep(keeper, picture("9.38", jpeg()))
