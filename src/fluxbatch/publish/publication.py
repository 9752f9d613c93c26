"""What is to be on the Hub, and what has to be done for that, given what is there. Pure but for reading the parts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fluxbatch.dataset.card import PARTS, Card, card_text
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.made import CARD, card_of, card_of_export, text_of
from fluxbatch.dataset.parts import file_sha256
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.errors import DatasetError, StorageError
from fluxbatch.publish.target import Target

_OURS = re.compile(r"data/train-[0-9]{5,}(?:-of-[0-9]{5,})?\.parquet")
"""The names of an earlier publication's parts; files of other names are not ours to remove."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that is to be on the Hub: its name there, where it lies here, and what its bytes have to be."""

    name: str
    place: Place
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Publication:
    """All that is to be there. `earlier_card` is the dataset's own, for what somebody has written into it by hand."""

    target: Target
    files: tuple[File, ...]
    card: Card
    earlier_card: str | None = None


@dataclass(frozen=True, slots=True)
class There:
    """What the Hub has: the hash of each file by its name (None: a small one, which has no SHA-256), and the card.

    A branch that is not there yet is made from the main one, so what that has is told (`has_branch` is False).
    """

    has_branch: bool
    is_private: bool
    files: Mapping[str, str | None]
    card: str | None


@dataclass(frozen=True, slots=True)
class Steps:
    """What is to be sent, what stands there already, what goes, and the card's new text (None: it is the same)."""

    send: tuple[File, ...]
    already: tuple[File, ...]
    remove: tuple[str, ...]
    card: str | None

    @property
    def is_nothing(self) -> bool:
        return not self.send and not self.remove and self.card is None


def publication_of(dataset: Dataset, target: Target, license_name: str | None = None) -> Publication:
    """The dataset's sealed parts as they are, under the names that the Hub expects.

    DatasetError when there are none, StorageError when one of them is damaged or missing.
    """
    if not dataset.parts:
        raise DatasetError(f"{dataset.folder} has no pictures to publish yet; make some with `fluxbatch run`")
    try:
        card = card_of(dataset)
    except Damaged as error:
        raise StorageError(f"{error}; mend it with `fluxbatch verify --repair`") from None
    settled = replace(card, address=target.repo, license=license_name, is_settled=True)
    count = len(dataset.parts)
    files = (
        File(part_name(number, count), dataset.path(part), part.size_bytes, part.sha256)
        for number, part in enumerate(dataset.parts)
    )
    return Publication(target, tuple(files), settled, text_of(dataset.folder / CARD))


def publication_of_export(
    dataset: Dataset, folder: Path, target: Target, license_name: str | None = None
) -> Publication:
    """What `export --to hf` has made of some of the dataset in `folder`, with a card that counts what is in it."""
    files = tuple(
        File(f"data/{path.name}", path, path.stat().st_size, file_sha256(path)) for path in sorted(folder.glob(PARTS))
    )
    card = card_of_export(dataset, folder, dataset.folder.resolve().name, marked=True)
    settled = replace(card, address=target.repo, license=license_name)
    return Publication(target, files, settled, text_of(dataset.folder / CARD))


def part_name(number: int, count: int) -> str:
    """As `datasets` names the parts of a split: train-i-of-n, from 0 on."""
    return f"data/train-{number:05d}-of-{count:05d}.parquet"


def steps_for(publication: Publication, there: There | None) -> Steps:
    """What has to be done where this is what is there (None: no repository)."""
    files = {} if there is None else there.files
    already = tuple(file for file in publication.files if files.get(file.name) == file.sha256)
    names = {file.name for file in publication.files}
    old = sorted(name for name in files if _OURS.fullmatch(name) and name not in names)
    return Steps(_without(publication.files, already), already, tuple(old), _new_card(publication, there))


def _without(files: Sequence[File], already: Sequence[File]) -> tuple[File, ...]:
    known = {file.name for file in already}
    return tuple(file for file in files if file.name not in known)


def _new_card(publication: Publication, there: There | None) -> str | None:
    """The Hub's own card goes on where there is one: what was written there by hand stands nowhere else."""
    before = None if there is None else there.card
    text = card_text(publication.card, publication.earlier_card if before is None else before)
    return None if text == before else text
