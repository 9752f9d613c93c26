"""A sweep from the command line: counted, priced, written, run, widened and run again."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.e2e.e2e_kit import REPOSITORY, Desk, centineurons, table

PROMPTS = REPOSITORY / "prompts"
README = (PROMPTS / "README.md").read_text(encoding="utf-8")
SMALL = """\
prompt: "a {{ animal }}, {{ light }}"
defaults: {size: 256x256, steps: 4}
axes:
  animal: [fox, owl]
  light: [dawn, dusk, night]
  seed: {range: [1, 2]}
exclude:
  - {animal: owl, light: dusk}
"""


def spec(desk: Desk, text: str = SMALL) -> Path:
    path = desk.folder / "s.yaml"
    path.write_text(text)
    return path


def test_the_count_by_axis_the_price_and_some_rows_are_shown_and_nothing_is_sent(desk: Desk) -> None:
    desk.without = ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN")
    said = desk.command("sweep", str(spec(desk))).ended(0).out
    line = "animal 2 x light 3 x seed 2 = 12, minus 2 excluded, plus 0 included, minus 0 duplicates = 10 rows"
    assert line in said
    for text in ("256x256", "flux-2-dev", "a fox, dawn", "a owl, night", "(375.00 neurons)", "expected", "bound"):
        assert text in said, text
    assert desk.requests == 0


def test_the_counts_of_blocks_includes_duplicates_and_repeats_are_shown(desk: Desk) -> None:
    text = """\
prompt: "a {{ animal }}"
defaults: {size: 256x256, steps: 4, samples: 2}
blocks:
  - {name: wild, axes: {animal: [fox, owl, fox]}}
  - axes: {animal: [owl, cow], seed: [null, 1]}
include: [{animal: cow}]
sample: {count: 3, seed: 1}
"""
    said = " ".join(desk.command("sweep", str(spec(desk, text))).ended(0).out.split())
    assert "wild (line 4): animal 2 = 2 block of line 5: animal 2 x seed 2 = 4" in said
    assert "2 + 4 = 6, minus 0 excluded, plus 1 included, minus 2 duplicates = 5 rows" in said
    assert "of these a random sample of 3 (seed 1)" in said
    assert "animal: 1 repeated values count once" in said
    assert "pictures 6" in said


def test_the_object_has_the_counts_and_exact_amounts(desk: Desk) -> None:
    told = desk.command("sweep", str(spec(desk)), "--json").ended(0).json
    (block,) = told["blocks"]
    assert block["axes"] == {"animal": 2, "light": 3, "seed": 2}
    assert (block["cells"], block["excluded"], block["duplicates"], block["rows"]) == (12, 2, 0, 10)
    assert (told["rows"], told["pictures"], told["expected_neurons"], told["written"]) == (10, 10, "375", None)
    plan = desk.plan(spec(desk), "--json").ended(0).json
    assert {name: plan[name] for name in ("expected_usd", "bound_usd", "expected_neurons", "bound_neurons")} == {
        name: told[name] for name in ("expected_usd", "bound_usd", "expected_neurons", "bound_neurons")
    }


@pytest.mark.parametrize(
    ("options", "rows"),
    [(["--limit", "3"], 3), (["--limit", "99"], 10), (["--sample", "4", "--seed", "7"], 4), (["--preview", "8"], 8)],
)
def test_only_some_rows_are_counted_priced_and_written(desk: Desk, options: list[str], rows: int) -> None:
    out = desk.folder / "some.parquet"
    told = desk.command("sweep", str(spec(desk)), *options, "-o", str(out), "--json").ended(0).json
    assert (told["rows"], told["written"], pq.read_table(out).num_rows) == (rows, rows, rows)
    assert centineurons(told["expected_neurons"]) == 3750 * rows


def test_two_selections_at_once_are_refused(desk: Desk) -> None:
    said = desk.command("sweep", str(spec(desk)), "--limit", "1", "--preview", "2").ended(2)
    assert "--limit and --preview cannot go together" in said.err
    assert "take 1 or more" in desk.command("sweep", str(spec(desk)), "--limit", "0").ended(2).err


def test_a_table_that_cannot_be_written_leaves_nothing_behind(desk: Desk) -> None:
    bad = spec(desk, "prompt: 'a {{ 6 // n }}'\naxes: {n: [3, 0]}")
    said = desk.command("sweep", str(bad), "-o", str(desk.folder / "o.parquet")).ended(2)
    assert "row 2" in said.err
    assert sorted(path.name for path in desk.folder.glob("*o.parquet*")) == []
    assert "use .parquet" in desk.command("sweep", str(spec(desk)), "-o", "o.xlsx").ended(2).err


def test_every_complaint_is_said_with_its_line(desk: Desk) -> None:
    bad = spec(desk, "promt: a\nprompt: 'a {{ animl }}'\naxes:\n  animal: [cat, no]\n")
    for command in (["sweep", str(bad)], ["plan", str(bad), "--budget", "1"]):
        err = desk.command(*command).ended(2).err
        for text in (
            "s.yaml:1: the sweep has no key 'promt'; did you mean prompt?",
            "s.yaml:2, column animl",
            "s.yaml:4",
        ):
            assert text in err, text


def test_a_value_that_the_model_refuses_is_said_where_it_stands(desk: Desk) -> None:
    bad = spec(desk, "prompt: a fox\naxes:\n  steps:\n    - 8\n    - 60\n")
    said = desk.command("sweep", str(bad), "--json").ended(2).json
    assert (said["rows"], said["rejected_rows"], said["pictures"]) == (2, 1, 1)
    assert "s.yaml:5, column steps: 60 steps are out of range" in said["complaints"][0]


def test_the_price_of_a_models_toml_is_the_sweeps_as_it_is_the_plans(desk: Desk) -> None:
    mine = desk.folder / "models.toml"
    tiles = "price = { output_tile_neurons = 75, input_tile_neurons = 18.75 }"
    mine.write_text(f"[flux-9]\nlike = 'flux-2-dev'\nid = '@cf/me/flux-9'\nprices_read = 2026-12-01\n{tiles}\n")
    asked = (str(spec(desk, SMALL + "include: [{animal: elk, light: dusk, model: flux-9}]")), "--models", str(mine))
    swept = desk.command("sweep", *asked, "--json").ended(0).json
    planned = desk.plan(Path(asked[0]), *asked[1:], "--json").ended(0).json
    assert centineurons(swept["expected_neurons"]) == centineurons(planned["expected_neurons"]) == 10 * 3750 + 7500


def test_pictures_of_an_earlier_dataset_are_counted_and_priced_by_a_sweep(desk: Desk) -> None:
    assert desk.run(spec(desk)).ended(0).json["made"] == 10
    keys = table(desk.out, ["key"])["key"].to_pylist()
    lines = "".join(f"dataset:{desk.out}#{key}\n" for key in keys)
    (desk.folder / "keys.txt").write_text(lines)
    text = """\
