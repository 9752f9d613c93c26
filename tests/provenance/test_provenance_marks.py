"""The mark goes in, comes back, and leaves all else as it was."""

from __future__ import annotations

import json
import subprocess
import zlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from fluxbatch.dataset.image import inspect
from fluxbatch.provenance import Marked, Provenance, mark, marked, read
from fluxbatch.provenance.packet import SOURCE_TYPE, with_mark
from tests.provenance.pictures_kit import FACTS, OTHERS, decoded, holds_packet, pictures, pieces

KINDS = sorted(pictures())
FOREIGN = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:format>image/jpeg</dc:format>%s</rdf:Description>'
    b'</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mark_is_read_back_and_no_pixel_is_another(kind: str) -> None:
    content = pictures()[kind]
    assert read(content) is None
    found = mark(content, FACTS)
    assert found.unmarked is None
    assert read(found.content) == FACTS
    assert decoded(found.content) == decoded(content)


@pytest.mark.parametrize("kind", KINDS)
def test_everything_else_in_the_file_stays_byte_for_byte(kind: str) -> None:
    before, after = pieces(pictures()[kind]), pieces(marked(pictures()[kind], FACTS))
    added = [piece for piece in after if holds_packet(piece)]
    assert len(added) == 1
    left = [piece for piece in after if not holds_packet(piece)]
    if kind.startswith("webp"):  # whose VP8X says that there is XMP
        assert left[0][:8] == b"VP8X\x0a\0\0\0"
        assert left[0][8] & 0x04
        before, left = ([p for p in found if p[:4] != b"VP8X"] for found in (before, left))
    assert left == before


@pytest.mark.parametrize("kind", KINDS)
def test_marking_twice_gives_the_same_bytes_and_another_mark_takes_the_place_of_ours(kind: str) -> None:
    once = marked(pictures()[kind], FACTS)
    assert marked(once, FACTS) == once
    other = marked(once, OTHERS)
    assert read(other) == OTHERS
    assert marked(other, FACTS) == once


def test_where_the_packet_stands() -> None:
    after = [
        pieces(marked(pictures()[kind], FACTS)) for kind in ("jpeg exif icc", "png exif icc text", "webp exif icc")
    ]
    jpeg, png, webp = after
    assert [piece[1] for piece in jpeg[:2]] == [0xE0, 0xE1]
    assert jpeg[1][4:10] == b"Exif\0\0"
    assert holds_packet(jpeg[2])
    assert jpeg[3][4:15] == b"ICC_PROFILE"
    assert png[0][4:8] == b"IHDR"
    assert holds_packet(png[1])
    assert zlib.crc32(png[1][4:-4]) == int.from_bytes(png[1][-4:], "big")
    assert [piece[:4] for piece in webp] == [b"VP8X", b"ICCP", b"VP8 ", b"EXIF", b"XMP "]


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        ("webp lossy", 0x04),
        ("webp lossless", 0x04),
        ("webp lossless alpha", 0x14),
        ("webp lossy alpha", 0x14),
        ("webp exif icc", 0x2C),
        ("webp animated", 0x06),
    ],
)
def test_an_extended_webp_says_what_is_in_it_and_how_large_it_is(kind: str, flags: int) -> None:
    head = pieces(marked(pictures()[kind], FACTS))[0]
    height = 20 if kind == "webp animated" else 21
    assert (head[8], head[12:15], head[15:18]) == (flags, b"\x20\0\0", (height - 1).to_bytes(3, "little"))


def test_exiftool_reads_every_tag_of_every_kind(tmp_path: Path) -> None:
    for kind in KINDS:
        suffix = {"jpeg": "jpg"}.get(kind.split()[0], kind.split()[0])
        (tmp_path / f"{kind}.{suffix}").write_bytes(marked(pictures()[kind], FACTS))
    command = ["exiftool", "-json", "-G1", "-a", "-validate", "-all", str(tmp_path)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert len(told) == len(KINDS)
    for picture in told:
        found = {name: value for name, value in picture.items() if name.startswith("XMP")}
        assert found == {
            "XMP-iptcExt:DigitalSourceType": SOURCE_TYPE,
            "XMP-iptcExt:AISystemUsed": FACTS.model,
            "XMP-xmp:CreateDate": "2026:11:22 12:30:15.123456Z",
            "XMP-xmp:CreatorTool": "fluxbatch",
            "XMP-fluxbatch:Model": FACTS.model,
            "XMP-fluxbatch:PromptSHA256": FACTS.prompt_sha256,
            "XMP-fluxbatch:Key": FACTS.key,
        }, picture["SourceFile"]
        assert picture["ExifTool:Validate"] == "OK", picture["SourceFile"]


def test_texts_from_outside_are_text_in_the_packet() -> None:
    hostile = "</fluxbatch:Model><x a='\"'/>&amp;]]><!--\r\n\t\x00\x1b[31m\ud800\ufffe " + "é" * 2_000
    facts = Provenance(hostile, "<hash>", "&key;", datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))))
    for kind in KINDS:
        found = mark(pictures()[kind], facts)
        assert found.unmarked is None
        back = read(found.content)
        assert back == facts
        assert back.model.startswith("</fluxbatch:Model><x a='\"'/>&amp;]]><!--\r\n\t\ufffd\ufffd[31m\ufffd\ufffd é")
        assert back.created_at == datetime(2025, 12, 31, 22, tzinfo=UTC)
        assert b"\x1b[31m" not in found.content


