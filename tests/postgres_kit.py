"""A PostgreSQL server of the tests' own: made in a temporary folder, on loopback, killed and started again at will.

FLUXBATCH_TEST_POSTGRES, the address of a database in which schemas may be made (postgresql://…), goes before it for
the tests that only need a database.
"""

from __future__ import annotations

import contextlib
import getpass
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

PASSWORD = "hunter2-never-shown"
READY_S = 60.0
_numbers = itertools.count(1)


def binaries() -> Path | None:
    """The folder of initdb and postgres: where PATH has them, else Debian's newest."""
    if (found := shutil.which("initdb")) is not None and (Path(found).parent / "postgres").exists():
        return Path(found).parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return debian[-1].parent if debian else None


def server_user() -> str | None:
    """As whom the server runs: it refuses root, so then as Debian's `postgres`. None where there is nobody."""
    if os.geteuid() != 0:
        return getpass.getuser()
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return None


def why_not() -> str | None:
    """Why no server can be started here; None when one can."""
    if binaries() is None:
        return "no PostgreSQL to try: install its server (Debian: postgresql), or set FLUXBATCH_TEST_POSTGRES"
    if server_user() is None:
        return "PostgreSQL refuses to run as root, and there is no user postgres to run it as"
    return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Cluster:
    """A server with one database. It runs after `start`, and its folder is gone after `remove`."""

    folder: Path
    port: int = field(default_factory=free_port)
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def make(cls) -> Cluster:
        folder = Path(tempfile.mkdtemp(prefix="fluxbatch-pg-"))
        one = cls(folder)
        user = server_user()
        assert user is not None
        if os.geteuid() == 0:
            shutil.chown(folder, user)
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        one._run(
            "initdb", "--pgdata", str(folder / "data"), "--username", "fluxbatch", "--pwfile", str(secret), "--no-sync",
            "--auth-local", "trust", "--auth-host", "md5", "--encoding", "UTF8", "--locale", "C",
        )  # fmt: skip
        return one

    @property
    def url(self) -> str:
        """As a user would write it, password and all."""
        return self.url_at(self.port)

    def url_at(self, port: int, driver: str = "postgresql") -> str:
        return f"{driver}://fluxbatch:{PASSWORD}@127.0.0.1:{port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        settings = {
            "max_connections": "60",
            "log_min_messages": "fatal",
            "shared_buffers": "16MB",
            "deadlock_timeout": "100ms",
            **self.settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        where = ["-D", str(self.folder / "data"), "-k", str(self.folder), "-h", "127.0.0.1", "-p", str(self.port)]
        until_s = time.monotonic() + READY_S
        while True:
            self.process = self._begin("postgres", *where, *options)
            while self.process.poll() is None and time.monotonic() < until_s:
                if self.takes_connections():
                    return
                self._pause()
            # What a killed one left behind holds the shared memory for a moment more.
            assert time.monotonic() < until_s, "the server did not start"
            self._pause()

    def takes_connections(self) -> bool:
        with contextlib.suppress(sa.exc.OperationalError), self.connection() as own:
            own.exec_driver_sql("SELECT 1")
            return True
        return False

    @contextlib.contextmanager
    def connection(self) -> Iterator[sa.Connection]:
        """A connection of the superuser, in which each statement is its own transaction."""
        engine = sa.create_engine(self.url_at(self.port, "postgresql+psycopg"), poolclass=sa.NullPool)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as own:
            yield own

    def new_database(self, name: str) -> sa.URL:
        """The address of an empty database of that name."""
        with self.connection() as own:
            own.exec_driver_sql(f"CREATE DATABASE {name}")
        return sa.make_url(self.url).set(database=name)

    def kill(self) -> None:
        """kill -9 of the postmaster. Its children find out and end."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def crash(self) -> None:
        """`pg_ctl stop -m immediate`: no checkpoint, the next start recovers."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """`pg_ctl stop -m fast`: connections are ended in an orderly way."""
        self._end(signal.SIGINT)

    def remove(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.crash()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(30)

    def _pause(self) -> None:
        """A moment of time for another process, cut short when the server ends."""
        assert self.process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.05)

    def _begin(self, program: str, *args: str, **given: Any) -> subprocess.Popen[bytes]:
        where = binaries()
        assert where is not None
        as_whom: dict[str, Any] = {"user": server_user(), "group": server_user(), "extra_groups": []}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(where / program), *args], cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True, **(as_whom if os.geteuid() == 0 else {}), **given,
            )  # fmt: skip

    def _run(self, program: str, *args: str) -> None:
        done = self._begin(program, *args)
        assert done.wait(READY_S) == 0, (self.folder / "log").read_text()


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """A server that runs for the block."""
    one = Cluster.make()
    try:
        one.start()
        yield one
    finally:
        one.remove()


def everything_in_tables(url: sa.URL) -> dict[str, str]:
    """All rows of each table of a database, as text."""
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
    with engine.connect() as own:
        names = own.execute(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
        texts = {name: sa.text(f'SELECT CAST(one AS text) FROM "{name}" AS one') for name in names}
        return {name: "\n".join(own.execute(text).scalars()) for name, text in texts.items()}


@contextlib.contextmanager
def own_schema(base: str) -> Iterator[str]:
    """The address of an empty place in that database: nobody else's tables, gone after the block."""
    url = sa.make_url(base).set(drivername="postgresql+psycopg")
    name = f"fluxbatch_test_{os.getpid()}_{next(_numbers)}"
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as own:
        own.exec_driver_sql(f"CREATE SCHEMA {name}")
    try:
        yield url.update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(hide_password=False)
    finally:
        with engine.connect() as own:
            own.exec_driver_sql(f"DROP SCHEMA {name} CASCADE")
