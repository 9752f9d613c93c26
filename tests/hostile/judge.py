"""A story told to the real client, and what is held against what came of it."""

from __future__ import annotations

import asyncio
import gc
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fluxbatch.budget.entries import AttemptId, State
from fluxbatch.cloudflare.client import Client
from fluxbatch.cloudflare.outcome import Broken, Delivered, Fatal, Outcome, Reply, Throttled
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dispatch.keep import Answer, Keeper, look, resolution_of
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.models.money import ZERO, charge_of_header
from tests.dataset.dataset_kit import NO_COLUMNS, asked
from tests.hostile.hostile_kit import NOW, PATIENT_S, TOKEN, Cost, Stage, Story, client_of, kind_of, measured, staged

CPU_S_MAX = 1.0
GROWN_BYTES_MAX = 64 * 1024 * 1024
UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)

UNBILLED_STATUSES = frozenset({401, 402, 403, 404, 405, 413, 424, 429})
"""CLOUDFLARE.md section 3, last paragraph: "are not billed"; 402 is "no balance"."""
UNBILLED_CODES = {
    *("3021", "3040", "4002", "3036", "4006", "8007", "5006", "5004", "3003", "3006", "7000", "5007", "3042", "7003"),
    *("10000", "6003", "5018", "3041", "5016", "3023", "5035", "7001", "5019", "5005", "3030"),
}
"""The rate-limit, auth, validation and capacity errors of section 5 ("none was ever seen billed"), on a 4xx that is no
408. What 3030 says is a matter of its words, and has stories of its own."""


@dataclass
class Heard:
    """What came of one story: the reply, what it means, what it took, and what is wrong about it."""

    story: Story
    reply: Reply | Broken
    answer: Answer
    cost: Cost
    faults: list[str] = field(default_factory=list)


def keeper_in(folder: Path) -> Keeper:
    return Keeper(Dataset.create(folder / "pictures", NO_COLUMNS, simulated=True).spool(), NO_COLUMNS, "run-1")


async def hear_all(chosen: Sequence[Story], keeper: Keeper) -> list[Heard]:
    """Each story over a socket to one of two clients that are kept throughout, and a sound request after each."""
    async with staged() as stage, client_of(stage, 0.4) as hurried, client_of(stage, PATIENT_S) as patient:
        keeper.warm()
        _freeze()
        heard = []
        for number, story in enumerate(chosen, 1):
            client = patient if story.deadline_s == PATIENT_S else hurried
            heard.append(await _hear(stage, client, story, keeper, number))
            heard[-1].faults += await _sound_again(stage, client, number)
        return heard


def _freeze() -> None:
    """As a run does before its first request: else what is measured is the collection of all that other tests left."""
    gc.collect()
    gc.freeze()


async def _hear(stage: Stage, client: Client, story: Story, keeper: Keeper, number: int) -> Heard:
    stage.story, stage.parts, stage.number = story, story.made(), number
    request = asked(story.told.get("prompt", f"picture {number}"), row=number)
    with measured() as cost:
        reply = await client.send(request, ())
        answer = await asyncio.to_thread(kept_and_seen, keeper, request, reply)
    heard = Heard(story, reply, answer, cost)
    heard.faults = [*expectations(story, answer, request), *invariants(reply, answer, cost)]
    stage.story = None
    return heard


def kept_and_seen(keeper: Keeper, request: ImageRequest, reply: Reply | Broken) -> Answer:
    """What a run does with an answer: read, spool, and look at the picture."""
    answer = keeper.keep(request, AttemptId("d1", request.key, 1), reply, NOW)
    if answer.kept is None or not isinstance(answer.outcome, Delivered):
        return answer
    return replace(answer, kept=look(answer.kept, answer.outcome.content, request))


async def _sound_again(stage: Stage, client: Client, number: int) -> list[str]:
    """The next request gets its own answer, whatever the one before left on the connection."""
    if stage.late:
        await asyncio.wait(stage.late)
        await asyncio.sleep(0.05)  # what is on the wire arrives
        stage.late.clear()
    reply = await client.send(asked("a lighthouse"), ())
    if isinstance(reply, Broken):
        return [f"the next request was {reply.kind}: {reply.message}"]
    named = reply.headers.get("cf-ai-req-id")
    return [] if named == f"sound-{number}" else [f"the next request was given another's answer ({named})"]


