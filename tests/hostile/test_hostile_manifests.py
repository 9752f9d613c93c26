# ruff: noqa: E501 - the tables are read by their rows
"""Manifests that nobody should write: no traceback, every complaint at once, quick, small, and fit for a terminal."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import struct
import time
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxbatch.errors import ManifestError, UsageError
from fluxbatch.manifest.reader import Rejected
from fluxbatch.manifest.rejected import RejectedWriter
from tests.hostile.hostile_kit import Memory
from tests.hostile.judge import UNSHOWN
from tests.hostile.makers import made
from tests.manifest.manifest_kit import opened, picture, written
from tests.soak import soak

CPU_S_MAX = 2.0
GROWN_BYTES_MAX = 160 * 1024 * 1024
MANGLED = soak(1_000, 50_000)
ESCAPE, OVERRIDE, C1, ZERO_WIDTH = "\x1b[31m", "\u202e", "\x9b2J", "\u200b"


def told(path: Path) -> tuple[int, list[str]]:
    """How many pictures a manifest asks for, and everything that is said about it; rejected rows are written down."""
    before, memory = time.process_time(), Memory()
    said: list[str] = []
    pictures = 0
    try:
        manifest = opened(path)
        said += map(str, manifest.complaints)
        with RejectedWriter(io.BytesIO(), manifest.headers) as writer:
            for row in manifest.rows():
                if isinstance(row, Rejected):
                    writer.add(row)
                    said += map(str, row.complaints)
                else:
                    pictures += 1
    except UsageError as error:
        said += [str(error), *(map(str, error.complaints) if isinstance(error, ManifestError) else ())]
    assert time.process_time() - before < CPU_S_MAX
    assert memory.grown_bytes() < GROWN_BYTES_MAX
    assert [one for one in said if UNSHOWN.search(one)] == []
    return pictures, said


def lines(*rows: object) -> str:
    return "\n".join(json.dumps(row) for row in rows)


TEXTS: dict[str, tuple[str, bytes | str | Callable[[], bytes | str], int, str]] = {
    "nul": ("m.csv", "prompt\na\0b\nc\n", 1, "line 2 holds a NUL"),
    "nul in the header": ("m.csv", "pro\0mpt\na\n", 0, "NUL"),
    "byte-order mark": ("m.csv", "\ufeffprompt\na\n", 1, ""),
    "utf-16": ("m.csv", "prompt\na\n".encode("utf-16"), 0, "UTF-16"),
    "latin-1": ("m.csv", "prompt\ncafé\nb\n".encode("latin-1"), 1, "byte 4 of line 2 (0xE9) is not UTF-8"),
    "two encodings": ("m.csv", b"prompt\ncaf\xc3\xa9\ncaf\xe9\n", 1, "line 3"),
    "a cell of 10 MB": ("m.csv", lambda: "prompt\n" + "a" * 10_000_000, 0, "longer than 131072"),
    "an own cell of 10 MB": ("m.tsv", lambda: "prompt\tx\na\t" + "b" * 10_000_000, 1, ""),
    "a quoted cell of 10 MB": ("m.tsv", lambda: 'prompt\tx\na\t"' + "b" * 10_000_000 + '"\n', 1, ""),
    "10 million quotes": ("m.tsv", lambda: "prompt\tx\na\t" + '"' * 10_000_001, 0, "quote"),
    "a json text of 10 MB": ("m.jsonl", lambda: lines({"prompt": "a", "x": "b" * 10_000_000}), 1, ""),
    "a key twice among 100,000": (
        "m.jsonl",
        lambda: "{" + ",".join(f'"k{index}":1' for index in range(100_000)) + ',"k99999":1}',
        0,
        "'k99999' stands twice",
    ),
    "a header twice": ("m.csv", "prompt,a,a\nx,1,2\n", 1, "more than once"),
    "no prompt column": ("m.csv", "a,b\n1,2\n", 0, "no prompt column"),
    "a header that acts": ("m.csv", f"prompt,{ESCAPE}{OVERRIDE}{C1}x,seeed\nb,c,d\n", 1, "seed"),
    "a missing column that acts": ("m.csv", f"{ESCAPE}{C1}\nb\n", 0, "\\x1b[31m\\x9b2J"),
    "a million empty lines": ("m.csv", lambda: "prompt\na\n" + "\n" * 1_000_000 + "b\n", 2, ""),
    "a million empty json lines": ("m.jsonl", lambda: '{"prompt":"a"}\n' + "\n" * 1_000_000, 1, ""),
    "lines that end in CR": ("m.csv", "prompt\ra\rb\r", 2, ""),
    "10,000 cells in a row": ("m.csv", "prompt\n" + ",".join("x" * 10_000) + "\n", 0, "10000 cells"),
    "10,000 headers": ("m.csv", ",".join(f"h{index}" for index in range(10_000)) + "\n1\n", 0, "at most 2000"),
    "a quote that never closes": ("m.csv", 'prompt\n"a\nb\nc\n', 0, "never closed"),
    "nothing": ("m.csv", "", 0, "empty"),
    "formulas": ("m.csv", "prompt,note\n=cmd|' /C calc'!A0,@SUM(1)\n+1,-1\n", 2, ""),
    "json nested 100,000 deep": ("m.jsonl", '{"prompt":"a","x":' + "[" * 100_000 + "]" * 100_000 + "}", 0, "nested too deeply"),
    "json with 10,000 digits": ("m.jsonl", '{"prompt":"a","x":' + "9" * 10_000 + "}", 0, "10000 digits"),
    "a seed of 30 digits": ("m.jsonl", '{"prompt":"a","seed":' + "9" * 30 + "}", 0, "out of range"),
    "json infinity": ("m.jsonl", '{"prompt":"a","x":1e999}', 0, "too large"),
    "json not utf-8": ("m.jsonl", b'{"prompt":"a\xff"}\n{"prompt":"b"}', 1, "not UTF-8"),
    "half a character": ("m.jsonl", '{"prompt":"a\\ud800"}', 0, "half of a character"),
    "json of other types": ("m.jsonl", lines({"prompt": 1}, {"prompt": ["a"]}, {"prompt": None}, {"prompt": {}}), 0, "row 4"),
    "a gzip that is cut": ("m.csv.gz", gzip.compress(b"prompt\na\n")[:-5], 0, "cannot be read"),
    "a gzip bomb in one line": ("m.csv.gz", lambda: gzip.compress(b"prompt\n" + b"a" * 50_000_000), 0, "no manifest"),
    "no gzip": ("m.csv.gz", b"prompt\na\n", 0, "cannot be read"),
    "parquet that is text": ("m.parquet", b"prompt\na\n", 0, "Parquet"),
    "parquet with a lying length": ("m.parquet", b"PAR1" + b"\0" * 20 + struct.pack("<I", 2**32 - 1) + b"PAR1", 0, "Parquet"),
    "every line broken": ("m.jsonl", '{nope}\n[1]\n{"prompt":NaN}\n', 0, "line is a list"),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_a_hostile_text_is_told_in_full_and_takes_little(tmp_path: Path, name: str) -> None:
    file, content, pictures, says = TEXTS[name]
    found, said = told(written(tmp_path, file, content() if callable(content) else content))
    assert found == pictures
    assert says in "\n".join(said)
    assert bool(said) == bool(says)


IDS = (
    "..", ".", "CON", "NUL", "con.txt", "a/b", "../../x", "/etc/passwd", "\U0001f600", "-rf", "$(id)", "%00", "\\\\srv\\x",
    "'; DROP TABLE attempts;--", f"{OVERRIDE}gpj.exe", f"{ESCAPE}red", f"a{ZERO_WIDTH}b",
)  # fmt: skip


@pytest.mark.parametrize("name", IDS)
def test_an_id_is_only_a_text(tmp_path: Path, name: str) -> None:
    assert told(written(tmp_path, "m.jsonl", lines({"prompt": "a", "id": name}))) == (1, [])


@pytest.mark.parametrize("name", ["a" * 10_000, "\0", "a\0b"])
def test_an_id_that_cannot_be_kept_is_a_complaint(tmp_path: Path, name: str) -> None:
    pictures, (said,) = told(written(tmp_path, "m.jsonl", lines({"prompt": "a", "id": name})))
    assert pictures == 0
    assert "m.jsonl:1, row 1, column id: " in said


# References


@lru_cache
def _bytes_of(call: str) -> bytes:
    content = made(call)
    assert isinstance(content, bytes)
    return content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A manifest's folder with what can lie in one; a picture outside of it."""
    folder = tmp_path / "manifest"
    folder.mkdir()
    written(tmp_path, "outside.png", picture(20, 20))
    written(folder, "text.png", "root:x:0:0:root:/root:/bin/bash\n")
    os.mkfifo(folder / "fifo.png")
    for name, target in {
        "loop.png": "loop.png",
        "zero.png": "/dev/zero",
        "secret.png": "/etc/passwd",
        "linked.png": "../outside.png",
    }.items():
        (folder / name).symlink_to(target)
    (folder / "folder.png").mkdir()
    written(folder, "empty.png", b"")
    written(folder, "large.png", b"\x89PNG\r\n\x1a\n")
    os.truncate(folder / "large.png", 60_000_000)
    for name, call in {
        "says-60000": "png_says 60000 60000",
        "truly-8192": "png_true 8192 8192",
        "exif": "jpeg_exif 4000",
        "half": "cut 500 png",
    }.items():
        written(folder, f"{name}.png", _bytes_of(call))
    return folder


