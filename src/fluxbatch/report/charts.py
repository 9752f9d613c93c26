"""The charts of a report, as inline SVG: drawn by matplotlib, coloured by the page's own style sheet.

matplotlib writes its colours into style attributes, which the page's content-security policy forbids and a dark page
could not change. So every colour here is a role, and becomes a class; whatever else was a style becomes an attribute.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree as ET

import numpy as np

from fluxbatch.report.timeline import Floats

SIZE_INCHES = (5.6, 2.5)
"""At 72 points an inch about 400 wide: the letters are legible on a phone, and two charts stand side by side on a
screen."""

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"

# Each role is drawn in a colour of its own, by which it is found again.
ROLES = {
    "ink": "#010101",
    "line": "#020202",
    "made": "#030303",
    "away": "#040404",
    "limit": "#050505",
    "first": "#060606",
    "second": "#070707",
    "third": "#080808",
}
_SETTINGS = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.edgecolor": ROLES["line"],
    "axes.labelcolor": ROLES["ink"],
    "text.color": ROLES["ink"],
    "xtick.color": ROLES["ink"],
    "ytick.color": ROLES["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}
_ROLE_OF = {colour: role for role, colour in ROLES.items()}
_DROPPED = frozenset({"font", "font-family", "font-style", "font-weight", "font-variant", "font-stretch"})
_SIZE = re.compile(r"([0-9.]+)px")

Role = Literal["made", "away", "limit", "first", "second", "third"]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart. `y` has a value for each bin, NaN for none."""

    label: str
    role: Role
    y: Floats
    is_filled: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn, and its SVG. `limit`: a level that is drawn as a dashed line, with its label."""

    title: str
    unit: str
    series: tuple[Series, ...]
    limit: tuple[str, float] | None
    svg: str


def chart(
    title: str,
    unit: str,
    starts_s: Floats,
    width_s: float,
    series: Sequence[Series],
    limit: tuple[str, float] | None = None,
) -> Chart:
    """Series over time, in seconds after the beginning, as steps `width_s` wide. The same input gives the same SVG."""
    import matplotlib as mpl  # half a second; only where something is drawn
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {**_SETTINGS, "svg.hashsalt": title}
    with mpl.rc_context(settings):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        scale, time_unit = _time_scale(len(starts_s) * width_s)
        edges = np.append(starts_s, len(starts_s) * width_s) / scale
        for one in series:
            _draw(axes, edges, one)
        if limit is not None:
            axes.axhline(limit[1], color=ROLES["limit"], linestyle=(0, (4, 3)), linewidth=1.2)
        axes.set(xlim=(0, edges[-1]), xlabel=time_unit)
        axes.set_ylim(bottom=0, top=None if _has_height(series, limit) else 1)
        _plain(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return Chart(title, unit, tuple(series), limit, _themed(file.getvalue(), title, unit))


def _plain(axes: Axes) -> None:
    """Nothing but the lines of the values' scale."""
    axes.patch.set_visible(False)
    axes.grid(axis="y", color=ROLES["line"], linewidth=0.6)
    axes.tick_params(length=0)
    axes.set_axisbelow(True)


def _draw(axes: Axes, edges: Floats, one: Series) -> None:
    colour = ROLES[one.role]
    if len(one.y) > 1 and np.isnan(one.y).any():
        # What is not known between two bins is drawn as a line from one to the other.
        known = ~np.isnan(one.y)
        middle = (edges[:-1] + edges[1:])[known] / 2
        axes.plot(middle, one.y[known], color=colour, linewidth=1.6, marker="o", markersize=2)
        return
    axes.stairs(one.y, edges, color=colour, fill=one.is_filled, linewidth=1.6, baseline=0 if one.is_filled else None)


def _has_height(series: Sequence[Series], limit: tuple[str, float] | None) -> bool:
    return limit is not None or any(np.nansum(one.y) > 0 for one in series)


def _time_scale(length_s: float) -> tuple[float, str]:
    """By what the seconds are divided, and the name of what they become."""
    for scale, name, least in ((86_400.0, "days", 3), (3600.0, "hours", 3), (60.0, "minutes", 3)):
        if length_s >= least * scale:
            return scale, name
    return 1.0, "seconds"


def _themed(svg: str, title: str, unit: str) -> str:
    """The drawing without styles, without names that two charts would share, and with a title that is read out."""
    root = ET.fromstring(svg)  # noqa: S314 - what matplotlib has just written
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}style", f"{{{_SVG}}}metadata"):
                parent.remove(child)
    prefix = re.sub(r"[^a-z]+", "-", title.lower()).strip("-")
    needed = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", svg))
    for element in root.iter():
        _unstyle(element)
        _rename(element, prefix, needed)
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", f"{title}, {unit}; the figures are in the table below")
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    return ET.tostring(root, encoding="unicode")


def _unstyle(element: ET.Element) -> None:
    declared = [one.partition(":") for one in element.attrib.pop("style", "").split(";") if ":" in one]
    for name, _, value in declared:
        _declare(element, name.strip(), value.strip())
    for name in ("fill", "stroke"):
        role = _ROLE_OF.get(element.get(name, ""))
        if role is not None:
            del element.attrib[name]
            element.set("class", " ".join(filter(None, (element.get("class"), f"{name}-{role}"))))


def _declare(element: ET.Element, name: str, value: str) -> None:
    if name == "font":
        found = _SIZE.search(value)
        if found is not None:
            element.set("font-size", found[1])
    if name not in _DROPPED:
        element.set(name, value)


def _rename(element: ET.Element, prefix: str, needed: set[str]) -> None:
    own = element.attrib.pop("id", None)
    if own in needed:
        element.set("id", f"{prefix}-{own}")
    for name, value in element.attrib.items():
        if value.startswith("url(#"):
            element.set(name, f"url(#{prefix}-{value[5:]}")
        elif name.endswith("href") and value.startswith("#"):
            element.set(name, f"#{prefix}-{value[1:]}")
