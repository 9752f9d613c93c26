"""One wanted picture: the request, its key, and what is wrong with a row that is none."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import pyarrow as pa

from fluxbatch.manifest.frame import Fit, Size
from fluxbatch.models.catalogue import Model
from fluxbatch.models.price import Quote, quote
from fluxbatch.plain import with_its_end

PATH_MAX = 4_096
"""A path is no longer on Linux."""
PLACE_MAX, PROBLEM_MAX, REMEDY_MAX = PATH_MAX + 200, 1_000, PATH_MAX + 400
"""Each part of a complaint is cut by itself: a long path in one of them must not cost the others their place."""
KEY_VERSION = "fluxbatch-1"
_canonical = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


class Change(StrEnum):
    """What is done to an original before it is sent, besides fitting."""

    TURNED = "turned upright"
    DEEP = "brought to 8 bits"
    FLATTENED = "flattened over white"
    RECOLOURED = "converted to sRGB"
    PROFILE_DROPPED = "sent without a colour profile that cannot be used"


class Cited(NamedTuple):
    """A reference as the dataset remembers it: by content, where it came from, and what is sent of it, in pixels."""

    sha256: str
    source: str | None
    width: int
    height: int
    fit: str
    crop_width: int
    crop_height: int
    sent_width: int
    sent_height: int
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference image, by content: `sha256` is of the original bytes, so a new Pillow never changes a key.

    Sizes are in pixels and upright; `fitted_*` is what is sent, of the middle part of the size `crop` (None: of all).
    `path` is where the bytes lie, or None when `content` holds them. `source` is what the manifest calls it.
    """

    sha256: str
    width: int
    height: int
    fitted_width: int
    fitted_height: int
    path: str | None = None
    content: bytes | None = field(default=None, repr=False)
    fit: Fit = Fit.CONTAIN
    crop: Size | None = None
    changes: tuple[Change, ...] = ()
    source: str | None = None

    @property
    def name(self) -> str:
        """What stands for it in a key. Contained, it is the hash alone: what is cut or stretched is something else."""
        return self.sha256 if self.fit is Fit.CONTAIN else f"{self.fit}:{self.sha256}"

    @property
    def cited(self) -> Cited:
        whole = (self.width, self.height)
        sent = (self.fitted_width, self.fitted_height)
        changes = tuple(str(change) for change in self.changes)
        return Cited(self.sha256, self.source, *whole, str(self.fit), *(self.crop or whole), *sent, changes)


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
        where = with_its_end(f"{place}{row}{column}", PLACE_MAX)
        return f"{where}: {with_its_end(self.problem, PROBLEM_MAX)}; {with_its_end(self.remedy, REMEDY_MAX)}"


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
    pictures = [reference.name for reference in references]
    sent = [KEY_VERSION, model.id, prompt, width, height, steps, guidance, seed, pictures]
    if negative_prompt is not None or strength is not None:
        later = {"negative_prompt": negative_prompt, "strength": strength}
        sent.append({name: value for name, value in later.items() if value is not None})
    return hashlib.sha256(_canonical(sent).encode()).digest()


def request_key(content: bytes, sample: int) -> str:
    """The key (64 hex digits) of the given sample of a content: what names the ledger entry and the spool file."""
    return hashlib.sha256(content + b"#%d" % sample).hexdigest()