def test_the_prompt_itself_is_not_in_the_file() -> None:
    facts = Provenance.of("m", "a very secret lighthouse", "k", FACTS.created_at)
    assert b"lighthouse" not in marked(pictures()["jpeg"], facts)


def test_a_looked_at_picture_is_the_same_but_for_its_bytes() -> None:
    for kind in ("jpeg", "png", "webp lossy"):
        before, after = (inspect(content, 33, 21) for content in (pictures()[kind], marked(pictures()[kind], FACTS)))
        assert (before.check, before.phash) == (after.check, after.phash)
        assert after.check == "wrong_size" or after.check == "ok"


class TestAPacketOfSomebodyElse:
    def test_is_kept_word_for_word_and_ours_stands_in_it(self) -> None:
        packet = FOREIGN % b""
        both = with_mark(packet, FACTS)
        before, _, behind = packet.rpartition(b"</rdf:RDF>")
        assert both.startswith(before)
        assert both.endswith(behind)
        assert with_mark(both, FACTS) == both
        assert with_mark(with_mark(both, OTHERS), FACTS) == both

    @pytest.mark.parametrize("kind", ["jpeg", "png", "webp lossy"])
    def test_a_file_never_has_two(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "picture"
        path.write_bytes(pictures()[kind])
        subprocess.run(["exiftool", "-q", "-overwrite_original", "-XMP-dc:Title=theirs", str(path)], check=True)
        theirs = path.read_bytes()
        found = mark(theirs, FACTS)
        assert found.unmarked is None
        assert read(found.content) == FACTS
        assert sum(map(holds_packet, pieces(found.content))) == sum(map(holds_packet, pieces(theirs))) == 1
        assert marked(found.content, FACTS) == found.content
        path.write_bytes(found.content)
        told = json.loads(subprocess.run(["exiftool", "-j", str(path)], capture_output=True, check=True).stdout)[0]
        assert (told["Title"], told["DigitalSourceType"], told["Key"]) == ("theirs", SOURCE_TYPE, FACTS.key)
        assert decoded(found.content) == decoded(pictures()[kind])

    @pytest.mark.parametrize(
        "inside",
        [
            b'<xmp:CreatorTool xmlns:xmp="http://ns.adobe.com/xap/1.0/">theirs</xmp:CreatorTool>',
            b"<dc:x></rdf:RDF>",
            b"\xff",
        ],
    )
    def test_that_says_something_else_or_is_broken_stays_and_it_is_said(self, inside: bytes) -> None:
        content = _with_packet(FOREIGN % inside)
        assert mark(content, FACTS) == Marked(
            content, "has an XMP packet that says something else already, or that cannot be read"
        )

    def test_with_entities_is_never_expanded(self) -> None:
        bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + FOREIGN % b"&b;"
        assert mark(_with_packet(bomb), FACTS).unmarked is not None

    def test_that_is_twice_in_a_file_stays_and_it_is_said(self) -> None:
        content = marked(_with_packet(FOREIGN % b""), FACTS)
        twice = content[:2] + pieces(_with_packet(FOREIGN % b""))[0] + content[2:]
        assert mark(twice, FACTS) == Marked(twice, "has more than one XMP packet")
        assert read(twice) is None

    def test_that_leaves_no_room_in_a_jpeg_stays_and_it_is_said(self) -> None:
        content = _with_packet(FOREIGN % (b" " * 65_000))
        assert mark(content, FACTS) == Marked(content, "has no room for a mark in its XMP packet")


def _with_packet(packet: bytes) -> bytes:
    """A JPEG that begins with this packet."""
    inside = b"http://ns.adobe.com/xap/1.0/\0" + packet
    content = pictures()["jpeg"]
    return content[:2] + b"\xff\xe1" + (len(inside) + 2).to_bytes(2, "big") + inside + content[2:]


def test_a_signed_picture_stays_as_it_is_and_it_is_said() -> None:
    jpeg, png, webp = (pictures()[kind] for kind in ("jpeg", "png", "webp exif icc"))
    chunk = b"caBX" + b"jumb"
    signed = [
        jpeg[:2] + b"\xff\xeb\0\x08JP\0\1xx" + jpeg[2:],
        png[:33] + b"\0\0\0\4" + chunk + zlib.crc32(chunk).to_bytes(4, "big") + png[33:],
        webp[:4] + (len(webp) + 4).to_bytes(4, "little") + webp[8:] + b"C2PA\4\0\0\0jumb",
    ]
    for content in signed:
        assert decoded(content)
        assert mark(content, FACTS) == Marked(content, "is signed (C2PA), and a mark would break the signature")


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\4\0\0\0WEBP"]
)
def test_other_formats_stay_as_they_are_and_it_is_said(content: bytes) -> None:
    found = mark(content, FACTS)
    assert found.content == content
    assert found.unmarked is not None
    assert read(content) is None
