"""`fluxbatch check` at the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.checks.check_kit import add_part, dataset_at, picture
from tests.e2e.e2e_kit import Desk, part_files, rows
from tests.scores.scores_kit import export

SCORER = """
import os, signal

class Mine:
    name, columns, identity = "mine", {"letters": int}, "version 1"

    def score(self, pictures):
        if os.environ.get("STOP_AT") in [one.prompt for one in pictures]:
            os.kill(os.getpid(), signal.SIGINT)
        return {"letters": [len(one.prompt) for one in pictures]}

Broken = type("Broken", (), {"name": "Not so", "columns": {"key": float, "x": list}, "identity": 3, "score": None})
nothing = 7
"""


@pytest.fixture
def scored(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk with a scorer of one's own."""
    (desk.folder / "mine.py").write_text(SCORER)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield desk
    sys.modules.pop("mine", None)


@pytest.fixture
def made(scored: Desk) -> Desk:
    asked = [{"prompt": f"cat {number}"} for number in range(4)] + [{"prompt": "[[fault:blank]] cat"}]
    scored.run(scored.manifest(asked), "--rows-per-shard", "2").ended(0)
    return scored


def test_it_says_what_it_found_and_keeps_it_beside_the_parts(made: Desk) -> None:
    said = made.command("check", str(made.out), "--json").ended(1)
    assert (said.json["pictures"], said.json["parts"]) == (5, 3)
    assert said.json["checks"] == {"ok": 4, "blank": 1}
    assert [len(keys) for keys in said.json["suspects"].values()] == [1]
    assert said.json["near_duplicates"] == 3  # all plain pictures of the simulator are alike
    assert said.err == ""
    shown = made.command("check", str(made.out)).ended(1).out
    [blank] = said.json["suspects"]["blank"]
    assert "5 pictures in 3 parts" in shown
    assert "1: a sheet of black, white or grey" in shown
    assert blank in shown
    assert "1 group of near-duplicates (within 4 bits): 3 pictures beside one of each" in shown


def test_a_check_disturbs_neither_verify_nor_status_nor_the_next_run(made: Desk) -> None:
    made.command("check", str(made.out), "--scorer", "mine:Mine").ended(1)
    assert made.command("verify", str(made.out), "--json").ended(0).json["findings"] == []
    assert made.command("verify", str(made.out), "--repair", "--json").ended(0).json["mended"] == []
    assert made.command("status", str(made.out), "--json").ended(0).json["pictures"] == 5
    made.run(made.manifest(rows(7))).ended(0)
    told = made.command("check", str(made.out), "--scorer", "mine:Mine", "--json").ended(1).json
    assert told["columns"]["mine"] == {"looked_at": 7, "known_before": 5, "ranges": told["columns"]["mine"]["ranges"]}


def test_clip_and_a_scorer_of_ones_own_from_the_folder_that_one_is_in(made: Desk) -> None:
    export(made.folder / "model", head=True)
    scorers = ("--scorer", "clip=model", "--scorer", "aesthetic=model", "--scorer", "mine:Mine")
    told = made.command("check", str(made.out), *scorers, "--json").ended(1).json
    assert {name: found["looked_at"] for name, found in told["columns"].items()} == {
        "clip": 5,
        "aesthetic": 5,
        "mine": 5,
    }
    assert told["columns"]["mine"]["ranges"] == {"letters": [5.0, 7.8, 19.0]}
    columns = Path(made.out) / ".fluxbatch" / "columns"
    assert sorted(path.name for path in columns.glob("*.parquet")) == [
        "aesthetic.parquet", "clip.parquet", "duplicates.parquet", "mine.parquet",
    ]  # fmt: skip
    assert "clip_score: " in made.command("check", str(made.out), *scorers[:2]).ended(1).out


def test_ctrl_c_keeps_what_was_done_and_the_same_command_goes_on(made: Desk) -> None:
    made.environment["STOP_AT"] = "cat 2"
    process = made.start("check", str(made.out), "--scorer", "mine:Mine", "--json")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Stopped. What was looked at is kept" in err
    parts = [pq.read_table(path, columns=["key", "prompt"]) for path in part_files(made.out)]  # as they were sealed
    stopped = next(number for number, part in enumerate(parts) if "cat 2" in part["prompt"].to_pylist())
    before = [key for part in parts[:stopped] for key in part["key"].to_pylist()]
    assert pq.read_table(made.out / ".fluxbatch" / "columns" / "mine.parquet")["key"].to_pylist() == before
    del made.environment["STOP_AT"]
    told = made.command("check", str(made.out), "--scorer", "mine:Mine", "--json").ended(1).json["columns"]["mine"]
    assert (told["looked_at"], told["known_before"]) == (5 - len(before), len(before))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--distance", "17"), "--distance 17 is not between 0"),
        (("--scorer", "clip"), "write clip=FOLDER, aesthetic=FOLDER, or your own as package.module:Class"),
        (("--scorer", "beauty=model"), "there is no scorer beauty"),
        (("--scorer", "clip=nowhere"), "there is no such folder"),
        (("--scorer", "clip=."), "has no vision_model.onnx, no text_model.onnx, no preprocessor_config.json"),
        (("--scorer", "nomodule:Mine"), "there is no module nomodule"),
        (("--scorer", "mine:Yours"), "the module mine has no Yours"),
        (("--scorer", "mine:nothing"), "it is no scorer, because it has no name, columns, identity, score"),
        (("--scorer", "mine:Broken"), "its name is 'Not so': take small letters"),
        (("--scorer", "mine:Broken"), "column 'key': is no name for a column"),
        (("--scorer", "mine:Broken"), "column 'x': <class 'list'> is none of float, int, str and bool"),
        (("--scorer", "mine:Mine", "--scorer", "mine:Mine"), "--scorer mine is given more than once"),
    ],
)
def test_a_mistake_is_one_complaint_and_nothing_is_done(scored: Desk, options: tuple[str, ...], said: str) -> None:
    add_part(dataset_at(scored.out), picture(1))
    found = scored.command("check", str(scored.out), *options).ended(2)
    assert said in " ".join(found.err.split())
    assert "Traceback" not in found.all
    assert not (scored.out / ".fluxbatch" / "columns").exists()


def test_what_is_no_dataset_is_a_complaint_and_gets_no_folder(desk: Desk) -> None:
    said = desk.command("check", str(desk.folder / "nothing")).ended(2)
    assert "is no dataset" in said.err
    assert not (desk.folder / "nothing").exists()
