"""A condition that somebody wrote, made safe: one SQL expression over columns that there are, and nothing else.

DuckDB parses it, the tree is looked at node by node, and the SQL that is run is written anew from the tree: the text
from outside is never part of a statement. What gives another answer each time it is asked is refused, because an
export that is run again has to go on with the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from fluxbatch.errors import UsageError
from fluxbatch.query.duck import Duck, opened, told
from fluxbatch.query.names import Names

CONDITION_MAX = 20_000
"""Characters."""

_EXPRESSIONS = frozenset(
    {"BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "LAMBDA",
     "OPERATOR", "TYPE"}
)  # fmt: skip
_REFUSED = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function (over …)",
    "STAR": "a star or COLUMNS()",
    "PARAMETER": "a parameter (? or $1)",
}
_CHANGING = """
    SELECT function_name FROM duckdb_functions() WHERE stability IN ('VOLATILE', 'CONSISTENT_WITHIN_QUERY')
    OR starts_with(function_name, 'pg_') OR function_name IN ('age', 'ago') OR starts_with(function_name, 'current_')
"""
"""`age` with one argument and `ago` count from now."""
_OVER_ROWS = "SELECT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'"

_PREFIX = "SELECT 1 WHERE "
Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Condition:
    """SQL over the aliases of columns (`Names`), and which columns these are."""

    sql: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """One of what is sorted by: an expression, and which way."""

    expression: Condition
    way: str


def condition(duck: Duck, text: str, names: Names) -> Condition:
    """UsageError says what is wrong with it, and names the columns there are."""
    asked = f"the condition {text!r}"
    node = _parsed(duck, asked, f"{_PREFIX}(\n{_checked(asked, text)}\n)")
    if _without(node, "where_clause") != _without(_parsed(duck, asked, f"{_PREFIX}true"), "where_clause"):
        raise UsageError(f"{asked} is not one condition; write what stands behind WHERE, and nothing after it")
    return _expression(duck, asked, node["where_clause"], names)


def order(duck: Duck, text: str, names: Names) -> tuple[Term, ...]:
    """What stands behind ORDER BY. UsageError as for a condition."""
    asked = f"the order {text!r}"
    node = _parsed(duck, asked, f"SELECT 1 ORDER BY\n{_checked(asked, text)}\n")
    if _without(node, "modifiers") != _without(_parsed(duck, asked, "SELECT 1"), "modifiers") or (
        [modifier["type"] for modifier in node["modifiers"]] != ["ORDER_MODIFIER"]
    ):
        raise UsageError(f"{asked} is not one order; write what stands behind ORDER BY, and nothing after it")
    return tuple(
        Term(_expression(duck, asked, one["expression"], names), _way(one)) for one in node["modifiers"][0]["orders"]
    )


def _way(one: Node) -> str:
    nulls = "FIRST" if one["null_order"].endswith("FIRST") else "LAST"
    return f"{'DESC' if one['type'] == 'DESCENDING' else 'ASC'} NULLS {nulls}"


def _checked(asked: str, text: str) -> str:
    if not text.strip():
        raise UsageError(f"{asked} is empty")
    if len(text) > CONDITION_MAX or "\0" in text:
        raise UsageError(f"{asked} has NUL in it, or more than {CONDITION_MAX:,} characters")
    return text


def _parsed(duck: Duck, asked: str, sql: str) -> Node:
    """The SELECT of a statement that is one."""
    try:
        with told(asked):
            found = json.loads(duck.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0][0])
    except (UnicodeError, RecursionError) as error:
        raise UsageError(f"{asked} cannot be read: {error}") from error
    if found["error"]:
        raise UsageError(f"{asked} cannot be read: {found['error_message']}")
    if len(found["statements"]) != 1:
        raise UsageError(f"{asked} is more than one statement; write one condition")
    node: Node = found["statements"][0]["node"]
    return node


def _without(node: Node, name: str) -> Node:
    """The rest of a SELECT, without where in the text it stands."""
    rest = {key: value for key, value in node.items() if key != name}
    return json.loads(json.dumps(rest), object_hook=_unplaced)  # type: ignore[no-any-return]


def _unplaced(node: Node) -> Node:
    return {key: value for key, value in node.items() if not key.startswith("query_location")}


def _expression(duck: Duck, asked: str, tree: Node, names: Names) -> Condition:
    complaints = list(dict.fromkeys(_complaints(tree)))
    used: dict[str, None] = {}
    for reference in _references(tree, frozenset()):
        written = reference["column_names"][0]
        column = names.found(written)
        if column is None:
            complaints.append(names.complaint(written))
        else:
            used[column] = None
            reference["column_names"][0] = names.alias(column)
    if complaints:
        raise UsageError(f"{asked}: {'; '.join(complaints)}; text stands in single quotes; {names.listed}")
    return Condition(_written(duck, asked, tree), tuple(used))


def _written(duck: Duck, asked: str, tree: Node) -> str:
    """The tree as SQL again."""
    whole = json.loads(duck.execute("SELECT json_serialize_sql(?)", [f"{_PREFIX}true"]).fetchall()[0][0])
    whole["statements"][0]["node"]["where_clause"] = tree
    with told(asked):
        sql: str = duck.execute("SELECT json_deserialize_sql(?)", [json.dumps(whole)]).fetchall()[0][0]
    assert sql.startswith(_PREFIX)
    return sql.removeprefix(_PREFIX)


def _complaints(tree: Node) -> Iterator[str]:
    """What a condition may not have, wherever in it."""
    changing, over_rows = _functions(_CHANGING), _functions(_OVER_ROWS)
    for node in _nodes(tree):
        kind = node["class"]
        if kind not in _EXPRESSIONS:
            yield f"{_REFUSED.get(kind, kind.lower())} has no place in it"
        elif kind == "FUNCTION":
            name = str(node["function_name"]).lower()
            if node.get("schema") or node.get("catalog"):
                yield f"write {name}(…) instead of ….{name}()"
            if name in changing:
                yield f"{name}() says something else each time: write the value that you mean"
            if name in over_rows:
                yield f"{name}() is over many rows, a condition is over one"


@cache
def _functions(which: str) -> frozenset[str]:
    """Their names, as this DuckDB lists them."""
    return frozenset(name for (name,) in opened().execute(which).fetchall())


def _nodes(tree: object) -> Iterator[Node]:
    """Every expression of a tree."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _references(tree: object, bound: frozenset[str], *, is_argument: bool = False) -> Iterator[Node]:
    """Every reference to a column; `bound` are the names that lambdas around it have for their arguments.

    Outside of a function's arguments, `a -> b` is no lambda: it looks into JSON.
    """
    if isinstance(tree, list):
        for value in tree:
            yield from _references(value, bound, is_argument=is_argument)
    elif isinstance(tree, dict):
        kind = tree.get("class")
        if kind == "COLUMN_REF":
            if tree["column_names"][0] not in bound:
                yield tree
            return
        left = tree.get("lhs")
        if kind == "LAMBDA" and (is_argument or tree.get("syntax_type") != "SINGLE_ARROW"):
            own = {node["column_names"][0] for node in _nodes(left) if node["class"] == "COLUMN_REF"}
            yield from _references({**tree, "lhs": None, "class": None}, bound | own)
            return
        inside = kind == "FUNCTION" or (kind is None and is_argument)
        for value in tree.values():
            yield from _references(value, bound, is_argument=inside)
