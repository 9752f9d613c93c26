"""The command: what it says, where it says it, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.errors import UsageError
from fluxbatch.exit_codes import EXIT_COMPLETE, EXIT_INTERRUPTED, EXIT_USAGE, EXIT_WRONG
from fluxbatch.export.command import run_export
from fluxbatch.export.exporter import Wish
from fluxbatch.export.told import size_of
from tests.query.query_kit import dataset_of

COMMAND = (sys.executable, "-c", "from fluxbatch.cli import main; main()", "export")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_of(tmp_path_factory.mktemp("pictures") / "set")


def run(dataset: Dataset, target: object, wish: Wish, *, as_json: bool = False) -> int:
    return run_export(dataset, str(target), wish, force=False, as_json=as_json, command="fluxbatch export …")


def test_it_says_what_there_is_and_how_to_load_it(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(dataset, tmp_path / "out", Wish("hf")) == EXIT_COMPLETE
    said = capsys.readouterr().out
    assert re.search(r"out: 5 pictures, \d+\.\d kB in 2 files \(written\)", said)
    assert f"load     load_dataset('{tmp_path}/out', split='train')" in said
    assert run(dataset, tmp_path / "out", Wish("hf"), as_json=True) == EXIT_COMPLETE
    told = json.loads(capsys.readouterr().out)
    assert (told["pictures"], told["was_there"], told["unmarked"]) == (5, True, 0)


def test_no_row_is_said_and_is_an_exit_code(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(dataset, tmp_path / "out", Wish("csv", "row > 99")) == EXIT_WRONG
    assert "none of the 5 sealed pictures fits row > 99" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_goes_on_is_said_and_what_is_sealed_is_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = dataset_of(tmp_path / "set", (2,))
    with dataset.hold():
        assert run(dataset, tmp_path / "out", Wish("csv")) == EXIT_COMPLETE
    assert re.search(r"A run is going on \(process \d+ on .*\): exported is what is sealed", capsys.readouterr().err)


@pytest.mark.parametrize("address", ["s3://bucket/out", "hf://datasets/x"])
def test_an_address_is_no_folder(dataset: Dataset, address: str) -> None:
    with pytest.raises(UsageError, match="is an address: an export goes into a folder"):
        run(dataset, address, Wish("csv"))


@pytest.mark.parametrize(
    ("text", "size"), [("500MB", 500_000_000), ("64MiB", 67_108_864), ("1 gb", 10**9), ("1234", 1234), ("2k", 2000)]
)
def test_a_size_is_read(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5GB", "ten", "1TB", "9" * 40])
def test_what_is_no_size_is_said(text: str) -> None:
    with pytest.raises(UsageError, match=r"--shard-size .* is no size"):
        size_of(text)


def test_a_mistake_is_one_sentence_and_no_traceback(dataset: Dataset, tmp_path: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, str(dataset.folder), str(tmp_path / "out"), "--to", "images", "--where", "promt = 'x'"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == EXIT_USAGE
    assert "there is no column 'promt' (did you mean 'prompt'?)" in ended.stderr.replace("\n", " ")
    assert "Traceback" not in ended.stderr


INTERRUPTED = """
import os, signal
real, left = os.fsync, [6]
def fsync(number):
    left[0] -= 1
    if left[0] == 0:
        signal.raise_signal(signal.SIGINT)
    return real(number)
os.fsync = fsync
from fluxbatch.cli import main
main()
"""


def test_ctrl_c_leaves_what_is_written_and_says_how_to_go_on(dataset: Dataset, tmp_path: Path) -> None:
    arguments = ["export", str(dataset.folder), str(tmp_path / "out"), "--to", "webdataset", "--shard-size", "14k"]
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == EXIT_INTERRUPTED, ended.stderr
    assert "What is written is kept; to go on: fluxbatch export" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.unfinished"]
    assert run(dataset, tmp_path / "out", Wish("webdataset", shard_bytes=14_000)) == EXIT_COMPLETE


@pytest.mark.parametrize("target", ["/", "/.."])
def test_the_root_is_no_folder_for_an_export(dataset: Dataset, target: str) -> None:
    with pytest.raises(UsageError, match="cannot be an export"):
        run(dataset, target, Wish("csv"))


def test_a_link_to_a_folder_stays_one(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert run(dataset, tmp_path / "out", Wish("csv")) == EXIT_COMPLETE
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / "train.csv").is_file()


def test_on_a_terminal_a_bar_moves(dataset: Dataset, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*COMMAND, str(dataset.folder), str(tmp_path / "out"), "--to", "images"],
        stderr=theirs, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            said += os.read(ours, 65_536)
        except OSError:
            break
    out, _ = child.communicate()
    os.close(ours)
    assert child.returncode == 0
    assert b"5 pictures" in out
    assert b"\x1b[" in said
    assert b"pictures" in said
