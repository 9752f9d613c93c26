"""Bugs that somebody could make, each as the lines that it changes, and the tests that have to see it.

The tests named are part of every CI run; they are named so that the table takes minutes instead of hours.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """`old` stands once in the file; it becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    """One mistake: what it would cost, how it is made, and where it is caught."""

    name: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]


def _bug(name: str, file: str, old: str, new: str, *tests: str) -> Bug:
    return Bug(name, (Change(file, old, new),), tests)


ENGINE = "dispatch/engine.py"
LEDGER = "budget/ledger.py"
WINDOWS = "budget/windows.py"
FILES = "dataset/files.py"
ADDRESS = "manifest/address.py"
CONNECT = "manifest/connect.py"
FETCH = "manifest/fetch.py"
FETCHING = "manifest/fetching.py"

BUGS: tuple[Bug, ...] = (
    Bug(
        "booked before it is spooled",
        (
            Change(
                ENGINE,
                "        answer = await self._keep(course.request, attempt, reply, at)\n",
                "        from fluxbatch.budget.entries import Resolution, State\n"
                "        from fluxbatch.cloudflare.outcome import read_outcome\n\n"
                "        seen = read_outcome(reply, at)\n"
                "        if isinstance(seen, Delivered):\n"
                "            early = Resolution(State.POSTED, End.MADE, seen.charge or bound)\n"
                "            await self._resolve(attempt, early)\n"
                "        answer = await self._keep(course.request, attempt, reply, at)\n",
            ),
            Change(
                ENGINE,
                "        resolution = resolution_of(answer)\n        await self._resolve(attempt, resolution)\n",
                "        resolution = resolution_of(answer)\n"
                "        if not isinstance(seen, Delivered):\n"
                "            await self._resolve(attempt, resolution)\n",
            ),
        ),
        ("tests/dispatch/test_engine.py",),
    ),
    _bug(
        "a folder is not synced after a rename",
        FILES,
        "            raise storage_error(self.path, error) from error\n        sync_folder(self.path.parent)\n",
        "            raise storage_error(self.path, error) from error\n",
        "tests/dataset/test_files.py",
    ),
    _bug(
        "a file is renamed before it is synced",
        FILES,
        "            _sync(self.file.fileno())\n            self.file.close()\n",
        "            self.file.close()\n",
        "tests/dataset/test_files.py",
    ),
    _bug(
        "a failed sync is tried again",
        FILES,
        "    os.fsync(descriptor)  # noqa: TID251 - this is the place\n",
        "    try:\n        os.fsync(descriptor)\n    except OSError:\n        os.fsync(descriptor)\n",
        "tests/dataset/test_files.py",
    ),
    _bug(
        "money as a float",
        "models/money.py",
        "    centineurons = int((Decimal(text) * CENTINEURONS_PER_NEURON).to_integral_value(ROUND_CEILING))\n",
        "    centineurons = int(float(text) * CENTINEURONS_PER_NEURON)\n",
        "tests/models/test_money.py",
    ),
    _bug(
        "a bound that leaves out what is dearer in dollars",
        "models/price.py",
        "bound=Money(max(at_most * NANO_USD_PER_CENTINEURON, price.nano_usd(started)), at_most),",
        "bound=charge(at_most),",
        "tests/models/test_price_all.py",
    ),
    _bug(
        "references that are not reserved as whole megapixels",
        "models/tariff.py",
        "        references * MEGAPIXEL_PIXELS,\n",
        "        references * TILE_PIXELS,\n",
        "tests/models/test_price_all.py",
    ),
    _bug(
        "steps that the model ignores are taken as asked",
        "manifest/fit.py",
        "        elif given[name] != fixed(model, name):\n",
        "        elif False:\n",
        "tests/manifest/test_fit.py",
    ),
    _bug(
        "a changed price list takes the place of the last one",
        "dataset/header.py",
        "prices=(*self.prices, prices))",
        "prices=(*self.prices[:-1], prices))",
        "tests/test_price_list.py",
    ),
    _bug(
        "the budget is looked at after it is spent",
        LEDGER,
        '_gone + sa.bindparam("d_reserved_nano_usd") <= datasets.c.cap_nano_usd',
        "_gone < datasets.c.cap_nano_usd",
        "tests/budget/test_ledger.py",
    ),
    _bug(
        "what may have been billed is not counted",
        LEDGER,
        "_gone = datasets.c.spent_nano_usd + datasets.c.reserved_nano_usd + datasets.c.unknown_nano_usd\n",
        "_gone = datasets.c.spent_nano_usd + datasets.c.reserved_nano_usd\n",
        "tests/budget/test_ledger.py",
    ),
    _bug(
        "a batch whose answer was lost with its connection is run again",
        "budget/marks.py",
        "        if found == self._batch + 1:\n            return False\n",
        "        if found == self._batch + 1:\n            return True\n",
        "tests/budget/test_outage_journal.py",
    ),
    _bug(
        "a batch whose connection is lost is taken for committed",
        "budget/outages.py",
        "            except LedgerAway as error:\n",
        "            except LedgerAway as error:\n                return None\n",
        "tests/budget/test_outage_journal.py",
    ),
    _bug(
        "writers of one server do not take turns",
        "budget/postgres.py",
        'f"SELECT pg_advisory_xact_lock({WRITERS})"',
        '"SELECT 1"',
        "tests/budget/test_postgres.py",
    ),
    _bug(
        "the request leaves before its reservation is on the disk",
        ENGINE,
        "        answer = await self.journal.do(\n"
        "            # When it is run, not when it is asked for: it may have waited for the ledger over midnight.\n"
        "            lambda tx: ledger.reserve("
        "tx, attempt, self.run, request.model.id, bound, round(self.now() * 1e6))\n"
        "        )\n",
        "        later = self.journal.do(\n"
        "            lambda tx: ledger.reserve("
        "tx, attempt, self.run, request.model.id, bound, round(self.now() * 1e6))\n"
        "        )\n"
        "        asyncio.ensure_future(later)\n"
        "        answer = None\n",
        "tests/dispatch/test_engine.py",
    ),
    _bug(
        "sent again after a read timeout, as if it had never left",
        "cloudflare/client.py",
        '            kind: Final = "lost" if progress.connected else "not_sent"\n',
        '            kind: Final = "not_sent"\n',
        "tests/cloudflare/test_client.py",
    ),
    _bug(
        "the pace forgets what an earlier run has sent",
        "budget/store.py",
        "    first = sa.case((next_at > now_us + horizon_us, now_us + horizon_us), (next_at < now_us, now_us), "
        "else_=next_at)\n",
        "    first = sa.literal(now_us)\n",
        "tests/dispatch/test_pace.py",
    ),
    _bug(
        "recovery touches a run that is alive",
        "dataset/lock.py",
        "        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)\n",
        "tests/dataset/test_catalogue.py",
    ),
    _bug(
        "a 5xx gives its money back",
        "dispatch/keep.py",
        "    Failed: (State.UNKNOWN, End.FAILED),\n",
        "    Failed: (State.VOID, End.FAILED),\n",
        "tests/dispatch/test_engine_trouble.py",
    ),
    _bug(
        "an answer that was lost gives its money back",
        "dispatch/keep.py",
        "    Lost: (State.UNKNOWN, End.LOST),\n",
        "    Lost: (State.VOID, End.LOST),\n",
        "tests/dispatch/test_engine.py",
    ),
    _bug(
        "a dead run's reservations run out",
        LEDGER,
        '    lost = Resolution(State.UNKNOWN, End.LOST, message="the run ended before the answer was in")\n',
        '    lost = Resolution(State.VOID, End.LOST, message="the run ended before the answer was in")\n',
        "tests/budget/test_ledger.py",
    ),
    _bug(
        "a picture is adopted without a look at its hash",
        "dataset/spool.py",
        "    if hashlib.sha256(view[:end]).digest() != view[end : end + _DIGEST_BYTES]:\n",
        "    if False:\n",
        "tests/dataset/test_spool.py",
    ),
    _bug(
        "the catalogue lists a part that is not in place",
        "dataset/shards.py",
        "        written = _write(dataset, spool, dataset.next_part(), chosen)\n"
        "        if written is not None:\n"
        '            after("part")\n'
        "            part = written.part(dataset, run_id, sealed_at)\n"
        "            dataset.add_part(part)\n",
        "        path = dataset.next_part()\n"
        '        written = _write(dataset, spool, path.with_suffix(".late"), chosen)\n'
        "        if written is not None:\n"
        '            after("part")\n'
        "            written.path = path\n"
        "            part = written.part(dataset, run_id, sealed_at)\n"
        "            dataset.add_part(part)\n"
        '            path.with_suffix(".late").replace(path)\n',
        "tests/dataset/test_recovery.py",
        "tests/dataset/test_shards.py",
    ),
    _bug(
        "the spool is emptied before the catalogue lists the part",
        "dataset/shards.py",
        '            dataset.add_part(part)\n            after("listed")\n            spool.remove(written.entries)\n',
        '            spool.remove(written.entries)\n            after("listed")\n            dataset.add_part(part)\n',
        "tests/dataset/test_recovery.py",
        "tests/dataset/test_shards.py",
    ),
    _bug(
        "the retry quota is ignored",
        "dispatch/retry.py",
        "        if self._left < 1:\n            return False\n",
        "",
        "tests/dispatch/test_retry.py",
    ),
    _bug(
        "what was made is made again by the next run",
        "dispatch/retry.py",
        "    if history.made:\n        return False\n",
        "",
        "tests/dispatch/test_retry.py",
    ),
    _bug(
        "a crash may lose more than was in flight",
        "dispatch/lane.py",
        "                await exposure.begin()\n",
        "                pass\n",
        "tests/dispatch/test_engine.py",
    ),
    _bug(
        "a model that is held keeps what the others need",
        "dispatch/lane.py",
        "            if exposure is not None:\n                exposure.end()\n",
        "",
        "tests/dispatch/test_lanes.py",
    ),
    _bug(
        "a slow model fills up what all models share",
        "dispatch/fair.py",
        "        fewest = min(waiting, key=self._held.__getitem__)\n",
        "        fewest = waiting[0]\n",
        "tests/dispatch/test_lanes.py",
    ),
    _bug(
        "a model that is down keeps the next slice from being read",
        "dispatch/ahead.py",
        "        while not line.is_out and not self.is_wanted:\n",
        "        while not line.is_out:\n",
        "tests/dispatch/test_lanes.py",
    ),
    _bug(
        "what is refused to one model ends the run",
        "dispatch/lanes.py",
        "    if found.kind in ABOUT_A_MODEL:\n",
        "    if found.kind in ABOUT_A_MODEL and not lanes.are_many:\n",
        "tests/dispatch/test_lanes.py",
    ),
    _bug(
        "an attempt may be resolved twice",
        LEDGER,
        '    .where(this_attempt, attempts.c.state == sa.bindparam("b_from"))\n',
        '    .where(this_attempt, sa.bindparam("b_from") != "")\n',
        "tests/budget/test_ledger.py",
    ),
    _bug(
        "answers are decompressed",
        "cloudflare/client.py",
        "    async for chunk in response.aiter_raw():\n",
        "    async for chunk in response.aiter_bytes():\n",
        "tests/cloudflare/test_client.py",
    ),
    _bug(
        "the token stands in an error message",
        "cloudflare/redact.py",
        "    text = _NAMED_TOKEN.sub(REDACTED, text)\n",
        "",
        "tests/cloudflare/test_redact.py",
    ),
    _bug(
        "what waits for its moment is sent after the run was ended",
        ENGINE,
        "                if lane.stop.is_set or lane.halt.is_on:\n",
        "                if lane.halt.is_on:\n",
        "tests/dispatch/test_engine.py",
    ),
    _bug(
        "what was reserved when a pause began is sent in it",
        ENGINE,
        "                if lane.stop.is_set or lane.halt.is_on:\n",
        "                if lane.stop.is_set:\n",
        "tests/dispatch/test_steering.py",
    ),
    _bug(
        "a turn that was given before a wish for less is still used",
        "dispatch/pace.py",
        "        return self._wished is None or turn in self._given\n",
        "        return True\n",
        "tests/dispatch/test_steering.py",
    ),
    _bug(
        "a wish outlives the run that it was said to",
        "budget/lease.py",
        "    tx.execute(sa.delete(leases).where(_this(dataset, run)))\n    wishes.forget_the_gone(tx, dataset)\n",
        "    tx.execute(sa.delete(leases).where(_this(dataset, run)))\n",
        "tests/budget/test_wishes.py",
    ),
    _bug(
        "a start builds on names that a dead run did not sync",
        "dataset/recovery.py",
        "    for folder in (dataset.folder, dataset.data_folder, spool.folder):\n        place.sync_folder(folder)\n",
        "",
        "tests/power/test_power_cut_run.py",
    ),
    _bug(
        "a charge without a picture counts as a picture",
        "budget/history.py",
        "        made=known.made or (row.state == State.POSTED and end == End.MADE),\n",
        "        made=known.made or row.state == State.POSTED,\n",
        "tests/budget/test_settle.py",
    ),
    _bug(
        "an address: its name is looked up again when it is connected to",
        CONNECT,
        "        for address in judged(host, self._wire.resolve, port)[:TRIED_MAX]:\n",
        "        judged(host, self._wire.resolve, port)\n"
        "        for address in filter(None, map(read_ip, self._wire.resolve(host, port))):\n",
        "tests/manifest/test_fetch_connect.py",
    ),
    _bug(
        "an address: only the first that its name leads to is judged",
        CONNECT,
        "        if why is not None:\n",
        "        if why is not None and not found:\n",
        "tests/manifest/test_fetch_connect.py",
    ),
    _bug(
        "an address: whoever answers is taken for the one that was judged",
        CONNECT,
        "                check_peer(opened, address, host)\n",
        "                pass\n",
        "tests/manifest/test_fetch_connect.py",
    ),
    _bug(
        "an address: Python's table of global addresses is trusted alone",
        "manifest/netblocks.py",
        "    found = next((what for block, what in blocks if address in block), None)\n",
        "    found = next((what for block, what in blocks if address in block and not address.is_global), None)\n",
        "tests/manifest/test_fetch_connect.py",
    ),
    _bug(
        "an address: a certificate for any name will do",
        CONNECT,
        "            # A body without a length ends",
        "            ssl_context.check_hostname = False\n            # A body without a length ends",
        "tests/manifest/test_fetch_one.py",
    ),
    _bug(
        "an address: the deadline is of each read",
        CONNECT,
        "    left = limits.deadline - wire.now()\n",
        "    left = 3.0\n",
        "tests/manifest/test_fetch_one.py",
    ),
    _bug(
        "an address: a redirect that brings a body is taken for the picture",
        FETCH,
        "    if status == 200:\n",
        "    if status < 400:\n",
        "tests/manifest/test_fetch_one.py",
    ),
    _bug(
        "an address: the header says what is a picture",
        FETCH,
        "    _check_type(content)\n    return bytes(content)\n",
        "    return bytes(content)\n",
        "tests/manifest/test_fetch_one.py",
    ),
    _bug(
        "an address: a host that ends like an allowed one is allowed",
        ADDRESS,
        '        above = (".".join(labels[index:]) for index in range(1, len(labels)))\n',
        "        above = (host[index:] for index in range(1, len(host)))\n",
        "tests/hostile/test_hostile_addresses.py",
    ),
    _bug(
        "an address: the allowed port is every port",
        ADDRESS,
        "        return place in self.exact or any(",
        "        return host in {name for name, _ in self.exact} or any(",
        "tests/hostile/test_hostile_addresses.py",
    ),
    _bug(
        "an address: other dots are read as dots",
        ADDRESS,
        "    if any(dot in name for dot in _OTHER_DOTS):\n        return None\n",
        "",
        "tests/hostile/test_hostile_addresses.py",
    ),
    _bug(
        "an address: its signature stands in the name that its picture is kept under",
        ADDRESS,
        'return f"{self} {hashlib.sha256(self.whole.encode()).hexdigest()}"',
        "return self.whole",
        "tests/e2e/test_e2e_addresses.py",
    ),
    Bug(
        "an address: what was asked for is asked for again by the next row",
        (
            Change(
                FETCHING,
                "            if (known := self._asked.get(name)) is not None:\n                return known\n",
                "            pass\n",
            ),
            Change(FETCHING, "            if (known := self._asked.get(name)) is None:\n", "            if True:\n"),
        ),
        ("tests/manifest/test_fetch_many.py",),
    ),
    _bug(
        "an address: a broken picture is kept for good",
        FETCHING,
        "            sha256 = checked(content)\n",
        "            import hashlib\n\n            sha256 = hashlib.sha256(content).hexdigest()\n",
        "tests/manifest/test_fetch_many.py",
    ),
    _bug(
        "who was taken over goes on spending",
        WINDOWS,
        "    & windows.c.closed_by.is_(None)\n",
        "",
        "tests/budget/test_lease.py",
    ),
    _bug(
        "a project's budget is kept by nobody",
        WINDOWS,
        "caps.c.scope == windows.c.scope, ",
        "caps.c.scope == Scope.ACCOUNT, ",
        "tests/budget/test_windows.py",
    ),
    _bug(
        "what was sent before midnight is taken from the day of its answer",
        LEDGER,
        "        changed.sent_at_us,\n",
        "        now_us,\n",
        "tests/budget/test_windows.py",
    ),
    _bug(
        "a lease that was renewed a moment ago is taken over",
        "budget/lease.py",
        "        if other.expires_at_us > now and not is_dead(other):\n",
        "        if other.taken_at_us + round(length_s * 1e6) > now and not is_dead(other):\n",
        "tests/budget/test_lease.py",
    ),
    _bug(
        "what another chunk has on its way is called lost",
        LEDGER,
        ", attempts.c.run.not_in(alive))",
        ")",
        "tests/budget/test_lease.py",
    ),
    _bug(
        "a chunk that is begun again sits beside the run before",
        "budget/lease.py",
        " or (seat is not None and self.seat == seat)",
        "",
        "tests/budget/test_lease.py",
        "tests/e2e/test_e2e_chunks.py",
    ),
    _bug(
        "a chunk's part that has two names is listed under both",
        "dataset/chunks.py",
        "        if part.sha256 in known:\n",
        "        if part.file in known:\n",
        "tests/power/test_power_chunks.py",
    ),
    _bug(
        "a chunk that outlives its batch is made for nobody",
        "prepare.py",
        "            check_batch(store, dataset.id, chunk.batch)\n",
        "",
        "tests/e2e/test_e2e_chunks.py",
    ),
    _bug(
        "near-duplicates that share only the last bands are not found",
        "checks/similar.py",
        "combinations(range(self.count), self.shared)",
        "combinations(range(self.count - 1), self.shared)",
        "tests/checks/test_similar.py",
    ),
    _bug(
        "a picture joins a group whose representative comes behind it",
        "checks/similar.py",
        "        earlier = of < at\n",
        "        earlier = of != at\n",
        "tests/checks/test_similar.py",
    ),
    _bug(
        "a part that was written anew keeps the scores of the old one",
        "checks/covered.py",
        "return piece is not None and piece.sha256 == part.sha256",
        "return piece is not None",
        "tests/checks/test_check.py",
    ),
    _bug(
        "what a check has done is lost when it is stopped",
        "checks/check.py",
        "        if not made.is_all_of(dataset, left):\n",
        "        if not made.is_all_of(dataset, left) and now == total:\n",
        "tests/checks/test_check.py",
    ),
    _bug(
        "a look writes its figures into the user's own column of an older dataset",
        "dataset/record.py",
        "    first, last = names.index(LOOKED[0].name), names.index(MADE[0].name)",
        "    first, last = names.index(ASKED[-1].name), names.index(MADE[0].name)",
        "tests/dataset/test_version2.py",
    ),
    _bug(
        "a picture is marked after it was spooled",
        "dispatch/keep.py",
        "            content=outcome.content,\n",
        "            content=reply.body if isinstance(reply, Reply) else outcome.content,\n",
        "tests/dispatch/test_keep.py",
    ),
    _bug(
        "a mark goes into a file that is signed",
        "provenance/mark.py",
        "    if spot.is_signed:\n",
        "    if False:\n",
        "tests/provenance/test_provenance_marks.py",
    ),
    _bug(
        "a card counts pictures while more may come",
        "dataset/card.py",
        "    if card.is_settled:\n",
        "    if True:\n",
        "tests/dataset/test_card.py",
    ),
    _bug(
        "a card takes what its owner has written",
        "dataset/card.py",
        "if key in OURS or key not in theirs}",
        "}",
        "tests/dataset/test_card.py",
    ),
    _bug(
        "a part that is not what it was is published",
        "publish/hub.py",
        "        if added.upload_info.sha256.hex() != file.sha256:\n",
        "        if False:\n",
        "tests/publish/test_publish.py",
    ),
    _bug(
        "an export that died leaves out a shard",
        "export/exporter.py",
        "staging.commit(unit.number + 1, ",
        "staging.commit(unit.number + 2, ",
        "tests/export/test_staging.py",
    ),
    _bug(
        "an exported picture is not held against its hash",
        "export/stream.py",
        '!= value["sha256"]:',
        '== value["key"]:',
        "tests/export/test_export.py",
    ),
    _bug(
        "a value climbs out of the export's folder",
        "export/names.py",
        "return character in SIGNS or ",
        "return character in SIGNS + '/' or ",
        "tests/export/test_names.py",
        "tests/hostile/test_hostile_export.py",
    ),
    _bug(
        "a condition may ask whatever it likes",
        "query/conditions.py",
        "        if kind not in _EXPRESSIONS:\n",
        "        if False:\n",
        "tests/query/test_conditions.py",
    ),
    _bug(
        "view answers whoever asks by another name",
        "view/app.py",
        "allowed_hosts=list(HOSTS)",
        'allowed_hosts=["*"]',
        "tests/view/test_view_wire.py",
    ),
    _bug(
        "what came as a picture and is a page is shown as one",
        "view/app.py",
        'shown = "inline" if kind.startswith("image/") else "attachment"',
        'shown = "inline"',
        "tests/view/test_view_wire.py",
    ),
    _bug(
        "the pictures of a mended part are looked for where they lay before",
        "view/viewed.py",
        "                    self.contents = Contents()",
        "                    pass",
        "tests/view/test_view_changes.py",
    ),
)
