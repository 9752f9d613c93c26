"""The budgets at the terminal: what a plan says of them, and the commands `fluxbatch budget show | set`."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from fluxbatch.budget import standings as known
from fluxbatch.budget.caps import CapChange, change_cap, change_dataset_cap
from fluxbatch.budget.entries import FREE_A_DAY, Balance, Period, Scope
from fluxbatch.budget.limits import Standing
from fluxbatch.budget.plan import Plan
from fluxbatch.budget.standings import DatasetStanding
from fluxbatch.budget.store import Store
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.errors import FluxbatchError, UsageError
from fluxbatch.job import PROJECT_NAME
from fluxbatch.models.money import decimal_usd, exact, parse_amount
from fluxbatch.settings import Settings
from fluxbatch.tell import shown, usd

ACCOUNT_ID = r"[0-9a-f]{32}"
NONE, FREE = "none", "free"


def today_of(at_us: int) -> date:
    """The UTC day of that moment."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).date()


def plan_budgets(plan: Plan, today: date) -> list[tuple[str, str]]:
    """What a plan says when there are budgets beside the dataset's own: what fits now, which one binds, how long it
    takes with a run a night."""
    capped = [one for one in plan.standings if one.cap_nano_usd is not None]
    if not capped or not plan.due:
        return []
    lines = []
    for one in capped:
        left = f"{usd(max(0, one.left_nano_usd or 0))} left of {usd(one.cap_nano_usd or 0)}"
        lines.append((str(one.window.period), f"{left}: {shown(one.window.told)}"))
    what = "all of it fits" if plan.fits_now == plan.due else f"{plan.fits_now:,} of {plan.due:,} pictures fit"
    binds = "the dataset's own budget" if plan.binds is None else shown(plan.binds.window.told)
    lines.append(("now", f"{what}; {binds} binds"))
    nights = plan.nights(today)
    last = f", the last on {nights.last}" if nights.last is not None else ""
    rest = "" if nights.pictures == plan.due else f"; then {plan.due - nights.pictures:,} are left that never fit"
    noun = "night" if nights.count == 1 else "nights"
    lines.append(("nights", f"{nights.count:,} {noun} at these budgets, with a run in each (UTC){last}{rest}"))
    return lines


def plan_told(plan: Plan, today: date) -> dict[str, Any]:
    """The same for `--json`."""
    nights = plan.nights(today)
    return {
        "fits_now": plan.fits_now,
        "binds": "the dataset's own budget" if plan.binds is None else plan.binds.window.told,
        "nights": nights.count,
        "nights_pictures": nights.pictures,
        "last_night": None if nights.last is None else nights.last.isoformat(),
        "budgets": [_told(one) for one in plan.standings if one.cap_nano_usd is not None],
    }


@dataclass(frozen=True, slots=True)
class Budgets:
    """All budgets of a ledger, as they stand at a moment."""

    at_us: int
    standings: Sequence[Standing]
    datasets: Sequence[DatasetStanding]


def budgets_now(settings: Settings, at_us: int, account: str | None = None, project: str | None = None) -> Budgets:
    """The budgets of the account (given, of the credentials, or all that the ledger knows), of the projects (or the one
    that is given), and of the account's datasets. UsageError names all that is wrong with what was asked for."""
    _refuse([*_wrong_account(account), *_wrong_project(project)])
    with contextlib.closing(Store(settings.ledger)) as store, store.reading() as tx:
        wanted = account or settings.account_id
        accounts = [wanted] if wanted else known.accounts(tx)
        projects = known.projects(tx) if project is None else [project]
        names = [(Scope.ACCOUNT, one) for one in accounts] + [(Scope.PROJECT, one) for one in projects]
        windows = [window for scope, name in names for window in known.spans_of(scope, name, at_us)]
        datasets = [one for one in known.dataset_standings(tx) if one.account in accounts]
        return Budgets(at_us, [known.standing(tx, window) for window in windows], datasets)


