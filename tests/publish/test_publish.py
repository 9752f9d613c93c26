"""`fluxbatch publish` against a Hub on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import DatasetCard, constants

from fluxbatch.dataset.card_words import BEGIN
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.spool import Spool
from fluxbatch.publish import Target, publish
from fluxbatch.publish.hub import Hub
from fluxbatch.publish.publication import part_name, publication_of_export
from tests.dataset.dataset_kit import flip, sealed
from tests.e2e.e2e_kit import Desk, Said, placed, rows
from tests.publish.hub_kit import TOKEN, Repo, StandIn

# How huggingface_hub calls its HTTP library is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

CATS = "hf://datasets/ann/cats"


def _publish(desk: Desk, *options: str, to: str = CATS) -> Said:
    return desk.command("publish", str(desk.folder / "cats"), to, *options)


def _parts(dataset: Dataset, spool: Spool, count: int) -> None:
    for number in range(count):
        sealed(dataset, spool, 2, first=1 + 2 * number)


def _front(repo: Repo) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(repo.files()["README.md"].decode()[4:].partition("\n---\n")[0])
    return found


def test_a_dataset_is_published_as_it_lies_there(desk: Desk, hub: StandIn, dataset: Dataset, spool: Spool) -> None:
    _parts(dataset, spool, 3)
    said = _publish(desk, "--license", "cc-by-4.0").ended(0)
    repo = hub.repos["ann/cats"]
    assert not repo.private
    assert repo.messages == ["6 pictures, by fluxbatch"], "one commit shows all of it"
    files = repo.files()
    assert sorted(files) == ["README.md", *(part_name(number, 3) for number in range(3))]
    for number, part in enumerate(dataset.parts):
        assert files[part_name(number, 3)] == dataset.path(part).read_bytes()
    front = _front(repo)
    assert front["license"] == "cc-by-4.0"
    assert front["dataset_info"]["splits"][0]["num_examples"] == 6  # type: ignore[index]
    assert 'load_dataset("ann/cats"' in files["README.md"].decode()
    assert "data/train-00001-of-00003.parquet is sent (2 of 3, " in said.out
    assert f"{CATS}: 6 pictures are published" in said.out
    assert f"{hub.url}/datasets/ann/cats/commit/" in said.out


def test_what_is_there_already_is_not_sent_again(desk: Desk, hub: StandIn, dataset: Dataset, spool: Spool) -> None:
    _parts(dataset, spool, 2)
    _publish(desk).ended(0)
    calls = len(hub.writes())
    said = _publish(desk).ended(0)
    assert f"{CATS} has all of it already: 4 pictures" in said.out
    assert len(hub.writes()) == calls
    assert len(hub.repos["ann/cats"].messages) == 1


def test_a_grown_dataset_takes_the_place_of_the_older_publication(
    desk: Desk, hub: StandIn, dataset: Dataset, spool: Spool
) -> None:
    _parts(dataset, spool, 2)
    _publish(desk).ended(0)
    sent = list(hub.uploaded)
    repo = hub.repos["ann/cats"]
    repo.branches["main"].append(repo.files() | {"data/test-00000-of-00001.parquet": b"PAR1 theirs", "notes.md": b"x"})
    sealed(dataset, spool, 1, first=5)
    told = _publish(desk, "--json").ended(0).json
    assert sorted(repo.files()) == [
        "README.md", "data/test-00000-of-00001.parquet", *(part_name(number, 3) for number in range(3)), "notes.md",
    ]  # fmt: skip
    assert len(repo.messages) == 2
    assert hub.uploaded[: len(sent)] == sent
    assert len(hub.uploaded) == 3, "the Hub knows the other two by their content"
    assert told["removed"] == [part_name(0, 2), part_name(1, 2)]
    assert (told["pictures"], told["is_new"], told["card"]) == (5, False, True)
    assert told["commit"].startswith(hub.url)


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    desk: Desk, hub: StandIn, dataset: Dataset, spool: Spool
) -> None:
    _parts(dataset, spool, 2)
    said = _publish(desk, "--dry-run", "--private").ended(0)
    assert f"{CATS} would be made, private" in said.out
    assert f"would send {part_name(1, 2)}, " in said.out
    assert "would write the card" in said.out
    assert hub.writes() == []
    _publish(desk).ended(0)
    sealed(dataset, spool, 1, first=5)
    calls = len(hub.writes())
    told = _publish(desk, "--dry-run", "--json").ended(0).json
    assert (told["dry_run"], told["is_new"], told["commit"]) == (True, False, None)
    assert told["sent"] == [part_name(number, 3) for number in range(3)]
    assert f"would remove {part_name(0, 2)}" in _publish(desk, "--dry-run").ended(0).out
    assert len(hub.writes()) == calls


def test_a_private_one_is_private_and_a_public_one_stays_what_it_is(
    desk: Desk, hub: StandIn, dataset: Dataset, spool: Spool
) -> None:
    _parts(dataset, spool, 1)
    _publish(desk, "--private").ended(0)
    assert hub.repos["ann/cats"].private
    _publish(desk, "--private").ended(0)
    hub.repos["ann/cats"].private = False
    said = _publish(desk, "--private").ended(2)
    assert "is there already, and public" in said.err


def test_a_branch_is_made_where_there_is_none(desk: Desk, hub: StandIn, dataset: Dataset, spool: Spool) -> None:
    _parts(dataset, spool, 1)
    _publish(desk).ended(0)
    sealed(dataset, spool, 1, first=3)
    _publish(desk, to=f"{CATS}@next/try").ended(0)
    repo = hub.repos["ann/cats"]
    assert sorted(repo.files("next/try")) == ["README.md", part_name(0, 2), part_name(1, 2)]
    assert sorted(repo.files()) == ["README.md", part_name(0, 1)]
    _publish(desk, to="hf://datasets/ann/dogs@next").ended(0)
    assert sorted(hub.repos["ann/dogs"].files("next")) == ["README.md", part_name(0, 2), part_name(1, 2)]


def test_an_export_of_some_takes_the_place_of_all(
    desk: Desk, hub: StandIn, dataset: Dataset, spool: Spool, tmp_path: Path
) -> None:
    _parts(dataset, spool, 2)
    _publish(desk).ended(0)
    folder = tmp_path / "some" / "data"
    folder.mkdir(parents=True)
    pq.write_table(pq.read_table(dataset.path(dataset.parts[0])).slice(0, 1), folder / "train-00000-of-00001.parquet")
    with placed(tmp_path, desk.variables()):
        target = Target.read(CATS)
        some = publication_of_export(dataset, folder.parent, target)
        publish(some, Hub(target), private=False, tell=lambda line: None)
    repo = hub.repos["ann/cats"]
    assert sorted(repo.files()) == ["README.md", part_name(0, 1)]
    assert _front(repo)["dataset_info"]["splits"][0]["num_examples"] == 1  # type: ignore[index]


class TestTheCard:
    def test_keeps_what_was_written_by_hand_here_and_then_there(
        self, desk: Desk, hub: StandIn, dataset: Dataset, spool: Spool
    ) -> None:
        _parts(dataset, spool, 1)
        own = dataset.folder / "README.md"
        own.write_text(own.read_text().replace(BEGIN, f"Made for Ann.\n\n{BEGIN}"))
        _publish(desk).ended(0)
        repo = hub.repos["ann/cats"]
        card = repo.files()["README.md"].decode()
        assert "Made for Ann." in card
        edited = card.replace("license: other", "license: mit").replace("Made for Ann.", "Made for Ann and Bob.")
        repo.branches["main"].append(repo.files() | {"README.md": edited.encode()})
        sealed(dataset, spool, 1, first=3)
        _publish(desk).ended(0)
        card = repo.files()["README.md"].decode()
        assert "Made for Ann and Bob." in card
        assert _front(repo)["license"] == "mit"
        assert "3 pictures of Cloudflare" in card

    def test_is_what_the_hub_and_its_own_library_take(
        self, desk: Desk, hub: StandIn, dataset: Dataset, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _parts(dataset, spool, 1)
        _publish(desk).ended(0)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        for text in (hub.repos["ann/cats"].files()["README.md"].decode(), (dataset.folder / "README.md").read_text()):
            hub.calls.clear()
            monkeypatch.setenv("HF_TOKEN", TOKEN)
            card = DatasetCard(text, ignore_metadata_errors=False)
            card.validate(repo_type="dataset")
            assert hub.calls == [("POST", "/api/validate-yaml")]
            assert card.data.license == "other"

    def test_that_the_hub_does_not_take_is_told_and_nothing_is_published(
        self, desk: Desk, hub: StandIn, dataset: Dataset, spool: Spool
    ) -> None:
        _parts(dataset, spool, 1)
        said = _publish(desk, "--license", "my-own").ended(2)
        assert "Invalid metadata in README.md" in said.err
        assert '"license" must be one of' in said.err
        assert hub.repos["ann/cats"].files() == {}


class TestWhatGoesWrong:
    @pytest.fixture(autouse=True)
    def _made(self, dataset: Dataset, spool: Spool) -> None:
        _parts(dataset, spool, 2)

    @pytest.mark.parametrize(
        ("path", "status", "code", "said"),
        [
            ("/api/repos/create", 401, 2, "log in with `hf auth login`, or set HF_TOKEN"),
            ("/api/repos/create", 403, 2, "the token may not write to hf://datasets/ann/cats"),
            ("/preupload/", 404, 2, "is not there, or this token may not see it"),
            ("/commit/", 412, 5, "somebody else is changing hf://datasets/ann/cats"),
            ("/commit/", 429, 5, "too many requests of yours"),
            ("/commit/", 500, 5, "the Hub has trouble (HTTP 500: out of order"),
            ("/api/repos/create", 503, 5, "the Hub has trouble (HTTP 503"),
            ("/commit/", 418, 2, "does not take it for hf://datasets/ann/cats (HTTP 418): out of order"),
        ],
    )
    def test_is_one_sentence_with_what_to_do_and_publishing_again_goes_on(
        self, desk: Desk, hub: StandIn, path: str, status: int, code: int, said: str
    ) -> None:
        hub.refuse("POST", path, status, f"out of order \x1b[31m {TOKEN}")
        told = _publish(desk).ended(code)
        assert said in told.err
        assert "Traceback" not in told.all
        assert TOKEN not in told.all
        assert "\x1b" not in told.all
        assert all(part_name(0, 2) not in repo.files() for repo in hub.repos.values()), "nothing is half there"
        sent = len(hub.uploaded)
        _publish(desk).ended(0)
        assert len(hub.uploaded) == 2
        assert sent in (0, 2)

    def test_an_upload_that_is_refused_ends_it_and_the_next_one_sends_the_rest(self, desk: Desk, hub: StandIn) -> None:
        hub.refuse("PUT", "/storage/", 403, "signature expired")
        told = _publish(desk).ended(2)
        assert "may not write" in told.err
        assert "signature expired" in told.err
        _publish(desk).ended(0)
        assert len(hub.uploaded) == len(set(hub.uploaded)) == 2

    def test_a_hub_that_is_not_there_is_told(self, desk: Desk, hub: StandIn) -> None:
        desk.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
        told = _publish(desk).ended(5)
        assert "http://127.0.0.1:9 cannot be reached" in told.err
        assert "check the network, HF_ENDPOINT" in told.err

    def test_no_token_is_told_and_which_ones_there_are(self, desk: Desk, hub: StandIn) -> None:
        desk.without = ("HF_TOKEN",)
        assert "log in with `hf auth login`" in _publish(desk).ended(2).err

    def test_somebody_elses_name_is_told(self, desk: Desk, hub: StandIn) -> None:
        said = _publish(desk, to="hf://datasets/bob/cats").ended(2)
        assert "the token may not write to hf://datasets/bob/cats" in said.err

    def test_a_part_that_is_not_what_it_was_is_never_published(
        self, desk: Desk, hub: StandIn, dataset: Dataset
    ) -> None:
        path = dataset.path(dataset.parts[1])
        flip(path, path.stat().st_size // 3)  # within a picture: its columns can be read
        said = _publish(desk).ended(5)
        assert "is not what the catalogue lists; nothing was published" in said.err
        assert "verify --repair" in said.err
        assert hub.repos["ann/cats"].files() == {}

    def test_a_part_that_is_missing_is_told(self, desk: Desk, hub: StandIn, dataset: Dataset) -> None:
        dataset.path(dataset.parts[1]).unlink()
        assert "is missing" in _publish(desk).ended(5).err
        assert hub.repos == {}

    def test_a_process_that_dies_while_it_sends_is_gone_on_with(self, desk: Desk, hub: StandIn) -> None:
        victims: list[subprocess.Popen[str]] = []

        def kill(number: int) -> None:
            if number == 1:  # the first part is there, the second is on its way
                os.kill(victims[0].pid, signal.SIGKILL)

        hub.on_upload = kill
        victims.append(desk.start("publish", str(desk.folder / "cats"), CATS))
        assert victims[0].wait(timeout=60) == -signal.SIGKILL
        assert hub.repos["ann/cats"].files() == {}
        first = hub.uploaded[0]
        hub.on_upload = None
        _publish(desk).ended(0)
        assert hub.uploaded.count(first) == 1, "what had been sent is not sent again"
        assert len(hub.repos["ann/cats"].files()) == 3


@pytest.mark.parametrize(
    "address",
    ["ann/cats", "hf://ann/cats", "hf://datasets/cats", "hf://datasets/ann/cats@", "hf://datasets/../x", "s3://a/b",
     "hf://datasets/ann/ca ts", "hf://datasets/ann/cats/data", "hf://datasets/ann/-cats", "hf://models/ann/cats"],
)  # fmt: skip
def test_what_is_no_dataset_of_the_hub_is_refused_before_anything_is_asked(
    desk: Desk, hub: StandIn, dataset: Dataset, address: str
) -> None:
    assert "write hf://datasets/USER/NAME" in _publish(desk, to=address).ended(2).err
    assert hub.calls == []


def test_what_cannot_be_published_is_told_before_anything_is_asked(desk: Desk, hub: StandIn, dataset: Dataset) -> None:
    assert "has no pictures to publish yet" in _publish(desk).ended(2).err
    assert "is no name of a licence" in _publish(desk, "--license", "<b>").ended(2).err
    assert hub.calls == []


def test_without_huggingface_hub_it_is_said_what_to_install(desk: Desk, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "huggingface_hub.py").write_text("raise ImportError('not here')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from fluxbatch.cli import main; main()"
    process = desk.start_code(code, "publish", str(dataset.folder), CATS)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "pip install 'fluxbatch[hub]'" in err


def test_what_a_run_made_is_published_and_loaded_by_datasets(desk: Desk, hub: StandIn) -> None:
    desk.run(desk.manifest(rows(3)), "--embed-provenance", out=desk.folder / "cats").ended(0)
    assert "3 pictures of fluxbatch's simulator" in (desk.folder / "cats" / "README.md").read_text()
    _publish(desk).ended(0)
    code = (
        "from datasets import load_dataset; d = load_dataset('ann/cats', split='train'); "
        "print(len(d), d[0]['image'].size, sorted(d['prompt'])[0])"
    )
    process = desk.start_code(code)
    out, err = process.communicate(timeout=120)
    assert out.split("\n")[-2] == "3 (256, 256) a fox 0", err
