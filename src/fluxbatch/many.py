"""A count and what is counted, as one says it: "1 picture", "2,000 pictures"."""

from __future__ import annotations


def many(count: int, one: str, more: str | None = None) -> str:
    """`more` is needed where an s does not make the plural: `many(left, "picture is", "pictures are")`."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"
