"""Every model of the catalogue, from a manifest to a part: what arrives at the platform, what comes back, the bill."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from base64 import b64decode
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image  # noqa: TID251 - the tests paint their references

from fluxbatch.simulator import read_bill
from tests.e2e.e2e_kit import REPOSITORY, Desk, assert_adds_up, calm, centineurons, rows, table

DEV = "@cf/black-forest-labs/flux-2-dev"
KLEIN_4B, KLEIN_9B = "@cf/black-forest-labs/flux-2-klein-4b", "@cf/black-forest-labs/flux-2-klein-9b"
SCHNELL = "@cf/black-forest-labs/flux-1-schnell"
LUCID, PHOENIX = "@cf/leonardo/lucid-origin", "@cf/leonardo/phoenix-1.0"
STABLE = (
    "@cf/bytedance/stable-diffusion-xl-lightning",
    "@cf/stabilityai/stable-diffusion-xl-base-1.0",
    "@cf/lykon/dreamshaper-8-lcm",
)
ALL = (DEV, KLEIN_4B, KLEIN_9B, SCHNELL, LUCID, PHOENIX, *STABLE)
PICTURE = "a picture"
"""Stands for a reference image in the tables below."""
SIZE = {"width": 512, "height": 768}
FULL: dict[str, dict[str, Any]] = {
    DEV: {**SIZE, "steps": 25, "guidance": 3.5, "seed": 7, "input_image_0": PICTURE, "input_image_1": PICTURE},
    KLEIN_4B: {**SIZE, "guidance": 3, "seed": 7, "input_image_0": PICTURE},
    KLEIN_9B: {**SIZE, "guidance": 3.5, "seed": 7, "input_image_0": PICTURE},
    SCHNELL: {"steps": 8},
    LUCID: {**SIZE, "steps": 15, "guidance": 4.5, "seed": 7},
    PHOENIX: {**SIZE, "steps": 25, "guidance": 2.5, "seed": 7, "negative_prompt": "blur, Ödnis"},
} | {
    model: {
        **{**SIZE, "steps": 20, "guidance": 7, "seed": 7, "negative_prompt": "blur", "strength": 0.6},
        "input_image_0": PICTURE,
    }
    for model in STABLE
}
"""A row that says all that its model takes (CLOUDFLARE.md section 1), by our names."""
FORM = {"width": "512", "height": "768", "guidance": "3.5", "seed": "7", "input_image_0": PICTURE}
JSON = {**SIZE, "seed": 7}
ARRIVES: dict[str, dict[str, Any]] = {
    DEV: {**FORM, "steps": "25", "input_image_1": PICTURE},
    KLEIN_4B: {**FORM, "guidance": "3.0"},
    KLEIN_9B: FORM,
    SCHNELL: {"steps": 8},
    LUCID: {**JSON, "num_steps": 15, "guidance": 4.5},
    PHOENIX: {**JSON, "num_steps": 25, "guidance": 2.5, "negative_prompt": "blur, Ödnis"},
} | {
    model: {
        **{**JSON, "num_steps": 20, "guidance": 7.0, "negative_prompt": "blur", "strength": 0.6},
        "image_b64": PICTURE,
    }
    for model in STABLE
}
"""What is in the body then, beside the prompt: nothing else, and of this very type. A form knows only text."""


@pytest.fixture
def reference(desk: Desk) -> bytes:
    """A picture that is small enough to go out as it is."""
    content = BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(content, "PNG")
    (desk.folder / "red.png").write_bytes(content.getvalue())
    return content.getvalue()


def manifest(desk: Desk, asked: list[dict[str, Any]]) -> Path:
    """As JSON lines, so that nothing is said that is not meant."""
    path = desk.folder / "models.jsonl"
    lines = [{key: "red.png" if value == PICTURE else value for key, value in row.items()} for row in asked]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def arrived(body: dict[str, Any], reference: bytes) -> dict[str, Any]:
    """The fields of a body, with `PICTURE` where the reference stands, byte for byte."""
    digest = {"bytes": len(reference), "sha256": hashlib.sha256(reference).hexdigest()}
    found = {}
    for name, value in body["fields"].items():
        is_reference = value == digest or (name == "image_b64" and b64decode(value) == reference)
        found[name] = PICTURE if is_reference else value
    return found


def test_every_model_is_asked_with_all_it_takes_and_nothing_else(desk: Desk, reference: bytes) -> None:
    asked = [{"prompt": f"ein Fuchs in {model}, 狐", "model": model, **FULL[model]} for model in ALL]
    said = desk.run(manifest(desk, asked)).ended(0)
    assert said.json["made"] == len(ALL)
    bodies = {body["model"]: arrived(body, reference) for body in desk.simulator.bodies()}
    assert set(bodies) == set(ALL)
    for model, fields in bodies.items():
        wanted = {"prompt": f"ein Fuchs in {model}, 狐", **ARRIVES[model]}
        assert fields == wanted, model
        assert {name: type(value) for name, value in fields.items()} == {
            name: type(value) for name, value in wanted.items()
        }, model
    assert desk.simulator.stats()["answers"] == {"200": len(ALL)}


def test_a_silent_row_asks_every_model_for_its_own_size_and_steps(desk: Desk) -> None:
    desk.run(manifest(desk, [{"prompt": "a fox", "model": model} for model in ALL])).ended(0)
    sizes = {"width": 1024, "height": 1024}
    assert {body["model"]: body["fields"] for body in desk.simulator.bodies()} == {
        DEV: {"prompt": "a fox", "width": "1024", "height": "1024", "steps": "25"},
        KLEIN_4B: {"prompt": "a fox", "width": "1024", "height": "1024"},
        KLEIN_9B: {"prompt": "a fox", "width": "1024", "height": "1024"},
        SCHNELL: {"prompt": "a fox", "steps": 4},
        LUCID: {"prompt": "a fox", "width": 1120, "height": 1120, "num_steps": 15},
        PHOENIX: {"prompt": "a fox", **sizes, "num_steps": 25},
        STABLE[0]: {"prompt": "a fox", **sizes, "num_steps": 20},
        STABLE[1]: {"prompt": "a fox", **sizes, "num_steps": 20},
        STABLE[2]: {"prompt": "a fox", "width": 512, "height": 512, "num_steps": 20},
    }


def test_all_models_in_one_run_and_the_bill_equals_the_ledger(desk: Desk, reference: bytes) -> None:
    asked = [{"prompt": f"a {animal}", "model": model} for model in ALL for animal in ("fox", "hen")]
    asked += [{"prompt": "a fox with a picture", "model": model, **FULL[model]} for model in (DEV, KLEIN_4B, *STABLE)]
    said = desk.run(manifest(desk, asked)).ended(0)
    assert (said.json["made"], said.json["drifts"]) == (len(asked), [])
    assert_adds_up(said.json)
    assert centineurons(said.json["spent_neurons"]) == desk.simulator.total_centineurons()
    found = table(desk.out, ["model", "neurons", "check", "format"]).to_pylist()
    assert {row["check"] for row in found} == {"ok"}
    assert {row["format"] for row in found} == {"JPEG"}
    by_ledger, by_bill = Counter[str](), Counter[str]()
    for row in found:
        by_ledger[row["model"]] += centineurons(str(row["neurons"]))
    for charge in desk.simulator.bill():
        by_bill[charge.model] += charge.centineurons
    assert by_ledger == by_bill
    # By hand: 2 x 3,750; 2 x 172.80; 2 x 3,904.69; 2 x 3,120.
    assert [by_bill[model] for model in (SCHNELL, LUCID, PHOENIX)] == [34_560, 780_938, 624_000]
    assert by_bill[DEV] == 750_000 + 25 * (3_750 * 3 // 2 + 2 * 1_875)
    assert [by_bill[model] for model in STABLE] == [0, 0, 0]


def test_a_simulated_run_makes_all_nine(desk: Desk, tmp_path: Path) -> None:
    bill = tmp_path / "bill.jsonl"
    desk.environment["FLUXBATCH_SIMULATOR"] = calm(bill_file=str(bill)).to_json()
    asked = [{"prompt": "a fox", "model": model.rpartition("/")[2]} for model in ALL]
    said = desk.run(manifest(desk, asked), "--simulate").ended(0)
    assert said.json["made"] == 9
    assert {charge.model for charge in read_bill(bill)} == set(ALL)
    assert centineurons(said.json["spent_neurons"]) == read_bill(bill)[-1].total_centineurons


def test_where_no_charge_is_said_the_bound_is_booked(desk: Desk) -> None:
    asked = {"prompt": "a fox", "model": PHOENIX, "width": 768, "height": 768, "steps": 10}
    said = desk.run(manifest(desk, [asked])).ended(0)
    assert desk.simulator.total_centineurons() == 225 * (530 + 10 * 10)  # 2.25 tiles were billed
    assert said.json["spent_neurons"] == str(4 * (530 + 10 * 10))  # and four are booked: started tiles are whole
    assert said.json["drifts"] == []


@pytest.mark.parametrize("model", [LUCID, PHOENIX, *STABLE])
def test_a_side_that_is_not_cut_is_no_wrong_size(desk: Desk, model: str) -> None:
    desk.run(manifest(desk, [{"prompt": "a fox", "model": model, "width": 1001, "height": 333}])).ended(0)
    [row] = table(desk.out, ["check", "image_width", "image_height"]).to_pylist()
    assert row == {"check": "ok", "image_width": 1001, "image_height": 333}


def test_a_picture_in_the_other_form_is_a_picture(desk: Desk) -> None:
    asked = [{"prompt": "a fox [[fault:other-form]]", "model": model} for model in (DEV, SCHNELL, PHOENIX, STABLE[1])]
    assert desk.run(manifest(desk, asked)).ended(0).json["made"] == 4


@pytest.mark.parametrize("fault", ["false-200", "html-200", "no-picture", "truncated-body", "gzip"])
def test_an_answer_without_a_picture_is_none_from_a_binary_model_either(desk: Desk, fault: str) -> None:
    asked = [{"prompt": f"a fox [[fault:{fault}]]", "model": model} for model in (PHOENIX, STABLE[0])]
    said = desk.run(manifest(desk, asked), "--resend-failed", "0").ended(4)
    assert said.json["made"] == 0
    assert said.json["failed"] + said.json["unknown"] == 2
    assert said.json["unknown_neurons"] == "3120", "phoenix perhaps, the free one not"


# When the price changes


def test_a_price_that_has_drifted_is_said_at_once_and_at_the_end(desk: Desk) -> None:
    desk.simulator.change(models={"flux-2-klein-4b": {"price_factor": 1.0101}})
    asked = [
        {"prompt": f"fox {number}", "model": model, "width": 768, "height": 768}
        for number in range(25)
        for model in (KLEIN_4B, KLEIN_9B)
    ]
    said = desk.run(manifest(desk, asked)).ended(0)
    assert said.json["made"] == 50
    # 768x768 is 2.25 tiles: 58.61 neurons expected, and 59.20 charged.
    [drift] = said.json["drifts"]
    assert drift == {
        "model": "flux-2-klein-4b", "pictures": 20, "expected_neurons": "1172.2", "charged_neurons": "1184",
        "percent": "1.01",
    }  # fmt: skip
    assert said.err.count("WARNING the price of flux-2-klein-4b has changed") == 1
    assert said.err.count("Note: the price of flux-2-klein-4b has changed: its last 20 pictures were charged") == 1
    report = (desk.out / "report.md").read_text()
    assert "**Note**: the price of flux-2-klein-4b has changed" in report
    assert "klein-9b has" not in said.all + report


def test_a_charge_above_its_bound_ends_the_run_and_what_was_charged_is_booked(desk: Desk) -> None:
    desk.simulator.change(models={"dreamshaper-8-lcm": {}, "flux-2-klein-4b": {"price_factor": 8}})
    asked = [{"prompt": f"fox {number}", "model": KLEIN_4B, "width": 256, "height": 256} for number in range(30)]
    said = desk.run(manifest(desk, asked), "--max-in-flight", "2").ended(5)
    assert "a picture of flux-2-klein-4b was charged" in said.json["reason"]
    assert "more than its bound" in said.json["reason"]
    assert 1 <= said.json["made"] <= 2
    assert centineurons(said.json["spent_neurons"]) == desk.simulator.total_centineurons()


def test_a_charge_above_its_bound_that_a_kill_left_unbooked_is_heard_by_the_next_start(desk: Desk) -> None:
    desk.simulator.change(price_factor=8)
    asked = str(desk.manifest(rows(5)))
    run = ["run", asked, "--out", str(desk.out), "--budget", "5", "--max-in-flight", "1"]
    armed = [sys.executable, "-m", "tests.crash.points", "spooled, not booked", "1", str(desk.folder / "note")]
    killed = subprocess.run(
        [*armed, *run], cwd=desk.folder, env=desk.variables() | {"PYTHONPATH": _path(desk)}, capture_output=True
    )
    assert killed.returncode == -9, killed.stderr
    said = desk.run(Path(asked)).ended(5)
    assert "more than its bound" in said.json["reason"]
    assert (said.json["already"] + said.json["made"], said.json["requests"]) == (1, 0)
    assert centineurons(said.json["spent_neurons"]) == desk.simulator.total_centineurons() == 8 * 3750


def _path(desk: Desk) -> str:
    return f"{REPOSITORY / 'src'}:{REPOSITORY}:{desk.variables().get('PYTHONPATH', '')}"


# A user's own models.toml

OWN = """
[flux-2-klein-4b]
prices_read = 2026-12-01
price = { kind = "tile", output_tile_neurons = 30, input_tile_neurons = 5.37 }

