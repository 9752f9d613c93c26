"""A manifest against a budget, before anything is sent: what is asked, made already, what it costs, what fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from fluxbatch.budget.entries import NEVER_SENT, Balance, End, History
from fluxbatch.budget.limits import Nights, Standing, nights_of, tightest
from fluxbatch.budget.rounds import Order, Rounds, order_of
from fluxbatch.budget.selection import EVERYTHING, Picked, Selection
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

    @classmethod
    def of(cls, request: ImageRequest) -> Shape:
        return cls(request.model, request.width, request.height, request.steps, len(request.references))


@dataclass(slots=True)
class Plan:
    """All that is asked for in a few numbers. Pictures: `asked = already + sum(ended) + due + too_dear`."""

    balance: Balance
    asked: int = 0
    already: int = 0
    due: int = 0
    ended: Counter[End] = field(default_factory=Counter)
    """Ended earlier without a picture, and not to be sent again."""
    too_dear: int = 0
    """Would be due, and may cost more than the selection allows for one."""
    not_selected: int = 0
    """Read, and not asked for; what stands behind the last that is asked for is not read."""
    rejected_rows: int = 0
    complaint_count: int = 0
    complaints: list[Complaint] = field(default_factory=list)
    """The first thousand."""
    fits: int = 0
    fits_nano_usd: int = 0
    standings: Sequence[Standing] = ()
    """The budgets beside the dataset's own that a run has to keep: of the account, the project and the run."""
    fits_now: int = 0
    """What fits into all of them as they stand, so what the next run makes."""
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
    odd_json_prompts: int = 0
    first_odd_json: tuple[int, str] | None = None
    """Due pictures whose prompt begins like a JSON prompt and looks wrong; the row and what is wrong with the first."""
    selection: Selection = EVERYTHING
    order: Order | None = None
    """How the due pictures are bought; None: in the order of the manifest."""
    _is_full: bool = False
    _now_nano_usd: int = 0
    _is_full_now: bool = False
    _room_nano_usd: int = 0

    def __post_init__(self) -> None:
        self._room_nano_usd = self.room_nano_usd

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
        """Count one picture."""
        self.asked += 1
        if request.references:
            self.cited.update((reference.cited, None) for reference in request.references)
        is_wanted = is_due and not self.selection.is_too_dear(request)
        if self.order is not None:
            self.order.add(request, is_wanted)
        if history.made:
            self.already += 1
            return
        if not is_due:
            assert history.end is not None
            self.ended[history.end] += 1
            return
        if not is_wanted:
            self.too_dear += 1
            return
        self.due += 1
        self._add_references(request)
        if request.prompt.startswith("{"):
            self._add_json(request)
        self.shapes[Shape.of(request)] += 1
        if self.order is None:
            self._fit_in_order(request.quote)

    def _fit_in_order(self, price: Quote) -> None:
        """What fits is counted as the guard will: bound before, expected price after, in order."""
        if not self._is_full and self.fits_nano_usd + price.bound.nano_usd <= self.balance.free_nano_usd:
            self.fits += 1
            self.fits_nano_usd += price.expected.nano_usd
        else:
            self._is_full = True
        if not self._is_full_now and self._now_nano_usd + price.bound.nano_usd <= self._room_nano_usd:
            self.fits_now += 1
            self._now_nano_usd += price.expected.nano_usd
        else:
            self._is_full_now = True

    @property
    def binds(self) -> Standing | None:
        """The budget that has the least left, when that is not the dataset's own."""
        found = tightest(self.standings)
        least = None if found is None else found.left_nano_usd
        return found if least is not None and least < self.balance.free_nano_usd else None

    @property
    def room_nano_usd(self) -> int:
        """What may be reserved now, under every budget."""
        binds = self.binds
        return self.balance.free_nano_usd if binds is None else binds.left_nano_usd or 0

    def nights(self, today: date) -> Nights:
        """How many nights, with a run in each, the due pictures take at the present caps."""
        pictures = [(quote(*shape), count) for shape, count in self.shapes.items()]
        return nights_of(pictures, self.standings, self.balance.free_nano_usd, today)

    def _add_references(self, request: ImageRequest) -> None:
        for reference in request.references:
            self.fitted_references += was_fitted(reference)
            self.changes.update(reference.changes)
        surely, perhaps = absent(request.prompt, len(request.references))
        if surely or (perhaps and request.references):
            self.doubtful_prompts += 1
            self.first_doubtful = self.first_doubtful or (request.row, (*surely, *perhaps)[0])

    def _add_json(self, request: ImageRequest) -> None:
        from fluxbatch.manifest.prompts.schema import check_json_prompt  # its package brings Jinja: for few manifests

        troubles = check_json_prompt(request.prompt)
        if troubles:
            self.odd_json_prompts += 1
            self.first_odd_json = self.first_odd_json or (request.row, str(troubles[0]))

    def pictures_by_model(self) -> Counter[Model]:
        """Due pictures by model."""
        pictures: Counter[Model] = Counter()
        for shape, count in self.shapes.items():
            pictures[shape.model] += count
        return pictures

    def fit_in_rounds(self) -> Rounds | None:
        """Count what fits round by round, each at its expected price; the rounds, for who asks what they take."""
        if self.order is None:
            return None
        self.fits, self.fits_nano_usd, rounds = self._rounds_within(self.order, self.balance.free_nano_usd)
        is_bound = self.binds is not None
        self.fits_now = self._rounds_within(self.order, self.room_nano_usd)[0] if is_bound else self.fits
        return rounds

    @staticmethod
    def _rounds_within(order: Order, free_nano_usd: int) -> tuple[int, int, Rounds]:
        """How many pictures fit and what they should cost, and the rounds that found it."""
        rounds, fits, fits_nano_usd = order.rounds(), 0, 0
        while (taken := rounds.begin(free_nano_usd - fits_nano_usd)) is not None:
            fits += taken.pictures
            fits_nano_usd += taken.nano_usd
        return fits, fits_nano_usd, rounds

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
    selection: Selection = EVERYTHING,
    standings: Sequence[Standing] = (),
) -> Plan:
    """Read all that is asked for once. Sends nothing, keeps no row."""
    plan = Plan(balance, selection=selection, order=order_of(selection), standings=standings)
    plan.complain(header)
    picked = Picked(rows, selection)
    for row in with_histories(picked, histories):
        if isinstance(row, Rejected):
            plan.reject(row)
        else:
            request, history = row
            plan.add(request, history, is_due(history))
    plan.not_selected = picked.outside
    plan.fit_in_rounds()
    return plan
