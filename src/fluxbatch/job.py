"""What is to be run: manifest, dataset, budget and settings as one frozen value, and what has to fit together."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fluxbatch.budget.entries import FREE_A_DAY, Payer
from fluxbatch.budget.outages import Outages
from fluxbatch.budget.selection import OnBudget, Selection
from fluxbatch.budget.store import Store, folder_of
from fluxbatch.cloudflare.client import Credentials
from fluxbatch.dataset import files, kept
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.kept import KeptReferences
from fluxbatch.dataset.pictures import Earlier
from fluxbatch.dataset.place import Place, place_of
from fluxbatch.dataset.record import VERSION, reserved, unaskable
from fluxbatch.dispatch.retry import RetryPolicy
from fluxbatch.errors import UsageError
from fluxbatch.manifest.address import Allowed
from fluxbatch.manifest.frame import Fit
from fluxbatch.manifest.places import Places
from fluxbatch.manifest.reader import Defaults, Manifest, open_manifest
from fluxbatch.models.catalogue import Catalogue
from fluxbatch.models.custom import read_catalogue
from fluxbatch.models.money import parse_usd
from fluxbatch.settings import Settings

if TYPE_CHECKING:
    from fluxbatch.manifest.connect import Wire

PROJECT_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
SIMULATOR_ACCOUNT_ID = "0" * 32
"""The simulator's account; the simulator says the same (a test compares), and is not imported for a paid run."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A contiguous slice of a manifest that a run of its own makes, as part of a batch that another run began."""

    name: str
    first_row: int
    last_row: int
    batch: str
    """The run that has begun the batch: it holds the dataset, and all its chunks share its budget."""
    run: str
    """The run that makes the chunk; another one when it is begun again."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run: this manifest into this dataset within this budget (nano-dollars, for all runs of the dataset)."""

    manifest: Path
    out: Place
    budget_nano_usd: int
    settings: Settings
    columns: Mapping[str, str] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    simulate: bool = False
    earlier: Earlier = field(default_factory=Earlier, compare=False)
    """The earlier datasets that references are taken from, each opened once."""
    known: Catalogue | None = None
    """The models that rows may name; those of the settings (`models.toml`), read once, when it is None."""
    wire: Wire | None = None
    """How addresses are reached; None for the open internet. No option and no variable leads here."""
    clock: Callable[[], float] | None = None
    """How time is told, in seconds since 1970; None for this machine's clock. Nor does any lead here."""
    chunk: Chunk | None = None
    """What of the manifest is this run's, when others make the rest of it into the same dataset."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", place_of(self.out))  # an address may come as a Path, which eats a slash
        if self.known is None:
            object.__setattr__(self, "known", read_catalogue(self.settings.models))

    @property
    def catalogue(self) -> Catalogue:
        assert self.known is not None
        return self.known

    def defaults(self) -> Defaults:
        return defaults_of(self.settings, self.catalogue)

    def policy(self) -> RetryPolicy:
        s = self.settings
        return RetryPolicy(s.resend_failed, s.resend_lost, s.resend_refused)

    def selection(self) -> Selection:
        selection = selection_of(self.settings)
        return selection if self.chunk is None else replace(selection, span=(self.chunk.first_row, self.chunk.last_row))

    def now_us(self) -> int:
        """Microseconds since 1970."""
        return time.time_ns() // 1000 if self.clock is None else round(self.clock() * 1e6)

    def payer(self, run: str) -> Payer:
        """Who pays for what that run sends."""
        free = FREE_A_DAY.nano_usd if self.settings.free_only else None
        holder = None if self.chunk is None else self.chunk.batch
        return Payer(self.account, run, project_of(self.settings), holder, free)

    @property
    def run_cap_nano_usd(self) -> int | None:
        """What this run may cost; None: as much as the other budgets admit."""
        return amount_of("--run-budget", self.settings.run_budget)

    def open_manifest(self) -> Manifest:
        version = Dataset.open(self.out).header.version if Dataset.exists(self.out) else VERSION
        defaults = replace(self.defaults(), not_kept=unaskable(version))
        return open_manifest(self.manifest, defaults, self.columns, self.own, reserved(version), self.places())

    def places(self) -> Places:
        """Where this job's references may come from, beside files."""
        return places_of(self.settings, KeptReferences(kept.home(self.out)), self.earlier, self.wire)

    @property
    def account(self) -> str:
        return SIMULATOR_ACCOUNT_ID if self.simulate else self.settings.account_id or ""

    @property
    def is_simulated(self) -> bool:
        """Whether pictures of this job are the simulator's: they are never mixed with paid ones."""
        return self.simulate or self.account == SIMULATOR_ACCOUNT_ID

    def open_store(self) -> Store:
        """SQLite syncs the folder that its files lie in, and not the name of that folder: with it all would be gone."""
        folder = folder_of(self.settings.ledger)
        if folder is not None:
            files.make_folders(folder)
        return Store(self.settings.ledger, outages=Outages(self.settings.patience * 60.0))


