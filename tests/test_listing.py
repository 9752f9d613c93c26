"""`fluxbatch models`: the table, one model in detail, and what a plan says of prices and options."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fluxbatch import listing
from fluxbatch.cli import app
from fluxbatch.errors import UsageError
from fluxbatch.manifest.reader import Defaults, Rejected, open_manifest
from fluxbatch.models.catalogue import CATALOGUE, FLUX_2_DEV, FLUX_2_KLEIN_4B, MODELS, Model
from fluxbatch.models.custom import read_catalogue

CHANGED = """
[flux-2-dev]
prices_read = 2026-12-01
price = { output_tile_neurons = 75, input_tile_neurons = 37.5 }
"""
OURS = """
[our-model]
like = "lucid-origin"
id = "@cf/us/our-model"
prices_read = 2026-12-02
price = { kind = "free" }
"""


def printed(show: Callable[[Console], None], width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    show(console)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_table_names_every_model_whole_within_80_columns() -> None:
    text = printed(lambda console: listing.show_models(console, CATALOGUE, None))
    assert "…" not in text
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    for model in MODELS:
        assert model.name in lines
    assert lines["flux-2-klein-4b"].split()[1:] == ["256-2048", "1024x1024", "always", "4", "4", "$0.0011462"]
    assert lines["lucid-origin"].split()[-1] == "$0.04295159"
    assert lines["dreamshaper-8-lcm"].split()[-1] == "free"
    assert "as read on 2026-11-22" in text


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_one_model_in_detail_names_every_parameter_and_its_name_on_the_wire(model: Model) -> None:
    text = printed(lambda console: listing.show_model(console, model, None))
    lines = [line.split() for line in text.splitlines()]
    for ours, theirs in model.sends:
        assert [ours, theirs] in [line[:2] for line in lines]
    assert model.id in text
    assert model.price.formula in text
    assert "2026-11-22" in text


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_its_example_is_a_manifest_that_can_be_sent(tmp_path: Path, model: Model) -> None:
    path = tmp_path / "example.csv"
    path.write_text("\n".join(listing.example(model)) + "\n")
    manifest = open_manifest(path, Defaults())
    (row,) = manifest.rows()
    assert manifest.complaints == ()
    assert not isinstance(row, Rejected), row
    assert row.model is model


def test_a_part_of_a_name_will_do_when_it_is_one_models() -> None:
    assert listing.chosen(CATALOGUE, "klein-4b") is FLUX_2_KLEIN_4B
    assert listing.chosen(CATALOGUE, FLUX_2_DEV.id) is FLUX_2_DEV
    with pytest.raises(UsageError, match="'klein' could be 2 models; take one of: flux-2-klein-4b, flux-2-klein-9b"):
        listing.chosen(CATALOGUE, "klein")
    with pytest.raises(UsageError, match="'sdxl' is no model; take one of: flux-2-dev"):
        listing.chosen(CATALOGUE, "sdxl")


def test_as_json_it_has_all_that_the_table_has() -> None:
    told = json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)["models"]
    assert [model["name"] for model in told] == [model.name for model in MODELS]
    klein = told[1]
    assert klein["price"]["output_tile_neurons"] == "26.05"
    assert (klein["default_expected_neurons"], klein["default_bound_usd"]) == ("104.2", "0.001148")
    assert klein["prices_read"] == "2026-11-22"
    assert told[5]["sends"]["steps"] == "num_steps"


def test_a_models_toml_is_listed_with_its_own_days(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(OURS)
    said = CliRunner().invoke(app, ["models", "--models", str(path)]).stdout
    assert "our-model" in said
    assert "our-model (read on 2026-12-02)" in " ".join(said.split())
    one = CliRunner().invoke(app, ["models", "our-model"], env={"FLUXBATCH_MODELS": str(path)}).stdout
    assert "@cf/us/our-model" in one
    assert "2026-12-02" in one


def plan_of(folder: Path, rows: str, *options: str) -> str:
    path = folder / "rows.csv"
    path.write_text(rows)
    out = ["--budget", "1", "--out", str(folder / "none")]
    done = CliRunner().invoke(app, ["plan", str(path), *out, *options], env={"COLUMNS": "200"}, catch_exceptions=False)
    assert done.exit_code == 0, done.stdout
    return " ".join(done.stdout.split())


MIXED = "prompt,model\na,flux-2-dev\nb,flux-2-klein-4b\nc,flux-2-klein-4b\nd,flux-1-schnell\n"


def test_a_plan_says_which_option_is_not_sent_to_whom(tmp_path: Path) -> None:
    text = plan_of(tmp_path, MIXED, "--steps", "8", "--guidance", "3")
    assert "not sent --steps 8 to 2 pictures of flux-2-klein-4b (always 4)" in text
    assert "not sent --guidance 3 to 1 picture of flux-1-schnell (which takes none)" in text
    assert "not sent" not in plan_of(tmp_path, MIXED)


def test_a_plan_says_whose_prices_it_has(tmp_path: Path) -> None:
    assert "prices Cloudflare's list as read on 2026-11-22" in plan_of(tmp_path, MIXED)
    path = tmp_path / "models.toml"
    path.write_text(CHANGED)
    text = plan_of(tmp_path, MIXED, "--models", str(path))
    assert f"prices flux-2-dev (read on 2026-12-01) from {path}; Cloudflare's list as read on 2026-11-22" in text
    assert "$0.0825" in text  # twice the price


def test_a_row_can_name_a_model_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(OURS)
    (tmp_path / "rows.csv").write_text("prompt,model\na,our-model\nb,@cf/us/our-model\n")
    catalogue = read_catalogue(path)
    rows = list(open_manifest(tmp_path / "rows.csv", Defaults(catalogue=catalogue)).rows())
    assert [row.model.id for row in rows] == ["@cf/us/our-model"] * 2  # type: ignore[union-attr]
    assert all(isinstance(row, Rejected) for row in open_manifest(tmp_path / "rows.csv", Defaults()).rows())
