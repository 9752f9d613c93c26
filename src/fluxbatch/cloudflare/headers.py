"""What the headers of an answer say. Pure; names are lower-case, values are whatever came."""

from __future__ import annotations

from collections.abc import Mapping

from fluxbatch.cloudflare.redact import plain, redact
from fluxbatch.models.money import ZERO, Money, charge_of_header


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Cloudflare's id of the request, fit to be shown."""
    text = headers.get("cf-ai-req-id") or headers.get("cf-ray") or ""
    return plain(redact(text[:200].strip()), 100) or None


def encoding_of(headers: Mapping[str, str]) -> str:
    """How the body is encoded, or nothing; identity was asked for, and nothing else is decoded."""
    encoding = headers.get("content-encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding


def charge_of(headers: Mapping[str, str]) -> Money | None:
    """What Cloudflare says it took; None when it does not say, or nothing that can be read."""
    return charge_of_header(headers.get("cf-ai-neurons", ""))


def names_a_charge(headers: Mapping[str, str]) -> bool:
    """Whether there is a charge that is not plainly nothing; one that cannot be read may be anything."""
    text = headers.get("cf-ai-neurons")
    return text is not None and charge_of_header(text) != ZERO
