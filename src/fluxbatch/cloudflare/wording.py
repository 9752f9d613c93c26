"""What Cloudflare's words say, where its code does not: 3030 is a catch-all, and new codes come unannounced. Pure.

The words decide about money, so a doubt goes to the dearer side: a flag counts as one of the output unless the sentence
says that the prompt *is what was flagged*, and what is not understood is unknown.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

Meaning: TypeAlias = Literal["internal", "prompt refused", "output refused", "parameter", "unknown"]

_INTERNAL = re.compile(r"internal(?: server)? error|unexpected error|timed? ?out", re.IGNORECASE)
_FLAGGED = re.compile(r"\bflagged\b|\bnsfw\b", re.IGNORECASE)
_OF_THE_OUTPUT = re.compile(r"\b(?:outputs?|generated|results?|response)\b", re.IGNORECASE)
_OF_THE_PROMPT = re.compile(
    # The prompt is what was flagged ("Input prompt contains NSFW"), not what to change ("choose another prompt").
    r"(?:^|[.:;,]\s*)(?:(?:your|the|this|input|text|user)\s+)*(?:input|prompt|input_image\w*|input images?)\s+"
    r"(?:text\s+|images?\s+)?(?:was|were|is|has been|have been|contains?|flagged)\b"
    r"|\b(?:nsfw|flagged)\b[^.;:]{0,30}\bin (?:your |the )?(?:input|prompt)\b",
    re.IGNORECASE,
)
_NAMES = r"(?:image )?(?:width|height|size|steps|num_steps|guidance|seed|prompt|input[_ ]images?\w*)"
_PARAMETER = re.compile(
    rf"\b(?:max|min|maximum|minimum) (?:allowed )?{_NAMES}\b|\btoo (?:many|few) (?:input )?(?:images|steps)\b"
    rf"|\b{_NAMES}['\"]? (?:must|should|cannot|can't|is required|is missing|exceeds?|is out of range|is too)\b",
    re.IGNORECASE,
)


def meaning_of(message: str) -> Meaning:
    """What a message of Cloudflare says went wrong (CLOUDFLARE.md section 5, row 3030)."""
    if _INTERNAL.search(message):
        return "internal"
    output = _OF_THE_OUTPUT.search(message)
    if _FLAGGED.search(message):
        return "prompt refused" if _OF_THE_PROMPT.search(message) and not output else "output refused"
    return "parameter" if _PARAMETER.search(message) and not output else "unknown"
