"""The forgetful disk itself: it loses what may be lost, keeps what was synced, and sees every change."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fluxbatch.dataset import files
from fluxbatch.errors import StorageError
from tests.power.disk import History, State, cuts, whole
from tests.power.tap import Killed, Touch, tap

MANY = 10_000
CONTENT = b"0123456789" * 20


def recorded(root: Path, work: Callable[[Path], object]) -> History:
    with tap(root) as made:
        work(root)
    return made.history()


def at_the_end(history: History) -> list[State]:
    return list(cuts(history, 1, MANY, since=len(history.operations)))


def in_right_order(root: Path) -> None:
    files.put_atomic(root / "a", CONTENT)


def without_sync(root: Path) -> None:
    (root / "temp").write_bytes(CONTENT)
    (root / "temp").replace(root / "a")


def without_folder_sync(root: Path) -> None:
    with (root / "temp").open("wb") as file:
        file.write(CONTENT)
        file.flush()
        os.fsync(file.fileno())  # noqa: TID251
    (root / "temp").replace(root / "a")


def test_what_was_put_in_the_right_order_is_there_whole_in_each_state(tmp_path: Path) -> None:
    history = recorded(tmp_path, in_right_order)
    assert [type(one).__name__ for one in history.operations] == ["Make", "Write", "Sync", "Rename", "SyncFolder"]
    [state] = at_the_end(history)
    assert state.tree == {"a": CONTENT}
    assert all(state.tree["a"] == CONTENT for state in cuts(history, 1, MANY) if "a" in state.tree)


def test_what_was_not_synced_may_be_torn_anywhere(tmp_path: Path) -> None:
    found = [state.tree.get("a") for state in cuts(recorded(tmp_path, without_sync), 2, 2_000)]
    lengths = {len(content.rstrip(b"\0")) for content in found if content is not None}
    assert lengths >= set(range(len(CONTENT) + 1))
    assert None in found


def test_a_name_whose_folder_was_not_synced_may_be_the_old_one(tmp_path: Path) -> None:
    found = {tuple(sorted(state.tree)) for state in at_the_end(recorded(tmp_path, without_folder_sync))}
    assert found == {(), ("a",), ("temp",), ("a", "temp")}


def test_a_journal_loses_from_the_end_only(tmp_path: Path) -> None:
    def three(root: Path) -> None:
        for name in ("a", "b", "c"):
            (root / name).mkdir()

    history = recorded(tmp_path, three)
    end = len(history.operations)
    weakest = {tuple(sorted(state.tree)) for state in cuts(history, 3, MANY, since=end)}
    journal = {tuple(sorted(state.tree)) for state in cuts(history, 3, MANY, since=end, ordered=True)}
    assert (len(weakest), journal) == (8, {(), ("a",), ("a", "b"), ("a", "b", "c")})


def test_a_move_between_folders_is_lost_when_only_the_folder_that_it_left_is_synced(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "x").write_bytes(CONTENT)

    def moved(root: Path) -> None:
        (root / "a" / "x").replace(root / "b" / "x")
        files.sync_folder(root / "a")

    states = list(cuts(recorded(tmp_path, moved), 4, MANY))
    assert any("a/x" not in state.tree and "b/x" not in state.tree for state in states)
    assert not any(
        "a/x" not in state.tree and "b/x" not in state.tree
        for state in cuts(recorded(tmp_path, lambda root: None), 4, MANY)
    )


def test_what_lies_in_a_folder_without_a_durable_name_is_gone_with_it(tmp_path: Path) -> None:
    def nested(root: Path) -> None:
        (root / "new").mkdir()
        files.put_atomic(root / "new" / "a", CONTENT)

    found = {tuple(sorted(state.tree)) for state in at_the_end(recorded(tmp_path, nested))}
    assert found == {(), ("new", "new/a")}


def test_the_same_seed_gives_the_same_states_and_each_once(tmp_path: Path) -> None:
    history = recorded(tmp_path, without_sync)
    first, again, other = ([s.fingerprint for s in cuts(history, seed, 150)] for seed in (5, 5, 6))
    assert first == again
    assert first != other
    assert len(set(first)) == 150


def test_a_state_is_put_on_the_disk_as_it_was(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    history = recorded(before, lambda root: files.put_atomic(root / "a", CONTENT))
    whole(history, len(history.operations)).write(after)
    assert [(path.name, path.read_bytes()) for path in after.iterdir()] == [("a", CONTENT)]


def test_a_change_that_goes_past_the_tap_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    with tap(tmp_path) as made:
        os.truncate(tmp_path / "a", 0)
    with pytest.raises(AssertionError, match="truncate"):
        made.history()


def test_a_kill_lets_nothing_more_happen(tmp_path: Path) -> None:
    def before(touch: Touch) -> None:
        if touch.kind == "rename":
            raise Killed

    with tap(tmp_path, before) as made, pytest.raises(Killed):
        files.put_atomic(tmp_path / "a", CONTENT)
    assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
    assert [type(one).__name__ for one in made.history().operations] == ["Make", "Write", "Sync"]


def test_a_fault_at_the_edge_is_one_for_the_code_above(tmp_path: Path) -> None:
    def before(touch: Touch) -> None:
        if touch.kind == "write":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with tap(tmp_path, before) as made, pytest.raises(StorageError, match="No space left"):
        files.put_atomic(tmp_path / "a", CONTENT)
    assert list(tmp_path.iterdir()) == []
    assert made.touched["write"] >= 1


def test_outside_of_the_tap_the_system_is_as_it_was() -> None:
    code = "import os, io, tests.power.tap as t; print(os.fsync is t._REAL['fsync'], io.open is t._real_open)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["True", "True"]