def show_budgets(console: Console, found: Budgets, *, as_json: bool) -> None:
    """All caps, what is gone of each, what is left, and when it begins anew."""
    if as_json:
        print(json.dumps(_all_told(found)))  # noqa: T201
        return
    table = Table(title="Budgets", box=SIMPLE, padding=(0, 1, 0, 0))
    for header in ("", "budget", "gone", "left", "anew on"):  # at 80 columns a name is folded; no figure is cut
        table.add_column(header, no_wrap=header != "", overflow="fold")
    last = None
    for one in found.standings:
        whose = f"{one.window.scope} {shown(one.window.name, 64)}"
        if whose != last:
            table.add_row(whose)
        last = whose
        amounts = _amounts(one.cap_nano_usd, one.held.gone_nano_usd)
        table.add_row(f"  {_span(one)}", *amounts, _anew(one))
    for each in found.datasets:
        gone = each.balance.cap_nano_usd - each.balance.free_nano_usd
        table.add_row(f"dataset {shown(each.folder)}", *_amounts(each.balance.cap_nano_usd, gone))
    console.print(table)
    for line in _free_lines(found):
        console.print(line, highlight=False, soft_wrap=True)


def _free_lines(found: Budgets) -> Iterator[str]:
    for one in found.standings:
        if (one.window.scope, one.window.period) == (Scope.ACCOUNT, Period.DAY):
            gone = one.held.spent + one.held.reserved + one.held.unknown
            yield (
                f"Of the free allocation of {shown(one.window.name)}, {gone.neurons:,} of {exact(FREE_A_DAY.neurons)} "
                "neurons are used today, as this ledger knows it; what is spent elsewhere is not seen."
            )
    yield "Days and months are UTC and begin at 00:00."


@dataclass(frozen=True, slots=True)
class Wanted:
    """New caps as they were typed; None: not given. One of the three names, or none for the account of the settings."""

    account: str | None = None
    project: str | None = None
    dataset: Path | None = None
    day: str | None = None
    month: str | None = None
    total: str | None = None


def set_budgets(settings: Settings, wanted: Wanted, at_us: int) -> list[CapChange]:
    """Change caps, all of them or none. UsageError names everything that is wrong with them at once."""
    caps, wrong = _read_caps(wanted)
    scope, name = _whose(settings, wanted, wrong)
    dataset = _dataset_of(wanted, wrong)
    _refuse(wrong)
    with contextlib.closing(Store(settings.ledger)) as store, store.transaction() as tx:
        if dataset is not None:
            cap = caps[Period.TOTAL]
            assert cap is not None, "a dataset has a cap"
            return [change_dataset_cap(tx, dataset, cap, at_us)]
        return [change_cap(tx, name, period, cap, at_us, scope) for period, cap in caps.items()]


def changed_lines(changes: Sequence[CapChange]) -> Iterator[str]:
    """What was changed, a line each."""
    for one in changes:
        before, after = (
            "none" if nano_usd is None else usd(nano_usd) for nano_usd in (one.before_nano_usd, one.after_nano_usd)
        )
        yield f"{one.scope} {shown(one.name)}, {one.period}: {before} -> {after}"


def _read_caps(wanted: Wanted) -> tuple[dict[Period, int | None], list[str]]:
    given = {Period.DAY: wanted.day, Period.MONTH: wanted.month, Period.TOTAL: wanted.total}
    caps: dict[Period, int | None] = {}
    wrong = [] if any(text is not None for text in given.values()) else ["give --day, --month or --total"]
    for period, text in given.items():
        if text is None:
            continue
        try:
            caps[period] = _read_cap(text, period)
        except ValueError as error:
            wrong.append(f"--{period} {error}")
    return caps, wrong


def _read_cap(text: str, period: Period) -> int | None:
    word = text.strip().lower()
    if word == NONE:
        return None
    if word == FREE:
        if period != Period.DAY:
            raise ValueError("cannot be free: 10,000 neurons are free in a day")
        return FREE_A_DAY.nano_usd
    return parse_amount(text).nano_usd


