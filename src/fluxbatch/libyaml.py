"""YAML by libyaml: ten to twenty times as fast as by Python's own reader, which is taken where there is no libyaml.

Its composer recurses in C, and ends the process where Python would raise RecursionError: a hundred thousand opening
brackets are enough. So how deep a text from outside goes is looked at first, by its events, which need no recursion.
"""

from __future__ import annotations

import yaml

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def too_deep_at(text: str, most: int) -> int | None:
    """The line (from 1) on which lists and mappings are first nested deeper than `most`; None: nowhere. YAMLError when
    it is no YAML."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > most:
            return int(event.start_mark.line) + 1
    return None
