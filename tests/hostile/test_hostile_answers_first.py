"""The first half of the corpus, over a real socket to the real client."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.hostile_kit import stories
from tests.hostile.judge import faults_of, hear_all, keeper_in


async def test_every_second_answer_means_what_its_file_says_and_takes_little(tmp_path: Path) -> None:
    heard = await hear_all(stories()[::2], keeper_in(tmp_path))
    assert len(heard) >= 150
    assert faults_of(heard) == ""
