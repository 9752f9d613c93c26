"""A JSON prompt written as YAML fields: each text in it is a template of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fluxbatch.manifest.prompts.schema import FieldTrouble, Open, field_troubles
from fluxbatch.manifest.prompts.tree import Literal, Name, Node, Row, Scope
from fluxbatch.manifest.prompts.trouble import PromptTemplateError, TemplateTrouble
from fluxbatch.manifest.values import Unusable

DEPTH_MAX = 8

Compile = Callable[[str], Node]


class JsonPrompt:
    """A tree like any other, whose text is JSON: compact, keys in the order written, no character escaped that need
    not be. Its choices are numbered in the order written.

    A field that is exactly one variable, `"{{ palette }}"`, keeps the variable's type: a list stays a list, a number a
    number. Any other text is text.
    """

    def __init__(self, fields: Mapping[str, Any], row: Row, checks: bool) -> None:
        self._fields = fields
        self._row = row
        self._checks = checks
        self.count = row.count
        self.names = row.names

    def text(self, choice: int, scope: Scope) -> str:
        digits = iter(self._row.digits(choice))
        prompt = _filled(self._fields, digits, scope)
        if self._checks:
            for trouble in field_troubles(prompt):
                raise Unusable(f"{trouble.path}: {trouble.problem}", trouble.remedy)
        try:
            text = json.dumps(prompt, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise Unusable(f"the JSON prompt cannot be written ({error})", "give texts, numbers and lists") from None
        scope.meter.spend(len(text))
        return text

    def pick(self, rng: Any) -> int:
        return self._row.pick(rng)


def compile_fields(fields: Mapping[str, Any], compiled: Compile) -> Node:
    """PromptTemplateError with everything that is wrong, each with its path: `subjects[0].position`."""
    troubles: list[TemplateTrouble] = []
    nodes: list[Node] = []
    tree = _compiled(fields, "", compiled, nodes, troubles)
    known = _known(tree)
    troubles.extend(_plain(trouble) for trouble in field_troubles(known))
    if troubles:
        raise PromptTemplateError(troubles)
    return JsonPrompt(tree, Row(nodes), checks=any(not isinstance(node, Literal) for node in nodes))


def _plain(trouble: FieldTrouble) -> TemplateTrouble:
    return TemplateTrouble(trouble.path, None, None, trouble.problem, trouble.remedy)


def _compiled(value: Any, path: str, compiled: Compile, nodes: list[Node], troubles: list[TemplateTrouble]) -> Any:
    """The same structure with every text as its tree. The trees are added to `nodes` in the order written."""
    if path.count(".") + path.count("[") > DEPTH_MAX:
        troubles.append(TemplateTrouble(path, None, None, "is nested too deep", "write it flatter"))
        return None
    if isinstance(value, Mapping):
        fields = {}
        for key, inner in value.items():
            below = f"{path}.{key}" if path else str(key)
            if not isinstance(key, str):
                troubles.append(TemplateTrouble(below, None, None, f"{key!r} is no text", "put the key into quotes"))
            fields[str(key)] = _compiled(inner, below, compiled, nodes, troubles)
        return fields
    if isinstance(value, list | tuple):
        return [_compiled(item, f"{path}[{i}]", compiled, nodes, troubles) for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    try:
        node = compiled(value)
    except PromptTemplateError as error:
        troubles.extend(trouble.within(path) for trouble in error.troubles)
        node = Row(())
    nodes.append(node)
    return node


def _known(tree: Any) -> Any:
    """What can be checked before there are values: texts without variables or choices; the rest is open."""
    if isinstance(tree, dict):
        return {key: _known(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_known(item) for item in tree]
    if isinstance(tree, Literal):
        return tree.literal
    return Open() if _is_node(tree) else tree


def _is_node(value: Any) -> bool:
    return hasattr(value, "pick")


def _filled(tree: Any, digits: Iterator[int], scope: Scope) -> Any:
    if isinstance(tree, dict):
        return {key: _filled(value, digits, scope) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_filled(item, digits, scope) for item in tree]
    if not _is_node(tree):
        return tree
    digit = next(digits)
    if isinstance(tree, Name):
        return _typed(tree, scope)
    return tree.text(digit, scope).strip()


def _typed(name: Name, scope: Scope) -> Any:
    """A variable alone keeps its type, if JSON and the schema have it; else it is text, or is refused as text is."""
    value = scope.values.get(name.name)
    if isinstance(value, list | dict) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return name.text(0, scope)
