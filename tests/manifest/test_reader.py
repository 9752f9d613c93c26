"""A manifest as a whole: defaults, limits, all complaints at once, samples and keys."""

from __future__ import annotations

import random
import re
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxbatch.errors import ManifestError, UsageError
from fluxbatch.manifest.columns import PARAMETERS
from fluxbatch.manifest.reader import ENDINGS, Defaults, Manifest, Rejected
from fluxbatch.manifest.references import was_fitted
from fluxbatch.manifest.request import content_digest, request_key
from fluxbatch.models.catalogue import FLUX_2_DEV
from tests.manifest.manifest_kit import asked, opened, own_values, picture, rejected, written

DEMO = Path(__file__).parents[2] / "prompts" / "demo.csv"
README = DEMO.parent / "README.md"


def csv_manifest(folder: Path, text: str, **options: Any) -> Manifest:
    return opened(written(folder, "m.csv", text), **options)


def test_a_silent_row_takes_the_defaults(tmp_path: Path) -> None:
    text = "prompt,id,model,width,height,steps,guidance,seed,samples,sample,input_image_0\na fox" + "," * 10 + "\n"
    defaults = Defaults(width=512, height=768, steps=4, guidance=3.5)
    (row,) = asked(csv_manifest(tmp_path, text, defaults=defaults))
    assert (row.row, row.id, row.model, row.prompt) == (1, None, FLUX_2_DEV, "a fox")
    assert (row.width, row.height, row.steps, row.guidance, row.seed) == (512, 768, 4, 3.5, None)
    assert (row.references, row.sample, row.own) == ((), 0, None)


def test_a_full_row_is_read_in_full(tmp_path: Path) -> None:
    written(tmp_path, "a.png", picture(600, 600))
    text = (
        "note,prompt,id,model,width,height,steps,guidance,seed,input_image_0\n"
        f"mine,a fox,f-1,{FLUX_2_DEV.id},768,512.0,8,2.5,9223372036854775807,a.png\n"
    )
    (row,) = asked(csv_manifest(tmp_path, text))
    assert (row.id, row.width, row.height, row.steps, row.guidance, row.seed) == ("f-1", 768, 512, 8, 2.5, 2**63 - 1)
    assert row.references[0].path == str(tmp_path / "a.png")
    assert was_fitted(row.references[0])
    assert own_values(row) == {"note": "mine"}
    content = content_digest(FLUX_2_DEV, "a fox", 768, 512, 8, 2.5, 2**63 - 1, row.references)
    assert row.key == request_key(content, 0)


LIMITS = [
    ("width", "255", "out of range", "256 to 1920"),
    ("height", "1936", "out of range", "256 to 1920"),
    ("width", "-512", "out of range", "256 to 1920"),
    ("width", "1080", "cut it to 1072 and bill 1080", "take 1072 or 1088"),
    ("width", "wide", "no whole number", "digits"),
    ("steps", "0", "out of range", "1 to 50"),
    ("steps", "51", "out of range", "1 to 50"),
    ("guidance", "inf", "no finite number", "3.5"),
    ("seed", "-1", "out of range", "2**63 - 1"),
    ("seed", "9223372036854775808", "out of range", "2**63 - 1"),
    ("samples", "0", "out of range", "1 to 10000"),
    ("samples", "10001", "out of range", "1 to 10000"),
    ("sample", "-1", "out of range", "0 to"),
    ("model", "flux-3", "not known", "flux-2-dev"),
    ("input_image_0", "none.png", "does not exist", "relative to the manifest"),
    ("input_image_0", "../a.png", "leads out of", "absolute path"),
    ("input_image_0", "x/../../a.png", "leads out of", "absolute path"),
    ("input_image_0", "https://example.org/a.png", "is an address", "download"),
    ("input_image_1", "m.csv", "no image 0", "without a gap"),
]


@pytest.mark.parametrize(("column", "cell", "problem", "remedy"), LIMITS)
def test_what_cloudflare_would_refuse_or_change_is_refused_first(
    tmp_path: Path, column: str, cell: str, problem: str, remedy: str
) -> None:
    (row,) = rejected(csv_manifest(tmp_path, f"prompt,{column}\na fox,{cell}\n"))
    complaint = row.complaints[0]
    assert (complaint.file, complaint.row, complaint.line) == (str(tmp_path / "m.csv"), 1, 2)
    assert problem in complaint.problem
    assert remedy in complaint.remedy
    assert row.values == {"prompt": "a fox", column: cell}


@pytest.mark.parametrize("side", [256, 272, 1904, 1920])
def test_the_limits_themselves_are_allowed(tmp_path: Path, side: int) -> None:
    text = f"prompt,width,height,steps,samples\na,{side},{side},1,1\nb,{side},{side},50,1\n"
    assert len(asked(csv_manifest(tmp_path, text))) == 2


