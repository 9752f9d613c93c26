"""The parameters of the flows, as the form in Prefect's UI shows them: title, what it means, what is allowed.

Prefect's server checks them against the schema that follows from these types *before* a run exists. What a schema can
say is therefore said here; what needs the manifest or the disk is said by the run, before anything is sent.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from fluxbatch.models.catalogue import CATALOGUE
from fluxbatch.settings import OnBudget

SIDE_MIN, SIDE_MAX = 64, 4096
"""What no model is beyond, one of your own included; each model's own limits are said by the run's plan."""


def _endings(*names: str) -> str:
    """A regular expression that Python and browsers read alike, so without flags."""
    return f"\\.({'|'.join((*names, *map(str.upper, names)))})$"


MANIFESTS = _endings("csv", "tsv", "jsonl", "parquet", "yaml", "yml")
SWEEPS = _endings("yaml", "yml")
# Cloudflare's own by name; by id also those that a models.toml adds.
MODELS = f"^({'|'.join(model.name.replace('.', '[.]') for model in CATALOGUE.models)}|@.+)$"
MODEL_NAMES = ", ".join(model.name for model in CATALOGUE.models)


def _a_path(pattern: str, title: str, description: str) -> Any:
    """A path whose ending the form checks: pydantic's own `pattern` is for text only."""
    return Field(title=title, description=description, json_schema_extra={"pattern": pattern})


# A number in the form; exact decimals in quotes ("12.345678901") are taken from Python.
_DOLLARS = WithJsonSchema({"type": "number", "minimum": 0})

Manifest = Annotated[
    Path,
    _a_path(MANIFESTS, "Manifest", "Prompts: .csv, .tsv, .jsonl or .parquet; or a sweep: .yaml. On the worker's disk"),
]
SweepFile = Annotated[
    Path,
    _a_path(
        SWEEPS, "Sweep", "A sweep file (.yaml): axes that multiply. On the worker's disk, like prompts/matrix.yaml"
    ),
]
Out = Annotated[
    Path, Field(title="Dataset", description="Folder of the dataset, on the worker's disk; continued when it exists")
]
Budget = Annotated[
    Decimal,
    Field(ge=0, title="Budget in US dollars", description="For all that this dataset ever costs, over all its runs"),
    _DOLLARS,
]
Credentials = Annotated[
    str | None,
    Field(
        title="Credentials",
        pattern="^[a-z0-9-]+$",
        description="Name of a Cloudflare Credentials block (never a token). Empty: the block named cloudflare when "
        "there is one, or else CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN where the worker runs",
    ),
]
Model = Annotated[
    str | None,
    Field(
        title="Model",
        pattern=MODELS,
        description=f"For rows that name none: {MODEL_NAMES}; or the @id of your models.toml",
    ),
]
Width = Annotated[
    int | None, Field(title="Width", ge=SIDE_MIN, le=SIDE_MAX, description="Pixels, for rows that are silent")
]
Height = Annotated[
    int | None, Field(title="Height", ge=SIDE_MIN, le=SIDE_MAX, description="Pixels, for rows that are silent")
]
Steps = Annotated[int | None, Field(title="Steps", ge=1, le=50, description="For rows that are silent")]
Guidance = Annotated[float | None, Field(title="Guidance", ge=0, description="For rows that are silent")]
Fitted = Annotated[
    Literal["contain", "cover", "exact"] | None,
    Field(title="Fit of references", description="contain: whole, cover: cut to the output's shape, exact: must fit"),
]
OwnModels = Annotated[
    Path | None, Field(title="Models file", description="A models.toml: changed prices, models of your own")
]
Rate = Annotated[
    float | None, Field(title="Rate", ge=0, description="Requests a minute (720); 0: unknown, adapt alone")
]
MaxInFlight = Annotated[
    int | None, Field(title="In flight", ge=1, le=10_000, description="Never more requests at once (256)")
]
RowsPerShard = Annotated[
    int | None, Field(title="Rows a shard", ge=1, description="Pictures a shard, so a task here and a part (500)")
]
SkipInvalid = Annotated[
    bool, Field(title="Skip invalid rows", description="Go on without the rows that cannot be sent (rejected.parquet)")
]
ResendFailed = Annotated[
    int | None,
    Field(title="Resend failed", ge=0, le=100, description="Tries more after a failed answer (1); each may be billed"),
]
ResendLost = Annotated[
    int | None,
    Field(
        title="Resend lost", ge=0, le=100, description="Tries more after a lost answer (0); each may be billed twice"
    ),
]
ResendRefused = Annotated[
    bool, Field(title="Resend refused", description="Send rows again that were refused for their content, or invalid")
]
WhenShort = Annotated[
    OnBudget | None,
    Field(
        title="When the budget is short",
        description="What it buys: stop (rows in order), cheapest-first (most pictures), spread (a part of every axis)",
    ),
]
MaxPrice = Annotated[
    str | None,
    Field(
        title="Price a picture at most",
        pattern=r"^\d+(\.\d{1,9})?$",
        description="US dollars, like 0.05; a row that may cost more is left out",
    ),
]
Limit = Annotated[int | None, Field(title="Limit", ge=1, description="Only the first so many pictures")]
Sample = Annotated[
    int | None, Field(title="Sample", ge=1, description="Only so many pictures, drawn by the sample's seed")
]
SampleSeed = Annotated[int | None, Field(title="Seed of the sample", description="Which pictures the sample draws (0)")]
Preview = Annotated[
    int | None, Field(title="Preview", ge=1, description="Only so many pictures, at the corners of a sweep")
]
Columns = Annotated[
    dict[str, str] | None,
    Field(title="Columns", description='Other people\'s headers, parameter to header: {"prompt": "Prompt"}'),
]
OwnColumns = Annotated[
    list[str] | None, Field(title="Own columns", description="Headers that look like parameters and are yours")
]
AllowHosts = Annotated[
    list[str] | None, Field(title="Allowed hosts", description="Hosts that references may be fetched from, by https")
]
Refetch = Annotated[
    bool, Field(title="Fetch again", description="Fetch addresses anew whose pictures are kept already")
]
OnlyCount = Annotated[bool, Field(title="Only count", description="Show axes, rows and price; make and pay nothing")]
Simulate = Annotated[bool, Field(title="Simulate", description="A simulator instead of Cloudflare; costs nothing")]
