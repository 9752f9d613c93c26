"""A short run of the real code below a tap: real start-up, engine, spool, sealing and ledger; only Cloudflare is fake.

home/disk/pictures    the dataset, below the tap
home/ledger.sqlite3   the ledger: its commits are written down as they become durable
home/prompts.csv      the manifest
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from greenlet import getcurrent, greenlet

from fluxbatch import prepare
from fluxbatch.budget import here
from fluxbatch.budget.store import Store
from fluxbatch.cloudflare.outcome import Broken, Reply
from fluxbatch.dataset import files
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.held import holding
from fluxbatch.job import SIMULATOR_ACCOUNT_ID, Job
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.prepare import Prepared, prepared
from fluxbatch.run import World, batch_in, drive
from fluxbatch.settings import Settings
from fluxbatch.start import Recovery, open_dataset, recover_all
from fluxbatch.summary import Summary
from tests.dataset.dataset_kit import jpeg
from tests.dispatch.dispatch_kit import INTERNAL, REFUSED, InlineJournal, picture
from tests.dispatch.virtual import Clock, in_virtual_time
from tests.power.disk import History, State
from tests.power.tap import Killed, Tap, Touch, tap

PICTURES = 6
IN_FLIGHT = 3
ROWS_PER_SHARD = 2
BUDGET_NANO_USD = 10**9
CENTINEURONS = 3750
"""What each picture costs: 4 steps of a quarter of a tile."""
BOUND_CENTINEURONS = 15_000
OWN = pa.schema([pa.field("mood", pa.string())])
"""The manifest's own column."""
MEMORY = Path("/dev/shm")

_lives = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Home:
    """`shared` is a ledger that is kept open for all states: a new one for each would be most of the time."""

    folder: Path
    shared: SharedLedger | None = None

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    @property
    def dataset(self) -> Path:
        return self.disk / "pictures"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.sqlite3" if self.shared is None else self.shared.path

    def job(self, **settings: Any) -> Job:
        found = _settings(f"sqlite:///{self.ledger}", tuple(sorted(settings.items())))
        return Job(self.folder / "prompts.csv", self.dataset, BUDGET_NANO_USD, found)


@lru_cache(maxsize=8)
def _settings(ledger: str, other: tuple[tuple[str, Any], ...]) -> Settings:
    given: dict[str, Any] = {"ledger": ledger, "max_in_flight": IN_FLIGHT, "rows_per_shard": ROWS_PER_SHARD}
    return Settings(account_id=SIMULATOR_ACCOUNT_ID, api_token="t", rate=0, **(given | dict(other)))


@contextmanager
def home_in_memory() -> Iterator[Path]:
    """A folder where a sync costs nothing, if there is one."""
    folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None, prefix="power-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class SharedLedger:
    """One ledger, opened once, that is put back to what a state says: SQLAlchemy compiles each statement once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(empty_ledger())
        self.store = Store(f"sqlite:///{path}")
        self._writer = sqlite3.connect(path)

    def put(self, content: bytes) -> None:
        with closing(sqlite3.connect(":memory:")) as memory:
            memory.deserialize(content)
            memory.backup(self._writer)

    def content(self) -> bytes:
        return database(self.path)

    def close(self) -> None:
        self._writer.close()
        self.store.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._writer.execute(query).fetchall()


@contextmanager
def shared_ledger(folder: Path) -> Iterator[SharedLedger]:
    """Each life in the block opens this ledger (and is not able to close it)."""
    shared, real = SharedLedger(folder / "shared.sqlite3"), Job.open_store
    Job.open_store = lambda job: _Borrowed(shared.store)  # type: ignore[method-assign, assignment, return-value]
    try:
        yield shared
    finally:
        Job.open_store = real  # type: ignore[method-assign]
        shared.close()


class _Borrowed:
    """A store that stays open when its borrower closes it."""

    def __init__(self, store: Store) -> None:
        self.url, self.outages = store.url, store.outages
        self.transaction, self.reading, self.read = store.transaction, store.reading, store.read

    def close(self) -> None:
        pass


def new_home(
    folder: Path, state: State | None = None, prompts: Sequence[str] = (), shared: SharedLedger | None = None
) -> Home:
    """A home with an empty disk, or with the disk and the ledger of a state."""
    folder.mkdir(parents=True, exist_ok=True)
    home = Home(folder, shared)
    home.disk.mkdir()
    rows = prompts or [f"picture {number}" for number in range(PICTURES)]
    lines = ["prompt,width,height,steps,mood", *(f"{prompt},256,256,4,mood of {prompt}" for prompt in rows)]
    (folder / "prompts.csv").write_text("\n".join(lines))
    if state is not None:
        state.write(home.disk)
    ledger = None if state is None else state.ledger
    content = empty_ledger() if ledger is None else ledger
    if shared is None:
        home.ledger.write_bytes(content)
    else:
        shared.put(content)
    return home


@lru_cache(maxsize=1)
def empty_ledger() -> bytes:
    """A ledger that has been opened once."""
    with home_in_memory() as folder:
        path = folder / "ledger.sqlite3"
        with closing(Store(f"sqlite:///{path}")):
            return database(path)


def database(path: Path) -> bytes:
    """The database as its last commit left it."""
    with closing(sqlite3.connect(path)) as connection:
        content = bytearray(connection.serialize())
    content[18:20] = b"\x01\x01"  # no WAL is beside it
    return bytes(content)


@dataclass
class Provider:
    """Cloudflare, which lives on while we crash: what it was asked for, and what it answers to which prompt.

    `refused` and `failed` prompts get no picture. Latencies come from the seed.
    """

    seed: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    told: Callable[[str], None] = lambda prompt: None
    in_flight: int = 0

    async def send(self, asked: ImageRequest, images: Sequence[bytes]) -> Reply | Broken:
        prompt = asked.prompt
        self.told(prompt)
        self.asked[prompt] += 1
        self.in_flight += 1
        try:
            await asyncio.sleep(random.Random(f"{self.seed}{prompt}{self.asked[prompt]}").uniform(0.5, 2.0))
        finally:
            self.in_flight -= 1
        if prompt.startswith("refused"):
            return REFUSED
        if prompt.startswith("failed"):
            return INTERNAL
        return picture("37.50", jpeg(256, 256, seed=len(prompt)))


class Taking(Executor):
    """Worker threads without threads: jobs take turns at their file operations, and the seed says whose turn it is."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._under_way: list[greenlet] = []

    def submit(self, function: Callable[..., Any], /, *args: Any, **other: Any) -> Future[Any]:
        done: Future[Any] = Future()

        def job() -> None:
            try:
                done.set_result(function(*args, **other))
            except BaseException as error:  # noqa: BLE001 - as a pool does, a kill included
                done.set_exception(error)

        self._under_way.append(greenlet(job))
        asyncio.get_running_loop().call_soon(self._step)
        return done

    def _step(self) -> None:
        one = self._chance.choice(self._under_way)
        one.switch()
        if one.dead:
            self._under_way.remove(one)
        else:
            asyncio.get_running_loop().call_soon(self._step)

    def end(self) -> None:
        """After a kill: who was in the middle of something dies there."""
        for one in self._under_way:
            with contextlib.suppress(Killed):
                one.throw(Killed)


