"""kill -9 of a run at its requests to the store: each kind of step, before and after it is done, also in a recovery.

The store itself kills who asks, so the code knows nothing of it. A reader polls the catalogue all the while.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fluxbatch.simulator import Simulator
from tests.crash.case import keys_of
from tests.crash.warm import Warm
from tests.e2e.e2e_kit import Desk, rows, until
from tests.soak import IS_SOAK
from tests.store.conftest import at_a_desk
from tests.store.store_case import StoreCase, StoreReader
from tests.store.store_kit import Bucket, Call, Which, a_put, a_removal

PICTURES, IN_FLIGHT, PARTS = 9, 3, 3
OpenCase = Callable[[], StoreCase]
_case = itertools.count()


def in_data(call: Call) -> bool:
    return "/data/" in call.name and a_put(".parquet")(call)


STEPS: dict[str, tuple[Which, int]] = {
    "picture put": (a_put(".row"), PICTURES),
    "part put": (in_data, PARTS),
    "entry put": (a_put(".json"), PARTS),
    "spool emptied": (a_removal(".row"), PICTURES),
}
"""A kind of request, and how often a run makes it."""
ONCE: dict[str, Which] = {
    "first catalogue put": a_put("catalogue.jsonl"),
    "report put": a_put("report.md"),
    "claim let go": lambda call: "/claims/" in call.name and call.method == "DELETE",
    "rights tried": lambda call: "/probe/" in call.name and call.method == "DELETE",
}


@pytest.fixture
def open_case(tmp_path: Path, warm: Warm, platform: Simulator, bucket: Bucket) -> Iterator[OpenCase]:
    opened: list[StoreCase] = []

    def open_one() -> StoreCase:
        until(lambda: platform.stats()["making"] == 0)
        platform.change(latency_s=0.03, latency_spread=0.2)
        platform.reset()
        desk = Desk(tmp_path, platform, environment=at_a_desk(tmp_path, bucket))
        manifest = desk.manifest(rows(PICTURES, prompt=f"stored {next(_case)}"))
        shards = ("--rows-per-shard", str(PICTURES // PARTS))
        reader = StoreReader(bucket.at("cats"))
        case = StoreCase(desk, warm, bucket, manifest, keys_of(manifest), IN_FLIGHT, shards, reader)
        opened.append(case)
        reader.start()
        return case

    yield open_one
    for case in opened:
        case.reader.stop()


def _chosen() -> list[tuple[str, str, bool]]:
    """Each kind at its first, a middle and its last time, before and after; a third of them where time is short."""
    every = list(itertools.product(STEPS, ("first", "middle", "last"), (False, True)))
    return every if IS_SOAK else every[::3]


@pytest.mark.parametrize(("step", "which", "is_done_first"), _chosen())
def test_a_run_that_is_killed_at_a_step_is_finished_by_the_next(
    open_case: OpenCase, step: str, which: str, is_done_first: bool
) -> None:
    case = open_case()
    asks, most = STEPS[step]
    case.die(asks, {"first": 1, "middle": (most + 1) // 2, "last": most}[which], is_done_first=is_done_first)
    books = case.finish()
    assert len(books.of("posted")) + len(books.lost_by_kills) == PICTURES
    assert case.reader.looks > 0


@pytest.mark.parametrize(
    ("step", "is_done_first"), list(itertools.product(ONCE, (False, True)))[:: 1 if IS_SOAK else 2]
)
def test_a_run_that_is_killed_at_its_begin_or_end_is_finished_by_the_next(
    open_case: OpenCase, step: str, is_done_first: bool
) -> None:
    case = open_case()
    case.die(ONCE[step], 1, is_done_first=is_done_first)
    assert len(case.finish().of("posted")) == PICTURES


@pytest.mark.parametrize(
    ("first", "then", "is_done_first"),
    [
        ("part put", a_put(".json"), True),
        ("entry put", a_removal(".row"), False),
    ],
)
def test_a_recovery_that_is_killed_is_finished_by_the_next(
    open_case: OpenCase, first: str, then: Which, is_done_first: bool
) -> None:
    """A part that is in place and not listed is listed; spool files that stand in a part are removed: once each."""
    case = open_case()
    case.die(STEPS[first][0], 2, is_done_first=True)
    case.die(then, 1, is_done_first=is_done_first)
    case.finish()
    case.finish_again()


@pytest.mark.parametrize("share", [number / 24 for number in range(2, 24, 1 if IS_SOAK else 7)])
def test_a_run_that_is_killed_at_any_request_is_finished_by_the_next(open_case: OpenCase, share: float) -> None:
    case = open_case()
    case.die(_ours(case), round(share * 80), is_done_first=round(share * 24) % 2 == 0)
    case.finish()


def _ours(case: StoreCase) -> Which:
    """A request of the run: the reader only asks for the catalogue and for what is listed."""
    return lambda call: call.method in ("PUT", "POST", "DELETE") or "spool" in call.name or "spool" in call.query
