"""What Cloudflare's GraphQL analytics say was billed (CLOUDFLARE.md section 7), from the simulator's own bill.

    { viewer { accounts(filter: {accountTag}) { aiInferenceAdaptiveGroups(limit, filter: {datetime_geq, datetime_lt,
      modelId_in}) { count dimensions { modelId datetimeFifteenMinutes } sum { totalNeurons totalTiles … } } } } }

As there, a refusal is a 200 with `errors`, the figures come late (`analytics_lag_s`), and their order is nobody's
promise. Pure: the bill, the settings and the time come in.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from fluxbatch.simulator.answers import Answer
from fluxbatch.simulator.bill import Charge
from fluxbatch.simulator.graphql import Field, QueryError, read_query
from fluxbatch.simulator.settings import SimulatorSettings

GROUPS_MAX = 10_000
QUARTER_S = 900
TILE_PIXELS = 512 * 512
NODE = "aiInferenceAdaptiveGroups"
_HERE = ("viewer", "accounts", "0", NODE)

_SUMS: Mapping[str, Callable[[Charge], float]] = {
    "totalNeurons": lambda charge: charge.centineurons / 100,
    "totalTiles": lambda charge: charge.width * charge.height / TILE_PIXELS + charge.references,
    "totalInferenceSteps": lambda charge: charge.steps,
}
_DIMENSIONS: Mapping[str, Callable[[Charge], str]] = {
    "modelId": lambda charge: charge.model,
    "datetimeFifteenMinutes": lambda charge: _told(charge.when // QUARTER_S * QUARTER_S),
}


def analytics_answer(body: bytes, bill: Iterable[Charge], settings: SimulatorSettings, now: float) -> Answer:
    """The answer to one POST. `now` in seconds since 1970 (UTC)."""
    try:
        found = _answered(_asked(body), bill, settings, now)
    except QueryError as error:
        return refusal(str(error), error.path, now)
    return _answer({"data": found, "errors": None}, "200")


def refusal(message: str, path: tuple[str, ...], now: float) -> Answer:
    """An error in GraphQL's form: a 200 without data."""
    error = {"message": message, "path": list(path) or None, "extensions": {"timestamp": _told(now)}}
    return _answer({"data": None, "errors": [error]}, "200/graphql")


def _answer(body: dict[str, Any], label: str) -> Answer:
    return Answer(200, [(b"content-type", b"application/json")], json.dumps(body).encode(), label)


def _asked(body: bytes) -> tuple[Field, ...]:
    try:
        asked = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise QueryError("error parsing body: it is no JSON") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("query"), str):
        raise QueryError("error parsing body: it has no query")
    variables = asked.get("variables") or {}
    if not isinstance(variables, dict):
        raise QueryError("error parsing body: variables is no object")
    return read_query(asked["query"], variables)


def _answered(
    fields: tuple[Field, ...], bill: Iterable[Charge], settings: SimulatorSettings, now: float
) -> dict[str, Any]:
    [viewer] = _known(fields, {"viewer"}, ())
    [accounts] = _known(viewer.fields, {"accounts"}, ("viewer",))
    account = _arguments(accounts, {"filter": dict}, _HERE[:2])["filter"]
    if set(account) != {"accountTag"}:
        raise QueryError("error parsing args: filter needs accountTag", _HERE[:2])
    if not settings.analytics or account["accountTag"] != settings.account:
        raise QueryError("not authorized for that account", _HERE[:3])
    [node] = _known(accounts.fields, {NODE}, _HERE[:3])
    charges = _chosen(node, (charge for charge in bill if charge.when + settings.analytics_lag_s <= now))
    return {viewer.alias: {accounts.alias: [{node.alias: _groups(node, charges)}]}}


def _chosen(node: Field, charges: Iterable[Charge]) -> list[Charge]:
    arguments = _arguments(node, {"limit": int, "filter": dict}, _HERE)
    if not 0 < arguments["limit"] <= GROUPS_MAX:
        raise QueryError(f"limit must be positive number and not greater than {GROUPS_MAX}", _HERE)
    wanted = arguments["filter"]
    if not {"datetime_geq", "datetime_lt"} <= set(wanted) <= {"datetime_geq", "datetime_lt", "modelId_in"}:
        raise QueryError(
            "error parsing args: filter needs datetime_geq and datetime_lt, and may have modelId_in", _HERE
        )
    since, until = _time(wanted["datetime_geq"]), _time(wanted["datetime_lt"])
    models = wanted.get("modelId_in")
    if models is not None and not (isinstance(models, list) and all(isinstance(model, str) for model in models)):
        raise QueryError("error parsing args: modelId_in is a list of strings", _HERE)
    return [
        charge for charge in charges if since <= charge.when < until and (models is None or charge.model in models)
    ]  # fmt: skip


def _groups(node: Field, charges: list[Charge]) -> list[dict[str, Any]]:
    selected = {field.name: field for field in _known(node.fields, {"count", "dimensions", "sum"}, _HERE)}
    dimensions = _leaves(selected.get("dimensions"), _DIMENSIONS)
    sums = _leaves(selected.get("sum"), _SUMS)
    groups: dict[tuple[str, ...], list[Charge]] = defaultdict(list)
    for charge in charges:
        groups[tuple(_DIMENSIONS[field.name](charge) for field in dimensions)].append(charge)
    found = []
    for names, group in sorted(groups.items(), reverse=True):
        row: dict[str, Any] = {}
        if "count" in selected:
            row[selected["count"].alias] = len(group)
        if dimensions:
            row[selected["dimensions"].alias] = {f.alias: name for f, name in zip(dimensions, names, strict=True)}
        if sums:
            row[selected["sum"].alias] = {f.alias: sum(map(_SUMS[f.name], group)) for f in sums}
        found.append(row)
    return found[: node.arguments["limit"]]


def _leaves(field: Field | None, known: Mapping[str, object]) -> tuple[Field, ...]:
    return () if field is None else _known(field.fields, set(known), (*_HERE, field.name), leaves=True)


def _known(
    fields: tuple[Field, ...], known: set[str], path: tuple[str, ...], leaves: bool = False
) -> tuple[Field, ...]:
    """The fields, each of them known, none asked for twice, and with a selection where there has to be one."""
    names = [field.name for field in fields]
    if unknown := [name for name in names if name not in known]:
        raise QueryError(f'unknown field "{unknown[0]}"', path)
    if not names or len(set(names)) < len(names) or (len(known) == 1 and len(names) != 1):
        raise QueryError(f"ask for {', '.join(sorted(known))} once each", path)
    for field in fields:
        is_leaf = leaves or field.name == "count"
        if is_leaf and field.fields:
            raise QueryError("scalar fields must have not selections", (*path, field.name))
        if not is_leaf and not field.fields:
            raise QueryError("objects must have selections", (*path, field.name))
    return fields


def _arguments(field: Field, wanted: Mapping[str, type], path: tuple[str, ...]) -> Mapping[str, Any]:
    found = field.arguments
    if set(found) != set(wanted) or any(type(found[name]) is not kind for name, kind in wanted.items()):
        raise QueryError(f"error parsing args for {field.name}: it needs {', '.join(wanted)}", path)
    return found


def _time(text: object) -> float:
    try:
        when = datetime.fromisoformat(str(text))
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise QueryError(f"error parsing args: {text!r} is no time", _HERE)
    return when.timestamp()


def _told(when: float) -> str:
    return datetime.fromtimestamp(int(when), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