def let_others_go_first() -> None:
    """At a file operation of a job: back to the loop, which goes on with another."""
    hub = getcurrent().parent
    if hub is not None:
        hub.switch()


def run(home: Home, provider: Provider, **settings: Any) -> Summary:
    """One life of the program, from its start to its end. Temp files of earlier lives are those of the dead."""
    life = next(_lives)
    before = files._WRITER, prepare.new_run_id, here.own_life
    files._WRITER = f"1-{life:08x}"
    here.own_life = f"life-{life}"
    prepare.new_run_id = lambda: f"run-{life}"
    try:
        with prepared(home.job(**settings)) as ready:
            return in_virtual_time(lambda: _driven(ready, provider))
    finally:
        files._WRITER, prepare.new_run_id, here.own_life = before


@dataclass(frozen=True, slots=True)
class Started:
    """What a start has put in order: as prepare.py does it, without the manifest and the plan."""

    store: Store
    dataset: Dataset
    recovery: Recovery


@contextmanager
def started(home: Home) -> Iterator[Started]:
    """The ordinary start-up of a new life, and nothing more. The dataset is held for the block."""
    before = files._WRITER
    files._WRITER = f"1-{next(_lives):08x}"
    job = home.job()
    try:
        with closing(job.open_store()) as store:
            dataset = open_dataset(job.out, OWN, job.is_simulated)
            with holding(dataset, store, f"start-{files._WRITER}"):
                yield Started(store, dataset, recovered(job, store, dataset))
    finally:
        files._WRITER = before


def recovered(job: Job, store: Store, dataset: Dataset) -> Recovery:
    return recover_all(store, dataset, dataset.spool(), job.account, job.budget_nano_usd, "run", prepare.now_us())


async def _driven(ready: Prepared, provider: Provider) -> Summary:
    workers = Taking(provider.seed)
    world = World(provider, InlineJournal(ready.store), workers, workers, Clock(), random.Random(provider.seed), False)
    try:
        async with batch_in(world, ready) as batch:
            await drive(batch, batch.work)
    finally:
        workers.end()
    assert batch.summary is not None
    return batch.summary


@contextmanager
def tapped(home: Home, before: Callable[[Touch], None] = lambda touch: None) -> Iterator[Tap]:
    """The tap on a home's disk, with the ledger's commits in the same sequence."""
    real = Store.transaction

    @contextmanager
    def transaction(store: Store) -> Iterator[Any]:
        made.touch("commit", "")
        with real(store) as tx:
            yield tx
        made.committed(database(home.ledger))

    with tap(home.disk, before) as made:
        made.begin_with(database(home.ledger))
        made.pause = let_others_go_first
        Store.transaction = transaction  # type: ignore[method-assign, assignment]
        try:
            yield made
        finally:
            Store.transaction = real  # type: ignore[method-assign]


def recorded(home: Home, provider: Provider, kill_after: Sequence[int] = ()) -> History:
    """What a run does to its disk. With `kill_after` it is killed after so many touches each time, and run again."""
    left = [0]

    def before(touch: Touch) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    known = tuple(provider.asked.elements())
    with tapped(home, before) as made:
        provider.told = made.mark
        for touches in (*kill_after, 0):
            left[0] = touches
            try:
                run(home, provider)
            except BaseException as error:
                if not (made.is_dead and _is_killed(error)):
                    raise
                made.revive()
        return replace(made.history(), marks=known)


def _is_killed(error: BaseException) -> bool:
    inner = getattr(error, "exceptions", None)
    return isinstance(error, Killed) if inner is None else any(map(_is_killed, inner))
