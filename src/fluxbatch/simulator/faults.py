"""What can go wrong, as one table, and the script that says when.

The rows with a code are section 5 of CLOUDFLARE.md; the rest are answers and silences that no platform announces. A
fault is *early* (answered before a picture is begun) or *late* (after the time that a picture takes). `bills` says
whether the bill gets an entry; where nobody knows whether Cloudflare bills (`may_bill`), `NAME+billed` does.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from fluxbatch.errors import UsageError


class Kind(Enum):
    """What the client gets to see."""

    ERROR = "an error object"
    HTML = "a page of the edge"
    TEXT = "a line of plain text"
    FALSE_SUCCESS = "200 with success false"
    NO_HEADER = "a picture without the neuron header"
    TRUNCATED_JSON = "half of the JSON, as if it were all"
    TRUNCATED_BODY = "half of the announced body, then the connection closes"
    BAD_BASE64 = "base64 with foreign characters"
    NO_PICTURE = "base64 of something that is no picture"
    CUT_PICTURE = "the first half of a JPEG"
    BLANK = "a picture of one colour"
    WRONG_SIZE = "a picture of half the sides"
    PNG = "a PNG instead of a JPEG"
    GZIP = "a compressed answer that nobody asked for"
    OTHER_FORM = "a picture as bare bytes where JSON is usual, and in JSON where bare bytes are"
    LOST = "the connection closes without an answer"
    RESET = "the connection is reset without an answer"
    HANG = "no answer, the connection stays open"


@dataclass(frozen=True, slots=True)
class Fault:
    """One row. `routing` errors carry `"result":null`, the model's own carry `{}` and the request id."""

    name: str
    kind: Kind
    status: int = 200
    code: int | None = None
    message: str = ""
    routing: bool = False
    late: bool = False
    bills: bool = False
    may_bill: bool = False
    retry_after_s: int | None = None

    @property
    def label(self) -> str:
        """How the statistics name it: 429/3021, 502, lost-after."""
        if self.kind is Kind.ERROR:
            return f"{self.status}/{self.code}" if self.code else f"{self.status}"
        return f"{self.status}" if self.kind in (Kind.HTML, Kind.TEXT) and self.status != 200 else self.name


def _model(name: str, status: int, code: int, message: str, **more: Any) -> Fault:
    return Fault(name, Kind.ERROR, status, code, message, **more)


def _routing(name: str, status: int, code: int | None, message: str) -> Fault:
    return Fault(name, Kind.ERROR, status, code, message, routing=True)


def _late(name: str, status: int, code: int, message: str) -> Fault:
    return Fault(name, Kind.ERROR, status, code, message, late=True, may_bill=True)


def _spoilt(name: str, kind: Kind) -> Fault:
    return Fault(name, kind, late=True, bills=True, may_bill=True)


_USED_UP = "you have used up your daily free allocation of 10,000 neurons, please upgrade to Cloudflare's Workers Paid"
_RATE = "inference request per min rate reached"

_ROWS = (
    # Too many, too full: never billed.
    _model("3021", 429, 3021, _RATE),
    _model("3021-retry-after", 429, 3021, _RATE, retry_after_s=1),
    _model("3040", 429, 3040, "Capacity temporarily exceeded, please try again."),
    _model("3040-retry-after", 429, 3040, "Capacity temporarily exceeded, please try again.", retry_after_s=1),
    _model("4002", 424, 4002, "Could not route request to a location with capacity"),
    _model("3036", 429, 3036, _USED_UP),
    _model("4006", 429, 4006, _USED_UP),
    # Ended on the way: perhaps billed.
    _late("3046", 408, 3046, "Request timeout"),
    _late("3007", 408, 3007, "Request timeout"),
    _late("3008", 408, 3008, "Request was aborted"),
    _late("500", 500, 3043, "Internal server error"),
    _late("3043", 500, 3043, "Internal server error"),
    _late("8004", 500, 8004, "Internal server error"),
    _late("4007", 500, 4007, "Upstream error"),
    Fault("false-200", Kind.FALSE_SUCCESS, 200, 8004, "Internal server error", late=True, may_bill=True),
    _late("3030-internal", 400, 3030, "Internal Server Error"),
    # Content, and what does not fit: about the row.
    _late("3030-flagged", 400, 3030, "Your output has been flagged. Choose another prompt/input image combination"),
    _late("3030-nsfw", 400, 3030, "The generated image contains NSFW content"),
    _model("8007", 400, 8007, "Input prompt contains NSFW content"),
    _model("3030-width", 400, 3030, "max width is 1920"),
    _model("3030-references", 400, 3030, "too many input images"),
    _model("5006", 400, 5006, "Error: required properties at '/' are 'prompt'"),
    _model("5004", 400, 5004, "Invalid data type for base64 input"),
    _model("3003", 400, 3003, "Request is missing headers or body"),
    _model("3006", 413, 3006, "Request is too large"),
    # The account, the token, the model.
    _routing("7000", 400, 7000, "No route for that URI"),
    _model("5007", 400, 5007, "No such model or task"),
    _model("3042", 404, 3042, "Model name is invalid"),
    _routing("7003", 404, 7003, "Could not route to the account, perhaps your object identifier is invalid?"),
    _routing("10000", 401, 10000, "Authentication error"),
    _routing("10000-permission", 403, 10000, "Authentication error"),
    _model("5018", 403, 5018, "The account is not allowed to access this model"),
    _model("3041", 403, 3041, "The account is not allowed to access this model"),
    _model("5016", 403, 5016, "The model's terms have not been agreed to"),
    _model("3023", 403, 3023, "Service unavailable for account"),
    _model("5035", 403, 5035, "This model is not available on your plan"),
    _routing("7001", 405, 7001, "Method not available for that URI"),
    _model("5019", 405, 5019, "Request trying to use deprecated SDK version"),
    _model("5005", 405, 5005, "The model does not support LoRA inference"),
    _routing("402", 402, None, "Payment required"),
    # Not from the model at all.
    Fault("502", Kind.HTML, 502, message="Bad gateway", may_bill=True),
    Fault("503", Kind.HTML, 503, message="Service Temporarily Unavailable", may_bill=True),
    Fault("403", Kind.TEXT, 403, message="error code: 1010"),
    Fault("html-200", Kind.HTML, 200, message="Just a moment...", late=True, may_bill=True),
    _spoilt("no-header", Kind.NO_HEADER),
    _spoilt("truncated-json", Kind.TRUNCATED_JSON),
    _spoilt("truncated-body", Kind.TRUNCATED_BODY),
    _spoilt("bad-base64", Kind.BAD_BASE64),
    _spoilt("no-picture", Kind.NO_PICTURE),
    _spoilt("cut-picture", Kind.CUT_PICTURE),
    _spoilt("blank", Kind.BLANK),
    _spoilt("wrong-size", Kind.WRONG_SIZE),
    _spoilt("png", Kind.PNG),
    _spoilt("gzip", Kind.GZIP),
    _spoilt("other-form", Kind.OTHER_FORM),
    Fault("lost-before", Kind.LOST),
    _spoilt("lost-after", Kind.LOST),
    Fault("reset-before", Kind.RESET),
    _spoilt("reset-after", Kind.RESET),
    _spoilt("hang", Kind.HANG),
)
FAULTS: Mapping[str, Fault] = {row.name: row for row in _ROWS}


