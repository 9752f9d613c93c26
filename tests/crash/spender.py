"""A process that spends from a shared budget, many tasks at once, and a provider that writes down what was sent.

python -m tests.crash.spender LEDGER_URL BILL NAME TASKS TOGETHER

Having spent once, it waits until so many have written to the bill's neighbour that they have: SQLite's writers take no
turns, and one that is late would find nothing left.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from fluxbatch.budget import ledger
from fluxbatch.budget.entries import AttemptId, Denied, End, Resolution, State
from fluxbatch.budget.journal import ThreadJournal
from fluxbatch.budget.store import Store
from fluxbatch.models.money import charge
from tests.budget.budget_kit import BOUND, DATASET, NOW_US

FITS_MAX = 1_000_000
DENIED_MAX = 40
"""What a process that was killed had reserved stays reserved, so nobody waits for ever."""


async def spend(journal: ThreadJournal, bill: int, name: str, tasks: int) -> None:
    """Reserve, send, resolve, again and again, until the budget has no room for one more."""
    async with asyncio.TaskGroup() as group:
        for task in range(tasks):
            group.create_task(_spend(journal, bill, f"{name}-{task}", random.Random(f"{name}-{task}")))


async def _spend(journal: ThreadJournal, bill: int, name: str, chance: random.Random, most: int = FITS_MAX) -> None:
    number = denied = 0
    while denied < DENIED_MAX and number < most:
        attempt = AttemptId(DATASET, f"{name}-{number}", 1)
        answer = await journal.do(lambda tx, a=attempt: ledger.reserve(tx, a, "run", "model", BOUND, NOW_US))  # type: ignore[misc]
        if isinstance(answer, Denied):
            balance = answer.balance
            if BOUND.nano_usd > balance.free_nano_usd + balance.reserved.nano_usd:
                return  # nothing that is under way can make room
            denied += 1
            await asyncio.sleep(0.05)
            continue
        number, denied = number + 1, 0
        resolution = _sent(bill, attempt, chance)
        await asyncio.sleep(chance.uniform(0.05, 0.15))  # the picture takes its time
        await journal.do(lambda tx, a=attempt, r=resolution: ledger.resolve(tx, a, r, NOW_US), may_wait=True)  # type: ignore[misc]


def _sent(bill: int, attempt: AttemptId, chance: random.Random) -> Resolution:
    """The provider: billed below the bound, refused unbilled, or billed without an answer."""
    drawn = chance.random()
    if drawn < 0.2:
        return Resolution(State.VOID, End.THROTTLED, code="3040")
    actual = charge(BOUND.centineurons - chance.randrange(7) * 10_000)
    os.write(bill, f"{attempt.key} {actual.nano_usd}\n".encode())  # one line, appended whole
    if drawn < 0.3:
        return Resolution(State.UNKNOWN, End.LOST)
    return Resolution(State.POSTED, End.MADE, actual=actual)


def _wait_for_the_others(there: Path, name: str, together: int) -> None:
    with there.open("a") as file:
        file.write(f"{name}\n")
    until_s = time.monotonic() + 60
    while len(there.read_text().splitlines()) < together:
        assert time.monotonic() < until_s, "the others did not come"
        threading.Event().wait(0.01)


def main() -> None:
    url, bill_file, name, tasks, together = sys.argv[1:]
    bill = os.open(Path(bill_file), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with closing(Store(url)) as store:
        journal = ThreadJournal(store)
        try:
            asyncio.run(_spend(journal, bill, f"{name}-first", random.Random(name), most=1))
            _wait_for_the_others(Path(f"{bill_file}.there"), name, int(together))
            asyncio.run(spend(journal, bill, name, int(tasks)))
        finally:
            journal.close()


if __name__ == "__main__":
    main()