REFUSED = {
    "../../etc/passwd": "leads out", "../outside.png": "leads out", "sub/../../outside.png": "leads out", "..": "leads out",
    "/etc/passwd": "no PNG", "//etc/passwd": "no PNG", "/proc/self/environ": "no PNG", "/dev/zero": "no file",
    "/dev/tty": "no file", "fifo.png": "no file", "zero.png": "no file", "loop.png": "symbolic links",
    "secret.png": "no PNG", "text.png": "no PNG", "folder.png": "no file", "empty.png": "no PNG", "large.png": "over 50", "says-60000.png": "bomb",
    "truly-8192.png": "megapixels", "exif.png": "damaged", "half.png": "damaged", "a" * 5_000: "too long",
    "file:///etc/passwd": "is an address", "~/x.png": "does not exist", "$HOME/x.png": "does not exist", ".": "no file",
    f"{ESCAPE}{OVERRIDE}.png": "does not exist", "a\0b": "NUL", "http://169.254.169.254/latest": "is an address",
}  # fmt: skip


@pytest.mark.parametrize("path", REFUSED)
def test_a_reference_that_is_no_picture_of_the_users_never_leaves(folder: Path, path: str) -> None:
    """What an absolute path or a link names is the user's business, and only a picture that was decoded is sent: so no
    manifest from elsewhere can send /etc/passwd. A relative path that climbs out is a mistake or worse."""
    pictures, (said,) = told(written(folder, "m.jsonl", lines({"prompt": "a", "input_image_0": path})))
    assert pictures == 0
    assert "m.jsonl:1, row 1, column input_image_0: " in said
    assert REFUSED[path] in said
    assert "root:" not in said


