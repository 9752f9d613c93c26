"""A name that is made of columns is always safe: whatever stands in them, on whatever disk it comes to lie."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxbatch.errors import UsageError
from fluxbatch.export.names import NAME_BYTES_MAX, cleaned, folded, named
from fluxbatch.export.template import parsed
from tests.soak import soak

SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("seed", pa.int64()), ("guidance", pa.float64()), ("usd", pa.decimal128(18, 9)),
        ("key", pa.string()), ("tags", pa.list_(pa.string())), ("when", pa.timestamp("us", tz="UTC")),
        ("a:b", pa.string()), ("raw", pa.binary()), ("ok", pa.bool_()), ("Id", pa.string()),
    ]
)  # fmt: skip
EVIL = st.sampled_from(
    ["..", "/", "\\", "\0", "\n", "CON", "nul.", "com1", "LPT¹", ".", " ", "-rf", "=", "@", "\u202e", "\u200b", "é",
     "e\u0301",     "\ufb01", "\u3164", "~", "$(x)", "%s", "C:", "::$DATA", "🐱", "İ", "ß", "\ud7ff", "\U000e0041",
     "a" * 300, "語" * 99]
)  # fmt: skip
TEXTS = st.lists(EVIL | st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=5).map("".join)
TEMPLATES = st.sampled_from(["{id}", "{id}{Id}", "{id}/{Id}", "x-{id}.jpg", "{id:.3}/{Id}/y{id}", "CO{id}", "..{id}"])
DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\.|$)", re.IGNORECASE)


def check_safe(name: str) -> None:
    """What every system agrees on."""
    assert name not in ("", ".", "..")
    assert len(name.encode()) <= NAME_BYTES_MAX
    assert not re.search(r'[<>:"/\\|?*\s$`~!&;%\']', name)
    assert all(
        unicodedata.category(one)[0] in "LMNPS" and unicodedata.category(one) not in ("Cf", "Cc") for one in name
    )
    assert name[0] not in ".-=+@~"
    assert name[-1] not in ". "
    assert not DEVICES.match(name)
    assert unicodedata.is_normalized("NFC", name)


@settings(max_examples=soak(120, 30_000), deadline=None)
@given(TEMPLATES, TEXTS, TEXTS)
@example("{id}", "..", "")
@example("{id}/{Id}", "../../etc", "passwd")
@example("{id}{Id}", "CO", "N")
@example("CO{id}", "M1.txt", "")
def test_every_name_is_safe_and_of_the_template_s_depth(template: str, one: str, other: str) -> None:
    stem = parsed(template, SCHEMA).stem({"id": one, "Id": other})
    steps = stem.split("/")
    assert len(steps) == template.count("/") + 1
    for step in steps:
        check_safe(step)
        assert named(step) == step
    assert Path("/export", stem).resolve().is_relative_to("/export")


@given(TEXTS, TEXTS)
def test_names_that_a_disk_takes_for_one_have_one_fold(one: str, other: str) -> None:
    first, second = named(cleaned(one)), named(cleaned(other))
    same = any(
        change(first) == change(second)
        for change in (str, str.lower, str.upper, lambda name: unicodedata.normalize("NFD", name).casefold())
    )
    assert not same or folded(first) == folded(second)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=100, max_size=300), st.integers(0, 99))
def test_what_is_cut_stays_two_names(text: str, at: int) -> None:
    other = text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :]
    one, two = (named(cleaned(value * 3)) for value in (text, other))
    if len((text * 3).encode()) > 400 and all(one.isalnum() for one in text + other):
        assert folded(one) != folded(two)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{seed:06}-{id}.PNG", "000042-a_cat"),
        ("{guidance:.1f}", "3.5"),
        ("{guidance}_{usd}", "3.5_0.041251320"),
        ("{key:.4}", "abcd"),
        ("{when}", "20261122T123015.000007"),
        ("{ok}", "true"),
        ("{{{seed}}}", None),
        ("{a:b}-{SEED}", "none-42"),
        ("{id}.jpeg", "a_cat"),
        ("{id}.v2", "a_cat.v2"),
    ],
)
def test_a_template_is_read_as_it_says(template: str, name: str | None) -> None:
    import datetime as dt
    from decimal import Decimal

    when = dt.datetime(2026, 11, 22, 12, 30, 15, 7, tzinfo=dt.UTC)
    row = {"seed": 42, "id": "a cat", "guidance": 3.5, "usd": Decimal("0.041251320"), "key": "abcdef", "when": when,
           "ok": True, "a:b": None}  # fmt: skip
    if name is None:
        with pytest.raises(UsageError, match=r"'\{' cannot be in a name"):
            parsed(template, SCHEMA)
    else:
        assert parsed(template, SCHEMA).stem(row) == name


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("", "has no name"),
        ("/etc/{id}", "a slash at the beginning"),
        ("{id}/", "a slash at the beginning or the end"),
        ("a//b", "two together"),
        ("../{id}", "dots alone"),
        ("{id", "a { without its other half"),
        ("id}", "a } without its other half"),
        ("{id:06}", "'id' takes a length"),
        ("{seed:.3}", "'seed' takes a width"),
        ("{guidance:9}", "'guidance' takes decimals"),
        ("{when:%Y}", "'when' takes nothing behind a colon"),
        ("{tags}", "list.* is no name"),
        ("{raw}", "binary, which is no name"),
        ("{ID}", "'ID' may be any of 'id', 'Id'"),
        ("{id.__class__}", r"no column 'id.__class__'"),
        ("{}", "no column ''"),
        ("a\\b:{id}", r"':', '\\\\' cannot be in a name"),
        ("a/b/c/d/e/f/g/h/{id}", "at most 7 folders"),
    ],
)
def test_a_wrong_template_is_said(template: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"{said}.*columns: id, seed"):
        parsed(template, SCHEMA)


def test_all_that_is_wrong_with_a_template_is_said_at_once() -> None:
    with pytest.raises(UsageError, match=r"no column 'sed'.*did you mean 'seed'.*no column 'nme'.*'id' takes a length"):
        parsed("{sed}-{nme}-{id:d}", SCHEMA)
