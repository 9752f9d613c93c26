"""A Hub on loopback: what `huggingface_hub` asks for when a dataset is published and read, written from its source.

Commits, branches, files in Git LFS by their hash; each request is noted, and `refuse` answers the next one of a kind
with an error. Xet, the Hub's other way to upload, is not there (HF_HUB_DISABLE_XET=1): its client speaks to a storage
of its own, in a protocol of its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import yaml
from flask import Flask, Response, request
from werkzeug.serving import make_server

TOKEN = "hf_ThisTokenMustNotBeSeenAnywhere00"
LFS = ".parquet"
"""What goes by Git LFS, whatever its size: the Hub's own .gitattributes says so."""
SIZES = ["n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B"]
LICENSES = ["other", "mit", "cc0-1.0", "cc-by-4.0", "apache-2.0"]

Files = dict[str, bytes]
Refusal = tuple[str, str, int, str]


@dataclass
class Repo:
    """`branches` has the commits of each, oldest first: all files, by name."""

    private: bool
    branches: dict[str, list[Files]] = field(default_factory=lambda: {"main": [{}]})
    messages: list[str] = field(default_factory=list)

    def files(self, branch: str = "main") -> Files:
        return self.branches[branch][-1]

    def at(self, revision: str) -> Files | None:
        if revision in self.branches:
            return self.files(revision)
        return next((one for found in self.branches.values() for one in found if commit_of(one) == revision), None)


def commit_of(files: Files) -> str:
    told = json.dumps({name: hashlib.sha1(content).hexdigest() for name, content in sorted(files.items())})
    return hashlib.sha1(told.encode()).hexdigest()


