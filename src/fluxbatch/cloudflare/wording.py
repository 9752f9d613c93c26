"""What Cloudflare's words say, where its code does not: 3030 is a catch-all, and new codes come unannounced. Pure.

The words decide about money, so a doubt goes to the dearer side: a flag counts as one of the output unless the sentence
says that the prompt *is what was flagged*, and what is not understood is unknown.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

QUOTED_MIN = 8
QUOTED_HEAD = 40
PROMPT = "[prompt]"

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


def without(prompt: str, message: str) -> str:
    """The message with every quotation of the prompt replaced by a word: whole, or from its beginning on.

    A prompt of a few characters stays: it would be found in any sentence, and gives nothing away.
    """
    head = prompt[:QUOTED_HEAD]
    if len(head) < QUOTED_MIN:
        return message
    pieces = message.split(head)
    return PROMPT.join([pieces[0], *(_after(piece, prompt[len(head) :]) for piece in pieces[1:])])


def _after(text: str, rest: str) -> str:
    """The text without what it shares with the rest of the prompt at its beginning."""
    shared = 0
    for ours, theirs in zip(rest, text, strict=False):
        if ours != theirs:
            break
        shared += 1
    return text[shared:]