def expectations(story: Story, answer: Answer, request: ImageRequest) -> list[str]:
    """Where the outcome is not what the story's file says."""
    outcome, told = answer.outcome, story.told
    found = {"expect": kind_of(outcome), "billed": outcome.billed, "code": outcome.code, "kind": "", "reason": ""}
    if isinstance(outcome, Throttled):
        waits = "none" if outcome.retry_after_s is None else f"{outcome.retry_after_s:g}"
        found |= {"reason": outcome.reason, "retry_after": waits}
    if isinstance(outcome, Fatal):
        found["kind"] = outcome.kind
    if isinstance(outcome, Delivered):
        found["charge"] = "bound" if answer.actual == request.quote.bound else f"{answer.actual.neurons.normalize():f}"
        found["check"] = _check_of(answer)
        found["request_id"] = outcome.request_id
    wrong = [
        f"{name} is {found.get(name)}, expected {told[name]}"
        for name in ("expect", "billed", "code", "reason", "retry_after", "kind", "charge", "check", "request_id")
        if name in told and told[name] != "any" and _plain(name, told[name]) != found.get(name)
    ]
    text = f"{outcome.message} {outcome.request_id}"
    wrong += [f"does not say {told['says']!r}: {text}"] if told.get("says", "") not in text else []
    wrong += [f"says {told['not_says']!r}: {text}"] if "not_says" in told and told["not_says"] in text else []
    return wrong


def _plain(name: str, text: str) -> str:
    if name != "charge" or text == "bound":
        return text
    charge = charge_of_header(text)
    assert charge is not None
    return f"{charge.neurons.normalize():f}"


def _check_of(answer: Answer) -> str:
    assert answer.kept is not None
    assert answer.kept.picture is not None
    return answer.kept.picture.check


def invariants(reply: Reply | Broken, answer: Answer, cost: Cost | None = None) -> list[str]:
    """What holds for every answer, whatever it is."""
    outcome, resolution = answer.outcome, resolution_of(answer)
    shown = f"{outcome.code} {outcome.message} {outcome.request_id}"
    wrong = [f"shows what acts on a terminal: {shown!r}"] if UNSHOWN.search(shown) else []
    wrong += [f"shows the token: {shown!r}"] if TOKEN in shown else []
    wrong += [f"the message has {len(outcome.message)} characters"] if len(outcome.message) > 300 else []
    if resolution.state == State.VOID and not certainly_unbilled(reply, outcome):
        wrong.append(f"was voided, and may have been billed ({shown})")
    if (answer.kept is not None) != isinstance(outcome, Delivered) or (
        resolution.state == State.POSTED and answer.kept is None
    ):
        wrong.append("is booked and not kept, or kept and not booked")
    if answer.actual.nano_usd < 0 or answer.actual.centineurons < 0:
        wrong.append(f"has a negative charge: {answer.actual}")
    if cost is not None and cost.cpu_s > CPU_S_MAX:
        wrong.append(f"took {cost.cpu_s:.2f} s of CPU")
    if cost is not None and cost.grown_bytes > GROWN_BYTES_MAX:
        wrong.append(f"took {cost.grown_bytes / 1e6:.0f} MB of memory")
    return wrong


UNBILLED_WORDS = re.compile(
    r"prompt .{0,20}(nsfw|flagged)|\bmax(imum)? \w+|too many input images|must be", re.IGNORECASE
)
BILLED_WORDS = re.compile(r"internal|output|generated|timeout", re.IGNORECASE)


def certainly_unbilled(reply: Reply | Broken, outcome: Outcome) -> bool:
    """Whether the contract says so (CLOUDFLARE.md section 3). Written from the contract, not from the code."""
    if isinstance(reply, Broken):
        return reply.kind == "not_sent"
    charged = reply.headers.get("cf-ai-neurons")
    if charged is not None and charge_of_header(charged) != ZERO:
        return False
    if reply.status in UNBILLED_STATUSES:
        return True
    says_so = UNBILLED_WORDS.search(outcome.message) and not BILLED_WORDS.search(outcome.message)
    return 400 <= reply.status < 500 and reply.status != 408 and (outcome.code in UNBILLED_CODES or bool(says_so))


def faults_of(heard: Sequence[Heard]) -> str:
    return "\n".join(f"{one.story.name}: {fault}" for one in heard for fault in one.faults)


def outcomes_of(heard: Sequence[Heard]) -> Counter[str]:
    return Counter(kind_of(one.answer.outcome) for one in heard)
