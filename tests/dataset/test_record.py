from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.dataset.image import inspect
from fluxbatch.dataset.record import LATER, RESERVED, integers, part_schema
from fluxbatch.manifest.request import Reference
from fluxbatch.models.money import charge, decimal_usd
from tests.dataset.dataset_kit import NO_COLUMNS, WHEN, asked, delivered, jpeg, row_of

OWN = pa.schema([("label", pa.string()), ("score", pa.float32())])


def test_the_columns_stand_in_the_order_that_is_promised() -> None:
    assert part_schema(OWN).names == [
        *("image", "prompt", "model", "width", "height", "steps", "guidance", "seed", "sample", "references"),
        *("negative_prompt", "strength"),
        *("id", "row", "key", "label", "score"),
        *("image_width", "image_height", "format", "size_bytes", "sha256", "phash"),
        *("sharpness", "luminance_mean", "luminance_spread", "dominant_color", "check"),
        *(
            "neurons_expected",
            "neurons",
            "usd",
            "attempts",
            "latency_s",
            "request_id",
            "created_at",
            "run_id",
        ),
    ]
    assert frozenset(part_schema(NO_COLUMNS).names) == RESERVED


def test_a_delivery_becomes_one_row_with_all_that_is_known() -> None:
    reference = Reference("cd" * 32, 100, 100, 100, 100)
    own = pa.record_batch({"score": pa.array([0.5], pa.float32()), "label": ["x"]})
    request = asked("cat", row=7, sample=2, references=(reference,), own=own, id="cat-7", guidance=3.5, seed=42)
    row = row_of(delivered(request, attempt=3, actual=charge(375_012)), OWN)
    assert row.schema.equals(part_schema(OWN), check_metadata=True)
    [values] = row.to_pylist()
    assert values.pop("image") == {"bytes": jpeg(seed=7), "path": f"{request.key}.jpg"}
    assert len(values.pop("sha256")) == 64
    assert len(values.pop("phash")) == 16
    measured = inspect(jpeg(seed=7), 64, 48).measured
    assert measured is not None
    assert values == {
        "prompt": "cat",
        "model": "@cf/black-forest-labs/flux-2-dev",
        "width": 64,
        "height": 48,
        "steps": 25,
        "guidance": 3.5,
        "seed": 42,
        "sample": 2,
        "references": ["cd" * 32],
        "negative_prompt": None,
        "strength": None,
        "id": "cat-7",
        "row": 7,
        "key": request.key,
        "label": "x",
        "score": 0.5,
        "image_width": 64,
        "image_height": 48,
        "format": "JPEG",
        "size_bytes": len(jpeg(seed=7)),
        "sharpness": measured.sharpness,
        "luminance_mean": measured.luminance_mean,
        "luminance_spread": measured.luminance_spread,
        "dominant_color": measured.dominant_color,
        "check": "ok",
        "neurons_expected": Decimal("479.74"),
        "neurons": Decimal("3750.12"),
        "usd": Decimal("0.041251320"),
        "attempts": 3,
        "latency_s": 12.5,
        "request_id": "req-1",
        "created_at": WHEN,
        "run_id": "run-1",
    }
    assert values["neurons_expected"] == request.quote.expected.neurons


@pytest.mark.parametrize(("content", "suffix"), [(b"no picture", ".bin"), (b"", ".bin")])
def test_bytes_that_are_no_picture_are_kept_and_marked(content: bytes, suffix: str) -> None:
    [values] = row_of(delivered(asked(), content)).to_pylist()
    assert values["image"]["bytes"] == content
    assert values["image"]["path"].endswith(suffix)
    assert (values["check"], values["format"], values["image_width"], values["phash"]) == ("undecodable", *[None] * 3)
    assert [values[name] for name in sorted(LATER[3])] == [None] * 4
    assert values["usd"] == Decimal("0.041251320")


@given(st.lists(st.integers(0, 10**17), min_size=1, max_size=20), st.integers(0, 19))
def test_money_comes_back_from_a_column_as_the_integer_it_was(amounts: list[int], start: int) -> None:
    column = pa.array([decimal_usd(amount) for amount in amounts], pa.decimal128(18, 9)).slice(min(start, len(amounts)))
    assert integers(column) == amounts[start:] == [value.scaleb(9) for value in column.to_pylist()]
