"""References at addresses, from the command and from a run: off, allowed, fetched, kept, sent, and never told whole."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from fluxbatch.errors import ManifestError
from fluxbatch.foreground import run_in_foreground
from fluxbatch.job import Job
from fluxbatch.manifest.connect import Wire
from fluxbatch.prepare import look_ahead
from fluxbatch.settings import load_settings
from tests.e2e.e2e_kit import Desk, placed, rows, table
from tests.manifest.fetch_kit import (
    HOST,
    OTHER,
    PUBLIC,
    Answer,
    Names,
    PictureHost,
    Roads,
    good_tls,
    picture_host,
    said,
    wire,
)
from tests.manifest.manifest_kit import picture

SECRET = "X-Amz-Signature=canaryOfAnAddress"
PNG = picture(64, 48)
WIDE = picture(1000, 500, "JPEG")


def of(path: str, host: str = HOST, query: str = SECRET) -> str:
    return f"https://{host}/{path}?{query}"


class Traveller:
    """A user whose runs go out through an internet of the test's: the command itself has no way to do that."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.roads = Roads()
        self.way: Wire = wire(self.roads)
        self.told = io.StringIO()

    def job(self, manifest: Path, budget: int = 5, **options: object) -> Job:
        settings = load_settings(**({"allow_hosts": (HOST, OTHER)} | options))  # type: ignore[arg-type]
        return Job(manifest, self.desk.out, budget * 10**9, settings, wire=self.way)

    def run(self, manifest: Path, **options: object) -> int:
        with placed(self.desk.folder, self.desk.variables()):
            job = self.job(manifest, **options)
            console = Console(file=self.told, width=200)
            return run_in_foreground(job, console, as_json=False, command="fluxbatch run")


@pytest.fixture
def traveller(desk: Desk) -> Traveller:
    return Traveller(desk)


@contextmanager
def serving(traveller: Traveller, answers: Mapping[str, Answer | list[Answer]]) -> Iterator[PictureHost]:
    with picture_host(answers, good_tls()) as host:
        traveller.roads.port = host.port
        yield host
    traveller.roads.port = None


def edits(desk: Desk, *addresses: str) -> Path:
    return desk.manifest([row | {"input_image_0": at} for row, at in zip(rows(len(addresses)), addresses, strict=True)])


def test_addresses_are_off_and_every_host_to_allow_is_said_at_once(desk: Desk) -> None:
    manifest = edits(desk, of("a.png"), of("b.png"), of("c.png", OTHER), of("d.png", "third.example:8443"))
    for said_ in (desk.run(manifest), desk.plan(manifest)):
        said_.ended(2)
        allowing = f"--allow-host {HOST} --allow-host {OTHER} --allow-host third.example:8443"
        assert allowing in said_.all
        assert "5 complaints" in said_.all
        assert "canary" not in said_.all
    assert not desk.out.exists()
    assert desk.requests == 0


def test_one_host_is_said_in_its_row(desk: Desk) -> None:
    said_ = desk.plan(edits(desk, of("a.png"))).ended(2)
    assert "1 complaint" in said_.all
    assert f"allow it with --allow-host {HOST}" in said_.all


@pytest.mark.parametrize(
    "entry", ["*", "*.com", "127.0.0.1", "[::1]", "localhost", "https://images.example.com", "", "a b"]
)
def test_a_host_that_cannot_be_allowed_is_refused_with_the_way_to_write_it(desk: Desk, entry: str) -> None:
    said_ = desk.plan(edits(desk, of("a.png")), "--allow-host", entry).ended(2)
    assert "--allow-host" in said_.err
    assert "Traceback" not in said_.all


def test_all_hosts_that_cannot_be_allowed_are_told_at_once(desk: Desk) -> None:
    said_ = desk.plan(edits(desk, of("a.png")), "--allow-host", "*.com", "--allow-host", "10.0.0.1").ended(2)
    assert "*.com" in said_.err
    assert "10.0.0.1" in said_.err


