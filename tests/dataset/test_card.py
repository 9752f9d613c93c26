"""The dataset card: what it says, and what of it is whose."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Features, load_dataset
from huggingface_hub import DatasetCard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxbatch.dataset.card import Card, Made, card_text, metadata, size_category
from fluxbatch.dataset.card_words import BEGIN, END, section, shown
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.features import features_of
from fluxbatch.dataset.header import PriceList
from fluxbatch.dataset.made import card_of, card_of_export, refresh_card
from fluxbatch.dataset.record import part_schema
from fluxbatch.dataset.spool import Spool
from fluxbatch.models.catalogue import CATALOGUE, FLUX_2_DEV
from fluxbatch.models.money import charge
from tests.dataset.dataset_kit import sealed
from tests.soak import soak

OWN = pa.schema([("style", pa.string()), ("weight", pa.float64())])
MADE = Made(FLUX_2_DEV.id, 1_200, ((1024, 1024, 1_000), (512, 768, 200)), (4, 25), None)
CARD = Card(
    "cats",
    part_schema(OWN),
    simulated=False,
    pictures=1_200,
    size_bytes=123_456_789,
    unpacked_bytes=123_999_999,
    made=(MADE,),
    spent=charge(450_014),
    prices=(PriceList("20261122T120000Z-ab", "2026-11-22T12:00:00+00:00", CATALOGUE.price_list()),),
)
KINDS = {
    "text": pa.string(),
    "large": pa.large_string(),
    "number": pa.int64(),
    "small": pa.uint16(),
    "half": pa.float16(),
    "single": pa.float32(),
    "real": pa.float64(),
    "yes": pa.bool_(),
    "money": pa.decimal128(18, 9),
    "more money": pa.decimal256(40, 3),
    "moment": pa.timestamp("us", tz="UTC"),
    "local": pa.timestamp("ms"),
    "day": pa.date32(),
    "time": pa.time64("us"),
    "took": pa.duration("us"),
    "nothing": pa.null(),
    "bytes": pa.binary(),
    "view": pa.string_view(),
    "kind": pa.dictionary(pa.int32(), pa.string()),
    "words": pa.list_(pa.string()),
    "many": pa.large_list(pa.int8()),
    "three": pa.list_(pa.float32(), 3),
    "nested": pa.list_(pa.list_(pa.int32())),
    "boxes": pa.list_(pa.struct([("x", pa.int32()), ("tags", pa.list_(pa.string()))])),
    "box": pa.struct([("x", pa.int32()), ("of", pa.struct([("y", pa.float64())]))]),
}


def _front(text: str) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(text[4:].partition("\n---\n")[0])
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_is_named_as_datasets_names_it(kind: str) -> None:
    schema = pa.schema([(kind, KINDS[kind])])
    assert features_of(schema) == Features.from_arrow_schema(schema)._to_yaml_list()


def test_the_columns_of_a_part_are_named_as_datasets_names_them() -> None:
    schema = part_schema(OWN)
    found = features_of(schema)
    assert found == Features.from_arrow_schema(schema)._to_yaml_list()
    assert found is not None
    assert found[0] == {"name": "image", "dtype": "image"}


@pytest.mark.parametrize("kind", [pa.map_(pa.string(), pa.int32()), pa.list_(pa.map_(pa.string(), pa.int32()))])
def test_a_type_that_datasets_has_no_name_for_leaves_the_features_to_parquet(kind: pa.DataType) -> None:
    schema = pa.schema([("odd", kind)])
    assert features_of(schema) is None
    assert "dataset_info" not in metadata(replace(CARD, schema=schema))


def test_the_yaml_says_all_that_a_card_is_to_say() -> None:
    found = _front(card_text(replace(CARD, is_settled=True, parts="data/train-*-of-00003.parquet")))
    info = found.pop("dataset_info")
    assert found == {
        "pretty_name": "cats",
        "license": "other",
        "task_categories": ["text-to-image"],
        "tags": ["synthetic", "fluxbatch", "flux-2-dev"],
        "size_categories": ["1K<n<10K"],
        "configs": [
            {"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*-of-00003.parquet"}]}
        ],
    }
    assert info == {
        "features": features_of(CARD.schema),
        "splits": [{"name": "train", "num_bytes": 123_999_999, "num_examples": 1_200}],
        "download_size": 123_456_789,
        "dataset_size": 123_999_999,
    }


def test_where_parts_may_still_come_the_yaml_does_not_count_them() -> None:
    assert set(metadata(CARD)["dataset_info"]) == {"features"}


def test_the_text_says_how_and_for_how_much_and_what_is_not_known() -> None:
    text = section(CARD)
    assert "1,200 pictures of Cloudflare Workers AI. Made with fluxbatch; 123.5 MB of Parquet." in text
    assert (
        "| \\@cf/black-forest-labs/flux-2-dev | 1,200 | 1024 x 1024 (1,000), 512 x 768 (200) | 4 to 25 | not sent |"
        in text
    )
    assert "$0.04950154 (4500.14 neurons)" in text
    assert "tile usd 0\\.00041" in text
    assert "trainedAlgorithmicMedia" in text
    assert "has not named a licence" in text
    assert "schnell" not in text, "only the prices of models that are in it"
    named = section(replace(CARD, license="cc0-1.0"))
    assert "cc0-1\\.0, as whoever published it says" in named
    assert "has not named" not in named
    simulated = section(replace(CARD, simulated=True))
    assert "no model made them, nothing was charged" in simulated
    assert "Licence" not in simulated


@pytest.mark.parametrize(
    ("count", "category"),
    [(0, "n<1K"), (999, "n<1K"), (1_000, "1K<n<10K"), (99_999, "10K<n<100K"), (100_000, "100K<n<1M"),
     (10**6, "1M<n<10M"), (10**9, "1B<n<10B"), (10**12, "n>1T"), (10**15, "n>1T")],
)  # fmt: skip
def test_sizes_are_named_as_the_hub_names_them(count: int, category: str) -> None:
    assert size_category(count) == category


HOSTILE = [
    "---\nlicense: mit\n---",
    "a: {b: [c",
    f"{END}<script>alert(1)</script>",
    f"{BEGIN}",
    "![x](https://example.com/x.png) [y](javascript:z) <b>&lt;",
    "| a | b |\n|---|---|",
    "`code` **bold** # title\n# another",
    "\x1b[31mred\u202e\u2028\x85\x00\ud800",
    '"""\n```\nimport os',
    "!!python/object/apply:os.system [x]",
    "*anchor &alias",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_from_outside_break_neither_yaml_nor_markdown(hostile: str) -> None:
    model = replace(MADE, model=hostile)
    prices = PriceList("run", hostile, {hostile: {"kind": hostile, "tile_usd": hostile, "read": hostile}})
    schema = pa.schema([("image", pa.string()), (hostile.encode("utf-8", "replace").decode(), pa.string())])
    bad = Card(hostile, schema, False, 1, made=(model,), prices=(prices,), address=hostile)
    text = card_text(bad)
    assert set(_front(text)) == set(metadata(CARD))
    body = text[4:].partition("\n---\n")[2]
    assert body.count(BEGIN) == body.count(END) == 1
    body = body.split(BEGIN)[1].split(END)[0]
    assert body.count("```") == 2
    assert not re.search(r"(?<!\\)[<]|\]\(|^# ", re.sub(r"```.*?```", "", body, flags=re.DOTALL), re.MULTILINE)
    assert "\x1b" not in text
    assert card_text(bad, text) == text
    assert DatasetCard(text).data.to_dict() == metadata(bad), "the Hub's own reader finds the same"


