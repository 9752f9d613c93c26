"""The options that several commands have, and the job that they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxbatch.errors import UsageError

if TYPE_CHECKING:
    from fluxbatch.job import Job

ManifestArg = Annotated[Path, typer.Argument(help="Prompts: .csv, .tsv, .jsonl or .parquet; or a sweep: .yaml.")]
DatasetArg = Annotated[str, typer.Argument(help="The folder or address that `run --out` wrote.")]
OutOption = Annotated[
    str,
    typer.Option(
        "--out", help="The dataset: a folder, or s3://BUCKET/PREFIX (gs://, az://); continued if it is there."
    ),
]
BudgetOption = Annotated[
    str, typer.Option("--budget", help="US dollars, for all that this dataset ever costs, over all runs. No default.")
]
ModelOption = Annotated[
    str | None, typer.Option(help="Model for rows that are silent (see `fluxbatch models`). [flux-2-dev]")
]
WidthOption = Annotated[int | None, typer.Option(help="Width for rows that are silent. [the model's, mostly 1024]")]
HeightOption = Annotated[int | None, typer.Option(help="Height for rows that are silent. [the model's, mostly 1024]")]
StepsOption = Annotated[int | None, typer.Option(help="Steps for rows that are silent. [the model's; flux-2-dev 25]")]
GuidanceOption = Annotated[float | None, typer.Option(help="Guidance for rows that are silent. [not sent]")]
FitOption = Annotated[
    str | None, typer.Option(help="References: contain (whole), cover (cut to the output's shape), exact. [contain]")
]
RateOption = Annotated[float | None, typer.Option(help="Requests a minute; 0: unknown, adapt alone. [720]")]
FlightOption = Annotated[int | None, typer.Option("--max-in-flight", help="Never more requests at once. [256]")]
ShardOption = Annotated[int | None, typer.Option("--rows-per-shard", help="Pictures a shard, so a part. [500]")]
SkipOption = Annotated[
    bool | None, typer.Option("--skip-invalid", help="Go on without the rows that cannot be sent (rejected.parquet).")
]
FailedOption = Annotated[int | None, typer.Option("--resend-failed", help="Tries more after a failed answer. [1]")]
LostOption = Annotated[int | None, typer.Option("--resend-lost", help="Tries more after a lost answer. [0]")]
RefusedOption = Annotated[bool | None, typer.Option("--resend-refused", help="Send refused and invalid rows again.")]
OnBudgetOption = Annotated[
    str | None,
    typer.Option("--on-budget", help="What a short budget buys: stop (in order), cheapest-first or spread. [stop]"),
]
MaxPriceOption = Annotated[
    str | None, typer.Option("--max-price-per-picture", help="US dollars; a row that may cost more is left out.")
]
RunBudgetOption = Annotated[
    str | None, typer.Option("--run-budget", help="US dollars that this run may cost, within all other budgets. [none]")
]
ProjectOption = Annotated[
    str | None,
    typer.Option("--project", help="Name whose budgets apply as well (see `fluxbatch budget set --project`). [none]"),
]
ReportOption = Annotated[
    bool | None,
    typer.Option("--report/--no-report", help="Draw report.html at the end. [--report]", show_default=False),
]
FreeOption = Annotated[
    bool | None,
    typer.Option(
        "--free-only",
        help="Only within the account's 10,000 free neurons of the UTC day: all that this ledger knows to have been "
        "sent today counts, also what is unknown. What is spent outside this ledger is not seen.",
    ),
]
IfRunningOption = Annotated[
    str | None,
    typer.Option("--if-running", help="Another run works on the dataset: fail, wait until it is done, leave. [fail]"),
]
LimitOption = Annotated[int | None, typer.Option("--limit", help="Only the first N pictures of the manifest.")]
SampleOption = Annotated[
    int | None, typer.Option("--sample", help="Only N pictures, drawn by --seed; more add to them.")
]
SampleSeedOption = Annotated[int | None, typer.Option("--seed", help="Of --sample: which pictures it draws. [0]")]
PreviewOption = Annotated[int | None, typer.Option("--preview", help="Only N pictures, at the corners of a sweep.")]
ColumnOption = Annotated[
    list[str] | None, typer.Option("--column", help="Read a parameter from another header: prompt=Prompt.")
]
OwnOption = Annotated[
    list[str] | None, typer.Option("--own", help="A header that looks like a parameter and is yours: carried along.")
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        help="A host that references may be fetched from, by https: images.example.com, *.example.com (all below it), "
        "host:8443. May be given again. [none]",
    ),
]
RefetchOption = Annotated[
    bool | None, typer.Option("--refetch", help="Fetch addresses anew whose pictures are kept already.")
]
EmbedOption = Annotated[
    bool | None,
    typer.Option(
        "--embed-provenance",
        help="Write into each picture, as XMP, that AI made it: model, prompt hash, key, date. No pixel changes.",
    ),
]
SimulateOption = Annotated[bool, typer.Option("--simulate", help="A simulator on this machine; costs nothing.")]
LedgerOption = Annotated[str | None, typer.Option(help="Database of the ledger. [one SQLite file per user]")]
ModelsOption = Annotated[
    Path | None, typer.Option("--models", help="A models.toml: changed prices, models of your own. [none]")
]
JsonOption = Annotated[bool, typer.Option("--json", help="The last line on standard output is one JSON object.")]


def job_of(
    manifest: Path, out: str, budget: str, column: list[str] | None, own: list[str] | None, simulate: bool,
    options: dict[str, Any],
) -> Job:  # fmt: skip
    """What is to be run, from a command's arguments. `options` are its locals: what is a setting is taken from them."""
    from fluxbatch.dataset.place import place_of
    from fluxbatch.job import Job
    from fluxbatch.models.money import parse_usd
    from fluxbatch.settings import Settings, load_settings

    try:
        budget_nano_usd = parse_usd(budget)
    except ValueError as error:
        raise UsageError(f"--budget {error}") from None
    settings = load_settings(**{name: value for name, value in options.items() if name in Settings.model_fields})
    return Job(
        manifest, place_of(out), budget_nano_usd, settings, _mapping(column or []), frozenset(own or []), simulate
    )


def _mapping(pairs: list[str]) -> dict[str, str]:
    mapping = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise UsageError(f"--column {wrong[0]!r} has no '='; write it like --column prompt=Prompt")
    return mapping
