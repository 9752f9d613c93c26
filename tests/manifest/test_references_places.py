"""Where references come from: folders, lists, earlier datasets, what is kept; and what is said when it is not there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxbatch.manifest.places import Places
from fluxbatch.manifest.reader import Manifest
from fluxbatch.manifest.values import Unusable
from tests.manifest.manifest_kit import asked, opened, picture, rejected, written

KEY, OTHER = "12ab" * 16, "34cd" * 16


class Shelf:
    """Earlier datasets in memory, as `dataset.pictures.Earlier` reads them from the disk."""

    def __init__(self, pictures: Mapping[tuple[Path, str], bytes]) -> None:
        self.pictures = dict(pictures)
        self.asked: list[tuple[Path, str]] = []

    def __call__(self, folder: Path, wanted: str) -> tuple[bytes, str]:
        self.asked.append((folder, wanted))
        for (place, key), content in self.pictures.items():
            if place == folder and key.startswith(wanted):
                return content, key
        raise Unusable(f"{folder} has no picture {wanted!r}", f"see `fluxbatch status {folder}`")


class Drawer:
    """What is kept, in a folder of its own, as `dataset.kept.KeptReferences` does it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources: dict[str, Path] = {}

    def find(self, source: str) -> Path | None:
        return self.sources.get(source)

    def keep(self, source: str, content: bytes, sha256: str) -> Path:
        assert hashlib.sha256(content).hexdigest() == sha256
        self.sources[source] = written(self.folder, sha256, content)
        return self.sources[source]


def jsonl(folder: Path, *rows: Mapping[str, Any], places: Places | None = None) -> Manifest:
    path = written(folder, "m.jsonl", "".join(json.dumps({"prompt": "p"} | dict(row)) + "\n" for row in rows))
    return opened(path, **({} if places is None else {"places": places}))


def said(manifest: Manifest) -> list[tuple[str | None, str, str]]:
    return [(c.column, c.problem, c.remedy) for row in rejected(manifest) for c in row.complaints]


class TestFolders:
    def test_the_pictures_of_a_folder_are_the_references_in_the_order_of_their_names(self, tmp_path: Path) -> None:
        shoes = tmp_path / "shoes"
        (shoes / "more.png").mkdir(parents=True)
        for number, name in enumerate(("c.webp", "a.png", "B.JPG", ".hidden.png", "notes.txt", "b.jpeg")):
            kind = {"webp": "WEBP", "png": "PNG", "JPG": "JPEG", "jpeg": "JPEG"}.get(name.rpartition(".")[2], "PNG")
            written(shoes, name, picture(20 + number, 10, kind))
        rows = asked(jsonl(tmp_path, {"input_images": "shoes"}, {"input_images": "folder:./shoes/"}))
        assert [[r.width for r in row.references] for row in rows] == [[22, 21, 25, 20]] * 2, (
            "B.JPG a.png b.jpeg c.webp"
        )
        assert rows[0].references[1].source == "shoes/a.png"
        assert rows[0].references[1].path == str(shoes / "a.png")
        assert asked(jsonl(tmp_path, {"input_images": str(shoes)}))[0].references[0].width == 22

    def test_a_folder_in_a_csv_and_one_for_each_row(self, tmp_path: Path) -> None:
        for name, width in (("one", 11), ("two", 12)):
            (tmp_path / name).mkdir()
            written(tmp_path / name, "a.png", picture(width, 10))
        rows = asked(opened(written(tmp_path, "m.csv", "prompt,input_images\na,one\nb,two\nc,\n")))
        assert [[r.width for r in row.references] for row in rows] == [[11], [12], []]

    @pytest.mark.parametrize(
        ("value", "problem", "remedy"),
        [
            ("none", "'none' does not exist", "relative to the manifest"),
            ("m.jsonl", "is no folder", "input_image_0"),
            ("empty", "'empty' has no picture", ".png"),
            ("../elsewhere", "leads out of the manifest's folder", "absolute path"),
            ("folder:../elsewhere", "leads out of the manifest's folder", "absolute path"),
            ("five", "5 references are given; flux-2-dev takes 4", "remove the others"),
            (7, "7 is no folder", "list"),
            ({"path": "a.png"}, "is no folder", "list"),
        ],
    )
    def test_what_is_wrong_with_a_folder_is_said(
        self, tmp_path: Path, value: object, problem: str, remedy: str
    ) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "five").mkdir()
        for number in range(5):
            written(tmp_path / "five", f"{number}.png", picture(10, 10))
        ((column, told, to_do),) = said(jsonl(tmp_path, {"input_images": value}))
        assert column == "input_images"
        assert problem in told
        assert remedy in to_do

    def test_both_ways_at_once_are_refused_and_a_folder_is_no_single_picture(self, tmp_path: Path) -> None:
        (tmp_path / "one").mkdir()
        written(tmp_path / "one", "a.png", picture(10, 10))
        both = jsonl(tmp_path, {"input_images": "one", "input_image_0": "one/a.png"})
        assert said(both)[0][1] == "the row has input_image_0 and input_images"
        ((column, problem, remedy),) = said(jsonl(tmp_path, {"input_image_0": "folder:one"}))
        assert (column, problem) == ("input_image_0", "'folder:one' is a folder")
        assert "input_images" in remedy


