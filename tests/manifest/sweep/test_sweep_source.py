"""A sweep as a manifest: its columns, its order, its samples and corners, its references, its keys."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from fluxbatch.errors import UsageError
from fluxbatch.manifest.reader import Defaults, Rejected
from fluxbatch.models.catalogue import FLUX_2_DEV, find_model
from tests.manifest.manifest_kit import asked, opened, own_values, picture, rejected, written
from tests.manifest.sweep.sweep_kit import counts_of, manifest_of, rows_of, sweep_of

SPEC = """\
    prompt: "a {{ animal }} {{ place }}"
    defaults: {model: flux-2-dev, steps: 8, place: at sea}
    axes:
      animal: [fox, owl]
      seed: {range: [1, 2]}
    zip:
      - {width: [512, 768], height: [768, 512]}
    """


def test_every_variable_is_a_column_and_every_parameter_is_sent(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, SPEC)
    rows = asked(manifest)
    assert manifest.own_schema == pa.schema({"animal": pa.string(), "place": pa.string()})
    assert manifest.headers == ("prompt", "model", "width", "height", "steps", "seed", "animal", "place")
    assert own_values(rows[0]) == {"animal": "fox", "place": "at sea"}
    assert {(row.model, row.steps, row.id, row.guidance) for row in rows} == {(FLUX_2_DEV, 8, None, None)}


def test_the_axes_are_nested_in_the_order_of_their_names_the_last_one_fastest(tmp_path: Path) -> None:
    found = [(row.prompt.split()[1], row.width, row.seed) for row in rows_of(tmp_path, SPEC)]
    assert found == [
        ("fox", 512, 1), ("fox", 512, 2), ("fox", 768, 1), ("fox", 768, 2),
        ("owl", 512, 1), ("owl", 512, 2), ("owl", 768, 1), ("owl", 768, 2),
    ]  # fmt: skip


def test_the_same_rows_in_a_table_have_the_same_keys(tmp_path: Path) -> None:
    sweep = rows_of(tmp_path, "prompt: 'a {{ a }}'\naxes: {a: [fox, owl], guidance: [2.5, 3]}")
    table = written(tmp_path, "t.csv", "prompt,guidance\na fox,2.5\na fox,3\na owl,2.5\na owl,3\n")
    assert [row.key for row in sweep] == [row.key for row in asked(opened(table))]


def test_options_stand_for_what_the_sweep_is_silent_about(tmp_path: Path) -> None:
    defaults = Defaults(width=512, height=768, steps=4, guidance=3.5)
    (row,) = rows_of(tmp_path, "prompt: a fox", defaults=defaults)
    assert (row.width, row.height, row.steps, row.guidance) == (512, 768, 4, 3.5)
    same = "prompt: a fox\nblocks: [{}, {defaults: {steps: 4, guidance: 3.5}}]"
    assert counts_of(sweep_of(tmp_path, same, defaults=defaults)).duplicates == 1
    assert counts_of(sweep_of(tmp_path, same)).duplicates == 0


def test_a_silent_size_is_that_of_the_model_whichever_it_is(tmp_path: Path) -> None:
    text = "prompt: a fox\naxes: {model: [flux-2-dev, lucid-origin]}\nblocks: [{}, {defaults: {size: 1120x1120}}]"
    lucid = find_model("lucid-origin")
    assert lucid is not None
    assert (lucid.width_default, lucid.height_default) == (1120, 1120)
    assert counts_of(sweep_of(tmp_path, text)).duplicates == 1


def test_samples_are_pictures_of_one_row(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "prompt: a fox\ndefaults: {samples: 3}\naxes: {steps: [4, 8]}")
    assert [(row.row, row.steps, row.sample) for row in rows] == [
        (1, 4, 0),
        (1, 4, 1),
        (1, 4, 2),
        *[(2, 8, n) for n in range(3)],
    ]


def test_a_wider_axis_asks_for_the_new_cells_only(tmp_path: Path) -> None:
    before = {row.key for row in rows_of(tmp_path, SPEC)}
    after = {row.key for row in rows_of(tmp_path, SPEC.replace("[fox, owl]", "[ape, fox, bee, owl]"))}
    assert before < after
    assert len(after - before) == 2 * 2 * 2


def test_what_a_model_does_not_take_is_a_rejected_row_with_the_line_of_its_block(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, "prompt: a fox\nblocks:\n  - axes: {steps: [8, 60]}")
    (bad,) = rejected(manifest)
    assert (bad.row, bad.complaints[0].line, bad.complaints[0].column) == (2, 3, "steps")
    assert bad.values["steps"] == 60


def test_a_prompt_that_cannot_be_rendered_is_a_rejected_row(tmp_path: Path) -> None:
    rows = list(manifest_of(tmp_path, "prompt: 'a {{ 6 // n }}'\naxes: {n: [0, 3]}").rows())
    assert [isinstance(row, Rejected) for row in rows] == [True, False]


def test_references_are_relative_to_the_sweep_and_an_axis_like_any(tmp_path: Path) -> None:
    written(tmp_path, "a.png", picture(64, 64))
    written(tmp_path, "b.png", picture(32, 32))
    rows = rows_of(tmp_path, "prompt: a fox like image 0\naxes: {input_image_0: [a.png, b.png], seed: [1, 2]}")
    assert [row.references[0].width for row in rows] == [64, 64, 32, 32]


def test_two_files_with_the_same_picture_are_the_same_reference(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        written(tmp_path, name, picture(64, 64))
    text = "prompt: a fox like image 0\naxes: {input_image_0: [a.png, b.png], seed: [1, 2]}"
    sweep = sweep_of(tmp_path, text)
    assert (sweep.rows, counts_of(sweep).duplicates) == (2, 2)
    assert {row.sample for row in rows_of(tmp_path, text)} == {0}


def test_a_sample_is_the_same_for_the_same_seed_and_part_of_the_whole(tmp_path: Path) -> None:
    whole = "prompt: 'a {{ a }}'\naxes: {a: [x, y, z], seed: {range: [1, 50]}}\nexclude: [{a: x, seed: 7}]\n"
    keys = [row.key for row in rows_of(tmp_path, whole)]
    first, again, other = (
        [row.key for row in rows_of(tmp_path, whole + f"sample: {{count: 20, seed: {seed}}}")] for seed in (7, 7, 8)
    )
    assert first == again != other
    assert len(first) == 20
    assert first == [key for key in keys if key in set(first)]


def test_a_sample_of_more_than_there_is_is_all(tmp_path: Path) -> None:
    assert len(rows_of(tmp_path, "prompt: a\naxes: {seed: [1, 2]}\nsample: {count: 9, seed: 1}")) == 2


def test_a_large_sample_walks_nothing(tmp_path: Path) -> None:
    text = "prompt: a fox\naxes: {seed: {range: [1, 1000]}, steps: {range: [1, 50]}, guidance: {range: [1, 20000]}}\n"
    sweep = sweep_of(tmp_path, text + "sample: {count: 50, seed: 3}")
    assert sweep.survey.cells == 10**9
    assert len({row.key for row in rows_of(tmp_path, text + "sample: {count: 50, seed: 3}")}) == 50


def corners(sweep: object, count: int) -> list[tuple[object, ...]]:
    rows = sweep.corners(count)  # type: ignore[attr-defined]
    found = []
    for segment, cells in sweep.cells(rows):  # type: ignore[attr-defined]
        columns, _ = sweep.columns(segment, cells, ["prompt", "seed", "width"])  # type: ignore[attr-defined]
        found += list(zip(*(column.to_pylist() for column in columns), strict=True))
    return found


CUBE = "prompt: 'a {{ a }}'\naxes: {a: [x, y, z], seed: {range: [1, 9]}, width: [512, 768, 1024]}"


def test_eight_corners_of_three_axes_are_all_combinations_of_their_ends(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, CUBE)
    ends = [(prompt, seed, width) for prompt in ("a x", "a z") for seed in (1, 9) for width in (512, 1024)]
    assert corners(sweep, 8) == ends
    assert corners(sweep, 2) == [ends[0], ends[-1]]


@pytest.mark.parametrize("count", [1, 3, 8, 30, 81, 500])
def test_corners_are_as_many_rows_as_wanted_or_all_there_are(tmp_path: Path, count: int) -> None:
    rows = sweep_of(tmp_path, CUBE).corners(count)
    assert len(set(rows)) == len(rows) == min(count, 81)
    assert rows == sorted(rows)
    assert set(rows) <= set(range(1, 82))


def test_a_corner_that_is_excluded_is_passed_over(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, CUBE + "\nexclude: [{a: x, seed: 1, width: 512}]")
    assert len(corners(sweep, 8)) == 8
    assert ("a x", 1, 512) not in corners(sweep, 8)


def test_corners_of_a_sample_are_rows_of_it(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, CUBE + "\nsample: {count: 10, seed: 1}")
    assert 1 <= len(sweep.corners(4)) <= 4
    assert set(sweep.corners(4)) <= set(range(1, 11))


def test_every_block_shows_a_corner(tmp_path: Path) -> None:
    text = "prompt: 'a {{ a }}'\nblocks: [{axes: {a: [x, y, z]}}, {axes: {a: [p, q]}}, {axes: {a: [k]}}]"
    assert sweep_of(tmp_path, text).corners(3) == [1, 4, 6]


def test_a_table_is_no_sweep(tmp_path: Path) -> None:
    assert opened(written(tmp_path, "t.csv", "prompt\na fox\n")).sweep is None


def test_a_folder_of_that_name_is_said(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").mkdir()
    with pytest.raises(UsageError, match="this is a folder"):
        opened(tmp_path / "s.yaml")
