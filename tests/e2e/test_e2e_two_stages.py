"""A second run that edits the pictures of the first: one command each, and the bill is right in both."""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image  # noqa: TID251 - the tests look at what was made

from tests.e2e.e2e_kit import REPOSITORY, SMALL_CENTINEURONS, Desk, assert_adds_up, centineurons, placed, table

REFERENCE_CENTINEURONS = 4 * 1875
"""4 steps x 18.75 neurons."""


def base_of(desk: Desk) -> Path:
    """Three small pictures and a wide one, under `out/base`; the bill is empty again."""
    small = [{"id": name, "prompt": f"a {name}"} for name in ("fox", "cat", "owl")]
    wide = {"id": "wide", "prompt": "a wide view", "width": 1024, "height": 512}
    base = desk.folder / "out" / "base"
    told = desk.run(desk.manifest([*small, wide], "base.csv"), out=base).ended(0).json
    # 3 x 37.5 neurons; 4 steps x 37.5 x 2 tiles.
    assert desk.billed == centineurons(told["spent_neurons"]) == 3 * 3750 + 4 * 3750 * 2
    desk.simulator.reset()
    return base


def keys(dataset: Path) -> dict[str, str]:
    return {row["id"]: row["key"] for row in table(dataset, ["id", "key"]).to_pylist()}


@pytest.fixture
def edits(desk: Desk) -> Path:
    """Three edits of four references, in a folder of its own."""
    base = base_of(desk)
    (desk.folder / "m").mkdir()
    rows = [
        {"id": "one", "prompt": "image 0 at night", "input_image_0": f"dataset:../out/base#{keys(base)['fox']}"},
        {"id": "two", "prompt": "image 0 beside image 1", "input_image_0": "dataset:../out/base#id=cat",
         "input_image_1": f"dataset:../out/base#{keys(base)['wide'][:12]}"},
        {"id": "three", "prompt": "image 0 in blue", "input_image_0": "dataset:../out/base#id=fox"},
    ]  # fmt: skip
    return desk.manifest(rows, "m/edits.csv")


EDITS_CENTINEURONS = 3 * SMALL_CENTINEURONS + 4 * REFERENCE_CENTINEURONS


def test_expected_price_bill_and_ledger_agree_in_the_second_stage(desk: Desk, edits: Path) -> None:
    planned = desk.plan(edits, "--json").ended(0).json
    assert centineurons(planned["expected_neurons"]) == EDITS_CENTINEURONS == 41_250
    assert desk.requests == 0
    told = desk.run(edits).ended(0).json
    assert_adds_up(told)
    assert centineurons(told["spent_neurons"]) == desk.billed == EDITS_CENTINEURONS
    assert [charge.references for charge in sorted(desk.simulator.bill(), key=lambda c: c.prompt)] == [1, 2, 1]
    desk.command("verify", str(desk.out)).ended(0)
    assert desk.run(edits).ended(0).json["requests"] == 0


def test_the_dataset_says_which_picture_each_was_made_of(desk: Desk, edits: Path) -> None:
    base = desk.folder / "out" / "base"
    desk.run(edits).ended(0)
    made = {row["key"]: row["image"]["bytes"] for row in table(base, ["key", "image"]).to_pylist()}
    sha256 = {key: hashlib.sha256(content).hexdigest() for key, content in made.items()}
    named = keys(base)
    found = {row["id"]: row["references"] for row in table(desk.out, ["id", "references"]).to_pylist()}
    assert found == {
        "one": [sha256[named["fox"]]],
        "two": [sha256[named["cat"]], sha256[named["wide"]]],
        "three": [sha256[named["fox"]]],
    }
    cited = {row["source"]: row for row in pq.read_table(desk.out / "references.parquet").to_pylist()}
    assert set(cited) == {f"dataset:../out/base#{named[name]}" for name in ("fox", "cat", "wide")}
    wide = cited[f"dataset:../out/base#{named['wide']}"]
    assert (wide["sha256"], wide["fit"]) == (sha256[named["wide"]], "contain")
    assert [wide[name] for name in ("width", "height", "sent_width", "sent_height")] == [1024, 512, 511, 256]
    for name in ("fox", "cat", "wide"):
        assert (desk.out / "references" / sha256[named[name]]).read_bytes() == made[named[name]]


def test_a_night_that_was_cut_short_goes_on_without_the_first_dataset(desk: Desk, edits: Path) -> None:
    stopped = desk.run(edits, budget="0.0035").ended(3).json
    assert 0 < stopped["made"] < 3
    (desk.folder / "out" / "base").rename(desk.folder / "elsewhere")
    told = desk.run(edits).ended(0).json
    assert (told["already"], told["made"]) == (stopped["made"], 3 - stopped["made"])
    assert desk.billed == EDITS_CENTINEURONS


