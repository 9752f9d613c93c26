"""What a WebDataset sample is to `datasets`: a card whose YAML says the types, which it would guess from five samples.

A column that is empty in the first five and not in the sixth would not load at all (webdataset.py in `datasets`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import yaml

from fluxbatch.dataset.features import features_of

_SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
_TEXT = """
`shard-*.tar` holds one sample after the other: the picture, `.json` with its row, `.txt` with its prompt.

```python
from datasets import load_dataset

samples = load_dataset("path/to/this/folder", split="train")
```
"""


def sample_card(name: str, columns: pa.Schema, formats: Iterable[str | None]) -> str:
    """The README of shards with these columns in `.json`, and pictures of these formats (as Pillow calls them)."""
    front: dict[str, Any] = {"configs": [{"config_name": "default", "data_files": "shard-*.tar"}]}
    features = _features(columns, formats)
    if features is not None:
        front["dataset_info"] = {"features": features}
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n# {name}\n{_TEXT}"


def _features(columns: pa.Schema, formats: Iterable[str | None]) -> list[dict[str, Any]] | None:
    """None where a type or a format has no name: readers guess then."""
    suffixes = sorted({_SUFFIXES.get(one or "", "") for one in formats})
    try:
        row = pa.struct([pa.field(field.name, _json_type(field.type)) for field in columns])
    except NotImplementedError:
        return None
    texts = [pa.field(name, pa.string()) for name in ("txt", "__key__", "__url__")]
    others = features_of(pa.schema([pa.field("json", row), *texts]), pictures="")
    if "" in suffixes or others is None:
        return None
    return [*({"name": suffix, "dtype": "image"} for suffix in suffixes), *others]


def _json_type(kind: pa.DataType) -> pa.DataType:
    """What a value is once it has been JSON (`cells.json_line`)."""
    if pa.types.is_dictionary(kind):
        return _json_type(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(one.name, _json_type(one.type)) for one in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(_json_type(kind.value_type))
    if pa.types.is_nested(kind):
        raise NotImplementedError(f"{kind}")
    if pa.types.is_decimal(kind) or pa.types.is_duration(kind):
        return pa.float64()
    is_plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return kind if is_plain or pa.types.is_null(kind) else pa.string()
