"""A small Hugging Face Hub on 127.0.0.1: models, branches, commits, large files, private repositories and tokens.

It answers the calls that ``huggingface_hub`` makes to create a repository, upload a folder and download a snapshot.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TESTS = Path(__file__).parent

HEAD = """
import json, sys
import huggingface_hub.utils; huggingface_hub.utils.disable_progress_bars()
sys.path.insert(0, {tests!r})
import hybridrec as hr
from hybridrec.errors import ArtifactError

def error(call):
    try:
        call()
    except ArtifactError as e:
        return str(e)
    raise SystemExit("no error")

said = {{}}
"""

LARGE = (".safetensors", ".parquet")  # stored as large files, as the Hub's .gitattributes says


@dataclass
class Repository:
    private: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        sha = hashlib.sha1(f"{branch}{len(self.commits)}".encode() + b"".join(files.values())).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        sha = self.branches.get(revision, revision)
        return sha if sha in self.commits else None


class Hub:
    """The server and its state; ``with Hub() as hub`` runs it at ``hub.url``."""

    def __init__(self, token: str = "hf_secret") -> None:
        self.token = token
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.calls: list[str] = []
        hub = self

        class Handler(_Handler):
            state = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Hub:
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", headers.pop("size", None) or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, x: Any, status: int = 200) -> None:
        self.answer(status, json.dumps(x).encode(), Content_Type="application/json")

    def fail(self, status: int, code: str) -> None:
        self.answer(status, json.dumps({"error": code}).encode(), X_Error_Code=code, X_Error_Message=code)

    def handle_call(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.state.calls.append(f"{self.command} {path}")
        owner = self.headers.get("Authorization") == f"Bearer {self.state.token}"
        for pattern, act in ROUTES:
            if match := re.fullmatch(pattern, f"{self.command} {path}"):
                return act(self, owner, body, *match.groups())
        return self.fail(404, "NoSuchCall")

    do_GET = do_HEAD = do_POST = do_PUT = handle_call

    def repository(self, name: str, owner: bool, write: bool = False) -> Repository | None:
        """The repository, or an answer that hides private ones from strangers."""
        found = self.state.repositories.get(name)
        if found is None or (not owner and (found.private or write)):
            self.fail(404 if owner else 401, "RepoNotFound")
            return None
        return found

    def create(self, owner: bool, body: bytes) -> None:
        if not owner:
            return self.fail(401, "Unauthorized")
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        status = 409 if name in self.state.repositories else 200
        if status == 200:
            private = asked.get("private") or asked.get("visibility") == "private"
            self.state.repositories[name] = Repository(bool(private))
            self.state.repositories[name].commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"})
        return self.json({"url": f"{self.state.url}/{name}", "name": name, "id": name}, status)

    def branch(self, owner: bool, body: bytes, name: str, branch: str) -> None:
        if repository := self.repository(name, owner, write=True):
            if branch in repository.branches:
                return self.fail(409, "Conflict")
            repository.branches[branch] = repository.branches["main"]
            self.json({})
        return None

    def info(self, owner: bool, body: bytes, name: str, revision: str | None = None) -> None:
        if repository := self.repository(name, owner):
            sha = repository.resolve(revision or "main")
            if sha is None:
                return self.fail(404, "RevisionNotFound")
            files = [{"rfilename": path} for path in repository.commits[sha]]
            self.json({"id": name, "modelId": name, "sha": sha, "private": repository.private, "siblings": files, "tags": []})
        return None

    def tree(self, owner: bool, body: bytes, name: str, revision: str) -> None:
        if repository := self.repository(name, owner):
            sha = repository.resolve(revision)
            if sha is None:
                return self.fail(404, "RevisionNotFound")
            self.json([_entry(path, data) for path, data in repository.commits[sha].items()])
        return None

    def preupload(self, owner: bool, body: bytes, name: str, revision: str) -> None:
        if self.repository(name, owner, write=True):
            paths = [x["path"] for x in json.loads(body)["files"]]
            modes = [{"path": p, "uploadMode": "lfs" if p.endswith(LARGE) else "regular", "shouldIgnore": False} for p in paths]
            self.json({"files": modes})

    def batch(self, owner: bool, body: bytes, name: str) -> None:
        if self.repository(name, owner, write=True):
            objects = json.loads(body)["objects"]
            for x in objects:
                if x["oid"] not in self.state.large:
                    x["actions"] = {"upload": {"href": f"{self.state.url}/large/{x['oid']}"}}
            self.json({"transfer": "basic", "objects": objects})

    def large(self, owner: bool, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            return self.fail(400, "WrongDigest")
        self.state.large[oid] = body
        return self.answer(200)

    def commit(self, owner: bool, body: bytes, name: str, branch: str) -> None:
        if repository := self.repository(name, owner, write=True):
            if branch not in repository.branches:
                return self.fail(404, "RevisionNotFound")
            files = dict(repository.commits[repository.branches[branch]])
            for line in body.splitlines():
                entry = json.loads(line)
                value = entry["value"]
                if entry["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif entry["key"] == "lfsFile":
                    files[value["path"]] = self.state.large[value["oid"]]
                elif entry["key"] == "deletedFile":
                    files.pop(value["path"])
            sha = repository.commit(branch, files)
            self.json({"commitUrl": f"{self.state.url}/{name}/commit/{sha}", "commitOid": sha, "pullRequestUrl": None})
        return None

    def resolve(self, owner: bool, body: bytes, name: str, revision: str, path: str) -> None:
        if repository := self.repository(name, owner):
            sha = repository.resolve(revision)
            if sha is None or path not in repository.commits[sha]:
                return self.fail(404, "RevisionNotFound" if sha is None else "EntryNotFound")
            data = repository.commits[sha][path]
            entry = _entry(path, data)
            tag = f'"{entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]}"'
            self.answer(200, data, ETag=tag, X_Linked_ETag=tag, X_Linked_Size=str(len(data)), X_Repo_Commit=sha)
        return None

    def validate(self, owner: bool, body: bytes) -> None:
        self.json({"errors": [], "warnings": []})


def _entry(path: str, data: bytes) -> dict[str, Any]:
    """A file as a tree listing tells of it."""
    oid = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    entry = {"type": "file", "path": path, "size": len(data), "oid": oid}
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.validate),
    (rf"POST /api/models/{NAME}/branch/(.+)", _Handler.branch),
    (rf"GET /api/models/{NAME}", _Handler.info),
    (rf"GET /api/models/{NAME}/revision/(.+)", _Handler.info),
    (rf"GET /api/models/{NAME}/tree/([^/]+)", _Handler.tree),
    (rf"POST /api/models/{NAME}/preupload/(.+)", _Handler.preupload),
    (rf"POST /{NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    (r"PUT /large/([0-9a-f]+)", _Handler.large),
    (rf"POST /api/models/{NAME}/commit/(.+)", _Handler.commit),
    (rf"(?:GET|HEAD) /{NAME}/resolve/([^/]+)/(.+)", _Handler.resolve),
]


def python(code: str, home: Path, *arguments: str, **environment: str) -> dict:
    """What a fresh Python says, with a Hub of our own by environment, as a person would set it."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env = {**known, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    script = HEAD.format(tests=str(TESTS)) + code + "\nprint(json.dumps(said))"
    done = subprocess.run([sys.executable, "-c", script, *arguments], env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
