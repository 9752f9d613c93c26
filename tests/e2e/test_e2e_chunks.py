"""A batch in chunks, each a run of its own: one dataset, one budget, and nothing paid twice whatever dies."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fluxbatch import chunked
from fluxbatch.budget import lease
from fluxbatch.budget.here import Here
from fluxbatch.chunked import Ends, again, cut, joined, sign_of
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.chunks import chunks_of
from fluxbatch.dispatch.stop import Stop, StoppedBy
from fluxbatch.errors import DatasetInUse, UsageError
from fluxbatch.job import Chunk, Job
from fluxbatch.models.money import parse_usd
from fluxbatch.prepare import Prepared, prepared
from fluxbatch.settings import load_settings
from fluxbatch.summary import Summary
from tests.e2e.e2e_kit import SMALL_CENTINEURONS, Desk, failures, part_files, placed, rows, table, until

CHUNK = """
import json, sys
from pathlib import Path
from fluxbatch.chunked import made
from fluxbatch.job import Chunk, Job
from fluxbatch.models.money import parse_usd
from fluxbatch.settings import load_settings
manifest, out, budget, chunk = sys.argv[1:]
made(Job(Path(manifest), Path(out), parse_usd(budget), load_settings()), Chunk(**json.loads(chunk)))
"""


def job_of(manifest: Path, out: Path, budget: str = "5", **settings: object) -> Job:
    return Job(manifest, out, parse_usd(budget), load_settings(**settings))


@contextmanager
def begun(desk: Desk, job: Job, count: int) -> Iterator[tuple[Prepared, list[Chunk]]]:
    """The batch, held by this process, and its chunks."""
    with placed(desk.folder, desk.variables()), prepared(job) as ready:
        yield ready, cut(ready, count)


def made(job: Job, chunks: Sequence[Chunk]) -> list[Summary]:
    return [chunked.made(job, chunk) for chunk in chunks]


def ended(summaries: Sequence[Summary], lost: Sequence[str] = ()) -> Ends:
    return Ends([summary.to_dict() for summary in summaries], list(lost))


def spans(chunks: Sequence[Chunk]) -> list[tuple[int, int]]:
    return [(chunk.first_row, chunk.last_row) for chunk in chunks]


def start(desk: Desk, manifest: Path, chunk: Chunk) -> subprocess.Popen[str]:
    """The chunk's run as a process of its own."""
    return desk.start_code(CHUNK, str(manifest), str(desk.out), "5", json.dumps(asdict(chunk)))


def test_the_chunks_of_a_batch_become_one_dataset_in_the_order_of_the_manifest(desk: Desk):
    manifest = desk.manifest(rows(22))
    with placed(desk.folder, desk.variables()):
        job = job_of(manifest, desk.out)
    with begun(desk, job, 4) as (ready, chunks):
        assert spans(chunks) == [(1, 6), (7, 11), (12, 17), (18, 22)]
        summary = joined(ready, ended(made(job, chunks)), Stop())
    assert (summary.asked, summary.made, summary.left, summary.exit_code) == (22, 22, 0, 0)
    assert summary.spent.centineurons == desk.billed == 22 * SMALL_CENTINEURONS
    assert table(desk.out)["row"].to_pylist() == list(range(1, 23))
    assert len(part_files(desk.out)) == 4
    assert (desk.out / "report.md").read_text().count("22") >= 2
    assert "22 pictures" in (desk.out / "README.md").read_text()
    assert chunks_of(Dataset.open(desk.out)) == []
    assert desk.command("verify", str(desk.out)).code == 0
    again_ = desk.run(manifest).ended(0).json
    assert (again_["already"], again_["requests"], desk.requests) == (22, 0, 22)


def test_a_cut_counts_what_is_due_and_never_splits_a_row(desk: Desk):
    first = desk.manifest(rows(30))
    desk.run(first, "--limit", "10").ended(0)
    with placed(desk.folder, desk.variables()):
        job = job_of(first, desk.out)
    with begun(desk, job, 4) as (_, chunks):
        assert spans(chunks) == [(1, 15), (16, 20), (21, 25), (26, 30)]  # five due pictures each
    with begun(desk, job, 50) as (_, chunks):
        assert len(chunks) == 20
        assert all(last - first < 11 for first, last in spans(chunks))
    several = desk.manifest(rows(3, samples=5), "several.csv")
    with placed(desk.folder, desk.variables()):
        job = job_of(several, desk.folder / "several")
    with begun(desk, job, 15) as (_, chunks):
        assert spans(chunks) == [(1, 1), (2, 2), (3, 3)]