def test_the_command_hears_the_environment_unless_an_option_says_otherwise(desk: Desk) -> None:
    desk.environment["FLUXBATCH_ALLOW_HOSTS"] = "good.example.com, *.com"
    assert "*.com" in desk.plan(edits(desk, of("a.png"))).ended(2).err
    assert f"--allow-host {HOST}" in desk.plan(edits(desk, of("a.png")), "--allow-host", OTHER).ended(2).out


def test_hosts_are_allowed_by_the_environment_and_by_a_file_too(traveller: Traveller) -> None:
    desk = traveller.desk
    manifest = edits(desk, of("a.png"), of("b.jpg", "x.cdn.example.net"))
    traveller.way = wire(traveller.roads, Names({"*": [[PUBLIC]]}))
    listed = f"{HOST}, *.cdn.example.net,"
    with serving(traveller, {"/a.png": said(PNG), "/b.jpg": said(WIDE)}):
        with pytest.raises(ManifestError, match="3 complaints"):
            traveller.run(manifest, allow_hosts=None)
        desk.environment["FLUXBATCH_ALLOW_HOSTS"] = listed
        assert traveller.run(manifest, allow_hosts=None) == 0
        with pytest.raises(ManifestError, match="3 complaints"):  # an option is stronger, though all is kept by now
            traveller.run(manifest, allow_hosts=("other.example",))
        del desk.environment["FLUXBATCH_ALLOW_HOSTS"]
        (desk.folder / ".env").write_text(f"FLUXBATCH_ALLOW_HOSTS={listed}\n")
        assert traveller.run(manifest, allow_hosts=None) == 0
    assert desk.requests == 2


def test_a_picture_at_an_address_is_fetched_once_fitted_and_sent(traveller: Traveller) -> None:
    desk = traveller.desk
    manifest = edits(desk, of("a.png"), of("b.jpg", OTHER), of("a.png"))
    with serving(traveller, {"/a.png": said(PNG), "/b.jpg": said(WIDE)}) as host:
        assert traveller.run(manifest) == 0, traveller.told.getvalue()
    assert sorted(host.paths()) == [f"/a.png?{SECRET}", f"/b.jpg?{SECRET}"]
    made = table(desk.out)
    assert made.num_rows == 3
    assert len(set(made["key"].to_pylist())) == 3
    first, second, third = (
        row[0]
        for row in sorted(
            zip(made["references"].to_pylist(), made["row"].to_pylist(), strict=True), key=lambda pair: pair[1]
        )
    )
    assert first == third != second
    assert desk.requests == 3
    # A tile of output at 256x256 is a quarter, and each reference one input tile: 4 x (37.5 / 4 + 18.75).
    assert desk.billed == 3 * 11250


def test_the_second_run_makes_no_connection_and_buys_nothing(traveller: Traveller) -> None:
    desk = traveller.desk
    manifest = edits(desk, of("a.png"), of("b.jpg", OTHER))
    with serving(traveller, {"/a.png": said(PNG), "/b.jpg": said(WIDE)}):
        assert traveller.run(manifest) == 0
    bill, connections = desk.billed, list(traveller.roads.asked)
    assert traveller.run(manifest) == 0
    assert (desk.billed, traveller.roads.asked) == (bill, connections)


def test_a_plan_fetches_and_the_run_after_it_does_not(traveller: Traveller) -> None:
    desk = traveller.desk
    manifest = edits(desk, of("a.png"))
    with serving(traveller, {"/a.png": said(PNG)}) as host, placed(desk.folder, desk.variables()):
        plan, _ = look_ahead(traveller.job(manifest))
        assert (plan.asked, plan.due, plan.complaint_count) == (1, 1, 0)
        assert len(host.heard) == 1
    assert desk.requests == 0
    assert traveller.run(manifest) == 0
    assert desk.requests == 1
    assert len(traveller.roads.asked) == 1


