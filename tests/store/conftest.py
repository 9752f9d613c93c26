from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxbatch.dataset.place import Place
from fluxbatch.simulator import Simulator
from tests.crash.conftest import platform, warm
from tests.e2e.conftest import shared_simulator, simulator
from tests.e2e.e2e_kit import Desk
from tests.store.store_kit import Bucket, S3Server

__all__ = ["platform", "shared_simulator", "simulator", "warm"]

_number = itertools.count(1)


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server) -> Iterator[Bucket]:
    yield Bucket.new(s3, f"pictures-{next(_number)}")
    s3.forget()


@pytest.fixture(params=["disk", "s3"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place for a dataset, of each kind: a folder that is not there yet, or a prefix that has nothing."""
    if request.param == "disk":
        return tmp_path / "pictures"
    bucket: Bucket = request.getfixturevalue("bucket")
    return bucket.at("pictures")


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine keeps for itself goes into the test's folder."""
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.fixture
def stored(tmp_path: Path, simulator: Simulator, bucket: Bucket) -> Iterator[Desk]:
    """A desk whose datasets may lie in the bucket."""
    desk = Desk(tmp_path, simulator, environment=at_a_desk(tmp_path, bucket))
    yield desk
    desk.close()


def at_a_desk(folder: Path, bucket: Bucket) -> dict[str, str]:
    return bucket.variables | {"XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache")}
