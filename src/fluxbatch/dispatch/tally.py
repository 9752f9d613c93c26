"""What has come of the pictures so far: the counters that the screen, the summary and the flow read."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from fluxbatch.budget.entries import Balance, End
from fluxbatch.dispatch.drift import Watch
from fluxbatch.models.money import ZERO, Money

RATE_SPAN_S = 60.0


@dataclass(slots=True)
class Tally:
    """Pictures by how they ended, requests by how they were answered, and the money, live."""

    balance: Balance
    asked: int = 0
    already: int = 0
    made: int = 0
    ended: Counter[End] = field(default_factory=Counter)
    """Pictures that ended without one, earlier runs included."""
    too_dear: int = 0
    """Left out, because one of them may cost more than was allowed."""
    out_of_reach: int = 0
    """Due, and not expected to fit into the budget."""
    requests: int = 0
    refusals: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    texts: dict[str, str] = field(default_factory=dict)
    """By code, what the platform said with it last; the latest at the end."""
    made_at_s: deque[float] = field(default_factory=deque)
    watch: Watch = field(default_factory=Watch)
    """What was charged, against what was expected."""

    @property
    def refused(self) -> int:
        """Refused for their content, by the platform, or invalid to it."""
        return self.ended[End.REFUSED] + self.ended[End.INVALID]

    @property
    def failed(self) -> int:
        return self.ended[End.FAILED]

    @property
    def unknown(self) -> int:
        """Lost answers: perhaps billed, no picture."""
        return self.ended[End.LOST]

    @property
    def left(self) -> int:
        """Not reached yet. All counts together are `asked`."""
        return self.asked - self.already - self.made - sum(self.ended.values()) - self.too_dear

    @property
    def done(self) -> int:
        return self.asked - self.left

    @property
    def goal(self) -> int:
        """How many will be done when the run has made what fits; more when charges are lower than expected."""
        return max(self.done, self.asked - self.out_of_reach)

    def no_picture(self, code: str, text: str) -> None:
        """An answer brought none."""
        self.codes[code] += 1
        self.texts.pop(code, None)
        self.texts[code] = text

    def picture(self, at_s: float) -> None:
        """One more was made."""
        self.made += 1
        self.made_at_s.append(at_s)

    def per_minute(self, now_s: float) -> float:
        """Pictures a minute, over the last minute or as long as there is."""
        while self.made_at_s and self.made_at_s[0] < now_s - RATE_SPAN_S:
            self.made_at_s.popleft()
        if len(self.made_at_s) < 2:
            return 0.0
        return 60.0 * (len(self.made_at_s) - 1) / max(now_s - self.made_at_s[0], 1e-9)

    def moved(self, spent: Money = ZERO, reserved: Money = ZERO, unknown: Money = ZERO) -> None:
        """The same movement of money that the ledger has just made durable."""
        b = self.balance
        self.balance = Balance(b.cap_nano_usd, b.spent + spent, b.reserved + reserved, b.unknown + unknown)