def test_all_complaints_of_a_row_and_of_all_rows_come_at_once(tmp_path: Path) -> None:
    text = "Prompt,width,height,steps,seed\n,100,1000,99,-1\na fox,512,512,4,1\nb,x,512,4,y\n"
    first, second = rejected(csv_manifest(tmp_path, text, columns={"prompt": "Prompt"}))
    assert {complaint.column for complaint in first.complaints} == {"Prompt", "width", "height", "steps", "seed"}
    assert {complaint.column for complaint in second.complaints} == {"width", "seed"}
    assert (first.row, second.row) == (1, 3)


def test_absolute_paths_and_links_are_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    folder = tmp_path / "folder"
    elsewhere.mkdir()
    folder.mkdir()
    picture_path = written(elsewhere, "a.png", picture(20, 20))
    (folder / "link.png").symlink_to(picture_path)
    text = f"prompt,input_image_0\na,{picture_path}\nb,link.png\nc,sub/../link.png\n"
    first, second, third = asked(csv_manifest(folder, text))
    assert first.references[0].sha256 == second.references[0].sha256 == third.references[0].sha256


def test_four_references_are_sent_in_order_and_a_fifth_column_is_a_complaint(tmp_path: Path) -> None:
    for index in range(4):
        written(tmp_path, f"{index}.png", picture(20 + index, 20))
    header = "prompt," + ",".join(f"input_image_{index}" for index in reversed(range(4)))
    (row,) = asked(csv_manifest(tmp_path, f"{header}\na,3.png,2.png,1.png,0.png\n"))
    assert [reference.width for reference in row.references] == [20, 21, 22, 23]
    (complaint,) = csv_manifest(tmp_path, "prompt,input_image_4\na,x.png\n").complaints
    assert "at most 4 references" in complaint.remedy
    assert complaint.line == 1


def test_without_a_prompt_column_rows_are_not_read(tmp_path: Path) -> None:
    manifest = csv_manifest(tmp_path, "Prompt\na fox\n")
    assert "--column prompt=Prompt" in str(manifest.complaints[0])
    with pytest.raises(ManifestError) as caught:
        next(manifest.rows())
    assert caught.value.complaints == manifest.complaints


def test_rows_can_be_read_again_and_are_the_same(tmp_path: Path) -> None:
    manifest = csv_manifest(tmp_path, "prompt,samples\na,2\na,\nb,900000\n")
    assert list(manifest.rows()) == list(manifest.rows())


@pytest.mark.parametrize("path", ["none.csv", "folder.csv", "m.txt", "m", "m.parquet.gz", "m.json", "m.xlsx"])
def test_a_file_that_cannot_be_read_at_all_is_a_usage_error(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    if "m" in path[:1]:
        written(tmp_path, path, "prompt\na\n")
    with pytest.raises(UsageError, match=str(tmp_path)):
        opened(tmp_path / path)


@pytest.mark.parametrize("name", ["m.csv", "m.CSV", "m.tsv", "m.tab"])
def test_a_header_alone_asks_for_nothing(tmp_path: Path, name: str) -> None:
    assert asked(opened(written(tmp_path, name, "prompt\n"))) == []


def test_defaults_that_no_row_could_use_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--width: 1000 is no multiple of 16"):
        csv_manifest(tmp_path, "prompt\na\n", defaults=Defaults(width=1000))


# Samples and keys


def test_samples_are_expanded_and_numbered_on(tmp_path: Path) -> None:
    rows = asked(csv_manifest(tmp_path, "prompt,samples\na,2\nb,\na,\nb,3\n"))
    assert [(row.row, row.prompt, row.sample) for row in rows] == [
        (1, "a", 0),
        (1, "a", 1),
        (2, "b", 0),
        (3, "a", 2),
        (4, "b", 1),
        (4, "b", 2),
        (4, "b", 3),
    ]
    assert len({row.key for row in rows}) == 7


def test_a_given_sample_is_that_picture_and_no_other(tmp_path: Path) -> None:
    everything = asked(csv_manifest(tmp_path, "prompt,samples\na,3\n"))
    again = asked(csv_manifest(tmp_path, "prompt,sample\na,1\n"))
    assert [row.key for row in again] == [everything[1].key]


@pytest.mark.parametrize(
    ("rows", "column"), [("a,2,1\n", "sample"), ("a,,1\na,,1\n", "sample"), ("a,,1\na,,\n", "sample")]
)
def test_samples_that_contradict_each_other_are_complaints(tmp_path: Path, rows: str, column: str) -> None:
    (row,) = rejected(csv_manifest(tmp_path, "prompt,samples,sample\n" + rows))
    assert [complaint.column for complaint in row.complaints] == [column]


def test_own_columns_and_ids_do_not_change_a_key(tmp_path: Path) -> None:
    (plain,) = asked(csv_manifest(tmp_path, "prompt\na\n"))
    (named,) = asked(csv_manifest(tmp_path, "id,prompt,note\n1,a,x\n"))
    assert plain.key == named.key


@pytest.mark.parametrize(
    "change", ["width,512", "height,512", "steps,4", "guidance,3", "seed,7", "input_image_0,a.png"]
)
def test_what_is_sent_does_change_it(tmp_path: Path, change: str) -> None:
    written(tmp_path, "a.png", picture(20, 20))
    column, cell = change.split(",")
    (plain,) = asked(csv_manifest(tmp_path, "prompt\na\n"))
    (changed,) = asked(csv_manifest(tmp_path, f"prompt,{column}\na,{cell}\n"))
    assert plain.key != changed.key


ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "a b", "ü"]), st.sampled_from([None, 7]), st.integers(1, 4)), max_size=25
)


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS, st.randoms(use_true_random=False))
def test_reordering_keeps_the_keys_and_new_rows_only_add(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], more: list[Any], chance: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("keys")

    def keys(entries: list[Any]) -> list[str]:
        prompts, seeds, samples = zip(*entries, strict=True) if entries else ((), (), ())
        table = pa.table(
            {
                "prompt": pa.array(prompts, pa.string()),
                "seed": pa.array(seeds, pa.int64()),
                "samples": pa.array(samples, pa.int64()),
            }
        )
        pq.write_table(table, folder / "m.parquet", row_group_size=5)
        return [row.key for row in asked(opened(folder / "m.parquet"))]

    before = keys(rows)
    assert len(set(before)) == len(before) == sum(samples for _, _, samples in rows)
    mixed = [*rows, *more]
    chance.shuffle(mixed)
    after = keys(mixed)
    assert set(before) <= set(after)
    assert set(after) == set(keys([*more, *rows]))
    shutil.rmtree(folder)


