"""A file system in memory that fails on cue, and completes an upload that has failed, as pyarrow's S3 does."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
from pyarrow import fs


class Attic(fs.FileSystemHandler):
    """`completed` are the names that uploads were completed under, whole or not."""

    def __init__(self, fails_at: int) -> None:
        self.objects: dict[str, bytes] = {}
        self.completed: list[str] = []
        self.fails_at = fails_at

    def get_type_name(self) -> str:
        return "attic"

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        return [
            fs.FileInfo(path, fs.FileType.File, size=len(self.objects[path]))
            if path in self.objects
            else fs.FileInfo(path, fs.FileType.NotFound)
            for path in paths
        ]

    def open_output_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        return pa.PythonFile(_Upload(self, path), mode="w")

    def delete_file(self, path: str) -> None:
        del self.objects[path]

    def _never(self, *_: Any) -> Any:
        raise NotImplementedError

    normalize_path = get_file_info_selector = create_dir = delete_dir = delete_dir_contents = _never
    delete_root_dir_contents = move = copy_file = open_input_stream = open_input_file = open_append_stream = _never


class _Upload(io.RawIOBase):
    def __init__(self, attic: Attic, path: str) -> None:
        self._attic, self._path = attic, path
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        if len(self._pieces) + 1 == self._attic.fails_at:
            raise OSError("the second piece was not taken")
        self._pieces.append(bytes(piece))
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._attic.objects[self._path] = b"".join(self._pieces)
            self._attic.completed.append(self._path)
        super().close()
