"""A run that is killed, and what is true all the while: the simulator and its bill live in another process."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from fluxbatch.errors import FluxbatchError
from fluxbatch.simulator import Charge, read_bill
from tests.e2e.e2e_kit import Desk, part_files, until


class Onlooker(threading.Thread):
    """Looks at a dataset again and again while others work on it.

    `troubles` are what a reader must never see; `looks` how often it looked, `rows` how many rows it saw last.
    """

    def __init__(self, every_s: float) -> None:
        super().__init__(name="reader", daemon=True)
        self.every_s = every_s
        self.troubles: list[str] = []
        self.looks = 0
        self.rows = 0
        self._enough = threading.Event()

    def is_there(self) -> bool:
        """Whether there is a dataset to look at."""
        raise NotImplementedError

    def read(self) -> int:
        """Read what is listed; how many rows that is."""
        raise NotImplementedError

    def run(self) -> None:
        while not self._enough.wait(self.every_s):
            if self.is_there():
                self.look()

    def look(self) -> None:
        try:
            rows = self.read()
        except (FluxbatchError, OSError, ValueError, KeyError) as error:  # ArrowInvalid is a ValueError
            self.troubles.append(f"{type(error).__name__}: {error}")
            return
        if rows < self.rows:
            self.troubles.append(f"{self.rows} rows became {rows}")
        self.looks, self.rows = self.looks + 1, rows

    def stop(self) -> None:
        self._enough.set()
        self.join()


class Reader(Onlooker):
    """Reads the catalogue and every listed part again and again, as a reader of the dataset would."""

    def __init__(self, dataset: Path, every_s: float = 0.02) -> None:
        super().__init__(every_s)
        self.dataset = dataset
        self.parts: set[str] = set()

    def is_there(self) -> bool:
        return (self.dataset / "catalogue.jsonl").exists()

    def read(self) -> int:
        rows = 0
        for path in part_files(self.dataset):
            with pq.ParquetFile(path, page_checksum_verification=path.name not in self.parts) as part:
                rows += part.metadata.num_rows
                if path.name not in self.parts:
                    part.read()  # once whole, then only the footer: a sealed part never changes
            self.parts.add(path.name)
        return rows


@dataclass
class Victim:
    """One dataset's run, started, killed and started again; `bill_file` is what the platform really charged."""

    desk: Desk
    manifest: Path
    bill_file: Path
    in_flight: int
    options: tuple[str, ...]

    @property
    def bill(self) -> list[Charge]:
        return read_bill(self.bill_file)

    def begin(self) -> subprocess.Popen[str]:
        out = str(self.desk.out)
        return self.desk.start("run", str(self.manifest), "--out", out, "--budget", "50", "--json", *self.options)

    def killed(self, process: subprocess.Popen[str], charges: int) -> None:
        """Kill it when so many more pictures were charged; it may be through before."""
        aim = len(self.bill) + charges
        until(lambda: len(self.bill) >= aim or process.poll() is not None, seconds=60)
        process.kill()
        process.communicate()

    def killed_at_its_start(self, process: subprocess.Popen[str], after_s: float) -> None:
        """Kill it so soon after it took hold of the dataset: while it puts in order what the last one left."""
        lock = self.desk.out / ".fluxbatch" / "lock"
        until(lambda: lock.stat().st_size > 0 and str(process.pid) in lock.read_text(), seconds=60)
        threading.Event().wait(after_s)
        process.kill()
        process.communicate()

    def recovered(self) -> dict[str, object]:
        """What the ordinary start finds and puts in order: a run that may spend nothing."""
        return self.desk.run(self.manifest, *self.options, budget="0").ended(3).json

    def finish(self) -> dict[str, object]:
        process = self.begin()
        out, err = process.communicate(timeout=120)
        assert process.returncode in (0, 4), err
        found: dict[str, object] = json.loads(out.splitlines()[-1])
        return found