class StandIn:
    """The Hub. `with StandIn() as hub: hub.url`."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.calls: list[tuple[str, str]] = []
        self.uploaded: list[str] = []
        self.refusals: list[Refusal] = []
        self.on_upload: Callable[[int], None] | None = None
        app = Flask("hub")
        self._routes(app)
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def refuse(self, method: str, path: str, status: int, message: str = "no") -> None:
        """Answer the next request of this method whose path has this in it with an error."""
        self.refusals.append((method, path, status, message))

    def writes(self) -> list[tuple[str, str]]:
        return [call for call in self.calls if call[0] not in ("GET", "HEAD") and "validate-yaml" not in call[1]]

    def _routes(self, app: Flask) -> None:
        app.before_request(self._note)
        app.post("/api/validate-yaml")(self._validate)
        app.post("/api/repos/create")(self._create)
        app.post("/api/datasets/<user>/<name>/branch/<path:branch>")(self._branch)
        app.get("/api/datasets/<user>/<name>")(self._info)
        app.get("/api/datasets/<user>/<name>/revision/<path:revision>")(self._info)
        app.get("/api/datasets/<user>/<name>/tree/<revision>")(self._tree)
        app.get("/api/datasets/<user>/<name>/tree/<revision>/<path:folder>")(self._tree)
        app.post("/api/datasets/<user>/<name>/paths-info/<revision>")(self._paths)
        app.post("/api/datasets/<user>/<name>/preupload/<path:revision>")(self._preupload)
        app.post("/datasets/<user>/<name>.git/info/lfs/objects/batch")(self._batch)
        app.put("/storage/<oid>")(self._put)
        app.post("/api/datasets/<user>/<name>/commit/<path:revision>")(self._commit)
        app.get("/datasets/<user>/<name>/resolve/<revision>/<path:path>")(self._resolve)

    def _note(self) -> Response | None:
        self.calls.append((request.method, request.path))
        for refusal in self.refusals:
            method, path, status, message = refusal
            if method == request.method and path in request.path:
                self.refusals.remove(refusal)
                return _error(status, message)
        needs_token = request.method != "GET" and not request.path.startswith(("/storage/", "/api/validate-yaml"))
        if needs_token and request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _error(401, f"Invalid username or password: {request.headers.get('Authorization')}")
        return None

    def _validate(self) -> Response:
        content = request.get_json()["content"]
        errors = problems_of(content)
        told = {"errors": [{"message": one} for one in errors], "warnings": []}
        return Response(json.dumps(told), 400 if errors else 200, content_type="application/json")

    def _create(self) -> Response:
        wanted = request.get_json()
        assert wanted["type"] == "dataset"
        repo = f"{wanted['organization']}/{wanted['name']}"
        if wanted["organization"] != "ann":
            return _error(403, f"You don't have the rights to create a dataset under {wanted['organization']}")
        if repo in self.repos:
            return _error(409, "You already created this dataset repo")
        self.repos[repo] = Repo(wanted.get("visibility") == "private" or bool(wanted.get("private")))
        return _json({"url": f"{self.url}/datasets/{repo}", "name": repo, "id": repo})

    def _branch(self, user: str, name: str, branch: str) -> Response:
        repo = self.repos[f"{user}/{name}"]
        repo.branches.setdefault(branch, [dict(repo.files())])
        return _json({})

    def _found(self, user: str, name: str, revision: str) -> tuple[Repo, Files] | Response:
        repo = self.repos.get(f"{user}/{name}")
        if repo is None or (repo.private and not request.headers.get("Authorization")):
            return _error(404 if request.headers.get("Authorization") else 401, "Repository not found", "RepoNotFound")
        files = repo.at(revision)
        return (repo, files) if files is not None else _error(404, "Invalid rev id", "RevisionNotFound")

    def _info(self, user: str, name: str, revision: str = "main") -> Response:
        found = self._found(user, name, revision)
        if isinstance(found, Response):
            return found
        repo, files = found
        siblings = [{"rfilename": path, **_described(path, content)} for path, content in files.items()]
        told = {"id": f"{user}/{name}", "sha": commit_of(files), "private": repo.private, "siblings": siblings}
        return _json({**told, "tags": [], "lastModified": "2026-11-23T00:00:00.000Z", "downloads": 0, "likes": 0})

    def _tree(self, user: str, name: str, revision: str, folder: str = "") -> Response:
        found = self._found(user, name, revision)
        if isinstance(found, Response):
            return found
        prefix, deep = f"{folder}/" if folder else "", request.args.get("recursive") in ("True", "true", "1")
        entries: dict[str, dict[str, Any]] = {}
        for path, content in found[1].items():
            if not path.startswith(prefix):
                continue
            first, _, rest = path.removeprefix(prefix).partition("/")
            if rest:
                entries[prefix + first] = {"type": "directory", "path": prefix + first, "oid": "0" * 40, "size": 0}
            if not rest or deep:
                entries[path] = {"type": "file", "path": path, **_described(path, content)}
        return _json(list(entries.values())) if entries else _error(404, "not there", "EntryNotFound")

    def _paths(self, user: str, name: str, revision: str) -> Response:
        found = self._found(user, name, revision)
        if isinstance(found, Response):
            return found
        wanted = request.form.getlist("paths") or (request.get_json(silent=True) or {}).get("paths", [])
        files = {path: content for path, content in found[1].items() if path in wanted}
        return _json([{"type": "file", "path": path, **_described(path, content)} for path, content in files.items()])

    def _preupload(self, user: str, name: str, revision: str) -> Response:
        found = self._found(user, name, revision)
        if isinstance(found, Response):
            return found
        told = [
            {
                "path": one["path"],
                "uploadMode": "lfs" if one["path"].endswith(LFS) else "regular",
                "shouldIgnore": False,
            }
            for one in request.get_json()["files"]
        ]
        return _json({"files": told})

    def _batch(self, user: str, name: str) -> Response:
        objects = []
        for one in request.get_json()["objects"]:
            entry = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.objects:
                entry["actions"] = {"upload": {"href": f"{self.url}/storage/{one['oid']}", "header": {}}}
            objects.append(entry)
        return _json({"transfer": "basic", "objects": objects})

    def _put(self, oid: str) -> Response:
        content = request.get_data()
        assert hashlib.sha256(content).hexdigest() == oid
        if self.on_upload is not None:
            self.on_upload(len(self.uploaded))
        self.objects[oid] = content
        self.uploaded.append(oid)
        return _json({})

    def _commit(self, user: str, name: str, revision: str) -> Response:
        repo = self.repos[f"{user}/{name}"]
        files = dict(repo.files(revision))
        lines = [json.loads(line) for line in request.get_data().splitlines()]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            else:
                repo.messages.append(value["summary"])
        repo.branches[revision].append(files)
        oid = commit_of(files)
        url = f"{self.url}/datasets/{user}/{name}/commit/{oid}"
        return _json({"commitUrl": url, "commitOid": oid, "pullRequestUrl": None})

    def _resolve(self, user: str, name: str, revision: str, path: str) -> Response:
        found = self._found(user, name, revision)
        if isinstance(found, Response):
            return found
        content = found[1].get(path)
        if content is None:
            return _error(404, "Entry not found", "EntryNotFound")
        answer = Response(content, content_type="application/octet-stream")
        answer.headers["X-Repo-Commit"] = commit_of(found[1])
        answer.set_etag(hashlib.sha256(content).hexdigest())
        answer.make_conditional(request, accept_ranges=True, complete_length=len(content))
        return answer


def problems_of(card: str) -> list[str]:
    """What the Hub finds wrong with a card's YAML, as far as its documentation says."""
    front = card[4:].partition("\n---\n")[0] if card.startswith("---\n") else ""
    try:
        found = yaml.safe_load(front)
    except yaml.YAMLError as error:
        return [str(error)]
    problems = []
    if found.get("license") not in LICENSES:
        problems.append(f'"license" must be one of {LICENSES}')
    if not set(found.get("size_categories", [])) <= set(SIZES):
        problems.append(f'"size_categories" must be of {SIZES}')
    return problems


def _described(path: str, content: bytes) -> dict[str, Any]:
    oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    if not path.endswith(LFS):
        return {"oid": oid, "blobId": oid, "size": len(content)}
    sha256 = hashlib.sha256(content).hexdigest()
    lfs = {"oid": sha256, "sha256": sha256, "size": len(content), "pointerSize": 130}
    return {"oid": oid, "blobId": oid, "size": len(content), "lfs": lfs}


def _json(value: object) -> Response:
    return Response(json.dumps(value), content_type="application/json")


def _error(status: int, message: str, code: str | None = None) -> Response:
    answer = Response(json.dumps({"error": message}), status, content_type="application/json")
    answer.headers["X-Error-Message"] = message
    if code is not None:
        answer.headers["X-Error-Code"] = code
    return answer
