"""What else comes from outside: dates, addresses, sums of charges; and bounds that have to fit the catalogue."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from fluxbatch.cloudflare.answer import PICTURE_BYTES_MAX
from fluxbatch.cloudflare.client import BODY_BYTES_MAX, Client, Credentials
from fluxbatch.cloudflare.redact import redact
from fluxbatch.cloudflare.when import date_of
from fluxbatch.cloudflare.wording import PROMPT, without
from fluxbatch.dataset.image import PIXELS_MAX
from fluxbatch.errors import FluxbatchError, UsageError
from fluxbatch.models.catalogue import FLUX_2_DEV, MODELS
from fluxbatch.models.money import CENTINEURONS_MAX, charge
from tests.hostile.hostile_kit import ACCOUNT, TOKEN
from tests.hostile.judge import UNSHOWN

DATES = {
    "Sun, 22 Nov 2026 18:31:00 GMT": datetime(2026, 11, 22, 18, 31, tzinfo=UTC),
    "Sun, 22 Nov 2026 18:31:00 -0000": datetime(2026, 11, 22, 18, 31, tzinfo=UTC),
    "Sun, 22 Nov 2026 18:31:00": datetime(2026, 11, 22, 18, 31, tzinfo=UTC),
    "Sun, 22 Nov 2026 18:31:00 +99999999999999999999": None,
    "Sun, 31 Feb 2026 18:31:00 GMT": None,
    "yesterday": None,
    "": None,
}


@pytest.mark.parametrize("text", DATES)
async def test_a_date_of_the_platform_is_aware_or_none_so_the_doctor_can_compare_it(text: str) -> None:
    """`doctor` ended in a traceback: a date without a zone cannot be compared, one with an absurd zone not be read."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ndate: %s\r\n\r\n" % text.encode()

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(say, "127.0.0.1", 0)
    async with (
        listener,
        Client(_credentials(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"), connections=1) as client,
    ):
        found = await client.server_time(FLUX_2_DEV)
    assert found == DATES[text] == date_of(text)
    assert found is None or abs(found - datetime.now(UTC)) > timedelta()


def _credentials(base_url: str) -> Credentials:
    return Credentials(ACCOUNT, SecretStr(TOKEN), base_url)


@pytest.mark.parametrize(
    "url", ["http://exa mple/", "http://[", "https://a\x1b[31m", "http://a:99999999/", "https://\u202egpj/\x00"]
)
def test_an_address_that_httpx_cannot_take_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="CLOUDFLARE_BASE_URL"):
        _credentials(url)


def test_what_is_shown_of_an_error_is_plain_whoever_shows_it() -> None:
    assert str(FluxbatchError("a\x1b[31m\u202e\x9b\nb")) == "a\\x1b[31m\\u202e\\x9b\\nb"
    assert not UNSHOWN.search(str(UsageError("".join(map(chr, range(0x10000))))))


def test_the_bounds_leave_room_for_the_largest_picture_of_the_catalogue() -> None:
    areas = {model.name: model.side_max**2 for model in MODELS}
    assert max(areas.values()) <= PIXELS_MAX
    assert areas.pop("lucid-origin") * 2 <= PICTURE_BYTES_MAX, "a PNG of a photograph; a JPEG has a tenth of that"
    assert max(areas.values()) * 3 <= PICTURE_BYTES_MAX, "even one that is not compressed at all"
    assert PICTURE_BYTES_MAX * 4 // 3 < BODY_BYTES_MAX


def test_the_charges_of_all_that_can_be_in_flight_add_up_exactly() -> None:
    """SQLite goes on with floats beyond 63 bits: 84 headers of ten trillion neurons made the ledger a float."""
    assert 10_000 * charge(CENTINEURONS_MAX).nano_usd < 2**63


@pytest.mark.parametrize(
    ("prompt", "message", "told"),
    [
        ("a red fox in snow", "flagged: a red fox in snow!", f"flagged: {PROMPT}!"),
        ("a red fox in snow", "a red fox in snow a red fox in snow", f"{PROMPT} {PROMPT}"),
        ("x" * 50 + "tail", "bad " + "x" * 50 + "ta… (cut)", f"bad {PROMPT}… (cut)"),
        ("fox", "the fox is out", "the fox is out"),
        ("", "nothing", "nothing"),
    ],
)
def test_a_prompt_that_an_error_quotes_is_left_out(prompt: str, message: str, told: str) -> None:
    assert without(prompt, message) == told


def test_a_token_that_hangs_on_another_word_is_redacted() -> None:
    """Found by a mutant (seed 20282106): an escape in front of it ended in a digit, so that no word began there."""
    assert "Canary" not in redact("\\ud800cfut_HostileCanary0123456789 and xcfat_HostileCanary")
