"""What an answer means: for the row, for the money, and for what is sent next. Pure; the clock is an argument.

    Outcome        billed    then
    Delivered      yes       spool, then book the charge
    Throttled      no        again: "rate" teaches the pace, "room" the in-flight limit
    NotSent        no        again: it never left the machine
    Refused        no, perhaps   the row's result: the content was refused (of the prompt: no; of the output: perhaps)
    Invalid        no        the row's result: the row is wrong, or our client is
    Failed         perhaps   an answer came, without a picture
    Lost           perhaps   no answer came
    Fatal          no        the run stops; the remedy says what to do

The tables are CLOUDFLARE.md sections 3 and 5: by code, then by status, then (for the catch-all 3030, and for what
nobody has published) by message. *Not billed* has to be earned: a status below 500 that is no 408, and a code, a status
or a message that the contract names as not billed. Whatever else comes may have been billed, so it is Failed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal, TypeAlias

from fluxbatch.cloudflare import remedies
from fluxbatch.cloudflare.answer import Picture, Words, read_list, read_picture, read_words
from fluxbatch.cloudflare.headers import charge_of, encoding_of, names_a_charge, request_id_of
from fluxbatch.cloudflare.redact import plain, redact
from fluxbatch.cloudflare.when import next_reset, retry_after_s
from fluxbatch.cloudflare.wording import meaning_of, without
from fluxbatch.models.catalogue import Model
from fluxbatch.models.money import Money

MESSAGE_MAX = 300

Billed: TypeAlias = Literal["yes", "no", "perhaps"]
FatalKind: TypeAlias = Literal["token", "account", "model", "allocation", "balance", "method"]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. Header names are lower-case; the body is as it came over the wire.

    `oversized` says that the body went beyond the client's cap and was dropped.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    latency_s: float
    oversized: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """No whole answer came: it was never sent, or it was lost after the connection stood."""

    kind: Literal["not_sent", "lost"]
    message: str
    latency_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    """What every outcome carries: the code ("3040", or "http 502"), the message (redacted, escaped, at most
    `MESSAGE_MAX` characters), and Cloudflare's id of the request."""

    code: str | None = None
    message: str = ""
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered(_Common):
    """A picture came. `charge` is what Cloudflare says it took, or None when it did not say: the bound is booked."""

    billed: ClassVar[Billed] = "yes"
    content: bytes = field(repr=False)
    charge: Money | None = None


@dataclass(frozen=True, slots=True)
class Throttled(_Common):
    """Too many a minute ("rate"), or no room on the platform ("room"). Seconds to wait, when the answer says so."""

    billed: ClassVar[Billed] = "no"
    reason: Literal["rate", "room"]
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Refused(_Common):
    """The content was refused: a fact about the prompt, with many false positives."""

    billed: Literal["no", "perhaps"]


@dataclass(frozen=True, slots=True)
class Invalid(_Common):
    """The row is wrong, or our client is."""

    billed: ClassVar[Billed] = "no"


@dataclass(frozen=True, slots=True)
class NotSent(_Common):
    """It never left the machine: no connection stood."""

    billed: ClassVar[Billed] = "no"


@dataclass(frozen=True, slots=True)
class Failed(_Common):
    """An answer came, and no picture in it. `charge` is what it said that it took, if it said so."""

    billed: ClassVar[Billed] = "perhaps"
    charge: Money | None = None


@dataclass(frozen=True, slots=True)
class Lost(_Common):
    """No whole answer came after the connection stood."""

    billed: ClassVar[Billed] = "perhaps"


@dataclass(frozen=True, slots=True)
class Fatal(_Common):
    """Nothing more can be made until something is changed; `remedy` is what to do, as a sentence."""

    billed: ClassVar[Billed] = "no"
    kind: FatalKind
    remedy: str


Outcome: TypeAlias = Delivered | Throttled | Refused | Invalid | NotSent | Failed | Lost | Fatal


@dataclass(frozen=True, slots=True)
class _Error:
    """An error answer, read: what the rules below look at. `message` is fit to be shown."""

    status: int
    code: str | None
    message: str
    ours: bool
    charged: bool
    charge: Money | None
    request_id: str | None
    retry_after_s: float | None
    now: datetime

    @property
    def name(self) -> str:
        return self.code or f"http {self.status}"


