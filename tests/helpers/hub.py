"""A hub on this machine: as much of the Hugging Face hub's protocol as downloading needs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_opensesame"

# The hub's word for each refusal, and the status that goes with it.
_REFUSALS = {
    "RepoNotFound": 401,  # what the hub says to anybody whom it does not know
    "GatedRepo": 403,
    "RevisionNotFound": 404,
    "EntryNotFound": 404,
}


class _RefusedError(Exception):
    """The answer is no; the argument is the hub's word for why."""


@dataclass
class _Repo:
    access: str = "public"  # or "private", or "gated"
    commits: dict[str, Path] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # of a branch or tag -> commit


@dataclass
class Hub:
    """What is published, what was asked for, and which answers break off."""

    port: int = 0
    repos: dict[str, _Repo] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    # Per file ("org/name/path"): after how many bytes each next answer breaks off.
    cuts: dict[str, list[int]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it is, or was."""
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve until the end of the block."""
        self._start()
        try:
            yield
        finally:
            self._stop()

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Refuse every connection until the end of the block."""
        self._stop()
        try:
            yield
        finally:
            self._start()

    def _start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), partial(_Handler, self))
        self.port = self._server.server_port
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def publish(
        self, name: str, folder: Path, *, revision: str = "main", access: str = "public"
    ) -> str:
        """Publish a folder, which must not change afterwards, and return its commit."""
        repo = self.repos.setdefault(name, _Repo())
        repo.access = access
        commit = sha1(f"{name} {folder}".encode()).hexdigest()
        repo.commits[commit] = folder
        repo.names[revision] = commit
        return commit

    def fetched(self, name: str) -> set[str]:
        """Return the files of a repository that were downloaded, whole or in part."""
        start = f"GET /{name}/resolve/"
        asked = [line.removeprefix(start) for line in self.requests if line.startswith(start)]
        return {line.split("/", 1)[1] for line in asked}

    def find(self, name: str, revision: str, token: str | None) -> tuple[str, Path]:
        """Return the commit and the folder of a revision that the token may see."""
        repo = self.repos.get(name)
        if repo is None or (repo.access == "private" and token != TOKEN):
            raise _RefusedError("RepoNotFound")
        if repo.access == "gated" and token != TOKEN:
            raise _RefusedError("GatedRepo")
        commit = repo.names.get(revision, revision)
        if commit not in repo.commits:
            raise _RefusedError("RevisionNotFound")
        return commit, repo.commits[commit]


def _listing(folder: Path) -> list[dict]:
    """List a folder as the hub's tree does; weights are files of git's large file storage."""
    listed = []
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        entry = {
            "type": "file" if path.is_file() else "directory",
            "path": path.relative_to(folder).as_posix(),
            "size": len(content),
            "oid": sha1(content).hexdigest(),
        }
        if path.suffix in (".safetensors", ".bin"):
            lfs = {"oid": sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            entry["lfs"] = lfs
        listed.append(entry)
    return listed


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, hub: Hub, *args: Any) -> None:
        self.hub = hub
        super().__init__(*args)

    def do_GET(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        try:
            self._answer(unquote(urlsplit(self.path).path))
        except _RefusedError as refused:
            (word,) = refused.args
            self._send(_REFUSALS[word], b"", {"X-Error-Code": word, "X-Error-Message": word})

    do_HEAD = do_GET

    def _answer(self, path: str) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        for marker, answer in (
            ("/revision/", self._send_revision),
            ("/tree/", self._send_tree),
            ("/resolve/", self._send_file),
        ):
            name, found, rest = path.removeprefix("/api/models").partition(marker)
            if found:
                revision, _, file = rest.partition("/")
                commit, folder = self.hub.find(name.strip("/"), revision, token)
                return answer(name.strip("/"), commit, folder, file)
        raise _RefusedError("EntryNotFound")

    def _send_revision(self, name: str, commit: str, folder: Path, file: str) -> None:
        files = [{"rfilename": entry["path"]} for entry in _listing(folder)]
        self._send_json({"id": name, "sha": commit, "siblings": files, "tags": []})

    def _send_tree(self, name: str, commit: str, folder: Path, file: str) -> None:
        self._send_json(_listing(folder))

    def _send_file(self, name: str, commit: str, folder: Path, file: str) -> None:
        if not (folder / file).is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        content = (folder / file).read_bytes()
        digest = sha256(content).hexdigest()
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        status = 200
        if wanted := self.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            status, content = 206, content[start:]
        cuts = self.hub.cuts.get(f"{name}/{file}", [])
        self._send(status, content, headers, cuts.pop(0) if cuts and self._sends_body() else None)

    def _send_json(self, content: object) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(
        self, status: int, content: bytes, headers: dict[str, str], cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self._sends_body():
            self.wfile.write(content[:cut])

    def _sends_body(self) -> bool:
        return self.command != "HEAD"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: `requests` tells it all."""
