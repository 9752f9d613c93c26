"""The floors of the house (ARCHITECTURE.md), read from the source: who may import whom, and what from outside."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

CLI = {path.stem for path in (ROOT / "src" / "fluxbatch").glob("cli_*.py")}
"""The commands: each is a room of its own that knows no other."""

# From the ground up: a room imports from floors below its own only, so rooms of one floor do not know each other.
FLOORS = (
    {"bare", "exit_codes", "libyaml", "many", "outlive", "plain", "unheard"},
    {"errors"},
    {"models", "provenance"},
    {"manifest", "settings", "simulator"},
    {"budget", "cloudflare", "dataset"},
    {"dispatch", "publish", "query", "scores"},
    {"held", "holder", "job", "progress", "start", "summary"},
    {"prepare", "report", "steered", "tell", "whereabouts"},
    {
        "batch",
        "budgets",
        "checks",
        "controls",
        "drawn",
        "examine",
        "export",
        "ledgers",
        "listing",
        "reconciled",
        "swept",
        "view",
    },
    {"published", "reconcile", "repair", "reported", "run", "screen", "watch"},
    {"checking", "chunked", "foreground", "options"},
    CLI,
    {"cli", "flows"},
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}

# What from outside is let in where, by path below the root; a folder means all that is in it.
PLACES = {
    "prefect": {"flows/"},
    "httpx": {"src/fluxbatch/cloudflare/client.py"},
    "httpx_aiohttp": {"src/fluxbatch/cloudflare/client.py"},
    "aiohttp": {"src/fluxbatch/cloudflare/client.py"},
    "httpcore": {"src/fluxbatch/manifest/connect.py", "src/fluxbatch/manifest/fetch.py"},
    "socket": {
        "flows/outage.py",  # a pair between two processes
        "src/fluxbatch/manifest/connect.py",
        "src/fluxbatch/outlive.py",
        "src/fluxbatch/simulator/",
        "src/fluxbatch/view/serve.py",  # the port, taken before the server starts
    },
    "idna": {"src/fluxbatch/manifest/address.py"},
    "PIL": {
        "src/fluxbatch/dataset/image.py",
        "src/fluxbatch/manifest/pixels.py",
        "src/fluxbatch/simulator/painter.py",
    },
    "onnxruntime": {"src/fluxbatch/scores/onnx.py"},
    "tokenizers": {"src/fluxbatch/scores/texts.py"},
    "imagehash": {"src/fluxbatch/dataset/image.py"},
    "sqlalchemy": {"src/fluxbatch/budget/"},
    "alembic": {"src/fluxbatch/budget/"},
    "psycopg": {"src/fluxbatch/budget/postgres.py"},
    "sqlite3": set[str](),
    "aiolimiter": {"src/fluxbatch/dispatch/distance.py"},
    "starlette": {"src/fluxbatch/simulator/", "src/fluxbatch/view/"},
    "uvicorn": {"src/fluxbatch/simulator/", "src/fluxbatch/view/"},
    "typer": {"src/fluxbatch/cli.py", "src/fluxbatch/options.py", *(f"src/fluxbatch/{name}.py" for name in CLI)},
    "huggingface_hub": {"src/fluxbatch/publish/hub.py"},
    "requests": set[str](),
    "duckdb": {"src/fluxbatch/query/"},
    "matplotlib": {"src/fluxbatch/report/charts.py"},
}

# What decides is apart from what does: no clock, no chance, no disk, no loop. (Datetimes come in as arguments.)
PURE = (
    "bare.py",
    "checks/similar.py",
    "models/catalogue.py",
    "models/money.py",
    "models/price.py",
    "budget/entries.py",
    "budget/axes.py",
    "budget/coverage.py",
    "budget/limits.py",
    "budget/plan.py",
    "budget/reconcile.py",
    "budget/rounds.py",
    "budget/selection.py",
    "cloudflare/analytics.py",
    "cloudflare/answer.py",
    "cloudflare/outcome.py",
    "cloudflare/wire.py",
    "cloudflare/wording.py",
    "dataset/card.py",
    "dataset/card_words.py",
    "dataset/features.py",
    "dataset/measures.py",
    "dataset/record.py",
    "manifest/prompts/arrangements.py",
    "manifest/prompts/parts.py",
    "manifest/prompts/sandbox.py",
    "manifest/prompts/scan.py",
    "manifest/prompts/schema.py",
    "manifest/prompts/syntax.py",
    "manifest/prompts/trouble.py",
    "manifest/prompts/wildcards.py",
    "manifest/prompts/writer.py",
    "manifest/address.py",
    "manifest/netblocks.py",
    "export/cells.py",
    "export/names.py",
    "export/plain_rows.py",
    "export/template.py",
    "dispatch/drift.py",
    "dispatch/rate.py",
    "dispatch/retry.py",
    "manifest/frame.py",
    "manifest/marks.py",
    "manifest/mentions.py",
    "query/names.py",
    "query/words.py",
    "report/charts.py",
    "report/markdown.py",
    "report/timeline.py",
    "provenance/facts.py",
    "provenance/form.py",
    "provenance/jpeg.py",
    "provenance/mark.py",
    "provenance/packet.py",
    "provenance/png.py",
    "provenance/webp.py",
    "publish/target.py",
)
IMPURE = {"asyncio", "os", "random", "secrets", "shutil", "socket", "subprocess", "tempfile", "threading", "time"}

RENAMERS = {"os.replace", "os.rename", "os.renames", "os.fsync", "os.fdatasync", "os.sync", "shutil.move"}


@dataclass(slots=True)
class Source:
    """One file: what it imports, at its top or anywhere, and the names it calls."""

    path: str
    tree: ast.Module
    lines: int
    imports: set[str] = field(default_factory=set)

    @property
    def room(self) -> str:
        parts = Path(self.path).with_suffix("").parts
        return parts[0] if parts[0] == "flows" else parts[2]


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield from (f"{node.module}.{name.name}" for name in node.names)


@lru_cache
def sources() -> tuple[Source, ...]:
    found = []
    for folder in ("src", "flows"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text()
            tree = ast.parse(text)
            name = path.relative_to(ROOT).as_posix()
            found.append(Source(name, tree, len(text.splitlines()), set(_imported(tree))))
    assert len(found) > 60
    return tuple(found)


def _rooms_of(source: Source) -> set[str]:
    """The rooms of the house that a file imports from."""
    return {name.split(".")[1] for name in source.imports if name.startswith("fluxbatch.")} - {source.room}


def _is_in(path: str, places: set[str]) -> bool:
    return any(path == place or (place.endswith("/") and path.startswith(place)) for place in places)


def test_every_room_stands_on_a_floor():
    assert {source.room for source in sources()} - {"__init__"} == set(LEVEL)


def test_imports_point_down():
    upward = [
        f"{source.path} imports {room}"
        for source in sources()
        for room in _rooms_of(source)
        if source.room != "__init__" and LEVEL[room] >= LEVEL[source.room]
    ]
    assert upward == []


def test_the_simulator_cannot_learn_the_clients_mistakes():
    for source in sources():
        if source.room == "simulator":
            assert _rooms_of(source) <= {"models", "errors", "plain"}, source.path


@pytest.mark.parametrize("library", PLACES)
def test_a_library_is_used_only_in_its_place(library: str):
    users = {source.path for source in sources() if any(n.split(".")[0] == library for n in source.imports)}
    assert [path for path in users if not _is_in(path, PLACES[library])] == []
    if PLACES[library]:
        assert users, f"nobody uses {library}: the list is out of date"


@pytest.mark.parametrize("path", PURE)
def test_what_decides_has_no_clock_no_chance_and_no_disk(path: str):
    (source,) = (source for source in sources() if source.path == f"src/fluxbatch/{path}")
    assert {name.split(".")[0] for name in source.imports} & IMPURE == set()
    calls = {node.func.attr for node in ast.walk(source.tree) if isinstance(node, ast.Call) and _is_method(node.func)}
    assert calls & {"now", "utcnow", "today", "open", "read_bytes", "write_bytes"} == set()


def _is_method(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute)


def test_files_are_synced_and_renamed_in_one_place():
    strange = []
    for source in sources():
        if source.path == "src/fluxbatch/dataset/files.py":
            continue
        strange += [f"{source.path} imports {name}" for name in source.imports & RENAMERS]
        strange += [f"{source.path}:{node.lineno}" for node in ast.walk(source.tree) if _renames(node)]
    assert strange == []


def _renames(node: ast.AST) -> bool:
    """os.replace, os.rename, os.fsync, shutil.move, Path.rename(x) and Path.replace(x) (str.replace takes two)."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    name, owner = node.func.attr, node.func.value
    if isinstance(owner, ast.Name) and f"{owner.id}.{name}" in RENAMERS:
        return True
    return name == "rename" or (name == "replace" and len(node.args) == 1 and not node.keywords)


