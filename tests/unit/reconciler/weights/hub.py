"""A hub on loopback with a content network of its own: real HTTP, the API's shapes, and the faults that tests ask for."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

COMMIT = "c" * 40
REPO = "acme/tiny-model"


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Seen:
    """One request: who got it, what it asked for, and how many bytes of a body it was given."""

    server: str
    method: str
    path: str
    authorization: str
    range: str
    sent: int


@dataclass
class Blob:
    path: str
    data: bytes
    lfs: bool

    @property
    def etag(self) -> str:
        return hashlib.sha256(self.data).hexdigest() if self.lfs else git_sha1(self.data)

    @property
    def entry(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "oid": git_sha1(self.data), "size": len(self.data), "path": self.path}
        if self.lfs:
            entry["lfs"] = {"oid": self.etag, "size": len(self.data), "pointerSize": 135}
            entry["xetHash"] = "e" * 64
        return entry


@dataclass
class Hub:
    """What it has, what it does wrong, and what it saw."""

    files: list[Blob] = field(default_factory=list)
    extra: list[dict[str, Any]] = field(default_factory=list)  # raw entries of the listing
    seen: list[Seen] = field(default_factory=list)
    revisions: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    token: str = ""  # files need it, if set
    gated: bool = False  # to everybody
    page: int = 1000
    fail: dict[str, list[tuple[int, dict[str, str]]]] = field(
        default_factory=dict
    )  # path -> answers before the true one
    cut: dict[str, list[int]] = field(default_factory=dict)  # path -> bytes after which an answer breaks off
    wrong: dict[str, int] = field(default_factory=dict)  # path -> how many answers have a wrong byte
    ranges: bool = True
    slow: float = 0.0  # seconds between 64 KiB
    hang: dict[str, int] = field(default_factory=dict)  # path -> bytes after which an answer says nothing more
    released: threading.Event = field(default_factory=threading.Event)  # ends what hangs
    most: int = 0  # largest answer of the content network; 0: any
    moved: dict[str, str] = field(default_factory=dict)  # repository -> its new name
    origin: str = ""
    cdn: str = ""

    def bodies(self, path: str) -> list[int]:
        """Bytes given for each GET of a file's content."""
        return [s.sent for s in self.seen if s.method == "GET" and s.path == path and s.sent >= 0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    name: str

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.serve()

    def do_GET(self) -> None:
        self.serve()

    def answer(self, status: int, body: bytes = b"", /, seen: str = "", **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.note(seen or self.path, len(body) if self.command == "GET" and status == 200 else -1)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def note(self, path: str, sent: int) -> None:
        auth, span = self.headers.get("Authorization", ""), self.headers.get("Range", "")
        self.hub.seen.append(Seen(self.name, self.command, path, auth, span, sent))

    def serve(self) -> None:
        hub, url = self.hub, urlsplit(self.path)
        path = unquote(url.path)
        if self.name == "cdn" or path.startswith("/api/resolve-cache/"):
            found = next((f for f in hub.files if f"/{f.etag}" == path[-len(f.etag) - 1 :]), None)
            return self.content(found) if found else self.answer(404)
        if match := re.fullmatch(r"/api/models/([^/]+(?:/[^/]+)?)/(revision|tree)/([^/]+)", path):
            return self.api(match[1], match[2], unquote(url.path.rpartition("/")[2]), parse_qs(url.query))
        if match := re.fullmatch(r"/(.+?)/resolve/([0-9a-f]{40})/(.+)", path):
            return self.resolve(next((f for f in hub.files if f.path == match[3]), None))
        return self.answer(404, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")

    def refuse(self, path: str) -> bool:
        if self.hub.fail.get(path):
            status, headers = self.hub.fail[path].pop(0)
            self.answer(status, b"<h1>no</h1>", **headers)
            return True
        return False

    def api(self, repo: str, kind: str, name: str, query: dict[str, list[str]]) -> None:
        hub = self.hub
        if self.refuse("api"):
            return None
        if repo in hub.moved:
            return self.answer(307, Location=self.path.replace(quote(repo), quote(hub.moved[repo])))
        if repo != REPO:
            return self.answer(401, b"{}", X_Error_Code="RepoNotFound", X_Error_Message="Invalid username or password.")
        if kind == "revision":
            if name not in {*hub.revisions, *hub.revisions.values()}:
                return self.answer(404, b"{}", X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id: x")
            body = {
                "id": repo,
                "sha": hub.revisions.get(name, name),
                "siblings": [{"rfilename": f.path} for f in hub.files],
            }
            return self.answer(200, json.dumps(body).encode(), Content_Type="application/json")
        entries = [
            {"type": "directory", "oid": "0" * 40, "size": 0, "path": "sub"},
            *(f.entry for f in hub.files),
            *hub.extra,
        ]
        begin = int(query.get("cursor", ["0"])[0])
        more = {}
        if begin + hub.page < len(entries):
            more = {"Link": f'<{hub.origin}/elsewhere?recursive=true&cursor={begin + hub.page}>; rel="next"'}
        return self.answer(200, json.dumps(entries[begin : begin + hub.page]).encode(), **more)

    def resolve(self, file: Blob | None) -> None:
        hub = self.hub
        if file is None:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Error_Message="Entry not found")
        auth = self.headers.get("Authorization", "")
        if hub.gated or (hub.token and not auth):
            words = "Access to model acme/tiny-model is restricted."
            return self.answer(403 if auth else 401, X_Error_Code="GatedRepo", X_Error_Message=words)
        if hub.token and auth != f"Bearer {hub.token}":
            return self.answer(401, X_Error_Message="Invalid credentials in Authorization header")
        if self.refuse(file.path):
            return None
        facts = {"X_Repo_Commit": COMMIT}
        if not file.lfs:
            return self.answer(307, ETag=f'"{file.etag}"', Location=f"/api/resolve-cache/{file.etag}", **facts)
        facts |= {"X_Linked_Etag": f'"{file.etag}"', "X_Linked_Size": str(len(file.data))}
        place = f"{hub.cdn}/xet-bridge/{file.etag}"
        return self.answer(302, b"Found. Redirecting to " + place.encode(), Location=place, **facts)

    def content(self, file: Blob) -> None:
        hub, size = self.hub, len(file.data)
        if self.refuse(f"cdn:{file.path}"):
            return None
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if hub.ranges else None
        begin, end = (int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)) if match else (0, size)
        if match and begin >= end:
            return self.answer(416, seen=file.path, Content_Range=f"bytes */{size}")
        if hub.most and end - begin > hub.most:
            return self.answer(400, b"<h1>400</h1>", seen=file.path)
        data = bytearray(file.data[begin:end])
        if self.command == "GET" and hub.wrong.get(file.path, 0) > 0 and data:
            hub.wrong[file.path] -= 1
            data[-1] ^= 1
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{file.etag}"')
        if match:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
        self.end_headers()
        if self.command != "GET":
            return self.note(file.path, -1)
        if file.path in hub.hang:
            return self.hanging(file.path, bytes(data), hub.hang[file.path])
        cuts = hub.cut.get(file.path, [])
        stop = cuts.pop(0) if cuts else len(data)
        self.pour(file.path, bytes(data[:stop]))
        if stop < len(data):
            self.close_connection = True
        return None

    def hanging(self, path: str, data: bytes, stop: int) -> None:
        self.wfile.write(data[:stop])
        self.hub.released.wait(60)
        self.close_connection = True
        self.note(path, stop)

    def pour(self, path: str, data: bytes) -> None:
        sent = 0
        try:
            for at in range(0, len(data), 65_536):
                self.wfile.write(data[at : at + 65_536])
                sent += len(data[at : at + 65_536])
                if self.hub.slow:
                    time.sleep(self.hub.slow)
        except OSError:
            self.close_connection = True
        self.note(path, sent)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        pass


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    servers = []
    for name in ("hub", "cdn"):
        handler = type(name, (Handler,), {"hub": hub, "name": name})
        server = Server(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
    hub.origin, hub.cdn = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    try:
        yield hub
    finally:
        hub.released.set()
        for server in servers:
            server.shutdown()
            server.server_close()
