"""The flow `generate_sweep`: a sweep file, counted and priced for everybody to see, then made like any manifest."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import parameters as p
from flows.generate import carry_out, job_of, run_name, settings_of
from flows.outage import out_of_the_way
from fluxbatch.budget.plan import Shape
from fluxbatch.dataset.kept import KeptReferences
from fluxbatch.dataset.pictures import Earlier
from fluxbatch.job import Job, defaults_of, places_of
from fluxbatch.many import many
from fluxbatch.models.money import exact
from fluxbatch.models.price import quote
from fluxbatch.plain import plain
from fluxbatch.swept import Look, Swept, counted, shown_rows, sweep_of

SHAPES_SHOWN = 20
PROMPT_SHOWN = 200


@flow(name="generate-sweep", flow_run_name=run_name, retries=0)
async def generate_sweep(
    sweep: p.SweepFile,
    out: p.Out,
    budget_usd: p.Budget,
    only_count: p.OnlyCount = False,
    credentials: p.Credentials = None,
    on_budget: p.WhenShort = "spread",
    run_budget: p.RunBudget = None,
    project: p.Project = None,
    free_only: p.FreeOnly = False,
    if_running: p.IfRunning = "fail",
    preview: p.Preview = None,
    sample: p.Sample = None,
    sample_seed: p.SampleSeed = None,
    limit: p.Limit = None,
    model: p.Model = None,
    width: p.Width = None,
    height: p.Height = None,
    steps: p.Steps = None,
    guidance: p.Guidance = None,
    max_price_per_picture: p.MaxPrice = None,
    fit: p.Fitted = None,
    allow_hosts: p.AllowHosts = None,
    embed_provenance: p.EmbedProvenance = False,
    models: p.OwnModels = None,
    skip_invalid: p.SkipInvalid = False,
    rate: p.Rate = None,
    max_in_flight: p.MaxInFlight = None,
    simulate: p.Simulate = False,
) -> State[dict[str, Any]]:
    """Make the pictures of a sweep within a budget; its axes, rows and price are shown first. A widened axis pays for
    its new cells only."""
    settings = settings_of(locals())
    job = job_of(sweep, out, budget_usd, settings, None, None, simulate)
    swept = await _count(job)
    if only_count:
        told = f"{many(swept.rows, 'row')}, {many(swept.pictures, 'picture')}, expected ${exact(swept.expected.usd)}"
        return Completed(message=f"counted: {told}", data={"rows": swept.rows, "pictures": swept.pictures})
    return await carry_out(job, credentials)


async def _count(job: Job) -> Swept:
    """What the whole file comes to, as an artifact, before a picture of it is paid for."""
    with TemporaryDirectory(prefix="fluxbatch-") as folder:  # only the run keeps what is fetched
        places = places_of(job.settings, KeptReferences(Path(folder)), Earlier())
        swept = sweep_of(job.manifest, defaults_of(job.settings, job.catalogue), (), Look(), places)
        text = to_markdown(swept, job.manifest.name)
    with out_of_the_way("the sweep's count"):
        await acreate_markdown_artifact(text, key="sweep", description=f"{job.manifest.name}: axes, rows and price")
    return swept


def to_markdown(swept: Swept, title: str) -> str:
    """How the rows come about, what they cost, and some of them."""
    lines = [f"# {_cell(title)}", "", *(f"- {_cell(line)}" for line in counted(swept.sweep)), ""]
    lines += ["| pictures | model | size | steps | expected | bound |", "|---:|---|---|---:|---:|---:|"]
    lines += [_price_row(shape, count) for shape, count in swept.shapes.most_common(SHAPES_SHOWN)]
    lines += [f"| **{swept.pictures:,}** | all | | | ${exact(swept.expected.usd)} | ${exact(swept.bound.usd)} |", ""]
    if swept.rejected_rows:
        lines += [f"**{many(swept.rejected_rows, 'row')} cannot be sent.**", ""]
    lines += ["| row | prompt |", "|---:|---|"]
    lines += [f"| {row['row']:,} | {_cell(str(row['prompt']))} |" for row in shown_rows(swept).to_pylist()]
    return "\n".join(lines) + "\n"


def _price_row(shape: Shape, count: int) -> str:
    price = quote(*shape)
    expected, bound = exact((price.expected * count).usd), exact((price.bound * count).usd)
    size = f"{shape.width}x{shape.height}"
    return f"| {count:,} | {_cell(shape.model.name)} | {size} | {shape.steps} | ${expected} | ${bound} |"


def _cell(text: str) -> str:
    """Text from a sweep becomes no markup."""
    escaped = plain(text, PROMPT_SHOWN)
    for character in "\\`*_{}[]<>#|":
        escaped = escaped.replace(character, "\\" + character)
    return escaped
