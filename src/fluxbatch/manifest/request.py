"""One wanted picture: the request, its key, and what is wrong with a row that is none."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

import pyarrow as pa

from fluxbatch.models.catalogue import Model
from fluxbatch.models.price import Quote, quote
from fluxbatch.plain import plain

COMPLAINT_MAX = 4_000
KEY_VERSION = "fluxbatch-1"
_canonical = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference image, by content: `sha256` is of the original bytes, so a new Pillow never changes a key.

    Sizes are in pixels; `fitted_*` is what is sent. `path` is where the bytes lie, or None when `content` holds them.
    """

    sha256: str
    width: int
    height: int
    fitted_width: int
    fitted_height: int
    path: str | None = None
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OwnColumns:
    """The user's own columns of one row: a view into the batch it was read from, so types stay as they are."""

    batch: pa.RecordBatch
    index: int

    def row(self) -> pa.RecordBatch:
        """The same columns as a batch of one row."""
        return self.batch.slice(self.index, 1)


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One picture that is asked for. `row` counts the manifest's data rows from 1; `sample` counts from 0."""

    row: int
    id: str | None
    model: Model
    prompt: str
    width: int
    height: int
    steps: int
    guidance: float | None
    seed: int | None
    references: tuple[Reference, ...]
    sample: int
    key: str
    own: OwnColumns | None = field(default=None, repr=False, compare=False)
    negative_prompt: str | None = None
    strength: float | None = None
    """How far a picture may leave its reference, 0 to 1."""

    @property
    def quote(self) -> Quote:
        return quote(self.model, self.width, self.height, self.steps, len(self.references))


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong, where, and what to do; as text it is plain.

    `row` is None for a header or a whole file; `line` only in text files.
    """

    file: str
    row: int | None
    column: str | None
    problem: str
    remedy: str
    line: int | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        row = "" if self.row is None else f", row {self.row}"
        column = "" if self.column is None else f", column {self.column}"
        return plain(f"{place}{row}{column}: {self.problem}; {self.remedy}", COMPLAINT_MAX)


def content_digest(
    model: Model,
    prompt: str,
    width: int,
    height: int,
    steps: int,
    guidance: float | None,
    seed: int | None,
    references: tuple[Reference, ...],
    negative_prompt: str | None = None,
    strength: float | None = None,
) -> bytes:
    """SHA-256 of what is sent, references by their content: equal for two rows that ask for the same thing.

    What came later (negative_prompt, strength) counts only where it is given, so that older keys stay as they are.
    """
    pictures = [reference.sha256 for reference in references]
    sent = [KEY_VERSION, model.id, prompt, width, height, steps, guidance, seed, pictures]
    later = {"negative_prompt": negative_prompt, "strength": strength}
    if any(value is not None for value in later.values()):
        sent.append({name: value for name, value in later.items() if value is not None})
    return hashlib.sha256(_canonical(sent).encode()).digest()


def request_key(content: bytes, sample: int) -> str:
    """The key (64 hex digits) of the given sample of a content: what names the ledger entry and the spool file."""
    return hashlib.sha256(content + b"#%d" % sample).hexdigest()
