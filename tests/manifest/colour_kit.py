"""Colour profiles made by hand, whose effect can be told without a colour engine."""

from __future__ import annotations

import struct

RED, GREEN, BLUE = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7142)
"""sRGB's primaries, seen under D50."""
WHITE = (0.9642, 1.0, 0.8249)


def rgb_profile(
    red: tuple[float, ...] = RED, green: tuple[float, ...] = GREEN, blue: tuple[float, ...] = BLUE
) -> bytes:
    """An RGB profile with these primaries: with red and blue swapped, what is stored as red is shown as blue."""
    curve = _srgb_curve()
    tags = {b"wtpt": _xyz(WHITE), b"rXYZ": _xyz(red), b"gXYZ": _xyz(green), b"bXYZ": _xyz(blue)}
    return _profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def grey_profile(gamma: float | None = None) -> bytes:
    """A profile for grey pictures: with a gamma of 1, half the number is half the light. Without: as in sRGB."""
    return _profile(b"GRAY", {b"wtpt": _xyz(WHITE), b"kTRC": _srgb_curve() if gamma is None else _curve(gamma)})


def _xyz(point: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in point))


def _curve(gamma: float) -> bytes:
    """One exponent, as a fixed number with 8 bits behind the point."""
    return b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))


def _srgb_curve() -> bytes:
    """IEC 61966-2-1, as a table of 16-bit numbers."""
    levels = (step / 1023 for step in range(1024))
    light = (level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels)
    return b"curv\0\0\0\0" + struct.pack(">I1024H", 1024, *(round(value * 65535) for value in light))


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"made\0" + b"\0" * 79
    everything = {b"desc": name, **tags}
    table, body, start = b"", b"", 128 + 4 + 12 * len(everything)
    for tag, content in everything.items():
        padded = content + b"\0" * (-len(content) % 4)
        table += struct.pack(">4sII", tag, start + len(body), len(content))
        body += padded
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"\0" * 4, 0x02400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H4s4sIII", 2026, 11, 22, 0, 0, 0, b"acsp", b"\0" * 4, 0, 0, 0)
    head += b"\0" * 12 + struct.pack(">3i", *(round(value * 65536) for value in WHITE))
    return head.ljust(128, b"\0") + struct.pack(">I", len(everything)) + table + body


SWAPPED = rgb_profile(red=BLUE, blue=RED)
ALIKE = rgb_profile()