def test_a_picture_elsewhere_is_taken_by_link_and_by_absolute_path(folder: Path) -> None:
    paths = ("linked.png", str(folder.parent / "outside.png"))
    rows = lines(*({"prompt": "a", "input_image_0": path} for path in paths))
    assert told(written(folder, "m.jsonl", rows)) == (2, [])


@pytest.mark.parametrize("target", ["fifo.csv", "/dev/zero", "loop.csv", "a" * 5_000 + ".csv"])
def test_a_manifest_that_is_no_file_is_said_and_not_waited_for(tmp_path: Path, target: str) -> None:
    os.mkfifo(tmp_path / "fifo.csv")
    path = tmp_path / "m.csv"
    path.symlink_to("m.csv" if target == "loop.csv" else "fifo.csv" if target == "fifo.csv" else target[:200])
    pictures, said = told(tmp_path / target if len(target) > 1000 else path)
    assert (pictures, len(said)) == (0, 1)


# Parquet

BAD_TEXT = pa.StringArray.from_buffers(2, pa.py_buffer(struct.pack("<iii", 0, 2, 3)), pa.py_buffer(b"\xff\xfea"))


@pytest.mark.parametrize("column", ["prompt", "id", "own"])
def test_text_of_a_parquet_file_that_is_not_utf8_is_a_complaint_of_its_row(tmp_path: Path, column: str) -> None:
    """pyarrow reads it unseen, and fails when it is looked at: with a traceback, in the middle of a run."""
    pq.write_table(pa.table({"prompt": ["x", "y"]} | {column: BAD_TEXT}), tmp_path / "m.parquet")
    pictures, (said,) = told(tmp_path / "m.parquet")
    assert pictures == 1
    assert f"row 1, column {column}: the text is not UTF-8" in said


