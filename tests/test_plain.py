"""What is cut, and what of a message is never cut away."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fluxbatch.errors import DatasetInUse, ManifestError
from fluxbatch.manifest.request import Complaint
from fluxbatch.plain import plain, with_its_end
from fluxbatch.tell import show_error

DEEP = "/" + "/".join(["a-folder-with-a-long-name"] * 150)
"""3,900 characters: a path may have 4,096."""


@given(st.text(), st.integers(3, 40))
def test_no_more_than_the_limit_and_nothing_that_acts_on_a_terminal(text: str, limit: int) -> None:
    shown = with_its_end(text, limit)
    assert len(shown) <= limit
    assert plain(shown, limit) == shown


@given(st.text("abc\n\x1b", max_size=30))
def test_what_fits_is_as_with_the_other_cut(text: str) -> None:
    assert with_its_end(text, 1_000) == plain(text, 1_000)


@pytest.mark.parametrize(("limit", "shown"), [(10, "0123456789"), (9, "0123…6789"), (8, "0123…789"), (3, "0…9")])
def test_what_does_not_fit_is_cut_in_the_middle(limit: int, shown: str) -> None:
    assert with_its_end("0123456789", limit) == shown


def test_a_text_of_many_megabytes_is_cut_before_it_is_escaped() -> None:
    assert with_its_end("\x1b" * 100_000_000, 9) == "\\x1b…\\x1b"


@pytest.mark.parametrize("wrong", ["the cell", "the path in what is wrong", "the file"])
def test_a_complaint_says_where_what_and_what_to_do_however_long_one_of_them_is(wrong: str) -> None:
    file = f"{DEEP}/prompts.csv" if wrong == "the file" else "prompts.csv"
    long = {"the cell": "x" * 1_000_000, "the path in what is wrong": f"{DEEP}/out"}.get(wrong, "out")
    complaint = Complaint(file, 4, "input_image_0", f"{long} has no picture 'x'", f"see `status {DEEP}`", line=5)
    console = Console(file=io.StringIO(), width=80)
    show_error(console, f"1 complaint about {file}; mend it", [complaint])
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "prompts.csv:5, row 4, column input_image_0: " in said
    assert "has no picture 'x'; see `status " in said
    assert said.count(f"see `status {DEEP}`") == 1
    assert said.splitlines()[0].endswith("mend it")


@pytest.mark.parametrize(
    "error", [DatasetInUse(f"{DEEP}{DEEP}: in use; wait", "x"), ManifestError(f"{DEEP}{DEEP}; wait")]
)
def test_an_error_keeps_what_to_do(error: Exception) -> None:
    assert str(error).endswith("; wait")
    assert str(error).startswith("/a-folder")
    assert len(str(error)) == 4_000
