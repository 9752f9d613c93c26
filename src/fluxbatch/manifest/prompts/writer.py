"""Collects the parts of a text as they are read, and takes away the whitespace that is only there for the eye."""

from __future__ import annotations

from fluxbatch.manifest.prompts.parts import Part, Text


class Writer:
    """Collects parts; knows which whitespace may go."""

    def __init__(self, *, within: bool) -> None:
        self._parts: list[Part] = []
        self._pieces: list[str] = []
        self._within = within

    def text(self, text: str) -> None:
        """Text as written; within braces, a line break with what is around it is one space."""
        if self._within and not self._parts and not self._pieces:
            text = text.lstrip()
        if text:
            self._pieces.append(text)

    def literal(self, text: str) -> None:
        """Text that stays as it is, whitespace and all."""
        self._flush()
        self._parts.append(Text(text))

    def trim(self) -> None:
        """Take away the spaces at the end."""
        if self._pieces:
            self._pieces[-1] = self._pieces[-1].rstrip(" \t")

    def part(self, part: Part) -> None:
        self._flush()
        self._parts.append(part)

    def _flush(self) -> None:
        if self._pieces:
            text = "".join(self._pieces)
            if self._within:
                text = _unbroken(text)
            self._parts.append(Text(text))
            self._pieces = []

    def parts(self) -> tuple[Part, ...]:
        if self._within and self._pieces:
            text = "".join(self._pieces)
            stripped = text.rstrip()
            if "\n" in text[len(stripped) :]:
                self._pieces = [stripped] if stripped else []
        self._flush()
        return tuple(self._parts)


def _unbroken(text: str) -> str:
    """Each line break, with the whitespace around it, as one space."""
    if "\n" not in text:
        return text
    first, *lines, last = text.split("\n")
    return " ".join((first.rstrip(), *filter(None, map(str.strip, lines)), last.lstrip()))


def trimmed(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """A value without the whitespace at its end."""
    if parts and isinstance(parts[-1], Text):
        text = parts[-1].text.rstrip()
        return (*parts[:-1], Text(text)) if text else parts[:-1]
    return parts
