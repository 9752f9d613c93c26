"""Which rows answer a question, and the last answers, so that paging through one asks nothing again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from fluxbatch.errors import UsageError
from fluxbatch.query import Numbers, Rows
from fluxbatch.report.gallery import UNSAID
from fluxbatch.view.question import Question, named, quoted, search
from fluxbatch.view.seen import KEY, Seen

KEPT_MAX = 12
"""Answers in memory, each of up to eight bytes a picture."""


class Answers:
    """Of one dataset as it was opened. For any thread."""

    def __init__(self, rows: Rows, seen: Seen) -> None:
        self._rows, self._seen = rows, seen
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], Numbers] = OrderedDict()
        own = {rows.part_column, rows.place_column}
        self.sortable = tuple(f.name for f in rows.schema if f.name not in own and not pa.types.is_nested(f.type))
        unsearched = own | UNSAID | {KEY}
        self._searched = tuple(
            f.name for f in rows.schema if f.name not in unsearched and _is_text(f) and "\0" not in f.name
        )

    def complaints(self, question: Question) -> Iterator[str]:
        """What is asked and cannot be answered."""
        for name, value in question.values:
            axis = self._seen.axis(name)
            if axis is None:
                yield f"there is no column {name!r} with few values to choose by"
            elif value not in axis.values:
                yield f"no picture has {name} = {value!r}"
        for what, name in (("across", question.across), ("down", question.down)):
            if name and self._seen.axis(name) is None:
                yield f"there is no column {name!r} with few values to lay {what}"
        if question.order and self._column(question.order) is None:
            yield f"there is no column {question.order!r} to sort by"
        if question.where:
            try:
                self._rows.check(question.where)
            except UsageError as error:
                yield str(error)

    def numbers(self, question: Question) -> Numbers:
        """The rows that answer a question without complaints, in its order. Damaged and StorageError as for `Rows`."""
        fits = np.ones(self._seen.count, np.bool_)
        for name, value in question.values:
            axis = self._seen.axis(name)
            assert axis is not None
            fits &= self._seen.codes[axis.name] == axis.values.index(value)
        for where in self._conditions(question):
            here = np.zeros(self._seen.count, np.bool_)
            here[self._asked("where", where, lambda where=where: self._rows.numbers(where))] = True  # type: ignore[misc]
            fits &= here
        if not question.order:
            return np.flatnonzero(fits)
        order = self._order(question)
        inorder = self._asked("order", order, lambda: self._rows.numbers(order_by=order))
        return inorder[fits[inorder]]

    def _conditions(self, question: Question) -> Iterator[str]:
        if question.words:
            yield search(question.words, self._searched)
        if question.where:
            yield question.where

    def _order(self, question: Question) -> str:
        column = self._column(question.order)
        assert column is not None
        return f"{quoted(column)} {'DESC' if question.is_descending else 'ASC'} NULLS LAST"

    def _column(self, name: str) -> str | None:
        return next((column for column in self.sortable if named(column) == name), None)

    def _asked(self, kind: str, text: str, ask: Callable[[], Numbers]) -> Numbers:
        """The answer that is kept, or a new one. One is looked for at a time: two would only be in each other's way."""
        with self._lock:
            if (kind, text) not in self._kept:
                self._kept[kind, text] = ask()
                if len(self._kept) > KEPT_MAX:
                    self._kept.popitem(last=False)
            self._kept.move_to_end((kind, text))
            return self._kept[kind, text]


def _is_text(field: pa.Field) -> bool:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