_Rule: TypeAlias = Callable[[_Error], Outcome]


def read_outcome(reply: Reply | Broken, now: datetime, prompt: str = "") -> Outcome:
    """What a reply means. `now` (aware) dates the reset of the free allocation and a Retry-After. Never raises.

    Where an error quotes the `prompt`, the quotation is left out: its words would decide about money, and the message
    goes to logs and into the ledger, where prompts do not belong.
    """
    if isinstance(reply, Broken):
        message = _shown(reply.message)
        return NotSent(message=message) if reply.kind == "not_sent" else Lost(message=message)
    if 200 <= reply.status < 300:
        return _read_success(reply, prompt)
    return _read_error(_error_of(reply, now, prompt))


def read_preflight(reply: Reply | Broken, model: Model, now: datetime) -> Outcome | None:
    """What the free model search means for a run with this model: None when it may start.

    Only an answer that lists other models and not this one, or none, says that the model is missing; the shape of the
    list is not promised, so entries without a name are believed.
    """
    if isinstance(reply, Broken) or not 200 <= reply.status < 300:
        return read_outcome(reply, now)
    request_id = request_id_of(reply.headers)
    listed = read_list(b"" if reply.oversized else reply.body)
    if listed is None:
        message = "the model search gave no list of models"
        return Failed(code=f"http {reply.status}", message=message, request_id=request_id)
    names = [entry.get("name") for entry in listed if isinstance(entry, dict)]
    if listed and (model.id in names or not any(isinstance(name, str) for name in names)):
        return None
    return Fatal(
        "model",
        remedies.MODEL,
        code=f"http {reply.status}",
        message=f"{model.id} is not on the list",
        request_id=request_id,
    )


def _read_success(reply: Reply, prompt: str) -> Delivered | Failed:
    request_id, charge = request_id_of(reply.headers), charge_of(reply.headers)
    if reply.oversized:
        found: Picture | Words = Words(None, "the answer is larger than anything that was asked for", ours=False)
    elif encoding := encoding_of(reply.headers):
        found = Words(None, f"the answer is encoded as {encoding}, which was not asked for", ours=False)
    else:
        found = read_picture(reply.body)
    if isinstance(found, Words):
        code = found.code or f"http {reply.status}"
        return Failed(code=code, message=_said(found.message, prompt), request_id=request_id, charge=charge)
    return Delivered(found.content, charge, request_id=request_id)


def _error_of(reply: Reply, now: datetime, prompt: str) -> _Error:
    words = read_words(b"" if reply.oversized or encoding_of(reply.headers) else reply.body, _RANKS)
    return _Error(
        reply.status,
        words.code,
        _said(words.message, prompt),
        words.ours,
        names_a_charge(reply.headers),
        charge_of(reply.headers),
        request_id_of(reply.headers),
        retry_after_s(reply.headers.get("retry-after"), now),
        now,
    )


def _read_error(error: _Error) -> Outcome:
    # First what no code may talk away: these statuses may have been billed, whatever the body says, and so may an
    # error that names a charge (none was ever seen to).
    if error.status >= 500 or error.status == 408 or error.status < 400 or error.charged:
        return _failed(error)
    if error.status == 429 and _ALLOCATION.search(error.message):
        return _allocation(error)
    rule = _BY_CODE.get(error.code or "") or _BY_STATUS.get(error.status, _by_message)
    return rule(error)


# The rules. Each makes one outcome of an error.


def _failed(error: _Error) -> Failed:
    message = error.message
    if error.status == 408 or error.code in _TIMEOUTS:
        message = _shown(f"{message[:200]}; fewer steps or pixels may help")
    elif error.status < 400:
        message = _shown(f"a redirect or no answer, which is not followed; check CLOUDFLARE_BASE_URL ({message})")
    return Failed(code=error.name, message=message, request_id=error.request_id, charge=error.charge)


def _invalid(error: _Error) -> Invalid:
    return Invalid(code=error.name, message=error.message, request_id=error.request_id)