def test_markdown_finds_nothing_in_a_text_from_outside() -> None:
    assert shown("*a* <b> [c](d) `e` | _f_\n# g") == r"\*a\* \<b\> \[c\]\(d\) \`e\` \| \_f\_\\n\# g"


class TestWhatAUserHasWritten:
    def test_stays_around_ours_word_for_word(self) -> None:
        first = card_text(CARD)
        front, _, body = first[4:].partition("---\n")
        front = "# mine\nlanguage: [en, de]  # both\n" + front.replace("license: other", "license: mit # said Ann")
        front = front.replace("pretty_name: cats", "pretty_name: Ann's cats").replace("text-to-image", "image-to-image")
        body = body.replace(BEGIN, f"Above, <b>by hand</b>.\n\n{BEGIN}") + "\nBelow.\n"
        more = replace(CARD, pictures=200_000, made=(MADE, replace(MADE, model="@cf/x/flux-9")))
        text = card_text(more, f"---\n{front}---\n{body}")
        assert "# mine\nlanguage: [en, de]  # both\n" in text
        assert "license: mit # said Ann\n" in text
        assert f"Above, <b>by hand</b>.\n\n{BEGIN}" in text
        assert text.endswith(f"{END}\n\nBelow.\n")
        found = _front(text)
        assert (found["license"], found["size_categories"]) == ("mit", ["100K<n<1M"])
        assert (found["pretty_name"], found["task_categories"]) == ("Ann's cats", ["image-to-image"])
        assert found["tags"] == ["synthetic", "fluxbatch", "flux-2-dev", "flux-9"]
        assert "200,000 pictures" in text
        assert "mit, as whoever published it says" in text

    def test_is_kept_where_it_stands_between_entries_that_are_ours(self) -> None:
        earlier = card_text(CARD).replace("configs:", "# about the files\n\nconfigs:")
        assert "# about the files\n\nconfigs:" in card_text(replace(CARD, pictures=1), earlier)

    def test_is_left_alone_without_our_marks(self) -> None:
        earlier = "---\nlicense: mit\nconfigs: []\n---\n# My cats\n"
        text = card_text(CARD, earlier)
        assert text.endswith("---\n# My cats\n")
        assert _front(text)["license"] == "mit"
        assert _front(text)["configs"] == metadata(CARD)["configs"]

    @pytest.mark.parametrize("front", ["a: [", "- a\n- b", "just text"])
    def test_is_left_as_it_is_where_its_yaml_is_none(self, front: str) -> None:
        earlier = f"---\n{front}\n---\n{BEGIN}\n{END}\n"
        assert card_text(CARD, earlier) == earlier

    @pytest.mark.parametrize(
        "front",
        ["{license: mit, tags: [a]}\n", "license: &x mit\nother: *x\n", '"license": mit\n',
         "license: mit\nlicense: mit\n", "tags:\n- a\n- b\nlicense: |\n  mit\n", "license: mit"],
    )  # fmt: skip
    def test_is_kept_in_whatever_way_it_is_written(self, front: str) -> None:
        text = card_text(CARD, f"---\n{front}\n---\n")
        found = _front(text)
        assert str(found["license"]).strip() == "mit"
        assert found["configs"] == metadata(CARD)["configs"]
        assert card_text(CARD, text) == text

    def test_gives_way_to_a_licence_that_is_named_now(self) -> None:
        text = card_text(replace(CARD, license="cc0-1.0"), card_text(replace(CARD, license="mit")))
        assert _front(text)["license"] == "cc0-1.0"


