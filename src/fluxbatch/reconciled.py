"""What a reconciliation found, as a value, as JSON and as sentences. Pure, but for the printing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from fluxbatch.budget.entries import Balance, OpenAttempt, Settlement, State
from fluxbatch.budget.reconcile import Quarter, Stretch, Verdict, quarter_of
from fluxbatch.dataset.place import Place
from fluxbatch.exit_codes import EXIT_COMPLETE, EXIT_SOME_FAILED
from fluxbatch.models.money import decimal_usd, exact
from fluxbatch.tell import minutes, shown, usd

LATE_US = 30 * 60 * 1_000_000
"""Figures come minutes late; what ended less than this ago is not called final."""
KEY_SHOWN = 16
_SAID = {State.POSTED: "billed", State.VOID: "not billed"}
_OPTIONS = {State.POSTED: "--billed", State.VOID: "--not-billed"}
_VERDICTS = {
    Verdict.AGREES: "agrees",
    Verdict.MORE: "Cloudflare has more: somebody else uses the account, or the ledger lacks an entry",
    Verdict.LESS: "Cloudflare has less: figures are late or sampled, or an answer came without its charge",
}


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was found and done. `compared` is None where no figures were asked for or came; `not_compared` says why."""

    dataset: Place
    now_us: int
    unknown: Sequence[OpenAttempt]
    before: Balance
    after: Balance
    settled: Sequence[Settlement] = ()
    compared: Sequence[Stretch] | None = None
    not_compared: str | None = None

    @property
    def says_more(self) -> bool:
        """Whether Cloudflare billed what the ledger does not know."""
        return any(stretch.verdict is Verdict.MORE for stretch in self.compared or ())

    @property
    def exit_code(self) -> int:
        return EXIT_SOME_FAILED if self.unknown or self.says_more else EXIT_COMPLETE

    def stretch_of(self, attempt: OpenAttempt) -> Stretch | None:
        """The stretch in which an unknown attempt was sent."""
        start = quarter_of(attempt.sent_at_us)
        found = (stretch for stretch in self.compared or () if stretch.model == attempt.model)
        return next((s for s in found if start in {quarter.start_us for quarter in s.quarters}), None)

    def suggested(self, state: State) -> list[OpenAttempt]:
        """The unknown attempts about which the figures say this."""
        found = ((attempt, self.stretch_of(attempt)) for attempt in self.unknown)
        return [attempt for attempt, stretch in found if stretch is not None and stretch.suggestion is state]

    def is_final(self, stretch: Stretch) -> bool:
        """Whether its figures are old enough not to grow any more."""
        return stretch.end_us + LATE_US <= self.now_us


def to_json(found: Reconciled) -> str:
    """One line."""
    return json.dumps(to_dict(found))


def to_dict(found: Reconciled) -> dict[str, Any]:
    """Plain values for `--json`; amounts are exact decimal strings, times ISO 8601 in UTC."""
    return {
        "dataset": str(found.dataset),
        "unknown": [_unknown(found, one) for one in found.unknown],
        "settled": [
            {"key": one.attempt.key, "number": one.attempt.number, "as": _SAID[one.state], "why": one.why}
            | {"usd": exact(one.actual.usd)}
            for one in found.settled
        ],
        "compared": None if found.compared is None else [_stretch(found, one) for one in found.compared],
        "not_compared": found.not_compared,
        "before": _balance(found.before),
        "after": _balance(found.after),
        "exit_code": found.exit_code,
    }


