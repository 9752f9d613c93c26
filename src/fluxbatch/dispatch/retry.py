"""An outcome -> send again, or stop here. Pure but for the quota, which is a counter.

There is no other retry layer: the transport never sends twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from fluxbatch.budget.entries import End, History
from fluxbatch.cloudflare.outcome import Failed, Fatal, Invalid, Lost, NotSent, Outcome, Refused, Throttled
from fluxbatch.dispatch.hold import RETRY_AFTER_MAX_S

BACKOFF_S = 1.0
BACKOFF_MAX_S = 60.0
KNOWN_THROTTLES = frozenset({"3021", "3040", "4002"})
STRANGE_MAX = 5
"""So often one picture is sent again after a refusal that the contract does not know: a firewall dislikes its text."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a picture that may have been billed is bought again. Counts are over all runs of the dataset."""

    resend_failed: int = 1
    resend_lost: int = 0
    resend_refused: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """Send again, not before so many seconds have passed."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Finish:
    """The row has ended like this; None when it has not ended, but this run cannot go on."""

    end: End | None


NextStep: TypeAlias = Again | Finish


def is_due(history: History, policy: RetryPolicy) -> bool:
    """Whether a row with this past is to be sent in this run."""
    if history.made:
        return False
    if history.end in (End.REFUSED, End.INVALID) and not policy.resend_refused:
        return False
    # Also of a refused row: an earlier attempt may have been billed, and only these two give leave to pay again.
    return history.failed <= policy.resend_failed and history.lost <= policy.resend_lost


def next_step(
    outcome: Outcome, tries: int, failed: int, lost: int, policy: RetryPolicy, quota: Quota, chance: float
) -> NextStep:
    """What follows an outcome that brought no picture.

    `tries` are this run's, `failed` and `lost` all that this key has seen, this outcome included; `chance` is uniform
    in 0..1. What was certainly not billed is always sent again: the gate, the pace and the hold keep that from becoming
    a storm. What may have been billed needs the policy's leave and the quota's.
    """
    match outcome:
        case Throttled() if outcome.code not in KNOWN_THROTTLES and tries >= STRANGE_MAX:
            return Finish(End.FAILED)
        case Throttled(reason="rate"):
            return Again(_after(outcome.retry_after_s, 0.0))
        case Throttled():
            return Again(_after(outcome.retry_after_s, backoff_s(tries, chance)))
        case NotSent():
            return Again(backoff_s(tries, chance))
        case Failed():
            again = failed <= policy.resend_failed and lost <= policy.resend_lost and quota.take()
            return Again(backoff_s(tries, chance)) if again else Finish(End.FAILED)
        case Lost():
            again = lost <= policy.resend_lost and failed <= policy.resend_failed and quota.take()
            return Again(backoff_s(tries, chance)) if again else Finish(End.LOST)
        case Refused():
            return Finish(End.REFUSED)
        case Invalid():
            return Finish(End.INVALID)
        case Fatal():
            return Finish(None)
        case _:
            raise AssertionError(f"a picture needs no next step: {outcome}")


def backoff_s(tries: int, chance: float) -> float:
    """Full jitter: uniform(0, min(cap, base x 2^tries)) (Brooker, "Exponential Backoff and Jitter", AWS 2015)."""
    return chance * min(BACKOFF_MAX_S, BACKOFF_S * 2.0 ** min(tries, 16))


def _after(retry_after_s: float | None, otherwise_s: float) -> float:
    return otherwise_s if retry_after_s is None else min(retry_after_s, RETRY_AFTER_MAX_S)


class Quota:
    """How many possibly billed pictures may be bought again, so that an outage is not answered by a storm.

    It begins with a tenth of the pictures of the run (at least one), so that sends stay within 1.1 a picture when
    everything fails; each picture made gives a fifth of a retry back (the share in botocore's standard mode).
    """

    SHARE = 10
    REFUND = 0.2

    def __init__(self, pictures: int) -> None:
        self._most = max(1, pictures // self.SHARE)
        self._left = float(self._most)

    def take(self) -> bool:
        """Use one retry, if there is one."""
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def refund(self) -> None:
        """A picture was made."""
        self._left = min(float(self._most), self._left + self.REFUND)
