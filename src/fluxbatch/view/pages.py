"""The pages: a question or a key and the dataset as it is now -> HTML. Every text in them is escaped by Jinja."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader

from fluxbatch.errors import StorageError, UsageError
from fluxbatch.query import Numbers
from fluxbatch.report.gallery import UNSAID, Item, text_of, told
from fluxbatch.report.html import environment
from fluxbatch.view.grid import Grid, grid_of
from fluxbatch.view.question import PER_PAGE, VALUE, Question, literal, named, quoted
from fluxbatch.view.seen import CHECK, SOUND
from fluxbatch.view.viewed import Row, Viewed

GROUP = "duplicate_group"
SUSPECTS = Question(where=f"{quoted(CHECK)} <> {literal(SOUND)}")
DUPLICATES = Question(where=f"{GROUP} IS NOT NULL", order=GROUP)
UNDECODABLE = "undecodable"
SHAPE = frozenset({"width", "height"})
_FOUND, _ASKED_WRONGLY, _BROKEN = 200, 400, 500


@dataclass(frozen=True, slots=True)
class Page:
    """Its HTML, and what it is answered with."""

    html: str
    status: int = _FOUND


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a page shows of the answer to its question."""

    question: Question
    """With the page that there is."""
    items: tuple[Item, ...] = ()
    total: int = 0
    first: int = 0
    """The place of the first one in the answer, from 0."""
    pages: int = 1
    grid: Grid | None = None
    places: Mapping[int, int] | None = None
    """Of a grid: a row's number -> its item's."""


@cache
def templates() -> Environment:
    """The report's pieces, and what is only here."""
    loader = ChoiceLoader([PackageLoader("fluxbatch.view"), PackageLoader("fluxbatch.report")])
    made = environment().overlay(loader=loader)
    made.filters.update(named=named, twice=lambda value: (value, value))
    return made


def list_page(viewed: Viewed, question: Question) -> Page:
    """The pictures that are asked for. What is wrong with the question, or the dataset, is said on the page."""
    complaints = list(viewed.answers.complaints(question))
    shown, status = _Shown(question), _ASKED_WRONGLY if complaints else _FOUND
    if not complaints:
        try:
            shown = _shown(viewed, question)
        except UsageError as error:
            complaints, status = [str(error)], _ASKED_WRONGLY
        except StorageError as error:
            complaints, status = [str(error)], _BROKEN
    return Page(_list_html(viewed, shown, complaints), status)


def _shown(viewed: Viewed, question: Question) -> _Shown:
    numbers = viewed.answers.numbers(question)
    across, down = (viewed.seen.axis(name) for name in (question.across, question.down))
    if question.is_grid and across is not None and down is not None:
        return _shown_grid(viewed, question, grid_of(viewed.seen, across, down, numbers, question.page), numbers)
    pages = max(1, -(-len(numbers) // question.per_page))
    question = question.on(min(question.page, pages))
    first = (question.page - 1) * question.per_page
    here = [int(number) for number in numbers[first : first + question.per_page]]
    return _Shown(question, tuple(_items(viewed, here)), len(numbers), first, pages)


def _shown_grid(viewed: Viewed, question: Question, grid: Grid, numbers: Numbers) -> _Shown:
    if question.page > grid.pages:
        question = question.on(grid.pages)
        grid = grid_of(viewed.seen, grid.across, grid.down, numbers, question.page)
    here = [number for _, cells in grid.lines for cell in cells for number in cell.shown]
    places = {number: place for place, number in enumerate(here)}
    return _Shown(question, tuple(_items(viewed, here)), grid.count, 0, grid.pages, grid, places)


def _items(viewed: Viewed, numbers: Sequence[int]) -> Iterable[Item]:
    said = [name for name in viewed.rows.schema.names if name not in UNSAID - SHAPE and name not in _where(viewed)]
    for row in viewed.at(numbers, said):
        group = row.get(GROUP)
        yield Item(str(row["key"]), dict(told(row)), None, None if group is None else str(group))


def _where(viewed: Viewed) -> tuple[str, str]:
    return viewed.rows.part_column, viewed.rows.place_column


def _list_html(viewed: Viewed, shown: _Shown, complaints: Sequence[str]) -> str:
    page = templates().get_template("list.html")
    columns = list(dict.fromkeys(name for item in shown.items for name in item.values))
    items = [[item.values.get(name) for name in columns] for item in shown.items]
    return page.render(
        viewed=viewed,
        name=viewed.name,
        question=shown.question,
        shown=shown,
        complaints=[*complaints, *viewed.complaints],
        axes=viewed.seen.axes,
        VALUE=VALUE,
        PER_PAGE=PER_PAGE,
        UNDECODABLE=UNDECODABLE,
        sortable=viewed.answers.sortable,
        columns=[(field.name, str(field.type)) for field in viewed.rows.schema],
        suspects=SUSPECTS,
        duplicates=DUPLICATES if GROUP in viewed.rows.schema.names else None,
        is_narrowed=shown.total != viewed.seen.count,
        items={"columns": columns, "items": items},
    )


def picture_page(viewed: Viewed, number: int) -> Page:
    """One picture, with all that the dataset says of it. Damaged and StorageError as for `Viewed.at`."""
    row, count = viewed.row(number), viewed.seen.count
    page = templates().get_template("picture.html")
    html = page.render(
        name=viewed.name,
        row=row,
        number=number,
        count=count,
        before=viewed.seen.key_of(number - 1) if number else None,
        next=viewed.seen.key_of(number + 1) if number + 1 < count else None,
        values=list(_values(viewed, row)),
        twins=_twins(row),
        page=Question().on(1 + number // Question().per_page),
    )
    return Page(html)


def _values(viewed: Viewed, row: Row) -> Iterable[tuple[str, str, Question | None]]:
    """Each column with its value, and for one of few the question for all pictures that have it."""
    texts = dict(told(row))
    for name, value in row.items():
        if value is None or value == []:
            continue
        text = texts.get(name) or text_of(value)
        axis = viewed.seen.axis(named(name))
        is_one = axis is not None and axis.name == name and text in axis.values
        yield name, text, Question(values=((named(name), text),)) if is_one else None


def _twins(row: Row) -> Question | None:
    """The question for the near-duplicates of a picture that has some."""
    group = row.get(GROUP)
    if group is None:
        return None
    return Question(where=f"{GROUP} = {literal(str(group))}")


def trouble_page(title: str, message: str, status: int) -> Page:
    """What cannot be shown, and what to do."""
    return Page(templates().get_template("trouble.html").render(title=title, message=message), status)