def _unknown(found: Reconciled, one: OpenAttempt) -> dict[str, Any]:
    stretch = found.stretch_of(one)
    suggestion = None if stretch is None or stretch.suggestion is None else _SAID[stretch.suggestion]
    told = {"key": one.key, "number": one.number, "model": one.model, "sent_at": _iso(one.sent_at_us)}
    told |= {"age_s": (found.now_us - one.sent_at_us) // 1_000_000, "bound_usd": exact(one.bound.usd)}
    told |= {"end": one.end.value, "code": one.code, "message": one.message, "request_id": one.request_id}
    return told | {"run": one.run, "suggested": suggestion}


def _stretch(found: Reconciled, one: Stretch) -> dict[str, Any]:
    suggestion = None if one.suggestion is None else _SAID[one.suggestion]
    told = {"model": one.model, "verdict": one.verdict.value, "suggested": suggestion, "final": found.is_final(one)}
    return told | {"quarters": [_quarter(quarter) for quarter in one.quarters]}


def _quarter(one: Quarter) -> dict[str, Any]:
    booked = one.booked
    return {
        "start": _iso(one.start_us),
        "posted": booked.posted_count,
        "posted_neurons": exact(booked.posted.neurons),
        "unknown": booked.unknown_count,
        "unknown_neurons": exact(booked.unknown.neurons),
        "settled_neurons": exact(booked.settled.neurons),
        "not_billed": booked.void_count,
        "cloudflare_neurons": exact(one.platform.neurons),
    }


def quarter_rows(found: Reconciled) -> list[dict[str, str]]:
    """One row a model and quarter, as text."""
    return [
        {"model": stretch.model, "verdict": stretch.verdict.value}
        | {name: str(value) for name, value in _quarter(quarter).items()}
        for stretch in found.compared or ()
        for quarter in stretch.quarters
    ]


def _balance(balance: Balance) -> dict[str, str]:
    return {
        "spent_usd": exact(balance.spent.usd),
        "unknown_usd": exact((balance.unknown + balance.reserved).usd),
        "free_usd": exact(decimal_usd(balance.free_nano_usd)),
    }


def show(console: Console, found: Reconciled) -> None:
    """Everything at the terminal: the comparison, what is unknown, what was settled, what to do."""
    if found.compared is not None:
        console.print(_comparison(found.compared))
    else:
        console.print(f"Not compared with Cloudflare: {shown(found.not_compared, 500)}.", highlight=False)
    if found.unknown:
        console.print(_unknown_table(found))
    for one in found.settled:
        amount = f", {usd(one.actual)} counts as spent" if one.state is State.POSTED else ""
        told = f"settled   {one.attempt.key[:KEY_SHOWN]}#{one.attempt.number} as {_SAID[one.state]}{amount}"
        console.print(f"{told} ({shown(one.why)})", highlight=False, soft_wrap=True)
    for name, was, now in _amounts(found):
        changed = f"{usd(was)} -> {usd(now)}" if was != now else usd(now)
        console.print(f"{name:9} {changed}", highlight=False)
    for line in advice(found):
        console.print(line, highlight=False, soft_wrap=True)


def _amounts(found: Reconciled) -> Iterator[tuple[str, int, int]]:
    was, now = found.before, found.after
    yield "spent", was.spent.nano_usd, now.spent.nano_usd
    yield "unknown", (was.unknown + was.reserved).nano_usd, (now.unknown + now.reserved).nano_usd
    yield "free", was.free_nano_usd, now.free_nano_usd


def advice(found: Reconciled) -> list[str]:
    """What the figures say about the unknown ones, and what follows. Text from outside is escaped."""
    chosen = {state: found.suggested(state) for state in _SAID}
    lines = [_suggestion(found, state, some) for state, some in chosen.items() if some]
    if sum(map(len, chosen.values())) < len(found.unknown):
        lines.append(
            "What the figures do not decide you may settle by the dashboard or the invoice (--billed, --not-billed), "
            "or leave: it counts as spent."
        )
    states = {one.state for one in found.settled}
    if State.VOID in states:
        lines.append("Rows that were not billed and have no picture are sent again by the next run, within the budget.")
    if State.POSTED in states:
        lines.append("Rows that were billed without a picture are bought again with --resend-lost or --resend-failed.")
    return lines


def _suggestion(found: Reconciled, state: State, chosen: Sequence[OpenAttempt]) -> str:
    option = _OPTIONS[state]
    names = " ".join(f"{option} {one.key[:KEY_SHOWN]}#{one.number}" for one in chosen)
    command = f"fluxbatch reconcile {shlex.quote(str(found.dataset))} " + (
        f"{option} all" if len(chosen) == len(found.unknown) else names
    )
    said = (
        f"By Cloudflare's figures {len(chosen):,} of {len(found.unknown):,} were {_SAID[state]}: {shown(command, 3000)}"
    )
    young = [s.end_us for one in chosen if (s := found.stretch_of(one)) is not None and not found.is_final(s)]
    return f"{said} (figures come late: ask again after {_clock(max(young) + LATE_US)} UTC first)" if young else said


def _comparison(stretches: Sequence[Stretch]) -> Table:
    table = Table("model", "quarter of an hour, UTC", "booked", "posted", "unknown", "settled", "Cloudflare", "verdict")
    table.title = "Neurons, all datasets of the account in this ledger"
    for stretch in stretches:
        for number, quarter in enumerate(stretch.quarters, start=1):
            booked, last = quarter.booked, number == len(stretch.quarters)
            amounts = (booked.posted, booked.unknown, booked.settled, quarter.platform)
            table.add_row(
                stretch.model.rsplit("/", 1)[-1], _clock(quarter.start_us), f"{booked.posted_count:,}",
                *(f"{amount.neurons:,}" for amount in amounts), _VERDICTS[stretch.verdict] if last else "",
                end_section=last,
            )  # fmt: skip
    return table


def _unknown_table(found: Reconciled) -> Table:
    table = Table(
        "attempt", "how", "age", "bound", "code", "request id", "figures say", title="Perhaps billed, no picture"
    )
    for one in found.unknown:
        stretch = found.stretch_of(one)
        said = "-" if stretch is None or stretch.suggestion is None else _SAID[stretch.suggestion]
        age = minutes((found.now_us - one.sent_at_us) / 1e6)
        table.add_row(
            f"{one.key[:KEY_SHOWN]}#{one.number}", one.end.value, age, usd(one.bound), shown(one.code or ""),
            shown(one.request_id or ""), said,
        )  # fmt: skip
    return table


def _clock(when_us: int) -> str:
    return datetime.fromtimestamp(when_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M")


def _iso(when_us: int) -> str:
    return datetime.fromtimestamp(when_us // 1_000_000, UTC).isoformat()
