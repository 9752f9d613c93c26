"""A user's own models.toml: what it changes, what it adds, and every complaint with file, table and key."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.errors import FluxbatchError, ManifestError, UsageError
from fluxbatch.models.catalogue import CATALOGUE, FLUX_1_SCHNELL, FLUX_2_DEV, MODELS, Answer, Body, find_model
from fluxbatch.models.custom import changed, read_catalogue
from fluxbatch.models.money import exact
from fluxbatch.models.price import quote
from fluxbatch.models.tariff import KINDS, TileAndStepPrice, TileStepPrice, price_table

DEARER = """
[flux-2-dev]
prices_read = 2026-12-01
price = { output_tile_neurons = 75, input_tile_neurons = 37.5 }
"""
OURS = """
["our-model-1.0"]
like = "lucid-origin"
id = "@cf/us/our-model-1.0"
prices_read = 2026-12-02
price = { kind = "tile-and-step", tile_neurons = 700, step_neurons = 0.5, tile_usd = 0.008 }
steps_max = 30
"""
ALL_NEW = """
[from-nothing]
id = "@hf/them/from-nothing"
body = "json"
answer = "bytes"
sends = { prompt = "text", steps = "num_steps" }
side_min = 512
side_max = 512
width_default = 512
height_default = 512
steps_max = 12
steps_default = 6
prices_read = 2026-12-03
price = { kind = "free" }
"""


def read(folder: Path, text: str) -> object:
    path = folder / "models.toml"
    path.write_text(text)
    return read_catalogue(path)


def complaints(folder: Path, text: str) -> list[str]:
    with pytest.raises(ManifestError) as failure:
        read(folder, text)
    return [str(complaint).removeprefix(f"{folder / 'models.toml'}, ") for complaint in failure.value.complaints]


def test_without_a_file_the_models_are_cloudflares() -> None:
    assert read_catalogue(None) is CATALOGUE


def test_a_changed_price_is_another_quote_and_changes_nothing_else(tmp_path: Path) -> None:
    catalogue = read(tmp_path, DEARER)
    model = catalogue.find("flux-2-dev")  # type: ignore[attr-defined]
    assert exact(quote(model, 1024, 1024, 25, 1).expected.neurons) == "8437.5"  # 25 x (4 x 75 + 37.5)
    assert model.price == TileStepPrice(7500, 3750, 825_000, 412_500)  # dollars follow from the neurons
    assert model == replace(FLUX_2_DEV, price=model.price, prices_read=date(2026, 12, 1))
    assert catalogue.models[1:] == MODELS[1:]  # type: ignore[attr-defined]
    assert find_model("flux-2-dev") is FLUX_2_DEV  # nothing global has moved
    assert exact(quote(FLUX_2_DEV, 1024, 1024, 25, 0).expected.neurons) == "3750"


def test_a_model_of_ones_own_is_like_a_known_one_where_it_says_nothing(tmp_path: Path) -> None:
    model = read(tmp_path, OURS).find("@cf/us/our-model-1.0")  # type: ignore[attr-defined]
    assert (model.name, model.body, model.answer, model.side_max) == ("our-model-1.0", Body.JSON, Answer.BASE64, 2500)
    assert (model.steps_max, model.wire_name("steps"), model.prices_read) == (30, "num_steps", date(2026, 12, 2))
    assert model.price == TileAndStepPrice(70_000, 50, 8_000_000, 5_500)
    price = quote(model, 512, 512, 10, 0)
    assert (exact(price.expected.neurons), exact(price.bound.usd)) == ("705", "0.008055")


def test_a_model_can_be_described_from_nothing(tmp_path: Path) -> None:
    model = read(tmp_path, ALL_NEW).find("from-nothing")  # type: ignore[attr-defined]
    assert model.sends == (("prompt", "text"), ("steps", "num_steps"))
    assert (model.body, model.answer, model.side_min, model.side_max) == (Body.JSON, Answer.BYTES, 512, 512)


WRONG = [
    ("[flux-2-dev]\nstepz = 3", "[flux-2-dev] stepz: is no key of a model"),
    ("[phoenix-1.0]\nsteps_max = 3", '[phoenix-1] 0: is no key of a model; a name with a dot is quoted'),
    ("flux-2-dev = 3", "[flux-2-dev]: is a value, no table"),
    ('["a b"]\nsteps_max = 3', "[a b]: is no name"),
    ("[flux-2-dev]\nsteps_max = '50'", "[flux-2-dev] steps_max: 50 is no whole number from 1 to 1000"),
    ("[flux-2-dev]\nsteps_max = true", "[flux-2-dev] steps_max: True is no whole number"),
    ("[flux-2-dev]\nside_min = 2000", "[flux-2-dev] side_min: 2000 is above side_max 1920"),
    ("[flux-2-dev]\nwidth_default = 1000", "[flux-2-dev] width_default: 1000 is not what the model takes"),
    ("[flux-2-dev]\nbody = 'xml'", "[flux-2-dev] body: 'xml' is not known; take one of: multipart, json"),
    ("[flux-2-dev]\nanswer = 3", "[flux-2-dev] answer: 3 is not known"),
    ("[flux-2-dev]\ntells_neurons = 1", "[flux-2-dev] tells_neurons: 1 is neither true nor false"),
    ("[flux-2-dev]\nguidance_max = 'x'", "[flux-2-dev] guidance_max: 'x' is no number"),
    ("[flux-2-dev]\nguidance_max = nan", "[flux-2-dev] guidance_max: Decimal('NaN') is no number"),
    ("[flux-2-dev]\nguidance_min = 3\nguidance_max = 2", "[flux-2-dev] guidance_min: 3 is above guidance_max 2"),
    ("[flux-2-dev]\nid = 'flux'", "[flux-2-dev] id: 'flux' is no model id"),
    ("[flux-2-dev]\nid = '@cf/a/../b'", "[flux-2-dev] id: '@cf/a/../b' is no model id"),
    ("[flux-2-dev]\nid = '@cf/leonardo/phoenix-1.0'", "[phoenix-1.0] id: @cf/leonardo/phoenix-1.0 is flux-2-dev"),
    ("[flux-2-dev]\nlike = 'phoenix-1.0'", "[flux-2-dev] like: flux-2-dev is known already"),
    ("[ours]\nlike = 'nothing'\nid = '@cf/a/b'", "[ours] like: 'nothing' is no known model"),
    ("[ours]\nlike = 'phoenix-1.0'", "[ours]: a new model has to say id, price"),
    ("[ours]\nid = '@cf/a/b'", "[ours]: a new model has to say body, answer, sends, price, side_max, steps_"),
    ("[flux-2-dev]\nprices_read = '2026-12-01'", "[flux-2-dev] prices_read: '2026-12-01' is no date"),
    ("[flux-2-dev]\nprices_read = 2026-12-01T00:00:00", "[flux-2-dev] prices_read: datetime.datetime(2026"),
    ("[flux-2-dev]\nprice = { kind = 'free' }", "[flux-2-dev] prices_read: a price goes with the day it was read"),
    ("[flux-2-dev]\nprice = 3\nprices_read = 2026-12-01", "[flux-2-dev] price: 3 is no table"),
    ("[flux-2-dev]\nprice.kind = 'gold'\nprices_read = 2026-12-01", "[flux-2-dev] price.kind: 'gold' is no kind"),
    ("[flux-2-dev]\nsends = { steps = 'steps' }", "[flux-2-dev] sends: the prompt is not sent"),
    ("[flux-2-dev]\nsends = { mood = 'mood' }", "[flux-2-dev] sends.mood: is no parameter"),
    ("[flux-2-dev]\nsends = { prompt = 'a b' }", "[flux-2-dev] sends.prompt: 'a b' is no name of a field"),
    ("[flux-2-dev]\nreferences_max = 2", "[flux-2-dev] references_max: 2 references: sends has to name input_image_0"),
    ("[flux-2-klein-4b]\nsteps_max = 8", "[flux-2-klein-4b] sends: steps is not sent, so the model has one"),
    ("[flux-1-schnell]\nreference_side_max = -1", "[flux-1-schnell] reference_side_max: -1 is no whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_makes_no_sense_is_said_with_file_table_and_key(tmp_path: Path, text: str, said: str) -> None:
    assert any(complaint.startswith(said) for complaint in complaints(tmp_path, text)), complaints(tmp_path, text)


PRICES = [
    ("{ output_tile_neurons = 1 }", "price.input_tile_neurons: is missing"),
    ("{ output_tile_neurons = 1, input_tile_neurons = -1 }", "price.input_tile_neurons: -1 is no price"),
    ("{ output_tile_neurons = 0.001, input_tile_neurons = 1 }", "0.001 is finer than a hundredth of a neuron"),
    ("{ output_tile_neurons = '1', input_tile_neurons = 1 }", "'1' is no price"),
    ("{ output_tile_neurons = inf, input_tile_neurons = 1 }", "is no price"),
    ("{ output_tile_neurons = 1e9, input_tile_neurons = 1 }", "is more than any picture costs"),
    ("{ output_tile_neurons = 1, input_tile_neurons = 1, output_tile_usd = 1e-10 }", "is finer than a nano-dollar"),
    ("{ output_tile_neurons = 1, input_tile_neurons = 1, step_usd = 1 }", "price.step_usd: is no part of a tile-step"),
]


@pytest.mark.parametrize(("price", "said"), PRICES)
def test_a_price_that_makes_no_sense_is_said(tmp_path: Path, price: str, said: str) -> None:
    (complaint,) = complaints(tmp_path, f"[flux-2-dev]\nprices_read = 2026-12-01\nprice = {price}")
    assert said in complaint


def test_all_complaints_come_at_once(tmp_path: Path) -> None:
    text = "[flux-2-dev]\nsteps_max = 0\nbody = 'x'\n[ours]\nid = 'x'\n[flux-1-schnell]\nmood = 1\n"
    found = complaints(tmp_path, text)
    assert [complaint.split(":")[0] for complaint in found] == [
        "[flux-2-dev] steps_max", "[flux-2-dev] body", "[ours] id", "[ours]", "[flux-1-schnell] mood",
    ]  # fmt: skip


@pytest.mark.parametrize("content", [b"[flux-2-dev", b"\xff\xfe", b"a = 1\na = 2", b"x" * 1_000_001])
def test_what_is_no_toml_is_one_sentence_with_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "models.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"models\.toml: "):
        read_catalogue(path)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_catalogue(tmp_path / "models.toml")
    with pytest.raises(UsageError, match="cannot be read"):
        read_catalogue(tmp_path)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_each_price_of_the_table_can_be_written_down_and_read_back(tmp_path: Path, model: object) -> None:
    written = price_table(model.price)  # type: ignore[attr-defined]
    kind = written.pop("kind")
    amounts = "".join(f", {key} = {amount}" for key, amount in written.items())
    text = f'["{model.name}"]\nprices_read = 2026-11-22\nprice = {{ kind = "{kind}"{amounts} }}\n'  # type: ignore[attr-defined]
    assert read(tmp_path, text) == CATALOGUE


def test_every_kind_of_price_stands_in_the_table() -> None:
    assert {type(model.price) for model in MODELS} == set(KINDS.values())


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.dates() | st.decimals(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(["like", "id", "price", "body", "sends", "side_max", "steps_min", "prices_read", "guidance_min"])
names = st.sampled_from(["flux-2-dev", FLUX_1_SCHNELL.name, "ours", "a b", ""])


@given(st.dictionaries(names, st.dictionaries(keys, values, max_size=4) | values, max_size=3))
def test_whatever_a_file_says_is_a_catalogue_or_a_complaint(tables: dict[str, object]) -> None:
    try:
        catalogue = changed(CATALOGUE, tables, "models.toml")
    except FluxbatchError:
        return
    assert {model.name for model in CATALOGUE.models} <= {model.name for model in catalogue.models}
    for model in catalogue.models:
        price = quote(model, model.side_max, model.side_max, model.steps_max, model.references_max)
        assert price.expected.nano_usd <= price.bound.nano_usd < 2**62
