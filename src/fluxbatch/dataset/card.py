"""The dataset card: a README.md by which Hugging Face's `load_dataset` finds the parts, and nothing else."""

from __future__ import annotations

import json

from fluxbatch.plain import plain

_CARD = """\
---
pretty_name: {name}
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
---

# {title}

Pictures {maker}, made with fluxbatch. The parts in `data/` are listed in `catalogue.jsonl`.

```python
from datasets import load_dataset

pictures = load_dataset("path/to/this/folder", split="train")
pictures[0]["image"]  # a PIL image; prompt, seed, cost and the manifest's own columns are beside it
```
"""


def card(name: str, simulated: bool) -> str:
    """The card of a new dataset. The name is quoted as JSON, which YAML reads."""
    maker = "of fluxbatch's simulator (no model, no charge)" if simulated else "of Cloudflare Workers AI"
    return _CARD.format(name=json.dumps(name), title=plain(name, 200), maker=maker)
