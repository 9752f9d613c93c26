"""`fluxbatch sweep -o manifest.parquet`: 10,000,000 cells against 100,000, rows a second and peak memory."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

from bench.common import Took, child, megabytes, options, scratch, seconds, show, warm_up

ANIMALS = [f"animal {number}" for number in range(20)]
STYLES = [f"style {number}" for number in range(50)]

SPEC = """\
prompt: "{prompt}"
axes:
  animal: [{animals}]
  style: {{from: styles.txt}}
  seed: {{range: [1, {seeds}]}}
{more}"""

PLAIN = "a {{ animal }} in {{ style }} style"
CASES = {
    "plain variables": (PLAIN, ""),
    "the same, 1 in 50 excluded": (PLAIN, "exclude: [{style: style 7}]\n"),
    "Jinja2 filters, duplicates looked for": ("a {{ animal | upper }} in {{ style }} style", ""),
}
NOTES = (
    "The whole command, from start to exit: counted, priced, and every row written to Parquet (and synced).",
    "By hand: itertools.product, one Jinja2 template, a pandas data frame; no price, no check, no look for duplicates.",
)


def write_spec(folder: Path, case: str, cells: int) -> Path:
    prompt, more = CASES[case]
    seeds = cells // len(ANIMALS) // len(STYLES)
    (folder / "styles.txt").write_text("\n".join(STYLES))
    path = folder / "sweep.yaml"
    path.write_text(SPEC.format(prompt=prompt, animals=", ".join(ANIMALS), seeds=seeds, more=more))
    return path


def product_to_parquet() -> None:
    """What one would write instead, as a program of its own: cells and path are its arguments."""
    import pandas as pd
    from jinja2 import Template

    cells, path = sys.argv[1:]
    template = Template(PLAIN)
    seeds = range(1, int(cells) // len(ANIMALS) // len(STYLES) + 1)
    rows = [
        {"prompt": template.render(animal=animal, style=style), "animal": animal, "style": style, "seed": seed}
        for animal, style, seed in product(ANIMALS, STYLES, seeds)
    ]
    pd.DataFrame(rows).to_parquet(path, index=False)


def row(name: str, cells: int, rows: int, took: Took) -> list[str]:
    return [name, f"{cells:,}", seconds(took.wall_s), f"{rows / took.wall_s:,.0f}", megabytes(took.peak_bytes)]


def measured(folder: Path, case: str, cells: int) -> list[str]:
    spec, out = write_spec(folder, case, cells), folder / "out.parquet"
    took = child("fluxbatch.cli:main", "sweep", str(spec), "-o", str(out), "--json")
    expected = cells - cells // len(STYLES) if "excluded" in case else cells
    assert took.answer["written"] == took.answer["rows"] == expected, took.answer
    out.unlink()
    return row(case, cells, expected, took)


def main() -> None:
    small, large = (20_000, 200_000) if options(__doc__).quick else (100_000, 10_000_000)
    warm_up()
    with scratch() as folder:
        rows = [measured(folder, case, cells) for case in CASES for cells in (small, large)]
        took = child("bench.sweep:product_to_parquet", str(small), str(folder / "by_hand.parquet"))
        rows.append(row("by hand", small, small, took))
    show("A sweep to Parquet", ("sweep", "cells", "seconds", "rows a second", "peak memory"), rows, NOTES)


if __name__ == "__main__":
    main()
