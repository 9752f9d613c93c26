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

SIDES = {"ge": 64, "le": 4096}
"""What no model is beyond, one of your own included; each model's own limits are said by the run's plan."""


def _endings(*names: str) -> str:
    """A regular expression that Python and browsers read alike, so without flags."""
    return f"\\.({'|'.join((*names, *map(str.upper, names)))})$"


MANIFESTS = _endings("csv", "tsv", "jsonl", "parquet", "yaml", "yml")
SWEEPS = _endings("yaml", "yml")
# Cloudflare's own by name; by id also those that a models.toml adds.
MODELS = f"^({'|'.join(model.name.replace('.', '[.]') for model in CATALOGUE.models)}|@.+)$"
MODEL_NAMES = ", ".join(model.name for model in CATALOGUE.models)


def _shown(title: str, description: str, *, ending: str | None = None, **limits: Any) -> Any:
    """A field as the form shows it.

    Prefect 3.8 puts the parameter's name in the place of pydantic's own title, and nothing in the place of its
    description; what is said beside the schema stays. So does `ending`, a pattern for a path: pydantic's own is for
    text only.
    """
    beside: dict[str, Any] = {"title": title, "description": description} | ({"pattern": ending} if ending else {})
    return Field(json_schema_extra=beside, **limits)


