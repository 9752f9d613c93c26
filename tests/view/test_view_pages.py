"""What the pages show of a dataset, asked over the wire."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pyarrow as pa
import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.query import Rows
from fluxbatch.report.gallery import axes_of, told
from fluxbatch.view.seen import candidates
from fluxbatch.view.viewed import Viewer
from tests.query.query_kit import dataset_of, put_sidecar
from tests.view.view_kit import HOSTILE, Seen, ask, served, six

ALL = [f"picture {number}" for number in range(1, 7)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return six(tmp_path_factory.mktemp("view") / "six")


@pytest.fixture(scope="module")
def address(dataset: Dataset) -> Iterator[str]:
    with served(dataset.folder) as address:
        yield address


def shown(address: str, **fields: str) -> list[str]:
    answer = ask(address, f"/?{urlencode(fields)}")
    assert answer.status == 200, answer.text
    return answer.page.shown


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"q": "PICTURE 4"}, [4]),
        ({"q": "oil 6"}, [6]),
        ({"q": "4"}, [4]),
        ({"q": "'; --"}, []),
        ({"q": "%"}, []),
        ({"is:style": "oil"}, [2, 4, 6]),
        ({"is:style": "oil", "is:weight": "3"}, [6]),
        ({"where": "row > 4 OR row = 1"}, [1, 5, 6]),
        ({"where": "row > 1", "is:style": "ink", "q": "picture"}, [3, 5]),
        ({"order": "row", "way": "desc"}, [6, 5, 4, 3, 2, 1]),
        ({"order": "weight", "way": "desc", "where": "row <> 5"}, [6, 2, 4, 1, 3]),
        ({"order": "style", "is:weight": "3"}, [5, 6]),
    ],
)
def test_the_pictures_that_are_asked_for_are_shown(address: str, fields: dict[str, str], found: list[int]):
    assert shown(address, **fields) == [f"picture {number}" for number in found]


def test_a_picture_is_found_by_the_beginning_of_its_key(address: str):
    keys = ask(address).page.keys
    assert shown(address, q=keys[2][:8].upper()) == ["picture 3"]
    assert shown(address, q=keys[4]) == ["picture 5"]
    assert shown(address, q=keys[4][4:20]) == []


def test_the_pages_of_an_answer_are_all_of_it_once(tmp_path: Path):
    asked = {"where": "row <> 7", "order": "row", "way": "desc", "per": "30"}
    with served(dataset_of(tmp_path / "d", (40, 30)).folder) as address:
        page = ask(address, f"/?{urlencode(asked)}").page
        assert "69 of 70 pictures, 1 to 30" in page.text
        assert "page 1 of 3" in page.text
        found = page.shown
        while "next" in {a.get("rel") for a in page.all("a")}:
            page = ask(address, page.link(rel="next")).page
            found += page.shown
        assert "69 of 70 pictures, 61 to 69" in page.text
        assert found == [f"picture {row}" for row in range(70, 0, -1) if row != 7]
        assert ask(address, page.link(rel="prev")).page.shown == found[30:60]
        assert shown(address, **asked, page="1000000") == found[60:]


def test_a_form_shows_what_was_asked(address: str):
    page = ask(address, "/?q=picture&is:style=oil&where=row%3E0&order=row&way=desc&per=30").page
    values = {one["name"]: one["value"] for one in page.all("input") if "name" in one}
    assert values == {"q": "picture", "where": "row>0"}
    chosen = [one["value"] for one in page.all("option") if "selected" in one]
    assert chosen == ["oil", "row", "desc", "30"]


def test_a_dataset_has_the_axes_that_its_report_would_have(dataset: Dataset):
    rows = Rows(dataset)
    items = [dict(told(row)) for row in rows_of(rows)]
    assert Viewer(dataset.folder).now().seen.axes == tuple(axes_of(items))


def rows_of(rows: Rows) -> list[dict[str, object]]:
    names = [name for name in rows.schema.names if name not in (rows.part_column, rows.place_column)]
    return [row for batch in rows.read(names) for row in batch.to_pylist()]


def test_the_axes_of_all_parts_are_one(tmp_path: Path):
    """Values, nulls and dictionaries that differ from part to part; a column of which one part alone has too many."""
    many = [f"v{row}" for row in range(80)]
    own = pa.table(
        {
            "late": [None] * 40 + ["b", "a"] * 20,
            "coded": pa.array(["x", "y"] * 20 + ["z", None] * 20).dictionary_encode(),
            "lists": [["a"], []] * 40,
            "half": [1.5, 10.0] * 40,
            "many": many,
            "truth": [True, None, False, True] * 20,
        }
    )
    viewed = Viewer(dataset_of(tmp_path / "d", (40, 30, 10), own=own).folder).now()
    found = {axis.name: axis.values for axis in viewed.seen.axes}
    assert found == {
        "late": ("b", "a"),
        "coded": ("x", "y", "z"),
        "half": ("1.5", "10"),
        "truth": ("True", "False"),
    }
    codes = viewed.seen.codes["coded"].tolist()
    assert codes == [0, 1] * 20 + [2, -1] * 20
    assert viewed.seen.codes["late"].tolist() == [-1] * 40 + [0, 1] * 20
    assert set(candidates(viewed.rows)) >= set(own.column_names)


def test_a_grid_lays_out_counts_and_leads_to_all_of_a_cell(tmp_path: Path):
    own = pa.table({"style": ["ink", "oil"] * 12, "season": (["may"] * 5 + ["june"]) * 4})
    with served(dataset_of(tmp_path / "d", (12, 12), own=own).folder) as address:
        page = ask(address, "/?across=style&down=season&q=picture").page
        heads = [one["scope"] for one in page.all("th")]
        assert heads == ["col", "col", "row", "row"]
        assert page.shown == [f"picture {n}" for n in (1, 3, 5, 7, 2, 4, 8, 10, 6, 12, 18, 24)]
        more = [link for link in page.links if "is%3A" in link]
        assert more == ["/?q=picture&is%3Astyle=ink&is%3Aseason=may", "/?q=picture&is%3Astyle=oil&is%3Aseason=may"]
        assert len(ask(address, more[0]).page.shown) == 12


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"where": "nonsense > 1"}, "there is no column 'nonsense'"),
        ({"where": "prompt"}, "no condition"),
        ({"where": "prompt::INT > 1"}, "picture 1"),
        ({"where": "read_text('/etc/passwd') IS NOT NULL"}, "read_text"),
        ({"where": "\0"}, "NUL"),
        ({"order": "nonsense"}, "no column 'nonsense' to sort by"),
        ({"is:nonsense": "1"}, "no column 'nonsense'"),
        ({"is:style": "felt"}, "no picture has style = 'felt'"),
        ({"across": "nonsense", "down": "style"}, "no column 'nonsense'"),
        ({"where": "x" * 21_000}, "characters"),
    ],
)
def test_what_is_asked_wrongly_is_said_on_the_page(address: str, fields: dict[str, str], said: str):
    answer = ask(address, f"/?{urlencode(fields)}")
    assert answer.status == 400
    assert said in answer.page.text
    assert answer.page.shown == []
    [notice] = [one for one in answer.page.all("p") if one.get("role") == "alert"]
    assert notice


def test_all_that_is_wrong_is_said_at_once(address: str):
    text = ask(address, "/?where=x&order=y&is:z=1").page.text
    assert all(f"no column '{name}'" in text for name in "xyz")


def test_a_picture_has_a_page_with_all_its_values_and_its_neighbours(dataset: Dataset, address: str):
    keys = ask(address).page.keys
    page = ask(address, f"/picture/{keys[3]}").page
    row = next(iter(Rows(dataset).at([3]))).to_pylist()[0]
    for name in ("prompt", "model", "width", "sha256", "phash", "run_id", "key", "part", "place", "style"):
        assert str(row[name]) in page.text, name
    assert [one["src"] for one in page.all("img")] == [f"/full/{keys[3]}"]
    assert (page.link(rel="prev"), page.link(rel="next")) == (f"/picture/{keys[2]}", f"/picture/{keys[4]}")
    assert "/?is%3Astyle=oil" in page.links
    assert {a.get("rel") for a in ask(address, f"/picture/{keys[0]}").page.all("a")} == {None, "next"}
    assert {a.get("rel") for a in ask(address, f"/picture/{keys[5]}").page.all("a")} == {None, "prev"}


def test_what_is_to_be_looked_at_is_a_link(tmp_path: Path):
    dataset = dataset_of(tmp_path / "d", (3, 2), width=64, height=32)  # the pictures are 64x48
    keys = [row["key"] for batch in Rows(dataset).read(["key"]) for row in batch.to_pylist()]
    with served(dataset.folder) as address:
        page = ask(address).page
        assert "5 suspects" in page.text
        assert not [link for link in page.links if "duplicate_group" in link]
        assert len(ask(address, next(link for link in page.links if "check" in link)).page.shown) == 5
        put_sidecar(dataset, "duplicates", pa.table({"key": keys[1:3], "duplicate_group": [keys[1]] * 2}))
        page = ask(address).page
        twins = ask(address, next(link for link in page.links if "duplicate_group" in link)).page
        assert twins.shown == ["picture 2", "picture 3"]
        own = ask(address, f"/picture/{keys[2]}").page
        assert (
            ask(address, next(link for link in own.links if "where=duplicate_group+%3D" in link)).page.keys == keys[1:3]
        )
        assert "near-duplicates" not in ask(address, f"/picture/{keys[0]}").text


def test_no_text_from_outside_becomes_markup(tmp_path: Path):
    """In prompts, ids, own columns, their names, and what is asked."""
    count = len(HOSTILE)
    own = pa.table({name: [HOSTILE[n], HOSTILE[-1]] * (count // 2) + [name] for n, name in enumerate(HOSTILE[:-2])})
    harmless = pa.table({f"column {n}": ["a", "b"] * (count // 2) + ["c"] for n in range(own.num_columns)})
    prompts = [text.replace("\0", "") for text in HOSTILE]
    bad = dataset_of(tmp_path / "bad", (count,), own=own, prompts=prompts, id="<b>id</b>")
    good = dataset_of(tmp_path / "good", (count,), own=harmless, id="an id")
    with served(bad.folder) as ours, served(good.folder) as theirs:
        names = [axis.name for axis in Viewer(bad.folder).now().seen.axes if axis.name in own.column_names]
        assert len(names) == own.num_columns
        across, down = quote(names[0]), quote(names[1])
        for path, harmless_path in (
            ("/", "/"),
            (f"/?across={across}&down={down}", "/?across=column%200&down=column%201"),
            (f"/?q={quote(HOSTILE[0])}&where={quote(HOSTILE[1])}", "/?q=x&where=x"),
            (f"/?is:{across}={quote(HOSTILE[2])}&order={quote(HOSTILE[1])}", "/?is:x=x&order=x"),
            (f"/picture/{quote(HOSTILE[1], safe='')}", "/picture/x"),
            (f"/{quote(HOSTILE[0], safe='')}", "/x"),
        ):
            page, same = ask(ours, path), ask(theirs, harmless_path)
            assert page.status == same.status, path
            assert vocabulary(page.page) == vocabulary(same.page), path
        for key in ask(ours).page.keys:
            page = ask(ours, f"/picture/{key}").page
            assert vocabulary(page) <= vocabulary(ask(theirs, f"/picture/{ask(theirs).page.keys[0]}").page)
            assert all(link.startswith("/") for link in page.links)
        first = ask(ours)
        assert len(first.page.all("script")) == 2
        [content] = re.findall(r'<script type="application/json" id="items">(.*?)</script>', first.text, re.DOTALL)
        assert [row[0] for row in json.loads(content)["items"]] == [ask_text(text) for text in prompts]


def ask_text(text: str) -> str:
    """As the dialog shows it: on one line, with what does not print escaped."""
    from fluxbatch.report.gallery import text_of

    return text_of(text)


def vocabulary(page: Seen) -> set[tuple[str, frozenset[str]]]:
    """Which elements there are, with which attributes."""
    return {(tag, frozenset(attributes)) for tag, attributes in page.elements}