["our-model-1.0"]
like = "lucid-origin"
id = "@cf/us/our-model-1.0"
answer = "bytes"
sends = { prompt = "text", width = "w", height = "h", steps = "num_steps", seed = "seed" }
prices_read = 2026-12-01
price = { kind = "tile-and-step", tile_neurons = 100, step_neurons = 10 }
"""


def test_a_run_with_a_price_list_of_ones_own_can_be_rehearsed(desk: Desk, tmp_path: Path) -> None:
    bill, own = tmp_path / "bill.jsonl", tmp_path / "models.toml"
    own.write_text(OWN)
    desk.environment["FLUXBATCH_SIMULATOR"] = calm(bill_file=str(bill)).to_json()
    size = {"width": 1024, "height": 1024}
    asked = [{"prompt": f"fox {n}", "model": "flux-2-klein-4b", **size} for n in range(20)]
    asked += [{"prompt": "a hen", "model": "our-model-1.0", **size, "steps": 5, "seed": 7}]
    said = desk.run(manifest(desk, asked), "--simulate", "--models", str(own)).ended(0)
    assert (said.json["made"], said.json["drifts"]) == (21, [])
    charges = {charge.model: charge.centineurons for charge in read_bill(bill)}
    assert charges == {KLEIN_4B: 4 * 3_000, "@cf/us/our-model-1.0": 4 * (10_000 + 5 * 1_000)}
    assert centineurons(said.json["spent_neurons"]) == read_bill(bill)[-1].total_centineurons
