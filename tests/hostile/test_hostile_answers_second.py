"""The other half of the corpus, and what the corpus itself has to hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.hostile.hostile_kit import ANSWERS, stories
from tests.hostile.judge import faults_of, hear_all, keeper_in

OUTCOMES_MIN = {
    "Delivered": 100, "Failed": 200, "Lost": 50, "Throttled": 50, "Fatal": 20, "Invalid": 5, "Refused": 4,
}  # fmt: skip


async def test_every_other_answer_means_what_its_file_says_and_takes_little(tmp_path: Path) -> None:
    heard = await hear_all(stories()[1::2], keeper_in(tmp_path))
    assert len(heard) >= 150
    assert faults_of(heard) == ""


def test_the_corpus_is_broad_and_small() -> None:
    told = Counter(story.told["expect"] for story in stories())
    assert all(told[kind] >= least for kind, least in OUTCOMES_MIN.items()), told
    assert sum(told.values()) >= 300
    assert sum(path.stat().st_size for path in ANSWERS.iterdir()) < 500_000
