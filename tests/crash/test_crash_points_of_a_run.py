"""Killed while a dataset is made, at the close of a run, and inside of each recovery of what a kill has left."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.crash.case import Case, OpenCase
from tests.crash.point_kit import PICTURES, TIMES, case_for, die, die_again_and_finish
from tests.crash.points import ANY_RECOVERY, CLOSE, CREATION, POINTS, RECOVERY
from tests.e2e.e2e_kit import rows
from tests.soak import IS_SOAK

FLIGHTS = tuple(PICTURES)
Choice = tuple[str, int, str]


def choices(points: Iterable[str]) -> list[Choice]:
    """Each point once, with another number in flight and another second kill; at all numbers, ten times, in a soak."""
    seconds = itertools.cycle(ANY_RECOVERY)
    if IS_SOAK:
        return [(point, flight, next(seconds)) for point in points for flight in FLIGHTS for _ in range(TIMES)]
    return [(point, FLIGHTS[i % 3], next(seconds)) for i, point in enumerate(points)]


@pytest.mark.parametrize(("point", "in_flight", "second"), choices(CREATION))
def test_a_kill_while_the_dataset_is_made(point: str, in_flight: int, second: str, open_case: OpenCase) -> None:
    wrong = [{"prompt": "a row that cannot be sent", "width": 300}]
    case = open_case([*rows(9), *wrong], "--skip-invalid", in_flight=in_flight, latency_s=0.02)
    die(case, point)
    assert case.desk.requests == 0, "nothing is sent before all is ready"
    die_again_and_finish(case, second)


@pytest.mark.parametrize(("point", "in_flight", "second"), choices(CLOSE))
def test_a_kill_at_the_close(point: str, in_flight: int, second: str, open_case: OpenCase) -> None:
    refused = [{"prompt": "x [[fault:8007]]"}]
    case = open_case([*rows(9), *refused], "--rows-per-shard", "4", in_flight=in_flight, latency_s=0.02)
    die(case, point)
    die_again_and_finish(case, second)
    assert case.told["refused"] == 1
    assert (case.desk.out / "failures.parquet").exists()
    assert (case.desk.out / "report.md").exists()
    assert case.before.of("unknown") == set(), "all answers were in"


def _half_a_spool_file(case: Case) -> None:
    die(case, "spool file half written", case.in_flight)
    for folder in (case.desk.out, case.desk.out / "data"):
        (folder / ".of-another-life.1-00-0.tmp").write_bytes(b"half")


def _unlisted_part(case: Case) -> None:
    die(case, "part in place, not listed", 2)


def _sealed_and_in_the_spool(case: Case) -> None:
    die(case, "listed, spool not emptied", 2)


def _lost_ledger(case: Case) -> None:
    """A dataset of three parts that is whole, and a manifest that has grown since; the ledger is gone."""
    lines = case.manifest.read_text().splitlines(keepends=True)
    first = case.manifest.with_name("first.csv")
    first.write_text("".join(lines[: 1 + len(case.keys) * 2 // 3]))
    run = case.start(manifest=first)
    assert run.wait() == 0, run.err
    shutil.rmtree(case.desk.ledger.parent)
    case.is_ledger_lost = True


def _many_in_the_spool(case: Case) -> None:
    die(case, "booked, not sealed", len(case.keys) // 3 - 1)


def _many_lost(case: Case) -> None:
    die(case, "request out, answer not in", min(len(case.keys), case.in_flight))


def _damaged_spool_file(case: Case) -> None:
    die(case, "booked, not sealed")
    strange = case.desk.out / ".fluxbatch" / "spool" / f"{'f' * 64}-0001.row"
    strange.write_bytes(b"what a disk made of a picture")
    case.pictures.damaged.add(strange)


SCENES: dict[str, tuple[Callable[[Case], None], int]] = {
    "leftovers half removed": (_half_a_spool_file, 2),
    "unlisted part verified": (_unlisted_part, 1),
    "recovered part's line half written": (_unlisted_part, 1),
    "recovered part's line not in place": (_unlisted_part, 1),
    "recovered part listed": (_unlisted_part, 1),
    "sealed spool files half removed": (_sealed_and_in_the_spool, 2),
    "sealed spool files removed": (_sealed_and_in_the_spool, 1),
    "part of a lost ledger half booked": (_lost_ledger, 4),
    "part of a lost ledger booked, not committed": (_lost_ledger, 2),
    "between two parts of a lost ledger": (_lost_ledger, 2),
    "spool half adopted": (_many_in_the_spool, 2),
    "lost half counted": (_many_lost, 2),
    "damaged file explained, not moved": (_damaged_spool_file, 1),
    "damaged file moved": (_damaged_spool_file, 1),
}
"""What there is to recover, and at which passing it is killed."""


@pytest.mark.parametrize(("point", "in_flight", "second"), choices(RECOVERY))
def test_a_kill_inside_of_a_recovery(point: str, in_flight: int, second: str, open_case: OpenCase) -> None:
    prepare, passing = SCENES[point]
    case = case_for(open_case, max(in_flight, 8) if prepare is _many_lost else in_flight)
    prepare(case)
    die(case, point, passing)
    die_again_and_finish(case, second)
    if prepare is _damaged_spool_file:
        kept = [path for path in (case.desk.out / ".fluxbatch" / "quarantine").iterdir() if path.suffix != ".reason"]
        assert [path.read_bytes() for path in kept] == [b"what a disk made of a picture"]
        assert all(Path(f"{path}.reason").exists() for path in kept), "no file lies there unexplained"


def test_every_point_is_tried() -> None:
    assert set(SCENES) == set(RECOVERY)
    assert len(POINTS) > 50