def test_a_third_stage_edits_the_second(desk: Desk, edits: Path) -> None:
    desk.run(edits).ended(0)
    third = desk.manifest([{"prompt": "image 0 again", "input_image_0": "dataset:out#id=two"}], "third.csv")
    told = desk.run(third, out=desk.folder / "third").ended(0).json
    assert centineurons(told["spent_neurons"]) == SMALL_CENTINEURONS + REFERENCE_CENTINEURONS


def test_cover_is_another_picture_only_where_it_cuts(desk: Desk, edits: Path) -> None:
    desk.run(edits).ended(0)
    told = desk.run(edits, "--fit", "cover").ended(0).json
    assert (told["already"], told["made"]) == (2, 1), "only the wide one is cut for a square"
    cited = pq.read_table(desk.out / "references.parquet").to_pylist()
    cut = [(row["crop_width"], row["sent_width"], row["sent_height"]) for row in cited if row["fit"] == "cover"]
    assert cut == [(512, 511, 511)]


def test_what_is_wrong_is_told_all_at_once_before_anything_is_made(desk: Desk) -> None:
    base = base_of(desk)
    rows = [
        {"prompt": "p", "input_image_0": f"dataset:out/base#{'0' * 64}"},
        {"prompt": "p", "input_image_0": "dataset:nowhere#id=fox"},
        {"prompt": "p", "input_image_0": "dataset:out/base"},
        {"prompt": "image 1", "input_image_0": "dataset:out/base#id=fox"},
    ]
    said = desk.run(desk.manifest(rows)).ended(2)
    assert f"has no picture '{'0' * 57}" in said.all
    assert said.all.count(f"fluxbatch status {base}`") == 1, "where to look is said once"
    assert "nowhere is no dataset" in said.all
    assert "write dataset:PATH#KEY" in said.all
    assert 'the prompt speaks of "image 1", and the row has 1 reference' in said.all
    assert desk.requests == 0
    assert not (desk.out / "catalogue.jsonl").exists()


def test_the_plan_says_what_is_done_to_references_and_what_prompts_speak_of(desk: Desk) -> None:
    Image.new("RGBA", (640, 320), (0, 0, 0, 0)).save(desk.folder / "a.png")
    rows = [{"prompt": "a fox"}, {"prompt": "put image 3 in a frame"}, {"prompt": "x", "input_image_0": "a.png"}]
    said = " ".join(desk.plan(desk.manifest(rows)).ended(0).out.split())
    assert "references 1 fitted under 512x512, 1 flattened over white; the originals stay as they are" in said
    assert (
        'prompts 1 speak of an image that is not among their references ("image 3" in row 2): sent as they are' in said
    )


def test_pictures_of_a_part_are_references_of_a_parquet_manifest(desk: Desk) -> None:
    """The Hugging Face column as it is: nobody needs keys where the table is at hand."""
    import pandas as pd

    base = base_of(desk)
    frame = pd.read_parquet(base / "data", columns=["image", "prompt", "width", "height", "steps"])
    frame.assign(prompt="image 0 at dusk").to_parquet(desk.folder / "edits.parquet", index=False)
    told = desk.run(desk.folder / "edits.parquet", "--column", "input_image_0=image").ended(0).json
    assert (told["made"], centineurons(told["spent_neurons"])) == (4, 3 * 3750 + 30_000 + 4 * REFERENCE_CENTINEURONS)
    by_key = desk.manifest([{"prompt": "image 0 at dusk", "input_image_0": "dataset:out/base#id=owl"}], "by-key.csv")
    assert desk.run(by_key).ended(0).json["already"] == 1, "the same picture, however it is named"


def test_the_example_in_the_readme_works_as_it_stands(desk: Desk) -> None:
    text = (REPOSITORY / "prompts" / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Pictures of pictures")[2].partition("\n## ")[0]
    (script,) = re.findall(r"```py\n(.*?)```", section, flags=re.DOTALL)
    base_of(desk)
    with placed(desk.folder, desk.variables()):
        exec(compile(script, "prompts/README.md", "exec"), {})
    commands = re.findall(r"^fluxbatch (.*)$", section, flags=re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["run", "plan", "run"]
    steps = ("--width", "256", "--height", "256", "--steps", "4")
    assert "4 to make" in desk.command(*commands[1].split(), *steps).ended(0).out
    told = desk.command(*commands[2].replace("--simulate", "--json").split(), *steps).ended(0).json
    assert centineurons(told["spent_neurons"]) == 4 * (SMALL_CENTINEURONS + REFERENCE_CENTINEURONS)
    picture = table(desk.folder / "out" / "edits")["image"][0]["bytes"].as_py()
    assert Image.open(io.BytesIO(picture)).size == (256, 256)
    assert (
        json.loads((desk.folder / "out" / "edits" / "catalogue.jsonl").read_text().splitlines()[1])["part"]["rows"] == 4
    )
