"""Prices, parameters and models of one's own, through the command line and against the simulator's bill."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.models.catalogue import CATALOGUE
from tests.e2e.e2e_kit import Desk, centineurons, part_files, table

OLD = Path(__file__).resolve().parents[1] / "dataset" / "version1"

# One picture of each model's own size and steps (CLOUDFLARE.md section 3), in neurons.
ALL = {
    "flux-2-dev": "3750",
    "flux-2-klein-4b": "104.20",
    "flux-2-klein-9b": "1363.64",
    "flux-1-schnell": "172.80",
    "lucid-origin": "3904.69",
    "phoenix-1.0": "3120",
    "stable-diffusion-xl-lightning": "0",
    "stable-diffusion-xl-base-1.0": "0",
    "dreamshaper-8-lcm": "0",
}
FREE = [name for name, neurons in ALL.items() if neurons == "0"]
OURS = """
[ours]
like = "flux-2-klein-4b"
id = "@cf/us/ours"
prices_read = 2026-12-02
price = { output_tile_neurons = 1, input_tile_neurons = 1 }
"""


def written(desk: Desk, *lines: str, name: str = "rows.csv") -> Path:
    path = desk.folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_one_picture_of_each_model_costs_what_is_published_and_billed(desk: Desk) -> None:
    assert set(ALL) == {model.name for model in CATALOGUE.models}
    manifest = written(desk, "prompt,model", *(f"a fox,{name}" for name in ALL))
    desk.simulator.reset()
    told = desk.run(manifest).ended(0).json
    assert told["made"] == 9
    charged = table(desk.out, ["model", "neurons", "neurons_expected"]).to_pylist()
    names = {model.id: model.name for model in CATALOGUE.models}
    assert {names[row["model"]]: centineurons(str(row["neurons"])) for row in charged} == {
        name: centineurons(neurons) for name, neurons in ALL.items()
    }
    assert all(row["neurons"] == row["neurons_expected"] for row in charged)
    assert desk.billed == sum(centineurons(neurons) for neurons in ALL.values())
    desk.command("verify", str(desk.out)).ended(0)


def test_free_models_need_no_budget_and_leave_a_used_up_one_as_it_is(desk: Desk) -> None:
    manifest = written(desk, "prompt,model", *(f"a fox,{name}" for name in FREE))
    told = desk.run(manifest, budget="0").ended(0).json
    assert (told["made"], told["spent_usd"]) == (3, "0")
    paid = written(desk, "prompt,model,width,height,steps", "a fox,flux-2-dev,512,512,4", name="paid.csv")
    desk.run(paid, budget="0.00165").ended(0)
    more = written(desk, "prompt,model", *(f"a hen,{name}" for name in FREE), name="more.csv")
    assert desk.run(more, budget="0.00165").ended(0).json["made"] == 3


def test_what_a_row_gives_and_its_model_does_not_take_is_refused_before_anything_is_sent(desk: Desk) -> None:
    before = desk.requests
    manifest = written(desk, "prompt,model,steps,negative_prompt", "a,flux-2-klein-4b,8,", "b,flux-2-dev,,fog")
    said = desk.run(manifest).ended(2)
    assert "steps is always 4 with flux-2-klein-4b" in said.err
    assert "flux-2-dev takes no negative prompt" in said.err
    assert desk.requests == before
    assert not desk.out.exists()


def test_a_run_says_which_option_was_not_sent_to_whom(desk: Desk) -> None:
    manifest = written(desk, "prompt,model,width,height", "a,flux-2-dev,256,256", "b,flux-2-klein-4b,256,256")
    said = desk.run(manifest, "--steps", "3").ended(0)
    assert "--steps 3 to 1 picture of flux-2-klein-4b (always 4)" in " ".join(said.err.split())
    assert sorted(table(desk.out).column("steps").to_pylist()) == [3, 4]


def test_failures_are_a_manifest_of_the_same_requests(desk: Desk) -> None:
    """A row that was refused is found again by its key, negative prompt and fixed steps included: nothing is due."""
    lines = (
        "[[fault:8007]] a,phoenix-1.0,fog",
        "[[fault:8007]] b,flux-2-klein-4b,",
        "[[fault:8007]] c,flux-1-schnell,",
    )
    desk.run(written(desk, "prompt,model,negative_prompt", *lines)).ended(0)
    failed = desk.out / "failures.parquet"
    assert pq.read_table(failed).column("negative_prompt").to_pylist() == ["fog", None, None]
    told = desk.plan(failed, "--json").ended(0).json
    assert (told["asked"], told["due"], told["complaints"]) == (3, 0, 0)
    assert told["ended"] == {"refused": 3}


def test_the_doctor_names_the_model_that_is_asked_for_and_whose_prices_it_has(desk: Desk) -> None:
    said = desk.command("doctor", "--out", str(desk.out), "--model", "phoenix-1.0").ended(0)
    assert "phoenix-1.0 by Cloudflare's list as read on 2026-11-22" in said.out
    assert "model phoenix-1.0 are good" in said.out
    models = written(desk, OURS, name="models.toml")
    said = desk.command("doctor", "--out", str(desk.out), "--model", "ours", "--models", str(models)).ended(1)
    assert f"ours by {models} as read on 2026-12-02" in said.out
    assert "@cf/us/ours is not on the list" in said.out
    said = desk.command("doctor", "--out", str(desk.out), "--model", "nothing").ended(1)
    assert "--model nothing is unknown; known are flux-2-dev, " in said.out


def test_a_models_toml_from_the_environment_is_used_by_plan_and_run(desk: Desk) -> None:
    dearer = "[flux-2-dev]\nprices_read = 2026-12-01\nprice = { output_tile_neurons = 75, input_tile_neurons = 18.75 }"
    desk.environment["FLUXBATCH_MODELS"] = str(written(desk, dearer, name="models.toml"))
    manifest = written(desk, "prompt,width,height,steps", "a,512,512,4")
    told = desk.plan(manifest, "--json").ended(0).json
    assert (told["expected_neurons"], told["prices_read"]) == ("300", {"flux-2-dev": "2026-12-01"})
    assert desk.run(manifest, budget="0.003").ended(3).json["made"] == 0  # the dearer bound is what is reserved
    desk.run(manifest, budget="0.0033").ended(0)
    (prices,) = Dataset.open(desk.out).header.prices
    assert prices.models["@cf/black-forest-labs/flux-2-dev"]["output_tile_neurons"] == "75"


def test_a_models_toml_with_mistakes_stops_every_command_with_all_of_them(desk: Desk) -> None:
    wrong = str(written(desk, "[flux-2-dev]\nstepz = 3\nside_max = 'x'", name="models.toml"))
    manifest = written(desk, "prompt", "a")
    for command in (
        ("plan", str(manifest), "--budget", "1"),
        ("run", str(manifest), "--budget", "1", "--out", str(desk.out)),
        ("models",),
    ):
        said = desk.command(*command, "--models", wrong).ended(2)
        assert "[flux-2-dev] stepz: is no key of a model" in said.err
        assert "[flux-2-dev] side_max: x is no whole number" in said.err
        assert "Traceback" not in said.all
    assert "stepz" in desk.command("doctor", "--models", wrong).ended(1).out


def test_a_dataset_of_before_is_continued(desk: Desk) -> None:
    """Two pictures in a part and one in the spool, made by fluxbatch as it was, and a column called negative_prompt."""
    (desk.out / "data").mkdir(parents=True)
    (desk.out / ".fluxbatch" / "spool").mkdir(parents=True)
    shutil.copy(OLD / "catalogue.jsonl", desk.out)
    shutil.copy(OLD / "train-00000.parquet", desk.out / "data")
    for row in OLD.glob("*.row"):
        shutil.copy(row, desk.out / ".fluxbatch" / "spool")
    manifest = written(desk, "prompt,mood,negative_prompt,model", "a fox,calm,rain,phoenix-1.0")
    assert "looks like" not in desk.run(manifest, "--own", "negative_prompt").ended(0).all
    desk.command("verify", str(desk.out)).ended(0)
    whole = table(desk.out)
    assert sorted(whole.column("prompt").to_pylist()) == ["a fox", "picture 1", "picture 2", "picture 3"]
    assert sorted(whole.column("negative_prompt").to_pylist()) == ["fog", "fog", "fog", "rain"]
    schemas = {str(pq.read_schema(path)) for path in part_files(desk.out)}
    assert len(schemas) == 1
    said = desk.run(written(desk, "prompt,strength,model,mood", "b,0.5,dreamshaper-8-lcm,x")).ended(2)
    assert "this dataset was made before strength could be asked" in said.err
