"""Answers that nobody wrote: mutants of the corpus, and JSON of every shape. Straight to what reads and keeps them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxbatch.cloudflare.outcome import Broken, Reply
from fluxbatch.dispatch.keep import Answer, Keeper
from tests.dataset.dataset_kit import asked
from tests.hostile.hostile_kit import Memory, client_of, kind_of, staged
from tests.hostile.judge import GROWN_BYTES_MAX, invariants, keeper_in, kept_and_seen
from tests.hostile.makers import painted
from tests.hostile.mutants import bred
from tests.soak import soak

MUTANTS = soak(2_000, 200_000)
OVER_THE_SOCKET = soak(100, 2_000)
SHAPES = soak(400, 20_000)
FIRST_SEED = 20_261_122
SHARES_MIN = {"Delivered": 0.05, "Failed": 0.2, "Throttled": 0.02, "Fatal": 0.01, "Invalid": 0.002, "Refused": 0.0005}
ONE = asked("a lighthouse")


def keep(keeper: Keeper, reply: Reply | Broken) -> Answer:
    answer = kept_and_seen(keeper, ONE, reply)
    if answer.kept is not None:
        answer.kept.path.unlink()
    return answer


def faults(name: str, keeper: Keeper, reply: Reply | Broken, reached: Counter[str]) -> Iterator[str]:
    before = time.process_time()
    answer = keep(keeper, reply)
    reached[kind_of(answer.outcome)] += 1
    took = time.process_time() - before
    yield from (f"{name}: {fault}" for fault in invariants(reply, answer))
    if took > 1.0:
        yield f"{name}: took {took:.2f} s of CPU"


def test_mutants_of_the_corpus_never_raise_never_cost_and_reach_every_outcome(tmp_path: Path) -> None:
    keeper = keeper_in(tmp_path)
    keeper.warm()
    keep(keeper, bred(FIRST_SEED)[1])
    memory, reached, found = Memory(), Counter[str](), list[str]()
    for seed in range(FIRST_SEED, FIRST_SEED + MUTANTS):
        name, reply = bred(seed)
        found += faults(name, keeper, reply, reached)
    assert found == []
    assert memory.grown_bytes() < GROWN_BYTES_MAX
    hardly = {kind: reached[kind] for kind, share in SHARES_MIN.items() if reached[kind] < share * MUTANTS}
    assert hardly == {}, f"hardly reached, of {reached}"


async def test_mutants_over_the_socket_come_out_as_they_do_without_one(tmp_path: Path) -> None:
    keeper, compared = keeper_in(tmp_path), 0
    async with staged() as stage, client_of(stage, 5.0) as client:
        for seed in range(FIRST_SEED, FIRST_SEED + OVER_THE_SOCKET):
            name, reply = bred(seed)
            if reply.status in (204, 304) or reply.status < 200 or not _can_be_said(reply):
                continue
            stage.raw = [_wire(reply)]
            heard = await client.send(ONE, ())
            here, there = keep(keeper, reply).outcome, keep(keeper, heard).outcome
            assert (kind_of(here), here.code, here.message) == (kind_of(there), there.code, there.message), name
            compared += 1
    assert compared > OVER_THE_SOCKET // 2


def _can_be_said(reply: Reply) -> bool:
    framing = {"transfer-encoding", "connection", "upgrade", "x-big"}
    return all(
        value.isascii()
        and value.isprintable()
        and len(value) < 8000
        and name not in framing
        and name.isascii()
        and name
        for name, value in reply.headers.items()
    )


def _wire(reply: Reply) -> bytes:
    headers = {**reply.headers, "content-length": str(len(reply.body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {reply.status} Said\r\n{lines}\r\n".encode() + reply.body


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from([3021, 3040, 5006, 3043, 3030, 10000]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)
ERRORS = st.one_of(JSON, st.lists(st.fixed_dictionaries({}, optional={"code": JSON, "message": JSON}), max_size=4))
RESULTS = st.one_of(
    JSON, st.fixed_dictionaries({"image": st.one_of(JSON, st.binary(max_size=60).map(lambda b: b.hex()))})
)
SHAPED = st.fixed_dictionaries({}, optional={"result": RESULTS, "success": JSON, "errors": ERRORS, "messages": JSON})


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Keeper:
    return keeper_in(tmp_path_factory.mktemp("shapes"))


@settings(
    max_examples=SHAPES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    answer=SHAPED,
    status=st.sampled_from([200, 206, 302, 400, 401, 403, 404, 408, 413, 424, 429, 500, 524]),
    headers=st.dictionaries(
        st.sampled_from(["cf-ai-neurons", "retry-after", "cf-ray", "content-encoding"]), st.text(max_size=40)
    ),
    surrogates=st.booleans(),
)
def test_json_of_every_shape_is_an_outcome(
    keeper: Keeper, answer: dict[str, object], status: int, headers: dict[str, str], surrogates: bool
) -> None:
    body = json.dumps(answer, ensure_ascii=surrogates).encode("utf-8", "surrogatepass")
    reply = Reply(status, headers, body, 1.0)
    assert invariants(reply, keep(keeper, reply)) == []


def test_a_sound_picture_is_delivered_so_that_the_checks_above_can_fail(keeper: Keeper) -> None:
    answer = keep(keeper, Reply(200, {}, painted("jpeg"), 1.0))
    assert kind_of(answer.outcome) == "Delivered"
    assert invariants(Reply(500, {}, b"", 1.0), answer) == []
