"""Whatever the bytes are: no exception, and no pixel is another."""

from __future__ import annotations

import warnings

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxbatch.provenance import mark, read
from tests.provenance.pictures_kit import FACTS, decoded, pictures
from tests.soak import soak

SOUND = sorted(pictures().values())


def _seen(content: bytes) -> object:
    """What a decoder makes of it: pixels, or the kind of its refusal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return decoded(content)
        except Exception as error:  # noqa: BLE001 - decoders raise what they like; the same before and after
            return type(error)


def _judge(content: bytes) -> None:
    before = read(content)
    found = mark(content, FACTS)
    if found.unmarked is None:
        assert read(found.content) == FACTS
        assert mark(found.content, FACTS) == found
    else:
        assert found.content == content
        assert before in (None, FACTS)
    assert _seen(found.content) == _seen(content)


EXAMPLES = soak(150, 20_000)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A sound picture, marked or not, that was cut, flipped, stuffed or stitched together with another."""
    content = draw(st.sampled_from(SOUND))
    if draw(st.booleans()):
        content = mark(content, FACTS).content
    changed = bytearray(content)
    for _ in range(draw(st.integers(0, 4))):
        # Most of what can go wrong stands at the beginning.
        at = draw(st.integers(0, len(changed) - 1) | st.integers(0, min(200, len(changed) - 1)))
        changed[at] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        changed = changed[: draw(st.integers(0, len(changed)))]
    if draw(st.booleans()):
        at = draw(st.integers(0, len(changed)))
        changed[at:at] = draw(st.binary(max_size=40))
    if draw(st.booleans()):
        changed += draw(st.sampled_from(SOUND) | st.binary(max_size=40))
    return bytes(changed)


@settings(max_examples=EXAMPLES, deadline=None)
@given(damaged())
def test_damaged_bytes_are_no_error_and_show_what_they_showed(content: bytes) -> None:
    _judge(content)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBP"]), st.binary(max_size=200))
def test_any_bytes_are_no_error_and_show_what_they_showed(signature: bytes, content: bytes) -> None:
    _judge(signature + content)


def test_every_cut_of_a_picture_is_no_error_and_shows_what_it_showed() -> None:
    for content in SOUND:
        for end in range(0, len(content), soak(41, 1)):
            _judge(content[:end])
