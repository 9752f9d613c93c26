"""What was really billed, as Cloudflare's GraphQL analytics say it (CLOUDFLARE.md section 7). Pure but for `billed`.

The figures come minutes late, and they are sampled ("adaptive"): they are held against the ledger, never booked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Literal, NoReturn, TypeAlias

from fluxbatch.cloudflare.answer import read_words
from fluxbatch.cloudflare.client import Client
from fluxbatch.cloudflare.outcome import Broken, Reply
from fluxbatch.cloudflare.redact import plain, redact
from fluxbatch.models.money import CENTINEURONS_PER_NEURON, Money, charge

NODE = "aiInferenceAdaptiveGroups"
GROUPS_MAX = 10_000
"""The most that Cloudflare lists in one answer; as many may be a list that was cut off."""
QUARTER = timedelta(minutes=15)
ANSWER_BYTES_MAX = 8 * 1024 * 1024
SUM_NEURONS_MAX = 10**13
"""No account uses as much in a quarter of an hour; a figure beyond it is garbage."""

_QUERY = (
    "{{ viewer {{ accounts(filter: {{accountTag: {account}}}) {{ " + NODE + "(limit: {limit}, filter: {{datetime_geq: "
    "{since}, datetime_lt: {until}, modelId_in: {models}}}) {{ count dimensions {{ modelId datetimeFifteenMinutes }} "
    "sum {{ totalNeurons }} }} }} }} }}"
)
_Kind: TypeAlias = Literal["token", "permission", "rate", "age", "network", "unreadable"]


@dataclass(frozen=True, slots=True)
class Billed:
    """What one model cost in the quarter of an hour that begins at `start` (UTC), in so many inferences."""

    model: str
    start: datetime
    count: int
    actual: Money


@dataclass(frozen=True, slots=True)
class Span:
    """Which figures are asked for: these models, from `since` to before `until`, both at a quarter of an hour."""

    models: Sequence[str]
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class NoFigures:
    """Why there are no figures; `remedy` is what the user has to do, as a sentence."""

    kind: _Kind
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}"


Figures: TypeAlias = tuple[Billed, ...] | NoFigures


async def billed(client: Client, account_id: str, span: Span) -> Figures:
    """Ask once, and read the answer. Whatever the world does is a value."""
    return read_billed(await client.analyse(query_body(account_id, span)), span)


def query_body(account_id: str, span: Span) -> bytes:
    """The query as the JSON that is posted. Values stand in it as JSON strings, which GraphQL's are."""
    text = _QUERY.format(
        account=json.dumps(account_id),
        limit=GROUPS_MAX,
        since=json.dumps(_told(span.since)),
        until=json.dumps(_told(span.until)),
        models=json.dumps(list(span.models)),
    )
    return json.dumps({"query": text}).encode()


def read_billed(reply: Reply | Broken, span: Span) -> Figures:
    """The figures in an answer, each checked, or why there are none. Never raises, whatever the bytes."""
    if isinstance(reply, Broken):
        return _none("network", reply.message)
    if reply.status != 200:
        return _refused_by_status(reply)
    if reply.oversized or len(reply.body) > ANSWER_BYTES_MAX:
        return _none("unreadable", "the answer is larger than any list of figures")
    try:
        answer = _parsed(reply.body)
        if errors := answer.get("errors"):
            return _refused(errors)
        accounts = answer["data"]["viewer"]["accounts"]
        if accounts == []:
            return _none("permission", "the answer shows no account")
        groups = accounts[0][NODE]
        if len(groups) >= GROUPS_MAX:
            return _none("unreadable", f"{len(groups)} figures came, so there may be more")
        found = tuple(_group(group, span) for group in groups)
        _once_each(found)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, ArithmeticError) as error:
        return _none("unreadable", f"the answer is not understood ({type(error).__name__}: {_shown(str(error))})")
    return found


def _group(group: Any, span: Span) -> Billed:
    dimensions, count = group["dimensions"], group["count"]
    model, start = dimensions["modelId"], datetime.fromisoformat(dimensions["datetimeFifteenMinutes"])
    if model not in span.models:
        raise ValueError(f"figures for {model!r}, which was not asked for")
    if start.tzinfo is None or start.timestamp() % QUARTER.total_seconds() or not span.since <= start < span.until:
        raise ValueError(f"{start} is no quarter of an hour of the span")
    if type(count) is not int or count < 0:
        raise ValueError(f"{count!r} is no count")
    return Billed(model, start.astimezone(UTC), count, _charge(group["sum"]["totalNeurons"]))


def _charge(neurons: object) -> Money:
    """Exact hundredths. Cloudflare sums floats, so the last digits of one are noise: the nearest hundredth is meant."""
    if not isinstance(neurons, int | Decimal) or isinstance(neurons, bool):
        raise ValueError(f"{neurons!r} is no number of neurons")  # noqa: TRY004 - an answer is wrong, not a type of ours
    if not 0 <= neurons <= SUM_NEURONS_MAX:
        raise ValueError(f"{neurons} neurons make no sense")
    return charge(int((Decimal(neurons) * CENTINEURONS_PER_NEURON).to_integral_value(ROUND_HALF_EVEN)))


def _once_each(found: Iterable[Billed]) -> None:
    seen = set()
    for one in found:
        if (one.model, one.start) in seen:
            raise ValueError(f"{one.model} stands twice at {one.start}")
        seen.add((one.model, one.start))


def _refused_by_status(reply: Reply) -> NoFigures:
    words = read_words(b"" if reply.oversized else reply.body)
    message = f"http {reply.status}: {words.message}"
    if reply.status == 429:
        return _none("rate", message)
    if reply.status in (401, 403) or words.code in ("10000", "6003"):
        return _none("token", message)
    return _none("network", message)


def _refused(errors: Any) -> NoFigures:
    """GraphQL's errors have no codes: the words decide."""
    messages = [str(error.get("message", "")) if isinstance(error, dict) else str(error) for error in list(errors)[:5]]
    text = "; ".join(messages)
    kind: _Kind = next((kind for kind, words in _WORDS if words.search(text)), "unreadable")
    return _none(kind, text)


_WORDS: tuple[tuple[_Kind, re.Pattern[str]], ...] = (
    ("rate", re.compile(r"budget depleted|quota exceeded|limit reached|too many requests|rate limit", re.IGNORECASE)),
    ("permission", re.compile(r"not authorized|does not have access|authz|permission", re.IGNORECASE)),
    ("token", re.compile(r"unauthorized|authentication", re.IGNORECASE)),
    ("age", re.compile(r"older than|time range|too large", re.IGNORECASE)),
)

_REMEDIES: dict[_Kind, str] = {
    "token": "check CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID",
    "permission": "give the token the permission Account Analytics: Read as well (the dashboard's API tokens page)",
    "rate": "Cloudflare takes 300 analytics queries in 5 minutes: run the same command again in 5 minutes",
    "age": "Cloudflare keeps these figures for a limited time only: decide by its dashboard or its invoice",
    "network": "check the network and CLOUDFLARE_BASE_URL, then run the same command again",
    "unreadable": "look at the dashboard's Workers AI page instead, and update fluxbatch",
}


def _none(kind: _Kind, message: str) -> NoFigures:
    return NoFigures(kind, _shown(message), _REMEDIES[kind])


def _parsed(body: bytes) -> dict[str, Any]:
    found = json.loads(body.decode("utf-8"), parse_float=Decimal, parse_constant=_no_constant)
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - an answer is wrong, not a type of ours
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _told(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(text: str) -> str:
    return plain(redact(text), 300)