prompt: image 0, but {{ light }}
defaults: {size: 256x256, steps: 4}
axes: {input_image_0: {from: keys.txt}, light: [dawn, dusk]}
"""
    told = desk.command("sweep", str(spec(desk, text)), "--json").ended(0).json
    assert (told["rows"], told["pictures"], told["complaints"]) == (20, 20, [])
    planned = desk.plan(spec(desk, text), "--json", out=desk.folder / "edits").ended(0).json
    assert told["expected_neurons"] == planned["expected_neurons"]
    assert centineurons(told["expected_neurons"]) == 20 * (3750 + 4 * 1875)


def test_an_address_in_a_sweep_is_judged_by_the_hosts_that_are_allowed(desk: Desk) -> None:
    text = "prompt: image 0\ndefaults: {input_image_0: 'https://images.example.com/a.png'}\naxes: {seed: [1]}"
    said = desk.command("sweep", str(spec(desk, text)), "--json").ended(2).json
    assert "allow it with --allow-host images.example.com" in said["complaints"][0]
    said = desk.command("sweep", str(spec(desk, text)), "--allow-host", "other.example.com", "--json").ended(2).json
    assert "images.example.com is not allowed" in said["complaints"][0]
    assert "IP address" in desk.command("sweep", str(spec(desk, text)), "--allow-host", "10.0.0.1").ended(2).err


def test_a_table_is_no_sweep(desk: Desk) -> None:
    assert "`fluxbatch plan` counts" in desk.command("sweep", str(PROMPTS / "demo.csv")).ended(2).err


def test_a_widened_sweep_pays_for_its_new_cells_only(desk: Desk) -> None:
    assert desk.run(spec(desk)).ended(0).json["made"] == 10
    assert desk.billed == 10 * 3750
    wider = spec(desk, SMALL.replace("[fox, owl]", "[bee, fox, owl]").replace("[1, 2]", "[1, 3]"))
    cells = 3 * 3 * 3 - 3
    assert desk.run(wider).ended(0).json["made"] == cells - 10
    assert desk.billed == cells * 3750
    rows = table(desk.out)
    assert rows.num_rows == cells
    assert rows.schema.field("animal").type == rows.schema.field("light").type == pa.string()
    assert sorted(set(rows["animal"].to_pylist())) == ["bee", "fox", "owl"]
    assert desk.command("verify", str(desk.out)).ended(0)


def test_the_written_table_is_the_same_purchase(desk: Desk) -> None:
    out = desk.folder / "whole.jsonl"
    desk.command("sweep", str(spec(desk)), "-o", str(out)).ended(0)
    assert len([json.loads(line) for line in out.read_text().splitlines()]) == 10
    assert desk.run(spec(desk)).ended(0).json["made"] == 10
    assert desk.plan(out, "--json").ended(0).json["already"] == 10


EXAMPLE = re.compile(r"^\| \[(\w+\.yaml)\].*\| (\d+) \| \$([\d.]+) \| \$([\d.]+) \|$", re.MULTILINE)


def test_the_examples_come_to_what_their_readme_says(desk: Desk) -> None:
    said = EXAMPLE.findall(README)
    assert {name for name, *_ in said} == {path.name for path in PROMPTS.glob("*.yaml")}
    for name, rows, expected, bound in said:
        told = desk.command("sweep", str(PROMPTS / name), "--json").ended(0).json
        assert told["rows"] == told["pictures"] == int(rows), name
        assert (Decimal(told["expected_usd"]), Decimal(told["bound_usd"])) == (Decimal(expected), Decimal(bound)), name
        plan = desk.plan(PROMPTS / name, "--json").ended(0).json
        assert (plan["asked"], plan["expected_usd"], plan["complaints"]) == (int(rows), told["expected_usd"], 0), name


def test_the_sweep_in_the_readme_has_the_rows_that_it_says(desk: Desk) -> None:
    [text] = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    said = desk.command("sweep", str(spec(desk, text))).ended(0).out
    assert "= 168, minus 28 excluded, plus 1 included, minus 0 duplicates = 141 rows" in README
    assert "= 168, minus 28 excluded, plus 1 included, minus 0 duplicates = 141 rows" in said
