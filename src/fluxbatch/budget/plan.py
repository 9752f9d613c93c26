"""A manifest against a budget, before anything is sent: what is asked, made already, what it costs, what fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fluxbatch.budget.entries import NEVER_SENT, Balance, End, History
from fluxbatch.manifest.mentions import absent
from fluxbatch.manifest.reader import Rejected
from fluxbatch.manifest.references import was_fitted
from fluxbatch.manifest.request import Change, Cited, Complaint, ImageRequest
from fluxbatch.models.catalogue import Model
from fluxbatch.models.money import ZERO, Money
from fluxbatch.models.price import Quote, quote

COMPLAINTS_KEPT = 1000
LOOK_UP = 1000

Histories = Callable[[Sequence[str]], Mapping[str, History]]
IsDue = Callable[[History], bool]


class Shape(NamedTuple):
    """What the price of a picture depends on."""

    model: Model
    width: int
    height: int
    steps: int
    references: int


@dataclass(slots=True)
class Plan:
    """The whole manifest in a few numbers. Pictures: `asked = already + sum(ended) + due`."""

    balance: Balance
    asked: int = 0
    already: int = 0
    due: int = 0
    ended: Counter[End] = field(default_factory=Counter)
    """Ended earlier without a picture, and not to be sent again."""
    rejected_rows: int = 0
    complaint_count: int = 0
    complaints: list[Complaint] = field(default_factory=list)
    """The first thousand."""
    fits: int = 0
    fits_nano_usd: int = 0
    shapes: Counter[Shape] = field(default_factory=Counter)
    """Due pictures by shape."""
    fitted_references: int = 0
    changes: Counter[Change] = field(default_factory=Counter)
    """What else is done to the references of due pictures before they are sent."""
    cited: dict[Cited, None] = field(default_factory=dict)
    """All references that are asked for, each once; some 500 bytes each."""
    doubtful_prompts: int = 0
    first_doubtful: tuple[int, int] | None = None
    """Due pictures whose prompt may speak of a reference that is not there; the row and the number of the first."""
    _is_full: bool = False

    def complain(self, complaints: Iterable[Complaint]) -> None:
        for complaint in complaints:
            self.complaint_count += 1
            if len(self.complaints) < COMPLAINTS_KEPT:
                self.complaints.append(complaint)

    def complain_first(self, complaint: Complaint) -> None:
        """What is said once for many rows, above what is said of each."""
        self.complaint_count += 1
        self.complaints[:] = [complaint, *self.complaints[: COMPLAINTS_KEPT - 1]]

    def reject(self, rejected: Rejected) -> None:
        self.rejected_rows += 1
        self.complain(rejected.complaints)

    def add(self, request: ImageRequest, history: History, is_due: bool) -> None:
        """Count one picture. What fits is counted as the guard will: bound before, expected price after, in order."""
        self.asked += 1
        self.cited.update((reference.cited, None) for reference in request.references)
        if history.made:
            self.already += 1
            return
        if not is_due:
            assert history.end is not None
            self.ended[history.end] += 1
            return
        price = request.quote
        self.due += 1
        self._add_references(request)
        self.shapes[Shape(request.model, request.width, request.height, request.steps, len(request.references))] += 1
        if not self._is_full and self.fits_nano_usd + price.bound.nano_usd <= self.balance.free_nano_usd:
            self.fits += 1
            self.fits_nano_usd += price.expected.nano_usd
        else:
            self._is_full = True

    def _add_references(self, request: ImageRequest) -> None:
        self.fitted_references += sum(map(was_fitted, request.references))
        for reference in request.references:
            self.changes.update(reference.changes)
        surely, perhaps = absent(request.prompt, len(request.references))
        if surely or (perhaps and request.references):
            self.doubtful_prompts += 1
            self.first_doubtful = self.first_doubtful or (request.row, (*surely, *perhaps)[0])

    def pictures_by_model(self) -> Counter[Model]:
        """Due pictures by model."""
        pictures: Counter[Model] = Counter()
        for shape, count in self.shapes.items():
            pictures[shape.model] += count
        return pictures

    @staticmethod
    def price(shape: Shape) -> Quote:
        """The price of one picture of a shape."""
        return quote(*shape)

    @property
    def expected(self) -> Money:
        """What the due pictures should cost."""
        return sum((quote(*shape).expected * count for shape, count in self.shapes.items()), ZERO)

    @property
    def spare(self) -> Money:
        """The most that one due picture can cost more than expected."""
        prices = [quote(*shape) for shape in self.shapes]
        return max((price.bound - price.expected for price in prices), key=lambda extra: extra.nano_usd, default=ZERO)

    @property
    def bound(self) -> Money:
        """What the due pictures can cost at most, each bought once."""
        return sum((quote(*shape).bound * count for shape, count in self.shapes.items()), ZERO)


def with_histories(
    rows: Iterable[ImageRequest | Rejected], histories: Histories
) -> Iterator[tuple[ImageRequest, History] | Rejected]:
    """Each request with its past, looked up many at a time; order is kept."""
    chunk: list[ImageRequest | Rejected] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == LOOK_UP:
            yield from _looked_up(chunk, histories)
            chunk = []
    yield from _looked_up(chunk, histories)


def _looked_up(
    chunk: list[ImageRequest | Rejected], histories: Histories
) -> Iterator[tuple[ImageRequest, History] | Rejected]:
    known = histories([row.key for row in chunk if isinstance(row, ImageRequest)])
    for row in chunk:
        yield (row, known.get(row.key, NEVER_SENT)) if isinstance(row, ImageRequest) else row


def make_plan(
    rows: Iterable[ImageRequest | Rejected],
    header: Iterable[Complaint],
    balance: Balance,
    histories: Histories,
    is_due: IsDue,
) -> Plan:
    """Read the whole manifest once. Sends nothing, keeps no row."""
    plan = Plan(balance)
    plan.complain(header)
    for row in with_histories(rows, histories):
        if isinstance(row, Rejected):
            plan.reject(row)
        else:
            request, history = row
            plan.add(request, history, is_due(history))
    return plan
