from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image  # noqa: TID251 - what was drawn is looked at

from fluxbatch.errors import UsageError
from fluxbatch.report import gallery
from fluxbatch.report.gallery import Beside, axes_of, chosen, gallery_of
from tests.query.query_kit import dataset_of, put_sidecar


@given(st.integers(0, 5_000), st.lists(st.integers(0, 4_999), max_size=300), st.integers(2, 400), st.integers(1, 50))
def test_so_many_are_chosen_as_there_is_room_for(count: int, special: list[int], most: int, stretches: int):
    special = [one for one in special if one < count]
    found = chosen(count, special, most, stretches)
    assert found == sorted(set(found))
    assert all(0 <= one < count for one in found)
    assert len(found) <= most
    if count <= most:
        assert len(found) == count
    else:
        assert set(list(dict.fromkeys(special))[: most // 2]) <= set(found)
        assert len(found) >= most // 4


def test_they_are_spread_from_the_first_to_the_last():
    assert chosen(1_000, [], 5, 5) == [0, 249, 499, 749, 999]
    assert chosen(1_000, [], 10, 2) == [0, 1, 2, 3, 4, 995, 996, 997, 998, 999]


def test_what_many_share_can_be_filtered_by_and_the_rest_cannot():
    items = [
        {"prompt": f"p{index % 5}", "id": str(index), "steps": str(4 + index % 2 * 21), "usd": "1", "style": "ink"}
        for index in range(20)
    ]
    assert [(axis.name, axis.values) for axis in axes_of(items)] == [
        ("prompt", ("p0", "p1", "p2", "p3", "p4")),
        ("steps", ("4", "25")),
    ]


def test_an_axis_has_its_numbers_in_order_and_its_words_as_they_came():
    items = [{"seed": str(seed), "word": word} for seed in (10, 9, 100) for word in ("tall", "square", "wide")]
    found = {axis.name: axis.values for axis in axes_of(items)}
    assert found == {"seed": ("9", "10", "100"), "word": ("tall", "square", "wide")}


def test_every_picture_is_shown_with_what_is_known_of_it(tmp_path: Path):
    own = pa.table({"style": ["ink", "oil", "ink", "oil", "ink"], "part": [f"p{n}" for n in range(5)]})
    found = gallery_of(dataset_of(tmp_path / "d", own=own))
    assert (found.total, found.suspects, found.groups, found.beside) == (5, 0, 0, None)
    assert [item.prompt for item in found.items] == [f"picture {n}" for n in range(1, 6)]
    first = found.items[0]
    assert first.values["size"] == "64x48"
    assert first.values["style"] == "ink"
    assert first.values["part"] == "p0"
    assert first.values["usd"] == "0.04125132"
    assert "sha256" not in first.values
    assert first.thumbnail is not None
    assert Image.open(io.BytesIO(first.thumbnail)).size == (64, 48)


def test_of_many_some_are_shown(tmp_path: Path):
    found = gallery_of(dataset_of(tmp_path / "d", parts=(7, 6, 5)), pictures_max=6)
    assert found.total == 18
    assert [item.values["row"] for item in found.items] == ["1", "4", "7", "11", "14", "18"]


def test_large_datasets_are_read_in_stretches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gallery, "READ_BYTES_MAX", 1)
    monkeypatch.setattr(gallery, "STRETCHES", 2)
    found = gallery_of(dataset_of(tmp_path / "d", parts=(9, 9)), pictures_max=6)
    assert [item.values["row"] for item in found.items] == ["1", "2", "3", "16", "17", "18"]


def test_a_page_that_would_grow_too_large_shows_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dataset = dataset_of(tmp_path / "d")
    whole = [item.thumbnail for item in gallery_of(dataset).items]
    monkeypatch.setattr(gallery, "THUMBNAILS_BYTES_MAX", sum(len(one or b"") for one in whole[:3]))
    assert [item.thumbnail for item in gallery_of(dataset).items] == [*whole[:3], None, None]


def test_near_duplicates_are_shown_first_of_all(tmp_path: Path):
    dataset = dataset_of(tmp_path / "d", parts=(40,))
    keys = dataset.to_pandas(columns=["key"])["key"].tolist()
    put_sidecar(dataset, "duplicates", pa.table({"key": [keys[17], keys[29]], "duplicate_group": [keys[17]] * 2}))
    found = gallery_of(dataset, pictures_max=8)
    assert found.groups == 1
    assert [item.key for item in found.items if item.group is not None] == [keys[17], keys[29]]


def test_the_same_cell_of_another_dataset_lies_beside(tmp_path: Path):
    ours = dataset_of(tmp_path / "ours")
    theirs = dataset_of(tmp_path / "theirs", parts=(2, 1), prompts=["picture 4", "picture 2", "something else"])
    found = gallery_of(ours, Beside(theirs, ("prompt",)))
    assert found.beside == "theirs"
    assert [item.beside is not None for item in found.items] == [False, True, False, True, False]
    assert gallery_of(theirs).items[1].thumbnail == found.items[1].beside


def test_without_a_word_ids_or_what_was_asked_match(tmp_path: Path):
    ours, theirs = dataset_of(tmp_path / "a"), dataset_of(tmp_path / "b", parts=(5,))
    assert all(item.beside == item.thumbnail for item in gallery_of(ours, Beside(theirs)).items)


def test_datasets_that_share_no_column_cannot_be_compared(tmp_path: Path):
    ours, theirs = dataset_of(tmp_path / "a"), dataset_of(tmp_path / "b")
    with pytest.raises(UsageError, match=r"'?style'? is not in both datasets; name columns that are with --match"):
        gallery_of(ours, Beside(theirs, ("style", "prompt")))
