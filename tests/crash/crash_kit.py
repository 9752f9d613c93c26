"""A run that is killed, and what is true all the while: the simulator and its bill live in another process."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from fluxbatch.simulator import Charge, read_bill
from tests.e2e.e2e_kit import Desk, part_files, until


@dataclass
class Reader(threading.Thread):
    """Reads the catalogue and every listed part again and again, as a reader of the dataset would.

    `troubles` are what a reader must never see; `looks` how often it looked, `rows` how many rows it saw last.
    """

    dataset: Path
    every_s: float = 0.02
    troubles: list[str] = field(default_factory=list)
    looks: int = 0
    rows: int = 0
    parts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__(name="reader", daemon=True)
        self._enough = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        while not self._enough.wait(self.every_s):
            if (self.dataset / "catalogue.jsonl").exists():
                self.look()

    def look(self) -> None:
        try:
            listed = part_files(self.dataset)
            rows = 0
            for path in listed:
                with pq.ParquetFile(path, page_checksum_verification=path.name not in self.parts) as part:
                    rows += part.metadata.num_rows
                    if path.name not in self.parts:
                        part.read()  # once whole, then only the footer: a sealed part never changes
                self.parts.add(path.name)
        except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:  # ArrowInvalid is a ValueError
            self.troubles.append(f"{type(error).__name__}: {error}")
            return
        if rows < self.rows:
            self.troubles.append(f"{self.rows} rows became {rows}")
        self.looks, self.rows = self.looks + 1, rows

    def stop(self) -> None:
        self._enough.set()
        self.join()


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
