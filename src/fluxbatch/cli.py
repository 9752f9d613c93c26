"""The commands. Each is a few lines over `run.py`; what is heavy is imported where it is used: help is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from fluxbatch.cli_models import JsonOption, ModelsOption, list_models
from fluxbatch.errors import FluxbatchError, ManifestError, UsageError

if TYPE_CHECKING:
    from fluxbatch.job import Job

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Image datasets with Cloudflare Workers AI: within a budget, nothing paid twice, Parquet out.\n\n"
    "Try it first: fluxbatch run prompts/demo.csv --out out/demo --budget 1 --simulate",
)

ManifestArg = Annotated[Path, typer.Argument(help="Prompts: .csv, .tsv, .jsonl or .parquet; or a sweep: .yaml.")]
DatasetArg = Annotated[Path, typer.Argument(help="The folder that `run --out` wrote.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder of the dataset; made when it is new, continued else.")]
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
SimulateOption = Annotated[bool, typer.Option("--simulate", help="A simulator on this machine; costs nothing.")]
LedgerOption = Annotated[str | None, typer.Option(help="Database of the ledger. [one SQLite file per user]")]


@app.command()
def plan(
    manifest: ManifestArg,
    budget: BudgetOption,
    out: OutOption = Path("dataset"),
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
    from fluxbatch.listing import plan_notes
    from fluxbatch.prepare import look_ahead

    options = dict(locals())
    job = _job(manifest, out, budget, column, own, simulate, options)
    found, coverage = look_ahead(job)
    settings = job.settings
    if json:
        print(tell.plan_json(found, coverage, settings.rate))  # noqa: T201
    else:
        tell.show_plan(_console(), found, coverage, out, settings.rate, latency, settings.max_in_flight)
        tell.show_notes(_console(), plan_notes(found, job.defaults(), settings.models))
    if found.complaint_count and not settings.skip_invalid:
        raise typer.Exit(2)


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
    limit: LimitOption = None,
    sample: SampleOption = None,
    sample_seed: SampleSeedOption = None,
    preview: PreviewOption = None,
    resend_refused: RefusedOption = None,
    patience: Annotated[
        float | None, typer.Option(help="Minutes of nothing but trouble after which the run ends. [15]")
    ] = None,
    column: ColumnOption = None,
    own: OwnOption = None,
    allow_hosts: AllowOption = None,
    refetch: RefetchOption = None,
    simulate: SimulateOption = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
) -> None:
    """Make the pictures. Run the same command again to go on where it stopped: nothing is paid twice.

    Example: fluxbatch run prompts.csv --out cats --budget 20

    Example: fluxbatch run edits.csv --out edits --budget 20 --allow-host images.example.com

    Example: fluxbatch run prompts.csv --out cats --budget 1 --sample 20 --seed 7    (looks before it buys)

    Example: fluxbatch run prompts.csv --out cats --budget 20 --on-budget spread

    Exit codes: 0 complete, 2 bad usage or manifest, 3 stopped by the budget, 4 complete but some rows failed,
    5 stopped by the account or the platform, 130 interrupted.
    """
    from fluxbatch.foreground import run_in_foreground

    options = dict(locals())
    job = _job(manifest, out, budget, column, own, simulate, options)
    raise typer.Exit(run_in_foreground(job, _console(stderr=True), as_json=json, command=_same_command()))


@app.command()
def sweep(
    spec: Annotated[Path, typer.Argument(help="A sweep file: .yaml.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it: .parquet, .csv or .jsonl.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N rows.")] = None,
    sample: Annotated[int | None, typer.Option(help="Only N rows by chance; the same for the same --seed.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of --sample.")] = 0,
    preview: Annotated[int | None, typer.Option(help="Only N rows that show the ends of every axis.")] = None,
    model: ModelOption = None,
    width: WidthOption = None,
    height: HeightOption = None,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    own: OwnOption = None,
    json: JsonOption = False,
) -> None:
    """Count a sweep by axis, price it and show some of its rows; write it as a table. Sends nothing.

    `plan` and `run` take a sweep file as it is: it need not be written first.

    Example: fluxbatch sweep prompts/matrix.yaml

    Example: fluxbatch sweep prompts/matrix.yaml --sample 500 --seed 7 -o sample.parquet

    Exit codes: 0, or 2: bad usage, or some of the rows cannot be sent.
    """
    from fluxbatch.settings import load_settings
    from fluxbatch.swept import Selection, show_sweep

    settings = load_settings(model=model, width=width, height=height, steps=steps, guidance=guidance)
    selection = Selection(limit, sample, seed, preview)
    raise typer.Exit(show_sweep(spec, selection, settings, own or (), output, _console(), as_json=json))


@app.command()
def status(dataset: DatasetArg, ledger: LedgerOption = None, json: JsonOption = False) -> None:
    """A dataset's books: pictures, money, and every charge that is not known.

    Example: fluxbatch status cats
    """
    from fluxbatch.examine import show_status_of
    from fluxbatch.settings import load_settings

    show_status_of(dataset, load_settings(ledger=ledger), _console(), as_json=json)


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
    from fluxbatch.settings import load_settings

    settings = load_settings(ledger=ledger)
    if not repair:
        from fluxbatch.examine import verify_against_ledger

        raise typer.Exit(verify_against_ledger(dataset, settings, _console(), as_json=json))
    from fluxbatch.repair import repair as mend
    from fluxbatch.repair import show_repaired

    done = mend(dataset, settings)
    show_repaired(_console(), done, as_json=json)
    raise typer.Exit(done.exit_code)


@app.command()
def reconcile(
    dataset: DatasetArg,
    billed: Annotated[
        list[str] | None, typer.Option("--billed", help="Settle as billed: KEY, KEY#N, or all. Its bound is spent.")
    ] = None,
    not_billed: Annotated[
        list[str] | None, typer.Option("--not-billed", help="Settle as not billed: KEY, KEY#N, or all.")
    ] = None,
    why: Annotated[str | None, typer.Option(help="The reason, kept in the ledger beside each decision.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask Cloudflare for its figures.")] = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
) -> None:
    """What may have been billed: compare the ledger with Cloudflare's figures, and settle what is unknown.

    Nothing is settled but what you name. The token needs Account Analytics: Read besides Workers AI: Read.

    Example: fluxbatch reconcile cats

    Example: fluxbatch reconcile cats --not-billed all --why "invoice of November"

    Exit codes: 0 nothing is unknown, and Cloudflare (if asked) does not say more than the ledger, 2 bad usage, or a run
    is alive, 4 unknown attempts are left, or Cloudflare says more.
    """
    from fluxbatch import reconciled
    from fluxbatch.reconcile import NO_REASON, Wishes
    from fluxbatch.reconcile import reconcile as compare_and_settle
    from fluxbatch.settings import load_settings

    wishes = Wishes(billed or (), not_billed or (), why or NO_REASON)
    found = compare_and_settle(dataset, load_settings(ledger=ledger), wishes, offline=offline)
    if json:
        print(reconciled.to_json(found))  # noqa: T201
    else:
        reconciled.show(_console(), found)
    raise typer.Exit(found.exit_code)


@app.command()
def simulate(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 chooses one.")] = 8787,
    settings: Annotated[
        str, typer.Option(help='The simulator\'s settings as JSON, such as {"latency_s": 2, "faults": {"3040": 0.1}}.')
    ] = "{}",
) -> None:
    """Serve a Cloudflare that costs nothing, until Ctrl-C.

    Example: fluxbatch simulate --port 8787
    """
    from fluxbatch.simulator.server import serve
    from fluxbatch.simulator.settings import SimulatorSettings

    wanted = SimulatorSettings.from_json(settings)

    def ready(base_url: str) -> None:
        lines = [
            f"export CLOUDFLARE_BASE_URL={base_url}",
            f"export CLOUDFLARE_ACCOUNT_ID={wanted.account}",
            f"export CLOUDFLARE_API_TOKEN={wanted.token}",
        ]
        print("\n".join(lines), flush=True)  # noqa: T201

    serve(wanted, port, ready)


@app.command()
def doctor(
    out: Annotated[Path, typer.Option("--out", help="Where a dataset would be written.")] = Path(),
    model: ModelOption = None,
    models: ModelsOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Check token, account, model, prices, ledger, disk and clock. Free.

    Example: fluxbatch doctor --out cats --model flux-2-klein-4b
    """
    from fluxbatch.examine import examine
    from fluxbatch.settings import load_settings

    raise typer.Exit(examine(load_settings(model=model, models=models, ledger=ledger), out, _console()))