def defaults_of(settings: Settings, catalogue: Catalogue | None = None) -> Defaults:
    """The values for rows that are silent. UsageError for a model that is not in the catalogue (--models if None)."""
    known = read_catalogue(settings.models) if catalogue is None else catalogue
    model = known.find(settings.model)
    if model is None:
        names = ", ".join(model.name for model in known.models)
        raise UsageError(f"--model {settings.model} is unknown; known are {names}")
    sizes = (settings.width, settings.height, settings.steps, settings.guidance)
    return Defaults(model, *sizes, known, fit=Fit(settings.fit))


def places_of(settings: Settings, kept: KeptReferences, earlier: Earlier, wire: Wire | None = None) -> Places:
    """Where references may come from, beside files: earlier datasets, and the hosts that the settings allow."""
    allowed = Allowed.read(settings.allow_hosts)
    if not allowed:
        return Places(earlier=earlier, kept=kept)
    from fluxbatch.manifest.fetching import Fetching  # httpcore, for those who fetch

    return Places(Fetching(allowed, kept, wire, again=settings.refetch), earlier, kept)


def selection_of(settings: Settings) -> Selection:
    """What is asked for, as far as the options say. UsageError when they contradict each other."""
    s = settings
    given = [f"--{name}" for name in ("limit", "sample", "preview") if getattr(s, name) is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other; give one of them")
    if s.sample_seed is not None and s.sample is None:
        raise UsageError(
            "--seed says which pictures --sample takes, and there is no --sample; "
            "the seed that is sent with a picture is the manifest's column seed"
        )
    return Selection(OnBudget(s.on_budget), _price_max(s), s.limit, s.sample, s.sample_seed or 0, s.preview)


def _price_max(settings: Settings) -> int | None:
    return amount_of("--max-price-per-picture", settings.max_price_per_picture)


def amount_of(option: str, text: str | None) -> int | None:
    """Nano-dollars of an option that may be left out. UsageError names the option."""
    if text is None:
        return None
    try:
        return parse_usd(text)
    except ValueError as error:
        raise UsageError(f"{option} {error}") from None


def project_of(settings: Settings) -> str | None:
    """The project whose budgets apply. UsageError when its name could not be told apart, or shown."""
    name = settings.project
    if name is not None and not re.fullmatch(PROJECT_NAME, name):
        raise UsageError(
            f"--project {name!r} is no name of a project: letters, digits, '.', '_' and '-', 1 to 64 of them"
        )
    return name


def credentials_of(settings: Settings) -> Credentials:
    """UsageError names what is missing and where to get it."""
    missing = []
    if not settings.account_id:
        missing.append("CLOUDFLARE_ACCOUNT_ID (32 hex digits, in the dashboard's address)")
    if settings.api_token is None or not settings.api_token.get_secret_value():
        missing.append("CLOUDFLARE_API_TOKEN (a token with the permission Workers AI: Read)")
    if missing:
        raise UsageError(
            f"not set: {' and '.join(missing)}; set them in the environment or a .env file, or try it first with "
            "--simulate, which costs nothing"
        )
    assert settings.account_id is not None
    assert settings.api_token is not None
    return Credentials(settings.account_id, settings.api_token, settings.base_url)