Manifest = Annotated[
    Path,
    _shown(
        "Manifest",
        "Prompts: .csv, .tsv, .jsonl or .parquet; or a sweep: .yaml. On the worker's disk, like prompts/demo.csv",
        ending=MANIFESTS,
    ),
]
SweepFile = Annotated[
    Path,
    _shown(
        "Sweep",
        "A sweep file (.yaml): axes that multiply. On the worker's disk, like prompts/matrix.yaml",
        ending=SWEEPS,
    ),
]
Out = Annotated[
    Path, _shown("Dataset", "Folder of the dataset on the worker's disk, like out/demo; continued when it exists")
]
Budget = Annotated[
    Decimal,
    _shown("Budget in US dollars", "For all that this dataset ever costs, over all its runs; 0 spends nothing", ge=0),
    # A number in the form; from Python, text as well ("12.345678901"), which is exact whatever its length.
    WithJsonSchema({"type": "number", "minimum": 0}),
]
RunBudget = Annotated[
    str | None,
    _shown("Budget of this run", "US dollars, like 5, within all other budgets", pattern=r"^\d+(\.\d{1,9})?$"),
]
Project = Annotated[
    str | None,
    _shown(
        "Project", "A name whose budgets apply as well: fluxbatch budget set --project NAME --total 200", min_length=1
    ),
]
FreeOnly = Annotated[
    bool,
    _shown(
        "Free neurons only", "Nothing beyond the account's free 10,000 neurons of the UTC day, as this ledger knows"
    ),
]
IfRunning = Annotated[
    Literal["fail", "wait", "leave"],
    _shown("If another run holds the dataset", "fail; wait until it is done; or leave: completed, with nothing done"),
]
Credentials = Annotated[
    str | None,
    _shown(
        "Credentials",
        "Name of a Cloudflare Credentials block (never a token). None: the block named cloudflare when there is one, "
        "or else CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN where the worker runs",
        pattern="^[a-z0-9-]+$",
    ),
]
Model = Annotated[
    str | None,
    _shown("Model", f"For rows that name none: {MODEL_NAMES}; or the @id of one in your models file", pattern=MODELS),
]
Width = Annotated[int | None, _shown("Width", "In pixels, for rows that are silent; None: the model's own", **SIDES)]
Height = Annotated[int | None, _shown("Height", "In pixels, for rows that are silent; None: the model's own", **SIDES)]
Steps = Annotated[
    int | None, _shown("Steps", "For rows that are silent; None: the model's own (flux-2-dev: 25)", ge=1, le=50)
]
Guidance = Annotated[float | None, _shown("Guidance", "For rows that are silent; None: not sent", ge=0)]
Fitted = Annotated[
    Literal["contain", "cover", "exact"] | None,
    _shown("Fit of references", "contain: whole; cover: cut to the output's shape; exact: they have to fit"),
]
OwnModels = Annotated[
    Path | None, _shown("Models file", "A models.toml on the worker's disk: changed prices, models of your own")
]
Rate = Annotated[float | None, _shown("Rate", "Requests a minute; None: 720; 0: unknown, adapt alone", ge=0)]
MaxInFlight = Annotated[
    int | None,
    _shown("In flight at most", "Requests at once; as many may be lost in a crash; None: 256", ge=1, le=10_000),
]
RowsPerShard = Annotated[
    int | None, _shown("Rows a shard", "Pictures a shard: a task here, a part of the dataset; None: 500", ge=1)
]
Chunks = Annotated[
    int | None,
    _shown(
        "Chunks",
        "So many runs of the deployment chunk make it, on all workers of the pool; None: this run alone",
        ge=1,
        le=1_000,
    ),
]
SkipInvalid = Annotated[
    bool, _shown("Skip invalid rows", "Go on without the rows that cannot be sent (they go to rejected.parquet)")
]
ResendFailed = Annotated[
    int | None,
    _shown("Resend failed", "Tries more after a failed answer; each may be billed; None: 1", ge=0, le=100),
]
ResendLost = Annotated[
    int | None,
    _shown("Resend lost", "Tries more after a lost answer: it may then be billed twice; None: 0", ge=0, le=100),
]
ResendRefused = Annotated[
    bool, _shown("Resend refused", "Send rows again that were refused for their content, or were invalid")
]
WhenShort = Annotated[
    OnBudget | None,
    _shown(
        "When the budget is short",
        "What it buys: stop (rows in order; None too), cheapest-first (most pictures), spread (a part of every axis)",
    ),
]
MaxPrice = Annotated[
    str | None,
    _shown(
        "Price a picture at most",
        "US dollars, like 0.05; a row that may cost more is left out",
        pattern=r"^\d+(\.\d{1,9})?$",
    ),
]
Limit = Annotated[int | None, _shown("Limit", "Only the first so many pictures", ge=1)]
Sample = Annotated[int | None, _shown("Sample", "Only so many pictures, drawn by chance; more add to them", ge=1)]
SampleSeed = Annotated[int | None, _shown("Seed of the sample", "Which pictures the sample draws; None: 0")]
Preview = Annotated[int | None, _shown("Preview", "Only so many pictures, at the corners of a sweep", ge=1)]
Columns = Annotated[
    dict[str, str] | None,
    _shown("Columns", 'Other people\'s headers, parameter to header: {"prompt": "Prompt"}'),
]
OwnColumns = Annotated[
    list[str] | None, _shown("Own columns", "Headers that look like parameters and are yours: carried along")
]
AllowHosts = Annotated[list[str] | None, _shown("Allowed hosts", "Hosts that references may be fetched from, by https")]
Refetch = Annotated[bool, _shown("Fetch again", "Fetch addresses anew whose pictures are kept already")]
EmbedProvenance = Annotated[
    bool,
    _shown("Embed provenance", "Write into each picture, as XMP, that AI made it: model, prompt hash, key, date"),
]
OnlyCount = Annotated[bool, _shown("Only count", "Show axes, rows and price; make and pay nothing")]
Simulate = Annotated[bool, _shown("Simulate", "A simulator instead of Cloudflare: it costs nothing")]
BilledKeys = Annotated[
    list[str] | None,
    _shown("Settle as billed", "Unknown attempts: KEY, KEY#N, or all. Their bound is then spent"),
]
NotBilledKeys = Annotated[
    list[str] | None, _shown("Settle as not billed", "Unknown attempts: KEY, KEY#N, or all. Their rows are due again")
]
Why = Annotated[str, _shown("Why", "The reason, kept in the ledger beside each decision", min_length=1)]
Offline = Annotated[bool, _shown("Offline", "Do not ask Cloudflare for its figures")]
