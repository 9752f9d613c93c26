"""What holds for every sweep, tried on sweeps made by chance."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxbatch.errors import ManifestError
from fluxbatch.manifest.sweep.source import Sweep
from fluxbatch.manifest.sweep.write import write
from tests.manifest.manifest_kit import asked, opened, own_values
from tests.manifest.sweep.sweep_kit import counts_of

WORDS = st.lists(st.sampled_from(["x", "xy", "y", "yz", "z", "a b", "b c"]), min_size=1, max_size=4)
AXES: Mapping[str, st.SearchStrategy[list[Any]]] = {
    "a": WORDS,
    "b": WORDS,
    "steps": st.lists(st.sampled_from([4, 8, 25]), min_size=1, max_size=3),
    "guidance": st.lists(st.sampled_from([None, 2.5, 3.0, 3.5]), min_size=1, max_size=3),
    "seed": st.lists(st.integers(0, 5), min_size=1, max_size=4),
    "size": st.lists(st.sampled_from(["512x512", "512x768", "1024x1024"]), min_size=1, max_size=3),
}
PROMPTS = ["{{ a }}{{ b }}", "{{ a }} {{ b }}", "{{ a }}, {{ b }}!", "{{ a | upper }} {p|q} {{ b }}"]


@st.composite
def levels(draw: st.DrawFn) -> dict[str, Any]:
    axes = {name: draw(AXES[name]) for name in draw(st.permutations(list(AXES)))[: draw(st.integers(0, 4))]}
    level: dict[str, Any] = {"axes": {**axes, "a": axes.get("a") or draw(WORDS)}}
    if draw(st.booleans()) and len(axes) > 1:
        zipped = sorted(axes)[:2]
        count = min(len(axes[name]) for name in zipped)
        level["zip"] = [{name: level["axes"].pop(name)[:count] for name in zipped}]
    names = [name for name in level["axes"] if name != "size"]
    if names and draw(st.booleans()):
        level["exclude"] = [{name: draw(st.sampled_from(level["axes"][name])) for name in names[:2]}]
    if draw(st.booleans()):
        level["include"] = [{"a": draw(WORDS), "b": draw(st.sampled_from(["x", "z"]))}]
    return level


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    top: dict[str, Any] = {"prompt": draw(st.sampled_from(PROMPTS)), "defaults": {"a": "k", "b": "k", "steps": 8}}
    if draw(st.booleans()):
        return {**top, **draw(levels())}
    return {**top, "blocks": draw(st.lists(levels(), min_size=1, max_size=3))}


def opened_of(spec: Mapping[str, Any], folder: Path) -> Any:
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    return opened(path)


def opened_if_any_is_left(spec: Mapping[str, Any], folder: Path) -> Any:
    """The manifest; None where chance has excluded every cell, which is refused."""
    try:
        return opened_of(spec, folder)
    except ManifestError as error:
        if all("every cell is excluded" in str(complaint) for complaint in error.complaints):
            return None
        raise


def shuffled(value: Any, order: st.DataObject) -> Any:
    """The same with the keys of every mapping in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key], order) for key in order.draw(st.permutations(list(value)))}
    return [shuffled(part, order) for part in value] if isinstance(value, list) else value


QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def content(sweep: Sweep, folder: Path) -> Any:
    sink = io.BytesIO()
    count = write(sweep, folder / "out.parquet", sink)
    table = pq.read_table(io.BytesIO(sink.getvalue()))
    assert table.num_rows == count
    return table


@QUICK
@given(specs())
def test_the_count_is_the_rows_and_no_key_comes_twice(spec: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        manifest = opened_if_any_is_left(spec, Path(name))
        if manifest is None:
            return
        rows = asked(manifest)
        assert len(rows) == manifest.sweep.rows == counts_of(manifest.sweep).rows
        assert len({row.key for row in rows}) == len(rows)
        assert {row.sample for row in rows} == {0}
        table = content(manifest.sweep, Path(name))
        assert table.num_rows == len(rows)
        assert table["prompt"].to_pylist() == [row.prompt for row in rows]


@QUICK
@given(specs(), st.data())
def test_the_order_of_the_keys_in_the_file_changes_nothing(spec: dict[str, Any], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        manifest = opened_if_any_is_left(spec, Path(name))
        if manifest is None:
            return
        before = [(row.key, row.row, own_values(row)) for row in asked(manifest)]
        again = opened_of(shuffled(spec, data), Path(name))
        assert [(row.key, row.row, own_values(row)) for row in asked(again)] == before


@QUICK
@given(specs(), st.data())
def test_a_wider_axis_keeps_every_key(spec: dict[str, Any], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        manifest = opened_if_any_is_left(spec, Path(name))
        if manifest is None:
            return
        before = {row.key for row in asked(manifest)}
        levels_with_axes = [level for level in [spec, *spec.get("blocks", [])] if level.get("axes")]
        if not levels_with_axes:
            return
        level = data.draw(st.sampled_from(levels_with_axes))
        axis = data.draw(st.sampled_from(sorted(level["axes"])))
        more = data.draw(AXES[axis])
        level["axes"][axis] = data.draw(st.permutations(level["axes"][axis] + more))
        assert before <= {row.key for row in asked(opened_of(spec, Path(name)))}


@QUICK
@given(specs(), st.data())
def test_any_rows_are_found_without_the_others(spec: dict[str, Any], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        manifest = opened_if_any_is_left(spec, Path(name))
        if manifest is None:
            return
        sweep = manifest.sweep
        prompts = content(sweep, Path(name))["prompt"].to_pylist()
        wanted = sorted(data.draw(st.sets(st.integers(1, sweep.rows), max_size=10)))
        found = [text for part, cells in sweep.cells(wanted) for text in part.texts(part.places(cells))[0].to_pylist()]
        assert found == [prompts[row - 1] for row in wanted]