def test_the_same_content_in_distant_chunks_is_counted(tmp_path: Path) -> None:
    prompts = [f"fox {n % 6000}" for n in range(12_000)]
    pq.write_table(pa.table({"prompt": prompts}), tmp_path / "m.parquet")
    rows = asked(opened(tmp_path / "m.parquet"))
    assert [row.sample for row in rows] == [0] * 6000 + [1] * 6000
    assert len({row.key for row in rows}) == 12_000


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_long_manifest_is_never_held_in_memory(tmp_path: Path, ending: str) -> None:
    rows = 30_000
    path = tmp_path / f"m.{ending}"
    prompts = [f"a fox number {n}, {'very ' * 80} red" for n in range(rows)]
    if ending == "parquet":
        pq.write_table(pa.table({"prompt": prompts, "n": range(rows)}), path)
    elif ending == "csv":
        path.write_text("prompt,n\n" + "".join(f'"{text}",{n}\n' for n, text in enumerate(prompts)))
    else:
        path.write_text("".join(f'{{"prompt": "{text}", "n": {n}}}\n' for n, text in enumerate(prompts)))
    del prompts
    tracemalloc.start()
    count = sum(1 for _ in opened(path).rows())
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == rows
    assert peak_bytes < 9_000_000, "the prompts alone are 13 MB"


# The examples


def test_the_examples_of_the_readme_are_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = dict(re.findall(r"```(csv|json|python)\n(.*?)```", README.read_text(), re.DOTALL))
    written(tmp_path, "prompts.csv", blocks["csv"])
    written(tmp_path, "prompts.jsonl", blocks["json"])
    exec(blocks["python"], {})
    for name, pictures, own in (("csv", 3, "mood"), ("jsonl", 2, "tags"), ("parquet", 2, "taken")):
        manifest = opened(tmp_path / f"prompts.{name}")
        assert manifest.complaints == ()
        assert manifest.own_schema.names == [own]
        assert len(asked(manifest)) == pictures


def test_the_readme_names_every_parameter_and_ending() -> None:
    readme = README.read_text()
    for name in PARAMETERS:
        assert f"`{name}`" in readme or name in ("input_image_1", "input_image_2")
    for ending in ENDINGS:
        assert f"`{ending}`" in readme


def test_the_demo_is_what_its_readme_says() -> None:
    manifest = opened(DEMO)
    assert manifest.complaints == ()
    rows = asked(manifest)
    readme = README.read_text()
    expected = sum(row.quote.expected.usd for row in rows)
    bound = sum(row.quote.bound.usd for row in rows)
    said = f"{rows[-1].row} rows ask for {len(rows)} pictures; "
    said += f"expected ${expected.normalize()}, at most ${bound.normalize()}"
    assert said in " ".join(readme.split())
    assert [row.sample for row in rows if row.id == "cat-barista"] == [0, 1, 2]
    (pair,) = [row.references for row in rows if row.references]
    assert [was_fitted(reference) for reference in pair] == [True, False]
    assert all(Path(reference.path or "").stat().st_size < 20_000 for reference in pair)
    assert sum("[[fault:8007]]" in row.prompt for row in rows) == 1
    assert not any(isinstance(row, Rejected) for row in rows)