def test_a_picture_that_changed_is_bought_again_only_when_asked_to_look(traveller: Traveller) -> None:
    desk = traveller.desk
    manifest = edits(desk, of("a.png"))
    with serving(traveller, {"/a.png": [said(PNG), said(WIDE)]}):
        assert traveller.run(manifest) == 0
        assert traveller.run(manifest) == 0
        assert desk.requests == 1
        assert traveller.run(manifest, refetch=True) == 0
    assert desk.requests == 2
    assert len(traveller.roads.asked) == 2
    assert traveller.run(manifest) == 0
    assert desk.requests == 2


def test_what_cannot_be_fetched_stops_the_run_before_it_spends_or_is_skipped(traveller: Traveller) -> None:
    desk = traveller.desk
    manifest = edits(desk, of("a.png"), of("gone.png"), of("page.html"))
    answers = {"/a.png": said(PNG), "/page.html": said(b"<html>sign in</html>")}
    with serving(traveller, answers):
        with pytest.raises(ManifestError) as failure:
            traveller.run(manifest)
        told = "\n".join(map(str, failure.value.complaints))
        assert "row 2" in told
        assert "no such picture" in told
        assert "row 3" in told
        assert "a page or a text" in told
        assert desk.requests == 0
        assert traveller.run(manifest, skip_invalid=True) == 0
    assert desk.requests == 1
    rejected = pq.read_table(desk.out / "rejected.parquet").to_pylist()
    assert [row["row"] for row in rejected] == [2, 3]
    assert rejected[0]["input_image_0"] == f"https://{HOST}/gone.png?…"


def test_a_redirect_a_rebinding_name_and_a_private_one_cost_nothing_and_reach_nobody(traveller: Traveller) -> None:
    desk = traveller.desk
    names = Names({HOST: [[PUBLIC], ["127.0.0.1"]], OTHER: [["10.0.0.7", PUBLIC]]})
    traveller.way = wire(traveller.roads, names)
    manifest = edits(desk, of("moved.png"), of("again.png", OTHER))
    moved = said(b"", "302 Found", ["Location: http://169.254.169.254/latest/meta-data/"])
    with serving(traveller, {"/moved.png": moved}), pytest.raises(ManifestError) as failure:
        traveller.run(manifest)
    told = "\n".join(map(str, failure.value.complaints))
    assert "a redirect (HTTP 302) to http://169.254.169.254/latest/meta-data/" in told
    assert "leads to 10.0.0.7, which is a private network" in told
    assert traveller.roads.asked == [(PUBLIC, 443)]
    assert desk.requests == 0


def test_the_signature_of_an_address_is_kept_nowhere(traveller: Traveller) -> None:
    desk = traveller.desk
    manifest = edits(desk, of("a.png"), of("b.jpg", OTHER), of("gone.png"))
    with serving(traveller, {"/a.png": said(PNG), "/b.jpg": said(WIDE)}):
        assert traveller.run(manifest, skip_invalid=True) == 0
    assert "canaryOfAnAddress" not in traveller.told.getvalue()
    files = [path for path in desk.folder.rglob("*") if path.is_file() and path != manifest]
    assert {"rejected.parquet", "ledger.sqlite3", "references.parquet"} <= {path.name for path in files}
    for path in files:
        assert b"canaryOfAnAddress" not in path.read_bytes(), path
        if path.suffix == ".parquet":  # compressed pages hide what they hold
            assert "canaryOfAnAddress" not in json.dumps(
                pq.read_table(path, partitioning=None).to_pylist(), default=str
            )


def test_what_is_sent_is_the_fitted_picture_of_the_address(traveller: Traveller) -> None:
    desk = traveller.desk
    with serving(traveller, {"/b.jpg": said(WIDE)}):
        assert traveller.run(edits(desk, of("b.jpg"))) == 0
    [kept] = [path for path in (desk.out / "references").iterdir() if path.is_file()]
    assert kept.read_bytes() == WIDE
    cited = pq.read_table(desk.out / "references.parquet").to_pylist()
    assert [(row["sha256"], row["source"]) for row in cited] == [(kept.name, f"https://{HOST}/b.jpg?…")]
    assert cited[0]["sent_width"] < 512
