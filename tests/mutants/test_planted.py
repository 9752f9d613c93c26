"""`make mutants` plants the bugs; here only that each can still be planted, so that none is lost in a refactoring."""

from __future__ import annotations

import pytest

from tests.mutants.__main__ import ROOT
from tests.mutants.planted import BUGS, Bug


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_bug_can_be_planted_and_its_tests_exist(bug: Bug):
    for change in bug.changes:
        text = (ROOT / "src" / "fluxbatch" / change.file).read_text(encoding="utf-8")
        assert text.count(change.old) == 1, f"{change.old!r} in {change.file}"
        compile(text.replace(change.old, change.new), change.file, "exec")
    assert bug.tests
    assert all((ROOT / test).is_file() for test in bug.tests)
