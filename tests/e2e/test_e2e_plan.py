"""`fluxbatch plan`: what a run would make, cost and take; nothing is sent."""

from __future__ import annotations

from decimal import Decimal

from tests.e2e.e2e_kit import SMALL_CENTINEURONS, Desk, centineurons, nano_usd, rows

PROMISED = {
    **dict.fromkeys(("asked", "already", "complaints", "fits"), int),
    **dict.fromkeys(("expected_usd", "bound_usd", "expected_neurons", "bound_neurons"), str),
    "minutes_at_rate": float,
}


def test_the_object_has_every_promised_key_and_exact_amounts(desk: Desk) -> None:
    manifest = desk.manifest([*rows(3), {"prompt": "large", "width": 1008, "height": 496, "steps": 7}])
    told = desk.plan(manifest, "--json", "--rate", "720").ended(0).json
    assert {name: type(told[name]) for name in PROMISED} == PROMISED
    large = round(7 * 3750 * 1008 * 496 / 262144)
    assert centineurons(told["expected_neurons"]) == 3 * SMALL_CENTINEURONS + large
    assert nano_usd(told["expected_usd"]) == 110 * centineurons(told["expected_neurons"])
    assert told["bound_neurons"] == "975"  # whole tiles: 3 x 4 steps x 37.5 + 7 x 2 x 37.5
    assert told["bound_usd"] == "0.010725"
    assert (told["asked"], told["already"], told["complaints"], told["fits"]) == (4, 0, 0, 4)
    assert told["minutes_at_rate"] == round(4 / 720, 3)


def test_nothing_is_sent_and_nothing_is_made(desk: Desk) -> None:
    desk.without = ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN")
    desk.plan(desk.manifest(rows(3)), "--json").ended(0)
    assert desk.requests == 0
    assert not desk.out.exists()


def test_a_plan_needs_a_budget(desk: Desk) -> None:
    assert "--budget" in desk.command("plan", str(desk.manifest(rows(1)))).ended(2).err


def test_what_is_made_already_costs_nothing(desk: Desk) -> None:
    desk.run(desk.manifest(rows(5))).ended(0)
    told = desk.plan(desk.manifest([*rows(5), *rows(2, "new")]), "--json").ended(0).json
    assert (told["asked"], told["already"], told["expected_neurons"]) == (7, 5, "75")
    whole = desk.plan(desk.manifest(rows(5)), "--json").ended(0).json
    assert (whole["expected_usd"], whole["bound_usd"], whole["fits"]) == ("0", "0", 0)


def test_a_plan_changes_nothing_in_the_dataset_and_its_budget(desk: Desk) -> None:
    desk.run(desk.manifest(rows(2)), budget="3").ended(0)
    desk.plan(desk.manifest(rows(5)), "--json", budget="900").ended(0)
    assert desk.command("status", str(desk.out), "--json").json["budget_usd"] == "3"


def test_what_fits_is_what_a_run_makes(desk: Desk) -> None:
    manifest = desk.manifest([*rows(3), *rows(3, "larger", width=512, height=512), *rows(10, "after")])
    for budget in ("0.0017", "0.004", "0.009"):
        fits = desk.plan(manifest, "--json", budget=budget, out=desk.folder / budget).json["fits"]
        made = desk.run(manifest, budget=budget, out=desk.folder / budget).ended(3).json["made"]
        assert made == fits > 0


def test_all_complaints_are_counted_and_shown_and_the_exit_code_is_2(desk: Desk) -> None:
    manifest = desk.manifest([*rows(2), {"prompt": ""}, {"prompt": "a", "width": 500, "steps": 0}])
    said = desk.plan(manifest, "--json").ended(2)
    assert (said.json["asked"], said.json["complaints"]) == (2, 3)
    shown = desk.plan(manifest).ended(2)
    assert "row 3, column prompt" in shown.out
    assert "row 4, column width" in shown.out
    assert "row 4, column steps" in shown.out
    desk.plan(manifest, "--json", "--skip-invalid").ended(0)


def test_the_tables_say_sizes_steps_references_money_and_time(desk: Desk) -> None:
    manifest = desk.manifest([*rows(3), {"prompt": "large", "width": 1024, "height": 768, "steps": 25}])
    said = desk.plan(manifest, "--rate", "720", "--latency", "30", budget="0.03").ended(0)
    for text in ("1024x768", "256x256", "$0.0309", "2,925", "bound", "of 4 pictures fit", "at the rate", "30 s"):
        assert text in said.out, text


def test_no_figure_and_no_name_is_cut_at_80_columns_and_few_pictures_take_as_long_as_one(desk: Desk) -> None:
    desk.environment = {"COLUMNS": "80"}
    path = desk.folder / "m.csv"
    path.write_text("prompt,model,steps\na,stable-diffusion-xl-base-1.0,\nb,lucid-origin,\nc,flux-2-dev,25\n")
    said = desk.plan(path, "--latency", "600").ended(0)
    assert "…" not in said.out
    for text in ("$0.04295159", "$0.080784", "$0.04125", "each picture bought once\n"):
        assert text in said.out, text
    assert "10 min at 600 s a picture and 256 in flight" in said.out
    assert max(map(len, said.out[: said.out.index("pictures  3 asked")].splitlines())) <= 80


def test_the_published_example_of_the_contract(desk: Desk) -> None:
    """CLOUDFLARE.md section 3: 25 steps at 512x512, 1024x768 and 1024x1024."""
    path = desk.folder / "m.csv"
    path.write_text("prompt,width,height\na,512,512\nb,1024,768\nc,1024,1024\n")
    told = desk.plan(path, "--json").ended(0).json
    assert Decimal(told["expected_neurons"]) == Decimal("937.5") + Decimal("2812.5") + 3750
    assert Decimal(told["expected_usd"]) == Decimal("0.0103125") + Decimal("0.0309375") + Decimal("0.04125")


def test_rate_0_means_unknown_so_there_is_no_time_at_it(desk: Desk) -> None:
    assert desk.plan(desk.manifest(rows(1)), "--json", "--rate", "0").ended(0).json["minutes_at_rate"] is None
