"""What is sent again, and what only when it is asked for."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image  # noqa: TID251 - the test draws the reference it sends

from tests.e2e.e2e_kit import SMALL_CENTINEURONS, Desk, assert_adds_up, centineurons, failures, rows, table

BOUND_CENTINEURONS = 15_000


class TestRefused:
    def test_a_refused_row_is_not_bought_again_by_itself(self, desk: Desk) -> None:
        manifest = desk.manifest([{"prompt": "x [[fault:8007*1]]"}, *rows(1)])
        desk.run(manifest).ended(0)
        again = desk.run(manifest).ended(0).json
        assert (again["already"], again["refused"], again["requests"]) == (1, 1, 0)
        assert_adds_up(again)

    def test_resend_refused_sends_it_again(self, desk: Desk) -> None:
        manifest = desk.manifest([{"id": "x", "prompt": "x [[fault:8007*1]]"}, {"prompt": "y [[fault:5004*1]]"}])
        desk.run(manifest).ended(0)
        told = desk.run(manifest, "--resend-refused").ended(0).json
        assert (told["made"], told["refused"]) == (2, 0)
        assert not failures(desk.out)
        assert desk.billed == 2 * SMALL_CENTINEURONS

    def test_a_flagged_output_stays_in_the_books_when_it_is_made_later(self, desk: Desk) -> None:
        manifest = desk.manifest([{"prompt": "x [[fault:3030-flagged+billed*1]]"}])
        first = desk.run(manifest).ended(0).json
        assert (first["refused"], first["unknown_neurons"]) == (1, "150")
        told = desk.run(manifest, "--resend-refused").ended(0).json
        assert (told["made"], told["unknown_neurons"]) == (1, "150")
        assert desk.billed == 2 * SMALL_CENTINEURONS <= centineurons(told["spent_neurons"]) + BOUND_CENTINEURONS


class TestFailed:
    def test_a_failed_answer_is_tried_once_more_within_the_budget(self, desk: Desk) -> None:
        told = desk.run(desk.manifest([{"prompt": "x [[fault:3043+billed*1]]"}])).ended(0).json
        assert (told["made"], told["requests"]) == (1, 2)
        assert centineurons(told["unknown_neurons"]) == BOUND_CENTINEURONS
        assert table(desk.out)["attempts"].to_pylist() == [2]
        assert desk.billed == 2 * SMALL_CENTINEURONS

    def test_it_is_not_tried_when_the_budget_has_no_room_for_it(self, desk: Desk) -> None:
        told = desk.run(desk.manifest([{"prompt": "x [[fault:3043*1]]"}]), budget="0.002").ended(3).json
        assert (told["requests"], told["left"]) == (1, 1)
        assert_adds_up(told)

    def test_tries_are_counted_over_all_runs(self, desk: Desk) -> None:
        manifest = desk.manifest([{"prompt": "x [[fault:3043]]"}, *rows(30)])
        assert desk.run(manifest, "--resend-failed", "0").ended(4).json["requests"] == 31
        assert desk.run(manifest).ended(4).json["requests"] == 1
        assert desk.run(manifest).ended(4).json["requests"] == 0
        told = desk.run(manifest, "--resend-failed", "2").ended(4).json
        assert told["requests"] == 1
        assert centineurons(told["unknown_neurons"]) == 3 * BOUND_CENTINEURONS
        assert_adds_up(told)


class TestLost:
    def test_a_lost_answer_is_listed_and_never_sent_again_by_itself(self, desk: Desk) -> None:
        manifest = desk.manifest([{"prompt": "x [[fault:lost-after*1]]"}, *rows(2)])
        told = desk.run(manifest).ended(4).json
        assert (told["made"], told["unknown"], told["unknown_neurons"]) == (2, 1, "150")
        again = desk.run(manifest).ended(4).json
        assert (again["already"], again["unknown"], again["requests"]) == (2, 1, 0)
        listed = desk.command("status", str(desk.out), "--json").ended(0).json["unknown"]
        assert [(entry["end"], entry["number"], entry["bound"]) for entry in listed] == [("lost", 1, "0.00165")]
        assert desk.billed == 3 * SMALL_CENTINEURONS

    def test_resend_lost_sends_it_again_and_the_first_stays_in_the_books(self, desk: Desk) -> None:
        manifest = desk.manifest([{"prompt": "x [[fault:lost-after*1]]"}])
        desk.run(manifest).ended(4)
        told = desk.run(manifest, "--resend-lost", "1").ended(0).json
        assert (told["made"], told["unknown"], told["unknown_neurons"]) == (1, 0, "150")
        assert desk.billed == 2 * SMALL_CENTINEURONS
        assert not (desk.out / "failures.parquet").exists()


class TestFailuresAsAManifest:
    def test_they_are_sent_again_into_the_same_dataset_a_second_sample_and_a_reference_included(
        self, desk: Desk
    ) -> None:
        Image.new("RGB", (64, 64), "red").save(desk.folder / "red.png")
        # The prompt is seen three times: a PNG, a failure, a picture.
        sampled = {"id": "sampled", "prompt": "s [[fault:png*1]] [[fault:3043*1]]", "samples": 3, "mood": "calm"}
        referring = {"id": "referring", "prompt": "r [[fault:bad-base64*1]]", "input_image_0": "red.png"}
        manifest = desk.manifest([sampled, referring, *rows(1)])
        one_by_one = ("--max-in-flight", "1", "--resend-failed", "0")
        assert desk.run(manifest, *one_by_one).ended(4).json["failed"] == 2
        listed = failures(desk.out)
        assert (listed["sampled"]["sample"], listed["sampled"]["mood"]) == (1, "calm")
        (desk.folder / "red.png").unlink()

        told = desk.run(desk.out / "failures.parquet").ended(0).json
        assert (told["asked"], told["made"]) == (2, 2)
        made = table(desk.out)
        assert made.num_rows == len(set(made["key"].to_pylist())) == 5
        samples = {row["sample"]: row for row in made.to_pylist() if row["id"] == "sampled"}
        assert sorted(samples) == [0, 1, 2]
        assert samples[1]["mood"] == "calm"
        assert "failure" not in made.column_names

        Image.new("RGB", (64, 64), "red").save(desk.folder / "red.png")
        whole = desk.run(manifest).ended(0).json
        assert (whole["already"], whole["requests"]) == (5, 0)
        desk.command("verify", str(desk.out)).ended(0)

    def test_what_fails_again_stands_in_the_new_list(self, desk: Desk) -> None:
        manifest = desk.manifest(
            [{"id": "once", "prompt": "a [[fault:3043*1]]"}, {"id": "ever", "prompt": "b [[fault:3043]]"}]
        )
        desk.run(manifest, "--resend-failed", "0").ended(4)
        copy = _copied(desk)
        desk.run(copy).ended(4)
        assert set(failures(desk.out)) == {"ever"}
        assert failures(desk.out)["ever"]["failure_attempts"] == 2

    def test_they_are_a_manifest_for_another_dataset_too(self, desk: Desk) -> None:
        desk.run(
            desk.manifest([{"id": "x", "prompt": "a [[fault:3043*1]]", "mood": "calm"}]), "--resend-failed", "0"
        ).ended(4)
        desk.run(desk.out / "failures.parquet", out=desk.folder / "other").ended(0)
        assert table(desk.folder / "other")["mood"].to_pylist() == ["calm"]

    def test_failures_are_written_when_the_run_is_stopped_by_the_budget(self, desk: Desk) -> None:
        manifest = desk.manifest([{"id": "x", "prompt": "a [[fault:8007]]"}, *rows(10)])
        desk.run(manifest, "--max-in-flight", "1", budget="0.004").ended(3)
        assert failures(desk.out)["x"]["failure"] == "refused"


def _copied(desk: Desk) -> Path:
    """Out of the dataset: the run that reads it writes a new one in its place."""
    copy = desk.folder / "again.parquet"
    pq.write_table(pq.read_table(desk.out / "failures.parquet"), copy)
    return copy
