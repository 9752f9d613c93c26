"""The commands. Each is a few lines over `run.py`; what is heavy is imported where it is used: help is quick."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Annotated, Any, NoReturn

import typer

from fluxbatch.cli_budget import budget_app
from fluxbatch.cli_check import check_pictures
from fluxbatch.cli_ctl import control_run
from fluxbatch.cli_doctor import check_all
from fluxbatch.cli_export import export_dataset
from fluxbatch.cli_ledger import ledger_app
from fluxbatch.cli_models import list_models
from fluxbatch.cli_prefect import prefect_app
from fluxbatch.cli_publish import publish_dataset
from fluxbatch.cli_reconcile import reconcile_dataset
from fluxbatch.cli_report import write_report_of
from fluxbatch.cli_simulate import serve_simulator
from fluxbatch.cli_status import show_status
from fluxbatch.cli_sweep import count_sweep
from fluxbatch.cli_view import view_dataset
from fluxbatch.errors import FluxbatchError, ManifestError, UsageError
from fluxbatch.exit_codes import EXIT_COMPLETE, EXIT_INTERRUPTED, EXIT_STOPPED, EXIT_USAGE
from fluxbatch.options import (
    AllowOption,
    BudgetOption,
    ColumnOption,
    DatasetArg,
    EmbedOption,
    FailedOption,
    FitOption,
    FlightOption,
    FreeOption,
    GuidanceOption,
    HeightOption,
    IfRunningOption,
    JsonOption,
    LedgerOption,
    LimitOption,
    LostOption,
    ManifestArg,
    MaxPriceOption,
    ModelOption,
    ModelsOption,
    OnBudgetOption,
    OutOption,
    OwnOption,
    PreviewOption,
    ProjectOption,
    RateOption,
    RefetchOption,
    RefusedOption,
    ReportOption,
    RunBudgetOption,
    SampleOption,
    SampleSeedOption,
    ShardOption,
    SimulateOption,
    SkipOption,
    StepsOption,
    WidthOption,
    job_of,
)
from fluxbatch.unheard import fall_silent

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Image datasets with Cloudflare Workers AI: within a budget, nothing paid twice, Parquet out.\n\n"
    "Try it first: fluxbatch run prompts/demo.csv --out out/demo --budget 1 --simulate",
)


@app.command()
def plan(
    manifest: ManifestArg,
    budget: BudgetOption,
    out: OutOption = "dataset",
    model: ModelOption = None,
    width: WidthOption = None,
    height: HeightOption = None,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    fit: FitOption = None,
    models: ModelsOption = None,
    rate: RateOption = None,
    max_in_flight: FlightOption = None,
    rows_per_shard: ShardOption = None,
    latency: Annotated[float, typer.Option(help="Seconds a picture takes, for the time estimate.")] = 150.0,
    skip_invalid: SkipOption = None,
    resend_failed: FailedOption = None,
    resend_lost: LostOption = None,
    on_budget: OnBudgetOption = None,
    max_price_per_picture: MaxPriceOption = None,
    run_budget: RunBudgetOption = None,
    project: ProjectOption = None,
    free_only: FreeOption = None,
    limit: LimitOption = None,
    sample: SampleOption = None,
    sample_seed: SampleSeedOption = None,
    preview: PreviewOption = None,
    resend_refused: RefusedOption = None,
    column: ColumnOption = None,
    own: OwnOption = None,
    allow_hosts: AllowOption = None,
    refetch: RefetchOption = None,
    simulate: SimulateOption = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
) -> None:
    """What a run would make, cost and take. Sends nothing to Cloudflare.

    References at addresses are fetched by a plan as well, when their hosts are allowed: a picture's key, and so whether
    it was paid already, hangs on what they show.

    Example: fluxbatch plan prompts.csv --budget 20 --out cats

    Example: fluxbatch plan prompts.csv --budget 20 --out cats --allow-host images.example.com

    Example: fluxbatch plan prompts.csv --budget 20 --on-budget spread
    """
    from fluxbatch import tell
    from fluxbatch.budgets import plan_budgets, plan_told, today_of
    from fluxbatch.listing import plan_notes
    from fluxbatch.prepare import look_ahead

    options = dict(locals())
    job = job_of(manifest, out, budget, column, own, simulate, options)
    found, coverage = look_ahead(job)
    settings, today = job.settings, today_of(job.now_us())
    if json:
        print(tell.plan_json(found, coverage, settings.rate, plan_told(found, today)))  # noqa: T201
    else:
        tell.show_plan(_console(), found, coverage, job.out, settings.rate, latency, settings.max_in_flight)
        notes = plan_notes(found, job.defaults(), settings.models)
        tell.show_notes(_console(), [*plan_budgets(found, today), *notes])
    if found.complaint_count and not settings.skip_invalid:
        raise typer.Exit(EXIT_USAGE)


@app.command()
def run(
    manifest: ManifestArg,
    out: OutOption,
    budget: BudgetOption,
    model: ModelOption = None,
    width: WidthOption = None,
    height: HeightOption = None,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    fit: FitOption = None,
    models: ModelsOption = None,
    rate: RateOption = None,
    max_in_flight: FlightOption = None,
    rows_per_shard: ShardOption = None,
    skip_invalid: SkipOption = None,
    resend_failed: FailedOption = None,
    resend_lost: LostOption = None,
    on_budget: OnBudgetOption = None,
    max_price_per_picture: MaxPriceOption = None,
    run_budget: RunBudgetOption = None,
    project: ProjectOption = None,
    free_only: FreeOption = None,
    limit: LimitOption = None,
    sample: SampleOption = None,
    sample_seed: SampleSeedOption = None,
    preview: PreviewOption = None,
    resend_refused: RefusedOption = None,
    report: ReportOption = None,
    if_running: IfRunningOption = None,
    patience: Annotated[
        float | None, typer.Option(help="Minutes of nothing but trouble after which the run ends. [15]")
    ] = None,
    column: ColumnOption = None,
    own: OwnOption = None,
    allow_hosts: AllowOption = None,
    refetch: RefetchOption = None,
    embed_provenance: EmbedOption = None,
    simulate: SimulateOption = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
) -> None:
    """Make the pictures. Run the same command again to go on where it stopped: nothing is paid twice.

    Example: fluxbatch run prompts.csv --out cats --budget 20

    Example: fluxbatch run prompts.csv --out s3://pictures/cats --budget 20    (AWS_ENDPOINT_URL for R2 and others)

    Example: fluxbatch run edits.csv --out edits --budget 20 --allow-host images.example.com

    Example: fluxbatch run prompts.csv --out cats --budget 1 --sample 20 --seed 7    (looks before it buys)

    Example: fluxbatch run prompts.csv --out cats --budget 20 --on-budget spread

    Example: fluxbatch run prompts.csv --out cats --budget 20 --free-only    (every night, for nothing)

    Example: fluxbatch run prompts.csv --out cats --budget 20 --embed-provenance

    Example: fluxbatch run prompts.csv --out cats --budget 200 --project cats --run-budget 5 --if-running leave

    A pipe that is closed (2>&1 | head, a pager) ends what is shown, not the run; Ctrl-C or SIGTERM stops it, and waits
    for what is in flight.

    Exit codes: 0 complete (or left alone, --if-running leave), 2 bad usage or manifest, 3 stopped by the budget,
    4 complete but some rows failed, 5 stopped by the account or the platform, 130 interrupted.
    """
    from fluxbatch.foreground import run_in_foreground

    options = dict(locals())
    job = job_of(manifest, out, budget, column, own, simulate, options)
    raise typer.Exit(run_in_foreground(job, _console(stderr=True), as_json=json, command=_same_command()))


app.command("ctl")(control_run)
app.command("check")(check_pictures)
app.command("sweep")(count_sweep)
app.command("models")(list_models)
app.command("export")(export_dataset)
app.command("simulate")(serve_simulator)
app.command("status")(show_status)
app.command("report")(write_report_of)
app.command("view")(view_dataset)
app.command("reconcile")(reconcile_dataset)
app.add_typer(budget_app, name="budget")
app.add_typer(ledger_app, name="ledger")
app.add_typer(prefect_app, name="prefect")


@app.command()
def verify(
    dataset: DatasetArg,
    repair: Annotated[
        bool, typer.Option("--repair", help="Rebuild what can be rebuilt, and say what cannot. Deletes nothing.")
    ] = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
) -> None:
    """Read every part, picture and hash of a dataset, and compare it with the ledger.

    Example: fluxbatch verify cats

    Example: fluxbatch verify cats --repair

    Exit codes: 0 all is whole, 1 something is wrong, 2 bad usage, or a run is alive, 4 repaired, and pictures are gone:
    they count as lost, and are made anew with `run --resend-lost 1`.
    """
    from fluxbatch.dataset.place import place_of
    from fluxbatch.settings import load_settings

    settings = load_settings(ledger=ledger)
    if not repair:
        from fluxbatch.examine import verify_against_ledger

        raise typer.Exit(verify_against_ledger(place_of(dataset), settings, _console(), as_json=json))
    from fluxbatch.repair import repair as mend
    from fluxbatch.repair import show_repaired

    done = mend(place_of(dataset), settings)
    show_repaired(_console(), done, as_json=json)
    raise typer.Exit(done.exit_code)


app.command("publish")(publish_dataset)
app.command("doctor")(check_all)


@cache
def command() -> Callable[[], Any]:
    """All commands with their options, read once a process: it takes some 30 ms."""
    return typer.main.get_command(app)


def main() -> NoReturn:
    """The command line: errors of the world become one sentence and an exit code, never a traceback."""
    try:
        command()()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except FluxbatchError as error:
        from fluxbatch.tell import show_error

        complaints = error.complaints if isinstance(error, ManifestError) else ()
        show_error(_console(stderr=True), str(error), complaints)
        sys.exit(EXIT_USAGE if isinstance(error, UsageError) else EXIT_STOPPED)
    sys.exit(EXIT_COMPLETE)


def _same_command() -> str:
    import shlex

    return shlex.join(["fluxbatch", *sys.argv[1:]])


def _console(stderr: bool = False) -> Any:
    from rich.console import Console

    console = Console(stderr=stderr, emoji=False)  # a path with :x: in it is no cross
    if stderr:  # where a run and its errors are told: rich would end it, in the middle, when nobody reads that
        console.on_broken_pipe = partial(fall_silent, sys.stderr)  # type: ignore[method-assign]
    return console