class TestLists:
    def test_a_list_of_paths_in_jsonl(self, tmp_path: Path) -> None:
        written(tmp_path, "a.png", picture(10, 10))
        written(tmp_path, "b.png", picture(20, 10))
        rows = asked(
            jsonl(tmp_path, {"input_images": ["b.png", "a.png"]}, {"input_images": []}, {"input_images": None})
        )
        assert [[r.width for r in row.references] for row in rows] == [[20, 10], [], []]

    @pytest.mark.parametrize("kind", ["bytes", "struct"])
    def test_a_list_of_bytes_or_of_pictures_in_parquet(self, tmp_path: Path, kind: str) -> None:
        contents = [picture(10, 10), picture(20, 10)]
        image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        if kind == "bytes":
            column = pa.array([contents, None], pa.list_(pa.binary()))
        else:
            column = pa.array([[{"bytes": c, "path": None} for c in contents], []], pa.list_(image))
        path = tmp_path / "m.parquet"
        pq.write_table(pa.table({"prompt": ["a", "b"], "input_images": column}), path)
        first, second = asked(opened(path))
        assert [r.content for r in first.references] == contents
        assert second.references == ()

    def test_a_gap_in_a_list_and_a_picture_that_is_none_are_said(self, tmp_path: Path) -> None:
        written(tmp_path, "a.png", picture(10, 10))
        gap, none, number = said(
            jsonl(tmp_path, *({"input_images": v} for v in (["a.png", None], ["a.png", "x.png"], ["a.png", 7])))
        )
        assert gap[1] == "image 1 of the list is empty"
        assert "'x.png' does not exist" in none[1] or "x.png does not exist" in none[1]
        assert "7 is no picture" in number[1]