def test_no_library_brings_a_retry_layer_of_its_own():
    names = {name.split(".")[0] for source in sources() for name in source.imports}
    assert names & {"tenacity", "stamina", "backoff", "retrying"} == set()


def test_modules_and_functions_stay_short():
    long = [f"{source.path}: {source.lines} lines" for source in sources() if source.lines > 350]
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                begin = node.body[0].end_lineno if ast.get_docstring(node) else node.body[0].lineno - 1
                assert begin is not None
                assert node.end_lineno is not None
                if node.end_lineno - begin > 50:
                    long.append(f"{source.path}:{node.lineno} {node.name}: {node.end_lineno - begin} lines")
    assert long == []


def test_tests_have_no_mocks_and_do_not_sleep():
    strange = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        tree = ast.parse(path.read_text())
        names = set(_imported(tree))
        strange += [f"{path}: {name}" for name in names if name.startswith(("unittest.mock", "mock", "pytest_mock"))]
        strange += [
            f"{path}:{node.lineno} time.sleep"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep"
        ]
    assert strange == []


def _loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after a statement."""
    code = f"{statement}; import sys, json; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stdout))


HEAVY = {
    "PIL", "aiohttp", "duckdb", "httpx", "imagehash", "jinja2", "numpy", "onnxruntime", "pandas", "prefect", "pyarrow",
    "pydantic", "pydantic_settings", "scipy", "sqlalchemy", "starlette", "tokenizers", "uvicorn", "yaml",
}  # fmt: skip


@pytest.mark.parametrize("statement", ["import fluxbatch.cli", "import fluxbatch", "import fluxbatch.models.price"])
def test_help_is_quick_because_nothing_heavy_is_loaded_for_it(statement: str):
    assert _loaded_by(statement) & HEAVY == set()


def test_a_run_needs_no_prefect_and_no_simulator():
    assert _loaded_by("import fluxbatch.foreground") & {"prefect", "starlette", "uvicorn"} == set()


def test_a_table_needs_nothing_of_what_sweeps_are_made_of():
    opened = "from fluxbatch.manifest.reader import open_manifest; import fluxbatch.foreground"
    assert _loaded_by(opened) & {"jinja2", "yaml"} == set()


def test_both_sides_agree_on_the_simulators_account():
    from fluxbatch.job import SIMULATOR_ACCOUNT_ID
    from fluxbatch.simulator import SIMULATOR_ACCOUNT_ID as OF_THE_SIMULATOR

    assert SIMULATOR_ACCOUNT_ID == OF_THE_SIMULATOR