def _refused_prompt(error: _Error) -> Refused:
    return Refused("no", code=error.name, message=error.message, request_id=error.request_id)


def _throttled(reason: Literal["rate", "room"]) -> _Rule:
    return lambda error: Throttled(
        reason, error.retry_after_s, code=error.name, message=error.message, request_id=error.request_id
    )


def _fatal(kind: FatalKind, remedy: str) -> _Rule:
    return lambda error: Fatal(kind, remedy, code=error.name, message=error.message, request_id=error.request_id)


def _allocation(error: _Error) -> Outcome:
    reset = next_reset(error.now)
    minutes = max(1, -int((error.now - reset).total_seconds() // 60))
    remedy = (
        f"the free neurons of today are used up; they come back at {reset:%Y-%m-%d %H:%M} UTC "
        f"(in {minutes // 60} h {minutes % 60:02d} min): run the same command again then, "
        "or switch the account to the Workers Paid plan"
    )
    return _fatal("allocation", remedy)(error)


def _forbidden(error: _Error) -> Outcome:
    # In Cloudflare's JSON it is about the token. Anything else is the edge speaking (a block of the address, a firewall
    # that dislikes one prompt): it came before the model, so it is not billed; it is neither the row's fault for sure
    # nor the account's, so it is tried again with a pause, and the retry rule and the breaker bound it.
    return _fatal("token", remedies.CHECK_ACCESS)(error) if error.ours else _throttled("room")(error)


def _by_message(error: _Error) -> Outcome:
    """3030, and 4xx that nobody has published: believed to be free only if it says what is wrong with the request.

    Invalid and Refused are not sent again, and Invalid gives the money back: on a mere guess, a new code for "your
    token is wrong" would write off a whole manifest, and a new code for a flagged output would overspend.
    """
    meaning = meaning_of(error.message) if error.ours else "unknown"
    if meaning in ("internal", "unknown"):
        return _failed(error)
    if meaning == "parameter":
        return _invalid(error)
    billed: Literal["no", "perhaps"] = "no" if meaning == "prompt refused" else "perhaps"
    return Refused(billed, code=error.name, message=error.message, request_id=error.request_id)


_TIMEOUTS = frozenset({"3046", "3007", "3008"})

_TABLE: tuple[tuple[str, _Rule], ...] = (
    ("3021", _throttled("rate")),
    ("3040 4002", _throttled("room")),
    ("3036 4006", _allocation),
    ("3046 3007 3008", _failed),
    ("3043 8004 4007", _failed),
    ("3030", _by_message),
    ("8007", _refused_prompt),
    ("5006 5004 3003 3006", _invalid),
    ("7000 5007 3042", _fatal("model", remedies.MODEL)),
    ("7003", _fatal("account", remedies.ACCOUNT)),
    # 400 / 6003 "Invalid request headers" is what the API says to a token of the wrong form (seen in public issues).
    ("10000 6003", _fatal("token", remedies.CHECK_ACCESS)),
    ("5018 3041 5016 5035", _fatal("model", remedies.NOT_ALLOWED)),
    ("3023", _fatal("account", remedies.BLOCKED)),
    ("7001 5019 5005", _fatal("method", remedies.METHOD)),
)
_BY_CODE: Mapping[str, _Rule] = {code: rule for codes, rule in _TABLE for code in codes.split()}

_BY_STATUS: Mapping[int, _Rule] = {
    401: _fatal("token", remedies.CHECK_ACCESS),
    402: _fatal("balance", remedies.BALANCE),
    403: _forbidden,
    404: _fatal("account", remedies.ACCOUNT),
    405: _fatal("method", remedies.METHOD),
    413: _invalid,
    424: _throttled("room"),
    429: _throttled("room"),
}

# Of several errors in one answer, one that may be billed is heard first, then one that is known at all.
_RANKS = (frozenset({"3030", *(code for code, rule in _BY_CODE.items() if rule is _failed)}), frozenset(_BY_CODE))

_ALLOCATION = re.compile(r"daily free allocation", re.IGNORECASE)


def _said(message: str, prompt: str) -> str:
    return _shown(without(prompt, message))


def _shown(message: str) -> str:
    return plain(redact(message), MESSAGE_MAX)