def _whose(settings: Settings, wanted: Wanted, wrong: list[str]) -> tuple[Scope, str]:
    given = [f"--{name}" for name in ("account", "project", "dataset") if getattr(wanted, name) is not None]
    if len(given) > 1:
        wrong.append(f"{' and '.join(given)} exclude each other; give one of them")
    wrong += [*_wrong_account(wanted.account), *_wrong_project(wanted.project)]
    if wanted.project is not None:
        if (wanted.day or "").strip().lower() == FREE:
            wrong.append("--day free is the account's: Cloudflare gives it to an account, not to a project")
        return Scope.PROJECT, wanted.project
    if wanted.dataset is not None:
        return Scope.ACCOUNT, ""
    if wanted.total is not None:
        wrong.append("--total is for a project or a dataset; an account has --day and --month")
    account = wanted.account or settings.account_id
    if not account:
        wrong.append("whose? give --account (32 hex digits) or set CLOUDFLARE_ACCOUNT_ID, --project or --dataset")
    return Scope.ACCOUNT, account or ""


def _dataset_of(wanted: Wanted, wrong: list[str]) -> str | None:
    """The id of the dataset whose cap is to be set."""
    if wanted.dataset is None:
        return None
    wrong += [f"--{name} is not for a dataset: it has --total" for name in ("day", "month") if getattr(wanted, name)]
    if (wanted.total or "").strip().lower() == NONE:
        wrong.append("--total none: a dataset always has a budget")
    try:
        return Dataset.open(wanted.dataset).id
    except FluxbatchError as error:
        wrong.append(str(error))
        return None


def _wrong_account(account: str | None) -> list[str]:
    if account is None or re.fullmatch(ACCOUNT_ID, account):
        return []
    return [f"--account {account!r} is no account: 32 hex digits, as in the dashboard's address"]


def _wrong_project(project: str | None) -> list[str]:
    if project is None or re.fullmatch(PROJECT_NAME, project):
        return []
    return [f"--project {project!r} is no name of a project: letters, digits, '.', '_' and '-', 1 to 64 of them"]


def _refuse(wrong: Sequence[str]) -> None:
    if wrong:
        raise UsageError("; ".join(wrong))


def _span(one: Standing) -> str:
    first = one.window.first_day
    if first is None:
        return "all time"
    return f"day {first}" if one.window.period == Period.DAY else f"month {first:%Y-%m}"


def _amounts(cap_nano_usd: int | None, gone_nano_usd: int) -> tuple[str, str, str]:
    if cap_nano_usd is None:
        return "none", usd(gone_nano_usd), ""
    return usd(cap_nano_usd), usd(gone_nano_usd), usd(max(0, cap_nano_usd - gone_nano_usd))


def _anew(one: Standing) -> str:
    return "" if one.window.resets_on is None else str(one.window.resets_on)


def _all_told(found: Budgets) -> dict[str, Any]:
    return {
        "today": today_of(found.at_us).isoformat(),
        "budgets": [_told(one) for one in found.standings],
        "datasets": [
            {"dataset": one.dataset, "folder": one.folder, "account": one.account, **_balance_told(one.balance)}
            for one in found.datasets
        ],
        "free_neurons_a_day": exact(FREE_A_DAY.neurons),
    }


def _told(one: Standing) -> dict[str, Any]:
    cap, left, window = one.cap_nano_usd, one.left_nano_usd, one.window
    gone = one.held.spent + one.held.reserved + one.held.unknown
    return {
        "scope": window.scope,
        "name": window.name,
        "period": window.period,
        "first_day": None if window.first_day is None else window.first_day.isoformat(),
        "resets_on": None if window.resets_on is None else window.resets_on.isoformat(),
        "budget_usd": None if cap is None else exact(decimal_usd(cap)),
        "left_usd": None if left is None else exact(decimal_usd(left)),
        "gone_usd": exact(gone.usd),
        "gone_neurons": exact(gone.neurons),
        "spent_usd": exact(one.held.spent.usd),
        "reserved_usd": exact(one.held.reserved.usd),
        "unknown_usd": exact(one.held.unknown.usd),
    }


def _balance_told(balance: Balance) -> dict[str, str]:
    return {
        "budget_usd": exact(decimal_usd(balance.cap_nano_usd)),
        "left_usd": exact(decimal_usd(balance.free_nano_usd)),
        "spent_usd": exact(balance.spent.usd),
        "reserved_usd": exact(balance.reserved.usd),
        "unknown_usd": exact(balance.unknown.usd),
    }
