from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from fluxbatch.report.charts import ROLES, Chart, Series, chart

STARTS = np.arange(12) * 60.0
MADE = Series("made", "made", np.arange(12.0), is_filled=True)
AWAY = Series("turned away", "away", np.array([np.nan, 1.0] * 6))


def drawn(title: str = "Pictures") -> Chart:
    return chart(title, "a minute", STARTS, 60.0, [MADE, AWAY], ("allowed", 8.0))


def test_it_is_an_svg_that_says_what_it_is():
    root = ET.fromstring(drawn().svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("role") == "img"
    assert root.get("aria-label") == "Pictures, a minute; the figures are in the table below"
    assert "minutes" in "".join(root.itertext())


def test_nothing_in_it_needs_what_the_page_forbids():
    svg = drawn().svg
    assert "style" not in svg
    assert "<script" not in svg
    assert re.findall(r'href="(?!#)', svg) == []


def test_every_colour_is_a_role_that_the_page_colours():
    svg = drawn().svg
    assert [colour for colour in ROLES.values() if colour in svg] == []
    classes = {name for found in re.findall(r'class="([^"]+)"', svg) for name in found.split()}
    assert {"fill-made", "stroke-away", "stroke-limit", "fill-ink", "stroke-line"} <= classes
    assert set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]+)"', svg)) == set()


def test_two_charts_of_a_page_share_no_name():
    names = [set(re.findall(r'\bid="([^"]+)"', drawn(title).svg)) for title in ("Pictures", "In flight")]
    assert all(names)
    assert not names[0] & names[1]
    used = set(re.findall(r"url\(#([^)]+)\)", drawn().svg))
    assert used <= names[0]


def test_the_same_figures_are_the_same_drawing():
    assert drawn().svg == drawn().svg


@pytest.mark.parametrize("y", [np.zeros(1), np.zeros(12), np.full(12, np.nan)])
def test_little_to_draw_is_no_error(y: np.ndarray):
    found = chart("Nothing", "a minute", np.arange(len(y)) * 1.0, 1.0, [Series("made", "made", y)])
    assert ET.fromstring(found.svg) is not None
