"""What a run that pays does when Prefect's server is away: it goes on to its end, and tells it when it is back."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from socket import socket
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.concurrency import _leases
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.runtime import flow_run
from prefect.states import Running

from fluxbatch.dispatch.stop import Stop, StoppedBy
from fluxbatch.outlive import CONNECTION

log = logging.getLogger("fluxbatch.flow")

BACK_MAX_S = 600.0
"""So long a run that has ended waits for the server, so that the state there becomes true."""
STOPPED_BACK_S = 10.0
"""The same when it was told to stop: whoever did that may be about to switch the machine off."""
LOOK_EVERY_S = 10.0
NO_HEARTBEAT = "No heartbeat for "
"""What the automation's message begins with."""
ASK_EVERY_S = 2.0
TELL_MAX_S = 60.0


def keep_running_without_a_slot() -> None:
    """A deployment's concurrency slot that cannot be renewed no longer ends the run.

    Prefect 3.8 throws a cancellation into the thread of a run whose slot it cannot renew: three minutes without a
    server at the wrong moment, or the restart of one that keeps its leases in memory (the default: 410 Gone). For a run
    that has hundreds of paid answers in flight that is the dearest way to end. The slot only keeps a second run from
    beginning, and the dataset's own lock does that as well.
    """
    own = _leases._handle_lease_renewal_failure

    def told(exc: Any, lease_id: Any, raise_on_lease_renewal_failure: bool, *rest: Any, **others: Any) -> None:
        own(exc, lease_id, False, *rest, **others)

    if not getattr(own, "only_tells", False):
        told.only_tells = True  # type: ignore[attr-defined]
        _leases._handle_lease_renewal_failure = told


def go_on_without_a_screen() -> None:
    """A worker that is killed takes the other end of its runs' output with it. What Prefect logs with (rich) ends the
    process then, in the middle of a paid run and with exit code 1; here it falls silent instead."""
    loggers = (logging.getLogger(name) for name in (None, *logging.root.manager.loggerDict))
    for handler in (handler for logger in loggers for handler in logger.handlers):
        if isinstance(handler, PrefectConsoleHandler):
            fall_silent = partial(setattr, handler.console, "quiet", True)
            handler.console.on_broken_pipe = fall_silent  # type: ignore[method-assign]


@contextmanager
def stopped_with_its_worker(stop: Stop) -> Iterator[None]:
    """A run whose worker is stopped, or which is cancelled, sends nothing more and takes in what is in flight.

    It is listened for while a run waits for its turn, and again while it sends: each on an end of its own.
    """
    if CONNECTION not in os.environ:
        yield
        return
    loop = asyncio.get_running_loop()
    with socket(fileno=os.dup(int(os.environ[CONNECTION]))) as connection:
        connection.setblocking(False)

        def ended() -> None:
            loop.remove_reader(connection)
            stop.request(StoppedBy.SIGNAL, "cancelled, or its worker has ended; what was in flight was waited for")

        loop.add_reader(connection, ended)
        with suppress(BrokenPipeError):  # it has ended already, which is read as any end of it
            connection.send(b"!")
        try:
            yield
        finally:
            loop.remove_reader(connection)


@contextmanager
def out_of_the_way(what: str) -> Iterator[None]:
    """A run that spends must not end, and what it made must not be lost, because Prefect cannot be told of it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever Prefect's client raises when its server is not there
        log.warning("%s cannot be shown by Prefect: %s", what, str(error) or type(error).__name__)


async def is_up() -> bool:
    """Whether Prefect's server answers now, without a retry."""
    async with get_client() as client:
        return await client.api_healthcheck() is None


async def say_that_it_is_alive() -> None:
    """A server that was away for longer than the automation's window has seen no heartbeat, and calls the run crashed.
    Only that is put right: a state that somebody has set stays."""
    identity = flow_run.get_id()
    if identity is None:
        return
    async with get_client() as client:
        state = (await client.read_flow_run(UUID(identity))).state
        if state is not None and state.is_crashed() and (state.message or "").startswith(NO_HEARTBEAT):
            log.warning("Prefect had no sign of life from this run, and is told that it is alive")
            await client.set_flow_run_state(UUID(identity), Running(message="its heartbeats are back"), force=True)


async def until_it_is_back(patience_s: float) -> bool:
    """Wait for Prefect's server, if it is away; False when it stayed away."""
    deadline = time.monotonic() + patience_s
    is_told = False
    while not await is_up():
        if not is_told:
            log.warning("Prefect's server does not answer; the run is done, and waits to tell it")
            is_told = True
        if time.monotonic() >= deadline:
            log.warning("Prefect's server stayed away: what came of the run stands in the dataset's report only")
            return False
        await asyncio.sleep(ASK_EVERY_S)
    return True