@pytest.mark.parametrize("column", ["seed", "own"])
def test_a_time_zone_that_nobody_knows_is_a_complaint(tmp_path: Path, column: str) -> None:
    times = pa.array([1, 2], pa.timestamp("us", tz="Mars/Phobos"))
    pq.write_table(pa.table({"prompt": ["", "b"], column: times}), tmp_path / "m.parquet")
    pictures, (said,) = told(tmp_path / "m.parquet")
    assert pictures == 0
    assert "Mars/Phobos" in said


def zigzag(number: int) -> bytes:
    """A number as Parquet's footer writes it (https://github.com/apache/thrift/blob/master/doc/specs)."""
    number, septets = number * 2, []
    while number > 0x7F:
        septets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*septets, number])


@pytest.mark.parametrize("checksums", [True, False])
def test_a_footer_that_places_a_column_elsewhere_is_said_and_takes_no_memory(tmp_path: Path, checksums: bool) -> None:
    """Two bytes off, what lies there reads as a page of 566 MB and no rows: nothing was said (mutant 9994)."""
    whole = tmp_path / "whole.parquet"
    table = pa.table({"prompt": ["a", "b"] * 50, "seed": range(100)})
    pq.write_table(table, whole, write_page_checksum=checksums)
    content, column = whole.read_bytes(), pq.read_metadata(whole).row_group(0).column(1)
    pages = zigzag(column.data_page_offset) + b"\x26"
    before, right, after = content.rpartition(pages + zigzag(column.dictionary_page_offset))
    moved = pages + zigzag(column.dictionary_page_offset + 2)
    assert len(moved) == len(right)
    pictures, said = told(written(tmp_path, "m.parquet", before + moved + after))
    assert pictures == 0
    assert "the file is damaged" in said[0]


def test_rows_that_a_footer_promises_and_that_are_not_there_are_missed(tmp_path: Path) -> None:
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.table({"prompt": ["a", "b"] * 50}), whole)
    content, footer_at = whole.read_bytes(), -8 - pq.read_metadata(whole).serialized_size
    footer = content[footer_at:]
    for at in range(len(footer)):  # the first 100 that is the file's: the others are its row group's, its column's...
        if footer[at:].startswith(b"\x16" + zigzag(100)):
            more = footer[:at] + b"\x16" + zigzag(101) + footer[at + 3 :]
            break
    _, said = told(written(tmp_path, "m.parquet", content[:footer_at] + more))
    assert "its footer speaks of 101 rows, 1 are not there" in said[0]


@pytest.mark.parametrize("checksums", [True, False])
def test_a_mangled_parquet_file_never_raises_what_is_no_complaint(tmp_path: Path, checksums: bool) -> None:
    whole = tmp_path / "whole.parquet"
    columns = {"prompt": ["a", "b"] * 50, "id": [str(n) for n in range(100)], "seed": range(100), "own": [[1]] * 100}
    pq.write_table(
        pa.table({name: list(values) for name, values in columns.items()}), whole, write_page_checksum=checksums
    )
    content, ends = whole.read_bytes(), Counter[str]()
    for seed in range(MANGLED // 2):
        chance = random.Random(seed)
        mangled = bytearray(content[: chance.randrange(len(content))] if seed % 5 == 0 else content)
        for _ in range(chance.choice((1, 2, 5))):
            if mangled:
                mangled[chance.randrange(len(mangled) // 2 * (seed % 2), len(mangled))] = chance.randrange(256)
        path = written(tmp_path, "m.parquet", bytes(mangled))
        pictures, said = told(path)
        ends["read" if not said else "rows refused" if pictures else "refused"] += 1
    assert ends["refused"] > MANGLED // 10, ends
    assert ends["read"] + ends["rows refused"] > MANGLED // 50, ends