app.command("models")(list_models)


def main() -> NoReturn:
    """The command line: errors of the world become one sentence and an exit code, never a traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except FluxbatchError as error:
        from fluxbatch.tell import show_error

        complaints = error.complaints if isinstance(error, ManifestError) else ()
        show_error(_console(stderr=True), str(error), complaints)
        sys.exit(2 if isinstance(error, UsageError) else 5)
    sys.exit(0)


def _job(
    manifest: Path, out: Path, budget: str, column: list[str] | None, own: list[str] | None, simulate: bool,
    options: dict[str, Any],
) -> Job:  # fmt: skip
    from fluxbatch.job import Job
    from fluxbatch.models.money import parse_usd
    from fluxbatch.settings import Settings, load_settings

    try:
        budget_nano_usd = parse_usd(budget)
    except ValueError as error:
        raise UsageError(f"--budget {error}") from None
    settings = load_settings(**{name: value for name, value in options.items() if name in Settings.model_fields})
    return Job(manifest, out, budget_nano_usd, settings, _mapping(column or []), frozenset(own or []), simulate)


def _mapping(pairs: list[str]) -> dict[str, str]:
    mapping = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise UsageError(f"--column {wrong[0]!r} has no '='; write it like --column prompt=Prompt")
    return mapping


def _same_command() -> str:
    import shlex

    return shlex.join(["fluxbatch", *sys.argv[1:]])


def _console(stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr, emoji=False)  # a path with :x: in it is no cross