@settings(max_examples=soak(60, 3_000), deadline=None)
@example("\r\r", "")  # found by chance: a carriage return that stands alone ends a line as well
@given(st.text(alphabet="ab:-#[]{}|>&*!%@\"'\n \t\r", max_size=60), st.text(max_size=40))
def test_whatever_stands_there_it_is_no_error_and_twice_is_once(front: str, body: str) -> None:
    card = replace(CARD, schema=pa.schema([("image", pa.string())]))
    for earlier in (body, f"---\n{front}\n---\n{body}", f"---\n{front}\n---\n{BEGIN}\n{END}{body}"):
        text = card_text(card, earlier)
        assert card_text(card, text) == text


@pytest.mark.parametrize(
    "front", ["a: " + "[" * 100_000, "a: " + "[" * 100_000 + "]" * 100_000], ids=["open", "closed"]
)
def test_yaml_of_a_hundred_thousand_levels_is_left_as_it_is(front: str) -> None:
    text = f"---\n{front}\n---\n{BEGIN}\n{END}"
    assert card_text(CARD, text) == text


class TestTheCardOfADataset:
    def test_counts_what_lies_in_its_parts(self, dataset: Dataset, spool: Spool) -> None:
        sealed(dataset, spool, 3)
        sealed(dataset, spool, 2, first=4)
        card = card_of(dataset)
        assert (card.pictures, card.spent) == (5, charge(375_012) * 5)
        assert card.made == (Made(FLUX_2_DEV.id, 5, ((64, 48, 5),), (25, 25), None),)
        assert card.size_bytes == sum(dataset.path(part).stat().st_size for part in dataset.parts)
        assert card.unpacked_bytes > 0

    def test_is_kept_up_and_read_by_datasets(self, dataset: Dataset, spool: Spool, tmp_path: Path) -> None:
        sealed(dataset, spool, 2)
        refresh_card(dataset)
        sealed(dataset, spool, 1, first=3)  # and dies before it refreshes the card
        found = load_dataset(str(dataset.folder), split="train", cache_dir=str(tmp_path / "cache"))
        assert sorted(found["prompt"]) == ["picture 1", "picture 2", "picture 3"]
        assert "2 pictures" in (dataset.folder / "README.md").read_text()

    def test_that_is_settled_is_checked_by_datasets_against_its_files(
        self, dataset: Dataset, spool: Spool, tmp_path: Path
    ) -> None:
        sealed(dataset, spool, 2)
        card = replace(card_of(dataset), is_settled=True)
        (dataset.folder / "README.md").write_text(card_text(card))
        found = load_dataset(str(dataset.folder), split="train", cache_dir=str(tmp_path / "cache"))
        assert found.info.splits["train"].num_examples == 2
        assert found.features == Features.from_arrow_schema(dataset.schema)

    def test_is_written_only_when_it_says_something_new_and_never_over_the_users_own(
        self, dataset: Dataset, spool: Spool
    ) -> None:
        path = dataset.folder / "README.md"
        sealed(dataset, spool, 1)
        refresh_card(dataset)
        before = path.stat().st_ino
        refresh_card(dataset)
        assert path.stat().st_ino == before
        path.write_text("my own words")
        refresh_card(dataset)
        assert path.read_text() == "my own words"
        path.unlink()
        refresh_card(dataset)
        assert not path.exists()

    def test_is_left_as_it_is_when_a_part_cannot_be_read(
        self, dataset: Dataset, spool: Spool, caplog: pytest.LogCaptureFixture
    ) -> None:
        (part,) = sealed(dataset, spool, 1)
        refresh_card(dataset)
        before = (dataset.folder / "README.md").read_text()
        for broken in (b"PAR1 no more", None):
            if broken is None:
                dataset.path(part).unlink()
            else:
                dataset.path(part).write_bytes(broken)
            refresh_card(dataset)
            assert (dataset.folder / "README.md").read_text() == before
        assert len(caplog.records) == 2
        assert all("the dataset card was left as it is" in record.message for record in caplog.records)

    def test_of_an_export_counts_what_is_in_its_files(self, dataset: Dataset, spool: Spool, tmp_path: Path) -> None:
        sealed(dataset, spool, 3)
        some = pq.read_table(dataset.path(dataset.parts[0])).slice(0, 2).append_column("score", pa.array([0.1, 0.2]))
        target = tmp_path / "some"
        (target / "data").mkdir(parents=True)
        pq.write_table(some, target / "data" / "train-00000-of-00001.parquet")
        card = card_of_export(dataset, target, "some", marked=True)
        assert (card.pictures, card.spent, card.made[0].pictures) == (2, charge(375_012) * 2, 2)
        (target / "README.md").write_text(card_text(card))
        assert "Each picture says so in its own bytes as well" in card_text(replace(card, simulated=False))
        found = load_dataset(str(target), split="train", cache_dir=str(tmp_path / "cache"))
        assert (len(found), found[1]["score"]) == (2, 0.2)
