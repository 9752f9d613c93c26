"""A seed played: the real program, life after life, in one world; then what it has shown."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import IO, Any

from pydantic import SecretStr

from fluxbatch.batch import Batch
from fluxbatch.budget import here
from fluxbatch.budget.caps import set_cap
from fluxbatch.budget.entries import Period
from fluxbatch.budget.store import Store
from fluxbatch.budget.tables import metadata, schema_version
from fluxbatch.cloudflare.outcome import Broken, Delivered, Refused, Reply, Throttled, read_outcome
from fluxbatch.dataset import files
from fluxbatch.dispatch.stop import StoppedBy
from fluxbatch.errors import FluxbatchError
from fluxbatch.job import Job
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.models.catalogue import Model
from fluxbatch.prepare import Prepared, prepared
from fluxbatch.run import World as Parts
from fluxbatch.run import batch_in, drive
from fluxbatch.settings import Settings
from fluxbatch.summary import Summary
from tests.power import disk
from tests.power.tap import Tap, tap
from tests.simulation import checks
from tests.simulation.pool import Pool
from tests.simulation.scenario import MODELS, Ending, Life, Scenario, scenario_of
from tests.simulation.virtual_journal import VirtualJournal, WorldStore
from tests.simulation.world import World

ACCOUNT = "a" * 32


@dataclass(frozen=True, slots=True)
class SimulatedJob(Job):
    """A job whose ledger the world can break."""

    world: World | None = None

    def open_store(self) -> Store:
        assert self.world is not None
        return WorldStore(ledger_file(), self.world)


@dataclass(slots=True)
class Lives:
    """The places where a seed is played, and what stands over several lives."""

    world: World
    folder: Path
    prompts: dict[str, str] = field(default_factory=dict)
    """Of all pictures that were ever asked for, by key."""
    asked: dict[str, str] = field(default_factory=dict)
    """Of those that this life asks for."""
    most_lost: int | None = None
    """How many answers the life before may have lost; None when it ended by itself."""
    tap: Tap | None = None
    seen: dict[str, checks.Rows] = field(default_factory=dict)
    """What stands in the parts, by the part's hash."""
    run: str = ""
    """Of the life that was the last to get as far as a plan."""
    batch: Batch | None = None
    main: asyncio.Task[Summary | None] | None = None

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    @property
    def out(self) -> Path:
        return self.disk / "out"

    def job(self, life: Life) -> Job:
        settings = Settings(
            _env_file=None,  # type: ignore[call-arg]
            account_id=ACCOUNT,
            api_token=SecretStr("no-token"),
            ledger=ledger_file().url,
            width=256,
            height=256,
            steps=1,
            rate=life.rate,
            max_in_flight=life.max_in_flight,
            rows_per_shard=life.rows_per_shard,
            resend_failed=life.resend_failed,
            resend_lost=life.resend_lost,
            resend_refused=life.resend_refused,
            patience=life.patience,
        )
        return SimulatedJob(
            self.folder / "p.jsonl", self.out, life.budget_nano_usd, settings, clock=self.world.wall, world=self.world
        )


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a seed."""

    scenario: Scenario
    log: list[str]
    fingerprint: str
    broken: list[str]
    reached: Counter[str]


@cache
def ledger_file() -> Store:
    """One database for all seeds of this process, emptied for each: opening one costs more than many a seed."""
    folder = Path(tempfile.mkdtemp(prefix="world-ledger-", dir=_memory()))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Store(f"sqlite:///{folder / 'ledger.sqlite3'}")


def play(seed: int) -> Played:
    """All lives of a seed, with all checks."""
    return play_scenario(scenario_of(seed))


def play_scenario(scenario: Scenario) -> Played:
    world = World(scenario)
    _empty_ledger()
    with tempfile.TemporaryDirectory(prefix="world-", dir=_memory()) as name:
        lives = Lives(world, Path(name))
        lives.disk.mkdir()
        world.attempt_states = lambda prompt: _states(lives, prompt)
        for number, life in enumerate(scenario.lives, start=1):
            world.passes(life.down_s)
            _write_manifest(lives, life)
            if life.ledger_is_gone:
                _lose_ledger(lives)
            _cap_account(life)
            _live(lives, life, is_last=number == len(scenario.lives))
            if world.broken:
                break
        world.settle()
        checks.check_bills(world, checks.attempts_of(ledger_file()), lives.prompts)
    world.reached.update({f"fault: {fault}": count for fault, count in world.provider.faults.items()})
    return Played(scenario, world.log, world.fingerprint, world.broken, world.reached)


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _empty_ledger() -> None:
    with ledger_file().transaction() as tx:
        for table in metadata.sorted_tables:
            if table is not schema_version:
                tx.execute(table.delete())


def _lose_ledger(lives: Lives) -> None:
    """It is gone, and what it alone knew: charges that are unknown, and when the last request left."""
    world = lives.world
    world.reached["the ledger is gone"] += 1
    for one in checks.attempts_of(ledger_file()):
        if one.state in ("sent", "unknown"):
            world.forgotten[lives.prompts[one.key]] += one.bound
    world.is_without_books, world.paced_from = bool(lives.prompts), len(world.provider.arrivals_s)
    lives.most_lost = None
    _empty_ledger()


def _cap_account(life: Life) -> None:
    with ledger_file().transaction() as tx:
        for period, nano_usd in ((Period.DAY, life.day_nano_usd), (Period.MONTH, life.month_nano_usd)):
            set_cap(tx, ACCOUNT, period, nano_usd)


def _write_manifest(lives: Lives, life: Life) -> None:
    scenario = lives.world.scenario
    rows = [_row(number, scenario.model_of(number)) for number in life.rows]
    rows = rows * lives.world.scenario.samples
    (lives.folder / "p.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def _row(number: int, model: str) -> dict[str, object]:
    row: dict[str, object] = {"prompt": f"p{number}", "id": f"row-{number}"}
    if model != MODELS[0]:
        row["model"] = model
    return row | ({"width": 1024, "height": 1024} if model == "flux-1-schnell" else {})


def _live(lives: Lives, life: Life, is_last: bool) -> None:
    world = lives.world
    world.begin(life)
    lives.run = ""
    summary, began_s = None, world.time()
    with _process(lives):
        try:
            with prepared(lives.job(life)) as ready:
                _started(lives, ready)
                lives.most_lost = life.max_in_flight
                summary = _run(lives, ready)
                if summary is not None:
                    sent = summary.requests
                    checks.check_sends(world, summary, sent, ready.plan.due)
        except FluxbatchError as error:
            world.violated(f"it could not start: {error}")
        except BaseException as error:
            if not world.is_dead and isinstance(error, Exception):
                world.violated(f"it raised {error!r}")
            elif not world.is_dead:
                raise
    if world.is_dead:
        world.reached[f"killed: {world.ended_by}"] += 1
    _close(lives, life, summary, is_last, world.time() - began_s)


def _started(lives: Lives, ready: Prepared) -> None:
    world = lives.world
    lives.asked = {row.key: row.prompt for row in ready.manifest.rows()}  # type: ignore[union-attr]
    lives.prompts |= lives.asked
    if world.is_without_books:
        world.is_without_books = False
        world.check_money()
    lives.run = ready.run
    checks.check_stranded(world, ready.recovery.stranded, lives.most_lost)
    lives.most_lost = None if not ready.recovery.stranded else lives.most_lost
    world.reached["adopted"] += ready.recovery.adopted
    world.reached["stranded"] += ready.recovery.stranded


def _close(lives: Lives, life: Life, summary: Summary | None, is_last: bool, seconds: float) -> None:
    world = lives.world
    if world.ended_by == "power":
        _forget(lives)
    if lives.prompts:
        try:
            checks.check_life(world, ledger_file(), lives.out, lives.prompts, lives.seen)
            checks.check_again(world, checks.attempts_of(ledger_file()), lives.run, life)
            checks.check_days(world, ledger_file(), life)
        except FluxbatchError as error:
            world.violated(f"what it left cannot be read: {error}")
    if summary is not None:
        world.reached[f"stopped: {summary.stopped_by}"] += 1
    if is_last and not world.broken:
        assert summary is not None
        checks.check_last(world, summary, ledger_file(), seconds)


def _forget(lives: Lives) -> None:
    """The power is back: what was not synced may be gone."""
    assert lives.tap is not None
    history = lives.tap.history()
    state = disk.cut(history, len(history.operations), lives.world.rng)
    shutil.rmtree(lives.disk)
    lives.disk.mkdir()
    state.write(lives.disk)


@contextmanager
def _process(lives: Lives) -> Iterator[None]:
    """What a process has for itself: the names of its temp files, and what the disk hears of it."""
    before = files._WRITER, files._number, here.own_life
    files._WRITER, files._number = f"life-{lives.world.number}", itertools.count()
    here.own_life = f"life-{lives.world.number}"
    try:
        with tap(lives.disk, lives.world.touched) as lives.tap:
            opened: list[IO[Any]] = []
            open_file = lives.tap.open_file

            def remembered(*args: Any) -> Any:
                opened.append(open_file(*args))
                return opened[-1]

            lives.tap.open_file = remembered  # type: ignore[method-assign]
            yield
            for file in opened:  # as the system does when a process is gone; what stood in its buffers is not written
                with suppress(BaseException):
                    file.close()
    finally:
        files._WRITER, files._number, here.own_life = before


def _run(lives: Lives, ready: Prepared) -> Summary | None:
    """From the plan to the close, on the virtual loop; None when it was cancelled."""
    world, life = lives.world, lives.world.life
    assert life is not None
    loop = world.open_loop()
    journal = VirtualJournal(ready.store, world.rng, life.slow_ledger, lambda: world.is_dead)
    pool = Pool(world.rng, life.slow_disk, lambda: world.is_dead)
    parts = Parts(_Heard(lives), journal, pool, pool, world.wall, world.rng, is_steered=False)
    world.on_end = lambda ending: _end(lives, ending)
    lives.main = loop.create_task(_main(lives, parts, ready))
    with ExitStack() as ends:  # each of them may be where the process is killed
        ends.callback(world.close_loop)
        ends.callback(journal.close)
        ends.callback(pool.shutdown, cancel_futures=True)
        ends.callback(_unwind, loop)
        try:
            return loop.run_until_complete(lives.main)
        except asyncio.CancelledError:
            world.reached["cancelled"] += 1
    return None


async def _main(lives: Lives, parts: Parts, ready: Prepared) -> Summary | None:
    world = lives.world
    async with batch_in(parts, ready) as batch:
        lives.batch = batch
        world.enter("send")
        await drive(batch, batch.work)
        _note_lanes(lives, batch)
        world.enter("close")
    return batch.summary


def _note_lanes(lives: Lives, batch: Batch) -> None:
    """What is only seen with several models: before the close makes one reason of theirs."""
    world, lanes = lives.world, batch.engine.lanes
    world.reached["several models"] += lanes.are_many
    given_up = [model for model, _ in lanes if lanes.why_given_up(model)]
    if given_up and not batch.stop.is_set:
        world.reached["a model is given up alone"] += 1
    for model, lane in lanes:
        if lane.unreached and model not in given_up and not batch.stop.is_set:
            world.violated(f"{lane.unreached} rows of {model.name} were not reached, and nobody knows why")


@dataclass(slots=True)
class _Heard:
    """The provider, and what its answers were taken for."""

    lives: Lives

    async def send(self, asked: ImageRequest, images: Sequence[bytes]) -> Reply | Broken:
        world = self.lives.world
        reply = await world.provider.send(asked, images)
        outcome = read_outcome(reply, datetime.fromtimestamp(world.wall(), UTC))
        what = type(outcome).__name__
        if isinstance(outcome, Throttled):
            what += f" {outcome.reason}"
        elif isinstance(outcome, Refused):
            what += f" {outcome.billed}"
        world.reached[f"outcome: {what}"] += 1
        if isinstance(outcome, Delivered):
            self._note_others(asked.model)
        return reply

    def _note_others(self, model: Model) -> None:
        assert self.lives.batch is not None
        reached, lanes = self.lives.world.reached, self.lives.batch.engine.lanes
        held = any(lane.hold.pause and not lane.stop.is_set for other, lane in lanes if other != model)
        reached["a picture while another model is held"] += held
        reached["a model has a rate of its own"] += any(lane.pace.own(lane).per_second for _, lane in lanes)


def _end(lives: Lives, ending: Ending) -> None:
    world = lives.world
    if ending.by == "stop":
        assert lives.batch is not None
        world.reached["stopped by a signal"] += 1
        lives.batch.stop.request(StoppedBy.SIGNAL, "the world says so")
    elif ending.by == "cancel":
        assert lives.main is not None
        lives.main.cancel()
    else:
        for place in _places(lives):
            world.reached[f"died: {place}"] += 1


def _places(lives: Lives) -> Iterator[str]:
    """Where in the main path the pictures are at this moment."""
    world = lives.world
    if world.phase == "start":
        yield "in recovery"
        return
    attempts = checks.attempts_of(ledger_file())
    sent = {lives.prompts[one.key]: one for one in attempts if one.state == "sent"}
    if lives.asked.keys() - {one.key for one in attempts} and world.phase == "send":
        yield "before a reservation"
    spooled = {path.name[:64] for path in (lives.out / ".fluxbatch" / "spool").glob("*.row")}
    asked = {one.prompt: one for one in world.provider.asked if one.waiting is not None}
    for prompt, one in sent.items():
        way = asked.get(prompt)
        if way is None or (way.answered is not None and way.number < one.number):
            yield "between reservation and send"
        elif way.answered is None:
            yield "in flight"
        elif one.key in spooled:
            yield "between spool and post"
        else:
            yield "answered, before spool or void"
    if world.latest in ("disk data", "disk catalogue"):
        yield "while sealing"


def _states(lives: Lives, prompt: str) -> Counter[str]:
    """In which states the attempts at a prompt's pictures are."""
    found: Counter[str] = Counter()
    with ledger_file().reading() as tx:
        for key in (key for key, known in lives.prompts.items() if known == prompt):
            found.update(row[0] for row in tx.exec_driver_sql("SELECT state FROM attempts WHERE key = ?", (key,)))
    return found


def _unwind(loop: asyncio.AbstractEventLoop) -> None:
    """Let go of what a life has left; in a dead world nothing comes of it."""
    for _ in range(100):
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        for task in left:
            task.cancel()
        try:
            loop.run_until_complete(loop.create_task(_over(left)))
        except BaseException:  # noqa: BLE001 - each of the dead may say once more that it is dead
            continue
        if not left:
            return


async def _over(left: list[asyncio.Task[object]]) -> None:
    if left:
        await asyncio.wait(left)
    else:
        await asyncio.get_running_loop().shutdown_asyncgens()