def test_refused_rows_of_all_chunks_stand_in_one_file(desk: Desk):
    desk.simulator.change(faults={"8007": 0.4})
    manifest = desk.manifest(rows(30))
    with placed(desk.folder, desk.variables()):
        job = job_of(manifest, desk.out)
    with begun(desk, job, 3) as (ready, chunks):
        summary = joined(ready, ended(made(job, chunks)), Stop())
    assert summary.made + summary.refused == 30
    assert 0 < summary.refused == len(failures(desk.out))
    numbers = [int(name.rpartition("-")[2]) // 10 for name in failures(desk.out)]
    assert numbers == sorted(numbers)  # one chunk after the other
    together = failures(desk.out)
    with begun(desk, job, 3) as (ready, chunks):
        assert chunks == []
    assert desk.run(manifest).ended(0).json["refused"] == summary.refused
    assert failures(desk.out) == together, "as one run writes it"


def test_all_chunks_share_one_budget_to_the_nano_dollar(desk: Desk):
    manifest = desk.manifest(rows(40))
    with placed(desk.folder, desk.variables()):
        job = job_of(manifest, desk.out, "0.0068", max_in_flight=2)
    with begun(desk, job, 4) as (ready, chunks):
        summary = joined(ready, ended(made(job, chunks)), Stop())
    assert summary.stopped_by is StoppedBy.BUDGET
    assert summary.exit_code == 3
    assert summary.spent.nano_usd <= 6_800_000 < summary.spent.nano_usd + 2 * 1_650_000
    assert summary.left == 40 - summary.made > 0


@pytest.mark.parametrize("after", ["spooled", "sealed"])
def test_a_chunk_that_was_killed_is_begun_again_and_pays_for_nothing_twice(desk: Desk, after: str):
    desk.simulator.change(latency_s=0.1)
    desk.environment |= {"FLUXBATCH_MAX_IN_FLIGHT": "4", "FLUXBATCH_ROWS_PER_SHARD": "4" if after == "sealed" else "99"}
    manifest = desk.manifest(rows(40))
    with placed(desk.folder, desk.variables()):
        job = job_of(manifest, desk.out)
    with begun(desk, job, 2) as (ready, [first, second]):
        process = start(desk, manifest, first)
        room = desk.out / ".fluxbatch" / "chunks" / first.name
        inner = room / "data" if after == "sealed" else room / ".fluxbatch" / "spool"
        until(lambda: inner.is_dir() and any(inner.glob("[!.]*")))
        process.send_signal(signal.SIGKILL)
        process.wait()
        sign = sign_of(ready, first)
        assert (sign.summary, sign.has_begun) == (None, True)
        summaries = [*made(job, [second]), *made(job, [again(first, 2)])]
        summary = joined(ready, ended(summaries), Stop())
    lost = 20 - summaries[1].made - summaries[1].already
    assert 0 <= lost <= 4
    assert summary.made == 40 - lost
    assert summaries[1].already > 0
    assert Counter(table(desk.out)["key"].to_pylist()).most_common(1)[0][1] == 1
    asked = Counter(desk.simulator.stats()["prompts"])
    assert (len(asked) >= 40 - lost, max(asked.values())) == (True, 1), "no picture was asked for twice"
    assert summary.unknown_charges.centineurons <= 4 * 15_000
    assert desk.command("verify", str(desk.out)).code == 0


def test_a_batch_that_died_with_its_chunks_is_taken_in_by_the_next_run_of_any_kind(desk: Desk):
    desk.simulator.change(latency_s=0.1)
    desk.environment |= {"FLUXBATCH_MAX_IN_FLIGHT": "2"}
    manifest = desk.manifest(rows(30))
    with placed(desk.folder, desk.variables()):
        job = job_of(manifest, desk.out)
    with begun(desk, job, 3) as (_, chunks):
        made(job, chunks[:1])
        process = start(desk, manifest, chunks[1])
        spool = desk.out / ".fluxbatch" / "chunks" / chunks[1].name / ".fluxbatch" / "spool"
        until(lambda: spool.is_dir() and any(spool.glob("[!.]*")))
        process.kill()
        process.wait()
    assert not part_files(desk.out)
    told = desk.command("verify", str(desk.out))
    assert told.code == 1
    assert "chunk 0001" in told.out
    assert "run it again" in told.out
    end = desk.run(manifest).json
    assert end["already"] >= 11
    assert end["asked"] - end["already"] - end["made"] == end["unknown"] <= 2
    assert table(desk.out).num_rows == end["already"] + end["made"]
    assert desk.command("verify", str(desk.out)).code == 0


def test_what_a_run_that_was_taken_for_dead_puts_there_later_is_found_by_the_next(desk: Desk):
    manifest = desk.manifest(rows(6))
    with placed(desk.folder, desk.variables()):
        job = job_of(manifest, desk.out)
    with begun(desk, job, 2) as (ready, chunks):
        summaries = made(job, chunks)
        room = Dataset.open(desk.out).chunk(chunks[0].name)
        part = room.path(room.parts[0])
        late = desk.folder / "late.parquet"
        shutil.copy(part, late)
        joined(ready, ended(summaries), Stop())
    late.rename(part)  # it wakes up and ends what it was at
    before = part_files(desk.out)
    assert desk.run(manifest).ended(0).json["already"] == 6
    assert (part_files(desk.out), part.exists()) == (before, False)


def test_a_chunk_is_made_by_one_run_at_a_time_and_only_while_its_batch_lasts(desk: Desk):
    manifest = desk.manifest(rows(8))
    with placed(desk.folder, desk.variables()):
        job = job_of(manifest, desk.out)
    with begun(desk, job, 2) as (ready, [first, second]):
        with prepared(replace(job, chunk=first)), pytest.raises(DatasetInUse):
            made(job, [again(first, 2)])
        with pytest.raises(DatasetInUse), prepared(job):
            pass  # the whole manifest, meanwhile
        with prepared(replace(job, chunk=first)):
            summary = joined(ready, ended(made(job, [second])), Stop())
    assert "still at work" in str(summary.reason)
    with placed(desk.folder, desk.variables()), pytest.raises(UsageError, match=r"has ended.*begin the batch again"):
        made(job, [second])
    assert desk.run(manifest).ended(0).json["already"] == 4


def test_a_silent_run_of_a_chunk_on_another_machine_is_pushed_out_by_the_next_one_of_its_seat(desk: Desk):
    manifest = desk.manifest(rows(8))
    with placed(desk.folder, desk.variables()):
        job = job_of(manifest, desk.out)
    with begun(desk, job, 2) as (ready, [first, second]):
        elsewhere = Here("far-away", 7, "another boot", "1 1")

        def sit(chunk: Chunk, length_s: float) -> None:
            with ready.store.transaction() as tx:
                took = {"holder": chunk.batch, "seat": chunk.name}
                assert isinstance(lease.take(tx, ready.dataset.id, chunk.run, elsewhere, length_s, **took), lease.Taken)

        sit(first, 0.0)
        sit(second, 90.0)
        assert (sign_of(ready, first).is_silent, sign_of(ready, second).is_silent) == (True, False)
        made(job, [again(first, 2)])
        with pytest.raises(DatasetInUse, match="far-away"):
            made(job, [again(second, 2)])
        with ready.store.reading() as tx:
            assert [one.run for one in lease.leases_of(tx, ready.dataset.id)] == [ready.run, second.run]
        assert "still at work" in str(joined(ready, ended([]), Stop()).reason)


@pytest.mark.parametrize("given", [{"limit": 3}, {"sample": 3}, {"on_budget": "spread"}])
def test_what_needs_the_whole_manifest_is_refused(desk: Desk, given: dict[str, object]):
    with placed(desk.folder, desk.variables()):
        job = job_of(desk.manifest(rows(3)), desk.out, **given)
    with pytest.raises(UsageError, match="exclude each other"):
        chunked.check(job, 2)


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_a_count_beyond_reason_is_refused(desk: Desk, count: int):
    with placed(desk.folder, desk.variables()):
        job = job_of(desk.manifest(rows(3)), desk.out)
    with pytest.raises(UsageError, match="not from 1 to 1,000"):
        chunked.check(job, count)
