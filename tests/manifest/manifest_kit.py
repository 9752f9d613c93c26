"""Small helpers for the manifest tests: write a file, read it whole, make a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image  # noqa: TID251 - the tests make the pictures they read

from fluxbatch.manifest.reader import Defaults, Manifest, Rejected, open_manifest
from fluxbatch.manifest.request import ImageRequest

Row = ImageRequest | Rejected


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def opened(path: Path, **options: Any) -> Manifest:
    return open_manifest(path, options.pop("defaults", Defaults()), **options)


def asked(rows: Manifest | list[Row]) -> list[ImageRequest]:
    """Every request; fails if any row is rejected."""
    found = list(rows.rows()) if isinstance(rows, Manifest) else rows
    assert [str(c) for row in found if isinstance(row, Rejected) for c in row.complaints] == []
    return [row for row in found if isinstance(row, ImageRequest)]


def rejected(manifest: Manifest) -> list[Rejected]:
    return [row for row in manifest.rows() if isinstance(row, Rejected)]


def own_values(request: ImageRequest) -> Mapping[str, Any]:
    assert request.own is not None
    (row,) = request.own.row().to_pylist()
    return row


def picture(width: int, height: int, kind: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, kind, **options)
    return buffer.getvalue()
