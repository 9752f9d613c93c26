"""Options, then the environment, then a `.env`: one frozen value for everything that can be set.

Cloudflare's own names are kept (`CLOUDFLARE_ACCOUNT_ID`, `CLOUDFLARE_API_TOKEN`, `CLOUDFLARE_BASE_URL`); the rest is
`FLUXBATCH_` and the option's name (`FLUXBATCH_MAX_IN_FLIGHT=64`). The budget is not here: it is given with each run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fluxbatch.errors import UsageError
from fluxbatch.models.catalogue import DEFAULT_MODEL

OnBudget: TypeAlias = Literal["stop", "cheapest-first", "spread"]
IfRunning: TypeAlias = Literal["fail", "wait", "leave"]
DEFAULT_BASE_URL = "https://api.cloudflare.com/client/v4"


def default_ledger() -> str:
    """One ledger per user, so that all datasets and runs of an account share its pace and what was learned."""
    return f"sqlite:///{Path(platformdirs.user_data_dir('fluxbatch')) / 'ledger.sqlite3'}"


class Settings(BaseSettings):
    """What a run needs to know besides the manifest, the dataset and the budget."""

    model_config = SettingsConfigDict(
        env_prefix="FLUXBATCH_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    account_id: str | None = Field(None, validation_alias="CLOUDFLARE_ACCOUNT_ID")
    api_token: SecretStr | None = Field(None, validation_alias="CLOUDFLARE_API_TOKEN")
    base_url: str = Field(DEFAULT_BASE_URL, validation_alias="CLOUDFLARE_BASE_URL")

    ledger: str = Field(default_factory=default_ledger)
    model: str = DEFAULT_MODEL.name
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance: float | None = None
    """None: not given, so each row gets its model's own."""
    fit: Literal["contain", "cover", "exact"] = "contain"
    """How references are fitted (`manifest.frame.Fit`)."""
    models: Path | None = None
    """A `models.toml`: other prices, and models of one's own."""
    rate: float = Field(float(DEFAULT_MODEL.requests_per_minute), ge=0, allow_inf_nan=False)
    max_in_flight: int = Field(256, ge=1, le=10_000)
    rows_per_shard: int = Field(500, ge=1)
    skip_invalid: bool = False
    allow_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """The hosts that references may be fetched from; in the environment with commas between them."""
    refetch: bool = False
    embed_provenance: bool = False
    """Each picture says in its own bytes that a machine made it (`provenance/`), before it is kept."""
    resend_failed: int = Field(1, ge=0)
    resend_lost: int = Field(0, ge=0)
    resend_refused: bool = False
    on_budget: OnBudget = "stop"
    max_price_per_picture: str | None = None
    """US dollars that one request may cost at most."""
    run_budget: str | None = None
    """US dollars that this run may cost, within all other budgets."""
    project: str | None = None
    """The name under which several datasets and accounts share budgets."""
    free_only: bool = False
    """Nothing that goes beyond the account's free neurons of the day."""
    if_running: IfRunning = "fail"
    """What to do when another run is working on the dataset."""
    lease: float = Field(90.0, gt=0, allow_inf_nan=False)
    """Seconds without a heartbeat after which a run on another machine is taken for dead (`budget/lease.py`)."""
    limit: int | None = Field(None, ge=1)
    sample: int | None = Field(None, ge=1)
    sample_seed: int | None = None
    preview: int | None = Field(None, ge=1)
    patience: float = Field(15.0, gt=0, allow_inf_nan=False)
    """Minutes of nothing but trouble after which a run gives up."""
    report: bool = True
    """Whether a run draws report.html at its end."""
    deadline: float = Field(300.0, gt=0, allow_inf_nan=False)
    """Seconds after which an answer is given up as lost. Cloudflare itself ends a request at about 237 s."""

    @field_validator("allow_hosts", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return tuple(re.split(r"[,\s]+", value.strip(", \t\n"))) if isinstance(value, str) else value


def load_settings(**options: Any) -> Settings:
    """Settings with the options that were given (None: not given). UsageError names each that is wrong."""
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']} (is {e['input']!r})" for e in error.errors()]
        raise UsageError("settings cannot be used: " + "; ".join(problems)) from None