def find_fault(name: str) -> Fault:
    """The fault of this name. `+billed` bills one that perhaps is, after the time of a picture; `+free` bills none."""
    base, _, modifier = name.partition("+")
    fault = FAULTS.get(base)
    if fault is None:
        raise UsageError(f"the simulator knows no fault {name!r}; known: {', '.join(FAULTS)}")
    if not modifier:
        return fault
    if modifier not in ("billed", "free") or not fault.may_bill:
        raise UsageError(f"{name!r}: only +billed and +free, and only where Cloudflare perhaps bills; not {base!r}")
    return replace(fault, name=name, late=True, bills=modifier == "billed")


def check_fault_rates(rates: Mapping[str, float]) -> None:
    """UsageError unless all names are known and the probabilities fit into 1 together."""
    for name, rate in rates.items():
        find_fault(name)
        if not 0 <= rate <= 1:
            raise UsageError(f"the probability of fault {name!r} is {rate}; it has to lie within 0 and 1")
    if sum(rates.values()) > 1 + 1e-9:
        raise UsageError("the fault probabilities add up to more than 1; one request meets one fault at most")


@dataclass(frozen=True, slots=True)
class Outage:
    """From `from_s` (included) to `to_s` (not), seconds after the start, every request meets `fault`."""

    from_s: float
    to_s: float
    fault: str

    @classmethod
    def of(cls, given: Outage | Mapping[str, Any]) -> Outage:
        """From {"from": s, "to": s, "fault": name}."""
        if isinstance(given, Outage):
            return given
        try:
            outage = cls(float(given["from"]), float(given["to"]), str(given["fault"]))
        except (KeyError, ValueError, TypeError):
            raise UsageError(f'an outage is written {{"from": s, "to": s, "fault": name}}, not {given!r}') from None
        find_fault(outage.fault)
        return outage

    def to_dict(self) -> dict[str, object]:
        return {"from": self.from_s, "to": self.to_s, "fault": self.fault}


_MARKER = re.compile(r"\[\[fault:([^\]*]+)(?:\*(\d{1,6}))?\]\]")


class FaultScript:
    """Which fault a request meets: the prompt's markers first, then the outages, then chance.

    `[[fault:3040]]` always; `[[fault:3040*2]]` the first two times that this prompt is seen, then what is next in it.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._seen: Counter[str] = Counter()

    def choose(
        self, prompt: str, elapsed_s: float, rates: Mapping[str, float], outages: Sequence[Outage]
    ) -> Fault | None:
        """The fault of one request that came `elapsed_s` after the start. UsageError for a marker that is unknown."""
        draw = self._rng.random()  # always one draw a request, so that a marker does not shift the others' fate
        if "[[fault:" in prompt and (marked := self._marked(prompt)):
            return marked
        for outage in outages:
            if outage.from_s <= elapsed_s < outage.to_s:
                return find_fault(outage.fault)
        return _drawn(draw, rates)

    def _marked(self, prompt: str) -> Fault | None:
        seen = self._seen[prompt]
        self._seen[prompt] += 1
        for name, times in _MARKER.findall(prompt):
            fault = find_fault(name)
            if not times or seen < int(times):
                return fault
            seen -= int(times)
        return None


def _drawn(draw: float, rates: Mapping[str, float]) -> Fault | None:
    for name, rate in rates.items():
        if draw < rate:
            return find_fault(name)
        draw -= rate
    return None