class TestEarlierDatasets:
    def places(self, tmp_path: Path, shelf: Shelf) -> tuple[Places, Drawer]:
        (tmp_path / "kept").mkdir(exist_ok=True)
        drawer = Drawer(tmp_path / "kept")
        return Places(earlier=shelf, kept=drawer), drawer

    def test_a_picture_is_found_from_the_manifests_folder_kept_and_named_in_full(self, tmp_path: Path) -> None:
        base = tmp_path / "out" / "base"
        shelf = Shelf({(base, KEY): picture(600, 300)})
        places, drawer = self.places(tmp_path, shelf)
        (tmp_path / "m").mkdir()
        (row,) = asked(jsonl(tmp_path / "m", {"input_image_0": f"dataset:../out/base#{KEY[:8]}"}, places=places))
        (reference,) = row.references
        sha256 = hashlib.sha256(picture(600, 300)).hexdigest()
        assert (reference.sha256, reference.path) == (sha256, str(tmp_path / "kept" / sha256))
        assert reference.content is None, "it lies on the disk, not in memory"
        assert reference.source == f"dataset:../out/base#{KEY}"
        assert list(drawer.sources) == [f"dataset:{base}#{KEY[:8]}"]

    def test_the_same_key_as_with_the_file_itself(self, tmp_path: Path) -> None:
        written(tmp_path, "a.png", picture(20, 20))
        places, _ = self.places(tmp_path, Shelf({(tmp_path / "base", KEY): picture(20, 20)}))
        rows = asked(
            jsonl(
                tmp_path,
                {"input_image_0": "a.png", "samples": 1},
                {"input_image_0": f"dataset:base#{KEY}"},
                places=places,
            )
        )
        assert [row.sample for row in rows] == [0, 1], "the same request again"

    def test_a_dataset_that_was_made_anew_is_believed_and_one_that_is_gone_is_not_missed(self, tmp_path: Path) -> None:
        shelf = Shelf({(tmp_path / "base", KEY): picture(20, 20)})
        places, _ = self.places(tmp_path, shelf)
        row = {"input_image_0": f"dataset:base#{KEY}"}
        assert asked(jsonl(tmp_path, row, places=places))[0].references[0].width == 20
        shelf.pictures[tmp_path / "base", KEY] = picture(30, 30)
        assert asked(jsonl(tmp_path, row, places=places))[0].references[0].width == 30
        shelf.pictures.clear()
        assert asked(jsonl(tmp_path, row, places=places))[0].references[0].width == 30
        ((column, problem, remedy),) = said(jsonl(tmp_path, {"input_image_0": f"dataset:base#{OTHER}"}, places=places))
        assert (column, OTHER in problem) == ("input_image_0", True)
        assert remedy == f"see `fluxbatch status {tmp_path / 'base'}`"

    @pytest.mark.parametrize("value", ["dataset:", "dataset:base", "dataset:base#", "dataset:#abc", "DATASET:base"])
    def test_half_an_address_of_a_picture_is_refused_with_the_syntax(self, tmp_path: Path, value: str) -> None:
        places, _ = self.places(tmp_path, Shelf({}))
        ((_, problem, remedy),) = said(jsonl(tmp_path, {"input_image_0": value}, places=places))
        assert "names no picture" in problem
        assert "dataset:PATH#KEY" in remedy

    def test_without_datasets_within_reach_it_is_a_complaint(self, tmp_path: Path) -> None:
        ((_, problem, _),) = said(jsonl(tmp_path, {"input_image_0": f"dataset:base#{KEY}"}))
        assert "cannot be read here" in problem

    def test_what_is_no_picture_is_not_kept(self, tmp_path: Path) -> None:
        places, drawer = self.places(tmp_path, Shelf({(tmp_path / "base", KEY): b"no picture"}))
        ((_, problem, _),) = said(jsonl(tmp_path, {"input_image_0": f"dataset:base#{KEY}"}, places=places))
        assert "no PNG, JPEG or WebP" in problem
        assert drawer.sources == {}

    def test_they_stand_in_lists_as_well(self, tmp_path: Path) -> None:
        places, _ = self.places(tmp_path, Shelf({(tmp_path / "base", KEY): picture(20, 20)}))
        written(tmp_path, "a.png", picture(10, 10))
        (row,) = asked(jsonl(tmp_path, {"input_images": ["a.png", f"dataset:base#{KEY}"]}, places=places))
        assert [reference.width for reference in row.references] == [10, 20]


class TestWhatThePromptSpeaksOf:
    def test_an_image_that_is_not_there_is_refused_with_what_to_do(self, tmp_path: Path) -> None:
        written(tmp_path, "a.png", picture(10, 10))
        rows = [
            {"prompt": "image 1 in blue", "input_image_0": "a.png"},
            {"prompt": "image 0", "input_image_0": "a.png"},
        ]
        ((column, problem, remedy),) = said(jsonl(tmp_path, *rows))
        assert (column, problem) == ("prompt", 'the prompt speaks of "image 1", and the row has 1 reference')
        assert 'the first is "image 0"' in remedy

    def test_a_prompt_without_references_and_one_that_is_not_sure_are_let_through(self, tmp_path: Path) -> None:
        written(tmp_path, "a.png", picture(10, 10))
        rows = [{"prompt": "image 1 in blue"}, {"prompt": "image 3 of a series", "input_image_0": "a.png"}]
        assert len(asked(jsonl(tmp_path, *rows))) == 2

    def test_a_picture_that_is_wrong_is_told_and_not_that_it_is_spoken_of(self, tmp_path: Path) -> None:
        ((column, problem, _),) = said(jsonl(tmp_path, {"prompt": "image 5", "input_image_0": "none.png"}))
        assert (column, "does not exist" in problem) == ("input_image_0", True)

    def test_a_model_that_starts_from_one_picture_is_not_spoken_to_so(self, tmp_path: Path) -> None:
        written(tmp_path, "a.png", picture(10, 10))
        row = {"prompt": "image 1 of mine", "input_images": ["a.png"], "strength": 0.5}
        (one,) = asked(jsonl(tmp_path, row | {"model": "dreamshaper-8-lcm"}))
        assert len(one.references) == 1
        ((_, problem, _),) = said(jsonl(tmp_path, {"input_images": ["a.png"], "model": "flux-1-schnell"}))
        assert problem == "flux-1-schnell takes no references"
