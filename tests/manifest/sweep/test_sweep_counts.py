"""Sweeps that were counted by hand, against what is expanded of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.manifest.manifest_kit import asked
from tests.manifest.sweep.sweep_kit import Counts, counts_of, manifest_of

BOTH = "prompt: 'a {{ a }} {{ b }}'\n"

TABLE = {
    "one cell without an axis": ("prompt: a fox", Counts(1)),
    "one axis": ("prompt: 'a {{ a }}'\naxes: {a: [x, y, z]}", Counts(3)),
    "two axes multiply": (BOTH + "axes: {a: [x, y, z], b: [1, 2]}", Counts(6)),
    "four axes of the issue's example": (
        BOTH + "axes: {a: [x, y], b: [p, q, r], guidance: {range: [2.0, 5.0], step: 0.5}, seed: {range: [1, 4]}}",
        Counts(2 * 3 * 7 * 4),
    ),
    "zipped names move together": (BOTH + "zip: [{a: [x, y, z], b: [p, q, r]}]", Counts(3)),
    "two zips multiply": (
        BOTH + "zip: [{a: [x, y, z], b: [p, q, r]}, {width: [512, 768], height: [768, 512]}]",
        Counts(3 * 2),
    ),
    "a size is one axis": ("prompt: a fox\naxes: {size: [512x512, 1024x768, 512x512]}", Counts(2)),
    "a size beside an axis": ("prompt: a fox\naxes: {size: [512x512, 1024x768], steps: [4, 8, 25]}", Counts(6)),
    "exclude one cell": (BOTH + "axes: {a: [x, y], b: [p, q]}\nexclude: [{a: x, b: q}]", Counts(4, 1)),
    "exclude a slice": (BOTH + "axes: {a: [x, y], b: [p, q, r]}\nexclude: [{a: x}]", Counts(6, 3)),
    "exclude lists mean any of them": (
        BOTH + "axes: {a: [x, y, z], b: [p, q, r]}\nexclude: [{a: [x, y], b: [p, q]}]",
        Counts(9, 4),
    ),
    "what two entries exclude is excluded once": (
        BOTH + "axes: {a: [x, y], b: [p, q, r]}\nexclude: [{a: x}, {b: p}]",
        Counts(6, 3 + 2 - 1),
    ),
    "exclude one of a zip": (BOTH + "zip: [{a: [x, y, z], b: [p, p, q]}]\nexclude: [{b: p}]", Counts(3, 2)),
    "exclude by both of a zip": (BOTH + "zip: [{a: [x, y, z], b: [p, p, q]}]\nexclude: [{a: y, b: p}]", Counts(3, 1)),
    "exclude a size whose sides are axes of their own": (
        "prompt: a fox\naxes: {width: [512, 768], height: [512, 768]}\nexclude: [{size: [512x768, 768x512]}]",
        Counts(4, 2),
    ),
    "exclude by a range": (
        "prompt: a fox\naxes: {seed: {range: [1, 100]}}\nexclude: [{seed: {range: [10, 19]}}]",
        Counts(100, 10),
    ),
    "exclude a number written otherwise": (
        "prompt: a fox\naxes: {guidance: [2, 3.5, 4]}\nexclude: [{guidance: 2.0}]",
        Counts(3, 1),
    ),
    "exclude by a default takes all or is refused": (
        "prompt: a fox\ndefaults: {steps: 8}\naxes: {seed: [1, 2, 3]}\nexclude: [{steps: 8, seed: 2}]",
        Counts(3, 1),
    ),
    "include adds a cell": (
        BOTH + "axes: {a: [x, y], b: [p, q]}\ninclude: [{a: z, b: p}]",
        Counts(4, 0, 1),
    ),
    "include with lists multiplies within": (
        BOTH + "axes: {a: [x, y], b: [p, q]}\ninclude: [{a: z, b: [p, q], seed: {range: [1, 3]}}]",
        Counts(4, 0, 2 * 3),
    ),
    "include of what is there already is no other picture": (
        BOTH + "axes: {a: [x, y], b: [p, q]}\ninclude: [{a: x, b: p}]",
        Counts(4, 0, 1, 1),
    ),
    "include brings back what is excluded": (
        BOTH + "axes: {a: [x, y], b: [p, q]}\nexclude: [{a: x}]\ninclude: [{a: x, b: p}]",
        Counts(4, 2, 1, 0),
    ),
    "include alone": ("prompt: 'a {{ a }}'\ninclude: [{a: x}, {a: y}]", Counts(0, 0, 2)),
    "repeated values of an axis count once": (BOTH + "axes: {a: [x, y, x, x], b: [1, 2, 1]}", Counts(2 * 2)),
    "rows of a zip that are the same": (BOTH + "zip: [{a: [x, y, x], b: [p, q, p]}]", Counts(3, 0, 0, 1)),
    "rows of a zip that differ in nothing that is sent": (
        "prompt: 'a {{ a }}'\nzip: [{a: [x, x, y], kind: [1, 2, 3]}]",
        Counts(3, 0, 0, 1),
    ),
    "values that make the same prompt": (
        "prompt: '{{ a }}{{ b }}'\naxes: {a: [x, xy], b: [z, yz]}",
        Counts(4, 0, 0, 1),
    ),
    "values with other text between": ("prompt: '{{ a }}, {{ b }}'\naxes: {a: [x, xy], b: [z, yz]}", Counts(4)),
    "values that hold the text between": (
        "prompt: '{{ a }}, {{ b }}'\naxes: {a: [x, 'x, y'], b: [z, 'y, z']}",
        Counts(4, 0, 0, 1),
    ),
    "a filter that makes values equal": (
        "prompt: 'a {{ a | lower }}'\naxes: {a: [Fox, FOX, fox, owl]}",
        Counts(4, 0, 0, 2),
    ),
    "two blocks": (
        "prompt: 'a {{ a }}'\nblocks: [{axes: {a: [x, y]}}, {axes: {a: [p, q, r]}}]",
        Counts(5),
    ),
    "two blocks with a cell in common": (
        "prompt: 'a {{ a }}'\nblocks: [{axes: {a: [x, y]}}, {axes: {a: [y, z]}}]",
        Counts(4, 0, 0, 1),
    ),
    "blocks that differ in a parameter": (
        "prompt: 'a {{ a }}'\naxes: {a: [x, y]}\nblocks: [{defaults: {steps: 4}}, {defaults: {steps: 8}}]",
        Counts(4),
    ),
    "a default that is what is sent anyway": (
        "prompt: 'a {{ a }}'\naxes: {a: [x, y]}\nblocks: [{defaults: {steps: 25}}, {defaults: {width: 1024}}]",
        Counts(4, 0, 0, 2),
    ),
    "axes outside multiply every block": (
        BOTH + "axes: {b: [1, 2, 3]}\nblocks: [{axes: {a: [x, y]}}, {defaults: {a: z}}]",
        Counts(2 * 3 + 3),
    ),
    "a block takes an axis away by a default": (
        BOTH + "axes: {a: [x, y], b: [1, 2, 3]}\nblocks: [{}, {defaults: {b: 4}}]",
        Counts(6 + 2),
    ),
    "blocks in blocks": (
        BOTH
        + "defaults: {steps: 8}\nblocks: [{axes: {a: [x, y]}, blocks: [{axes: {b: [1, 2]}}, {axes: {b: [3, 4, 5]}}]},"
        + " {axes: {a: [z]}, defaults: {b: 9}}]",
        Counts(2 * 2 + 2 * 3 + 1),
    ),
    "exclude outside holds in every block that has the names": (
        BOTH
        + "exclude: [{a: x}]\nblocks: [{axes: {a: [x, y], b: [1, 2]}}, {axes: {a: [x], b: [3, 4]}},"
        + " {prompt: 'b {{ b }}', axes: {b: [5, 6]}}]",
        Counts(4 + 2 + 2, 2 + 2),
    ),
    "include outside is added once": (
        "prompt: 'a {{ a }}'\ninclude: [{a: z}]\nblocks: [{axes: {a: [x]}}, {axes: {a: [y]}}]",
        Counts(2, 0, 1),
    ),
    "choices of the prompt are an axis": ("prompt: '{a|b|c} {{ a }}'\naxes: {a: [x, y]}", Counts(6)),
    "choices that are the same": ("prompt: '{a|b|a} {{ a }}'\naxes: {a: [x, y]}", Counts(6, 0, 0, 2)),
    "two of three": ("prompt: '{2$$a|b|c}'", Counts(6)),
    "several prompts are an axis": ("prompt: ['a {{ a }}', 'the {{ a }}']\naxes: {a: [x, y, z]}", Counts(6)),
    "a prompt of several without the variable": (
        "prompt: ['a {{ a }}', 'a fox']\naxes: {a: [x, y, z]}",
        Counts(6, 0, 0, 2),
    ),
    "some of the choices": ("prompt: '{a|b|c|d} {1|2|3|4}'\nalternatives: {count: 5, seed: 1}", Counts(5)),
    "more choices than there are": ("prompt: '{a|b}'\nalternatives: {count: 5, seed: 1}", Counts(2)),
    "models are an axis": ("prompt: a fox\naxes: {model: [flux-2-dev, '@cf/black-forest-labs/flux-2-dev']}", Counts(1)),
    "guidance that is not sent is a value": ("prompt: a fox\naxes: {guidance: [null, 3.5]}", Counts(2)),
    "samples beside steps": ("prompt: a fox\nzip: [{steps: [8, 25], samples: [4, 1]}]", Counts(2)),
    "the same content with another count of samples": (
        "prompt: a fox\naxes: {samples: [1, 3]}",
        Counts(2, 0, 0, 1),
    ),
    "pinned samples are pictures of their own": ("prompt: a fox\naxes: {sample: {range: [0, 3]}}", Counts(4)),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_sweep_has_as_many_rows_as_were_counted_by_hand(tmp_path: Path, name: str) -> None:
    text, expected = TABLE[name]
    manifest = manifest_of(tmp_path, text)
    rows = asked(manifest)
    assert manifest.sweep is not None
    assert counts_of(manifest.sweep) == expected
    assert manifest.sweep.rows == expected.rows
    assert len({row.row for row in rows}) == expected.rows
    assert len({row.key for row in rows}) == len(rows)
    assert all(row.sample == 0 for row in rows) or "sample" in name
