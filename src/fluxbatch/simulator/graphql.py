"""Just enough GraphQL to read one query: fields, aliases, arguments and variables. What it does not read, it refuses.

No fragments, no directives, no mutations, one operation. Types of variables are read over, as Cloudflare's own
lower-case ones would be (`$account: string!`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEPTH_MAX = 16

_TOKEN = re.compile(
    r"(?P<skip>[\s,\ufeff]+|\#[^\n\r]*)|(?P<punctuator>[{}()\[\]:$!=])|(?P<name>[_A-Za-z][_0-9A-Za-z]*)"
    r'|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?![_0-9A-Za-z.]))|(?P<string>"(?:[^"\\\n\r]|\\.)*")'
)
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None}


class QueryError(Exception):
    """The query cannot be answered; the text is what the answer's `errors` say. `path` leads to the field."""

    def __init__(self, message: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Field:
    """One selected field. `alias` is the name in the answer; no `fields` means that it has no selection."""

    name: str
    alias: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    fields: tuple[Field, ...] = ()


def read_query(text: str, variables: Mapping[str, Any]) -> tuple[Field, ...]:
    """The fields that a query selects, its variables filled in. QueryError when it is not such a query."""
    reader = _Reader(_tokens(text), variables)
    reader.operation()
    found = reader.selection(0)
    reader.expect("")
    return found


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise QueryError(f"error parsing query: unexpected {text[position]!r} at {position}")
        if match.lastgroup != "skip":
            tokens.append(match.group())
        position = match.end()
    return [*tokens, ""]


class _Reader:
    """Recursive descent over the tokens; the empty token is the end."""

    def __init__(self, tokens: list[str], variables: Mapping[str, Any]) -> None:
        self._tokens = tokens
        self._at = 0
        self._variables = variables

    @property
    def _next(self) -> str:
        return self._tokens[self._at]

    def _take(self) -> str:
        token = self._next
        if token:
            self._at += 1
        return token

    def expect(self, wanted: str) -> None:
        if (token := self._take()) != wanted:
            raise QueryError(f"error parsing query: expected {wanted or 'the end'!r}, found {token or 'the end'!r}")

    def _name(self) -> str:
        token = self._take()
        if not re.fullmatch(r"[_A-Za-z][_0-9A-Za-z]*", token):
            raise QueryError(f"error parsing query: expected a name, found {token or 'the end'!r}")
        return token

    def operation(self) -> None:
        """`query Name($a: string!)`, which may all be missing. The types are not looked at."""
        if self._next == "{":
            return
        self.expect("query")
        if self._next not in ("{", "("):
            self._name()
        if self._next == "(":
            while self._take() != ")":
                if not self._next:
                    raise QueryError("error parsing query: the list of variables has no end")

    def selection(self, depth: int) -> tuple[Field, ...]:
        if depth > DEPTH_MAX:
            raise QueryError(f"error parsing query: nested more than {DEPTH_MAX} deep")
        self.expect("{")
        fields = []
        while self._next != "}":
            fields.append(self._field(depth))
        self.expect("}")
        if not fields:
            raise QueryError("error parsing query: a selection is empty")
        return tuple(fields)

    def _field(self, depth: int) -> Field:
        alias = name = self._name()
        if self._next == ":":
            self._take()
            name = self._name()
        arguments = self._pairs("(", ")", depth) if self._next == "(" else {}
        fields = self.selection(depth + 1) if self._next == "{" else ()
        return Field(name, alias, arguments, fields)

    def _pairs(self, begin: str, end: str, depth: int) -> dict[str, Any]:
        self.expect(begin)
        pairs: dict[str, Any] = {}
        while self._next != end:
            name = self._name()
            self.expect(":")
            if name in pairs:
                raise QueryError(f"error parsing args: {name} is given twice")
            pairs[name] = self._value(depth + 1)
        self.expect(end)
        return pairs

    def _value(self, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise QueryError(f"error parsing query: nested more than {DEPTH_MAX} deep")
        if self._next == "{":
            return self._pairs("{", "}", depth)
        token = self._take()
        if token == "[":  # noqa: S105 - a bracket
            return self._list(depth)
        if token == "$":  # noqa: S105 - the sign of a variable
            name = self._name()
            if name not in self._variables:
                raise QueryError(f"error parsing args: variable {name} has no value")
            return self._variables[name]
        return _literal(token)

    def _list(self, depth: int) -> list[Any]:
        values = []
        while self._next != "]":
            values.append(self._value(depth + 1))
        self.expect("]")
        return values


def _literal(token: str) -> Any:
    if token in _WORDS:
        return _WORDS[token]
    if re.fullmatch(r"[_A-Za-z][_0-9A-Za-z]*", token):
        return token  # an enum's value, such as datetime_ASC
    try:
        return json.loads(token)
    except ValueError:
        raise QueryError(f"error parsing args: {token or 'the end'!r} is no value") from None
