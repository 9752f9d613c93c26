"""Some spenders of an account in one process, as test_pace_shared.py starts it: each a run of its own as far as the
ledger can tell.

Arguments: the ledger's address, how many spenders, requests a minute. Prints a line `turn MICROSECONDS` for each turn
that is taken, and when its standard input ends `statements N` and the moments at which requests left.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import ExitStack, closing

import sqlalchemy as sa

from fluxbatch.budget.journal import ThreadJournal
from fluxbatch.budget.store import Store
from fluxbatch.dispatch.pace import Pace

ACCOUNT = "a" * 32
WAITING = 3
"""So many requests of each spender want to go at any time."""


async def send(pace: Pace, left: list[float]) -> None:
    while True:
        turn = await pace.turn()
        if turn is None:
            return
        print(f"turn {round(turn * 1e6)}", flush=True)
        await pace.depart(turn)
        left.append(time.time())


async def work(url: str, spenders: int, rate: float) -> None:
    statements, left = [0], list[float]()

    def count(*_: object) -> None:
        statements[0] += 1

    with ExitStack() as stack:
        paces = []
        for _ in range(spenders):
            store = stack.enter_context(closing(Store(url)))
            journal = ThreadJournal(store)
            stack.callback(journal.close)
            sa.event.listen(store._engine, "before_cursor_execute", count)
            paces.append(Pace(journal, ACCOUNT, rate, None, time.time))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        begun, statements[0] = time.monotonic(), 0
        tasks = [asyncio.create_task(send(pace, left)) for pace in paces for _ in range(WAITING)]
        await asyncio.to_thread(sys.stdin.read)
        seconds, counted = time.monotonic() - begun, statements[0]
        for pace in paces:
            pace.close()
        await asyncio.gather(*tasks)
        print(json.dumps({"statements": counted, "seconds": seconds, "left": left}), flush=True)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
