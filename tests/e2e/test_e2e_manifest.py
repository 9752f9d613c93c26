"""From the manifest into the dataset: samples, references, own columns, other people's files, rows that change."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image  # noqa: TID251 - the tests draw the references they send

from tests.e2e.e2e_kit import REPOSITORY, SMALL, SMALL_CENTINEURONS, Desk, assert_adds_up, centineurons, rows, table

PARTI = next(
    (
        path
        for path in (
            REPOSITORY / "prompts" / "parti-prompts.tsv",
            REPOSITORY.parent / "shared/manifests/parti-prompts.tsv",
        )
        if path.exists()
    ),
    None,
)


class TestRowsThatChange:
    def test_added_rows_are_all_that_is_paid(self, desk: Desk) -> None:
        desk.run(desk.manifest(rows(5))).ended(0)
        told = desk.run(desk.manifest([*rows(2, "new in front"), *rows(5), *rows(1, "new behind")])).ended(0).json
        assert (told["already"], told["made"], told["requests"]) == (5, 3, 3)
        assert desk.billed == 8 * SMALL_CENTINEURONS

    def test_reordered_rows_and_changed_ids_cost_nothing(self, desk: Desk) -> None:
        first = rows(6)
        desk.run(desk.manifest(first)).ended(0)
        shuffled = [row | {"id": f"renamed {row['id']}"} for row in reversed(first)]
        told = desk.run(desk.manifest(shuffled)).ended(0).json
        assert (told["already"], told["requests"]) == (6, 0)
        assert desk.billed == 6 * SMALL_CENTINEURONS

    def test_removed_rows_stay_in_the_dataset_and_come_back_free(self, desk: Desk) -> None:
        desk.run(desk.manifest(rows(4))).ended(0)
        told = desk.run(desk.manifest(rows(4)[1:3])).ended(0).json
        assert (told["asked"], told["already"]) == (2, 2)
        assert table(desk.out).num_rows == 4
        assert desk.run(desk.manifest(rows(4))).ended(0).json["already"] == 4
        assert desk.billed == 4 * SMALL_CENTINEURONS

    def test_a_change_of_what_is_sent_is_a_new_picture(self, desk: Desk) -> None:
        desk.run(desk.manifest(rows(1))).ended(0)
        for change in ({"seed": 7}, {"guidance": 3.5}, {"steps": 5}, {"width": 272}, {"prompt": "a Fox 0"}):
            assert desk.run(desk.manifest([rows(1)[0] | change])).ended(0).json["made"] == 1
        assert table(desk.out).num_rows == 6

    def test_a_default_that_is_written_out_is_the_same_picture(self, desk: Desk) -> None:
        path = desk.folder / "silent.csv"
        path.write_text("prompt\na fox\n")
        desk.run(path, "--width", "256", "--height", "256", "--steps", "4").ended(0)
        told = desk.run(desk.manifest([{"prompt": "a fox", "model": "@cf/black-forest-labs/flux-2-dev"}])).ended(0).json
        assert (told["already"], told["requests"]) == (1, 0)


class TestSamples:
    def test_samples_are_so_many_pictures_and_more_samples_pay_for_the_difference(self, desk: Desk) -> None:
        desk.run(desk.manifest([{"prompt": "a fox", "samples": 3}])).ended(0)
        assert sorted(table(desk.out)["sample"].to_pylist()) == [0, 1, 2]
        told = desk.run(desk.manifest([{"prompt": "a fox", "samples": 5}])).ended(0).json
        assert (told["already"], told["made"]) == (3, 2)
        assert len(set(table(desk.out)["key"].to_pylist())) == 5
        assert desk.billed == 5 * SMALL_CENTINEURONS

    def test_the_same_prompt_in_two_rows_is_two_pictures(self, desk: Desk) -> None:
        desk.run(desk.manifest([{"prompt": "a fox", "id": "one"}, {"prompt": "a fox", "id": "two"}])).ended(0)
        assert sorted(table(desk.out)["sample"].to_pylist()) == [0, 1]
        assert desk.run(desk.manifest([{"prompt": "a fox", "samples": 2}])).ended(0).json["requests"] == 0


class TestReferences:
    def test_they_are_sent_billed_and_kept_by_their_content(self, desk: Desk) -> None:
        (desk.folder / "images").mkdir()
        Image.new("RGB", (640, 320), "teal").save(desk.folder / "images" / "wide.png")
        Image.new("RGB", (64, 64), "red").save(desk.folder / "images" / "small.jpg")
        row = {"prompt": "both", "input_image_0": "images/wide.png", "input_image_1": "images/small.jpg"}
        said = desk.run(desk.manifest([row, {"prompt": "none"}])).ended(0)
        # 4 steps x 18.75 neurons x 2 references come on top.
        assert desk.billed == 2 * SMALL_CENTINEURONS + 4 * 2 * 1875
        assert centineurons(said.json["spent_neurons"]) == desk.billed
        assert [charge.references for charge in desk.simulator.bill() if charge.prompt == "both"] == [2]
        kept = {r["prompt"]: r["references"] for r in table(desk.out, ["prompt", "references"]).to_pylist()}
        assert [len(digest) for digest in kept["both"]] == [64, 64]
        assert kept["none"] == []
        (desk.folder / "images" / "wide.png").rename(desk.folder / "images" / "moved.png")
        told = desk.run(desk.manifest([row | {"input_image_0": "images/moved.png"}])).ended(0).json
        assert told["already"] == 1
        assert "fitted" in desk.plan(desk.manifest([row | {"prompt": "new", "input_image_0": "images/moved.png"}])).out

    def test_bytes_in_parquet_and_a_file_of_the_same_bytes_are_one_reference(self, desk: Desk) -> None:
        buffer = io.BytesIO()
        Image.new("RGB", (100, 100), "navy").save(buffer, "PNG")
        (desk.folder / "blue.png").write_bytes(buffer.getvalue())
        desk.run(desk.manifest([{"prompt": "p", "input_image_0": "blue.png"}])).ended(0)
        image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns = {name: pa.array([value]) for name, value in ({"prompt": "p"} | SMALL).items()}
        columns["input_image_0"] = pa.array([{"bytes": buffer.getvalue(), "path": "elsewhere.png"}], image)
        pq.write_table(pa.table(columns), desk.folder / "m.parquet")
        assert desk.run(desk.folder / "m.parquet").ended(0).json["already"] == 1

    def test_a_picture_that_is_none_is_a_complaint(self, desk: Desk) -> None:
        (desk.folder / "no.png").write_text("not a picture")
        said = desk.run(desk.manifest([{"prompt": "p", "input_image_0": "no.png"}])).ended(2)
        assert "row 1, column input_image_0" in said.err


class TestOwnColumns:
    def test_parquet_types_come_through_unchanged(self, desk: Desk) -> None:
        day = dt.date(2026, 11, 22)
        moment = dt.datetime(2026, 11, 22, 12, 30, tzinfo=dt.UTC)
        own = pa.table(
            {
                "small": pa.array([1, None], pa.int8()),
                "share": pa.array([0.5, 0.25], pa.float32()),
                "good": pa.array([True, None]),
                "day": pa.array([day, None]),
                "moment": pa.array([moment, None], pa.timestamp("us", tz="UTC")),
                "tags": pa.array([["a", "b"], []], pa.list_(pa.string())),
                "nested": pa.array([{"a": 1, "b": "x"}, None], pa.struct([("a", pa.int16()), ("b", pa.string())])),
                "price": pa.array([Decimal("1.10"), None], pa.decimal128(9, 2)),
                "blob": pa.array([b"\x00\xff", None]),
                "mood": pa.array(["calm", "wild"]).dictionary_encode(),
            }
        )
        asked = pa.table({"prompt": ["one", "two"], **{name: [value] * 2 for name, value in SMALL.items()}})
        for column in asked.column_names:
            own = own.append_column(column, asked[column])
        pq.write_table(own, desk.folder / "m.parquet")
        desk.run(desk.folder / "m.parquet").ended(0)
        made = table(desk.out).sort_by("row")
        for name in own.column_names[:10]:
            assert made.schema.field(name).type == own.schema.field(name).type, name
            assert made[name].to_pylist() == own[name].to_pylist(), name

    def test_text_of_a_csv_stays_as_it_is_written(self, desk: Desk) -> None:
        desk.run(desk.manifest([{"prompt": "a", "code": "00123", "note": "=1+1"}, {"prompt": "b", "code": ""}])).ended(
            0
        )
        made = table(desk.out).sort_by("row")
        assert made["code"].to_pylist() == ["00123", None]
        assert made["note"].to_pylist() == ["=1+1", None]

    def test_a_column_with_a_name_of_the_dataset_is_refused_by_name(self, desk: Desk) -> None:
        said = desk.run(desk.manifest([{"prompt": "a", "sha256": "mine"}])).ended(2)
        assert "sha256" in said.err

    def test_a_column_that_looks_like_a_parameter_is_carried_along_when_it_is_said_to_be_own(self, desk: Desk) -> None:
        desk.run(desk.manifest([{"prompt": "a", "Steps": "many"}]), "--own", "Steps").ended(0)
        assert table(desk.out)["Steps"].to_pylist() == ["many"]

    def test_a_manifest_with_a_new_column_does_not_fit_the_dataset_and_says_which(self, desk: Desk) -> None:
        desk.run(desk.manifest(rows(1))).ended(0)
        said = desk.run(desk.manifest([rows(1)[0] | {"mood": "calm"}])).ended(2)
        assert "mood" in said.err
        assert desk.requests == 1


class TestOtherPeoplesFiles:
    OPTIONS = ("--column", "prompt=Prompt", "--width", "256", "--height", "256", "--steps", "4")

    def test_a_tsv_with_a_mapped_header_and_quotes_in_the_prompts(self, desk: Desk) -> None:
        lines = [
            "Prompt\tCategory\tNote",
            'a sign that says "Hello"\tWorld\t',
            '"Deep Learning" in neon\tArts\tstarts with a quote',
            "ünïcode, with, commas\tArts\tñ",
        ]
        path = desk.folder / "p.tsv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        desk.run(path, *self.OPTIONS).ended(0)
        made = table(desk.out).sort_by("row")
        assert made["prompt"].to_pylist() == [line.split("\t")[0] for line in lines[1:]]
        assert made["Category"].to_pylist() == ["World", "Arts", "Arts"]
        sent = {charge.prompt for charge in desk.simulator.bill()}
        assert sent == set(made["prompt"].to_pylist()), "the platform was sent exactly what the file says"

    def test_an_open_quote_that_may_hide_a_line_break_is_a_complaint(self, desk: Desk) -> None:
        path = desk.folder / "p.tsv"
        path.write_text('Prompt\tCategory\n"an open quote\tArts\n')
        said = desk.run(path, *self.OPTIONS).ended(2)
        assert "p.tsv:2" in said.err
        assert "quote" in said.err

    def test_without_the_mapping_the_complaint_names_it(self, desk: Desk) -> None:
        path = desk.folder / "p.tsv"
        path.write_text("Prompt\tCategory\nx\ty\n")
        assert "--column prompt=Prompt" in desk.run(path).ended(2).err

    @pytest.mark.skipif(PARTI is None, reason="the real prompt set lies beside the checkout, not in a clone")
    def test_parti_prompts_run_as_published(self, desk: Desk) -> None:
        assert PARTI is not None
        lines = [line.split("\t") for line in PARTI.read_text(encoding="utf-8").splitlines()[1:]]
        options = ("--column", "prompt=Prompt", "--width", "512", "--height", "512", "--steps", "4")
        desk.simulator.change(latency_s=0)
        told = desk.run(PARTI, *options).ended(0).json
        assert (told["asked"], told["made"]) == (1632, 1632)
        assert desk.billed == 1632 * 15_000 == centineurons(told["spent_neurons"])
        made = table(desk.out, ["row", "prompt", "Category", "Challenge", "Note"]).sort_by("row").to_pylist()
        assert [row["Category"] for row in made] == [line[1] for line in lines]
        assert [row["Note"] or "" for row in made] == [line[3] for line in lines]


class TestSkipInvalid:
    def test_the_rest_is_made_and_the_refused_rows_are_kept_with_their_complaints(self, desk: Desk) -> None:
        bad = [{"id": "wide", "prompt": "w", "width": 5000}, {"id": "mute", "prompt": " ", "steps": 99}]
        told = desk.run(desk.manifest([*rows(2), *bad]), "--skip-invalid").ended(0).json
        assert (told["asked"], told["made"], told["rejected"]) == (2, 2, 2)
        assert_adds_up(told)
        kept = {row["id"]: row for row in pq.read_table(desk.out / "rejected.parquet").to_pylist()}
        assert kept["wide"]["row"] == 3
        assert "take 256 to 1920" in kept["wide"]["complaints"]
        assert "column prompt" in kept["mute"]["complaints"]
        assert "column steps" in kept["mute"]["complaints"]
        assert kept["wide"]["width"] == "5000"

    def test_a_run_without_refused_rows_leaves_no_list_of_them(self, desk: Desk) -> None:
        bad = {"prompt": "w", "width": 5000}
        desk.run(desk.manifest([*rows(2), bad]), "--skip-invalid").ended(0)
        desk.run(desk.manifest(rows(2)), "--skip-invalid").ended(0)
        assert not (desk.out / "rejected.parquet").exists()

    def test_a_wrong_header_is_wrong_for_every_row_and_never_skipped(self, desk: Desk) -> None:
        said = desk.run(desk.manifest([{"prompt": "a", "widht": 3}]), "--skip-invalid").ended(2)
        assert "widht" in said.err
        assert desk.requests == 0
        assert not desk.out.exists()


def test_the_demo_manifest_is_what_its_readme_says(desk: Desk) -> None:
    """28 rows, 30 pictures: sizes, steps, references, samples, a refusal (Shows 2)."""
    shared = Path(REPOSITORY / "prompts" / "demo.csv")
    desk.simulator.change(paint="text", latency_s=0)
    told = desk.run(shared, budget="1").ended(0).json
    assert (told["asked"], told["made"], told["refused"]) == (30, 29, 1)
    assert desk.billed == centineurons(told["spent_neurons"])
    made = table(desk.out)
    assert len(set(zip(made["width"].to_pylist(), made["height"].to_pylist(), strict=True))) >= 4
    assert len(set(made["steps"].to_pylist())) >= 3
    assert max(map(len, made["references"].to_pylist())) == 2
    assert set(made["check"].to_pylist()) == {"ok"}
    assert len(set(made["sha256"].to_pylist())) == 29
