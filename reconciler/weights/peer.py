"""Another Spark as the source: for the time of a copy it serves its blobs of one repository over the fabric.

The server is a few lines for the peer's own python3, given to it as an argument; nothing is written to its disk. It
listens on one address, only answers who shows a secret made for this copy, and gives out nothing but files named by a
hash that lie inside the cache. Unlike `python3 -m http.server` it can go on in the middle of a file. It says `alive`
every second: when nobody reads that any more, or after its time limit, it ends. So there is nothing to find and kill
afterwards.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, cast

from reconciler import shell
from reconciler.hosts import Host
from reconciler.linkdown import LinkDown
from reconciler.weights.cache import DEFAULT_CACHE, Completeness, assign, folder_of
from reconciler.weights.download import Source

LIMIT: Final = 6 * 3600.0  # seconds after which a server ends whatever happens
OPENING: Final = 20.0  # seconds within which it must say its port

SERVER: Final = r"""
import hmac, http.server, os, re, socket, stat, sys, threading, time
cache, folder, address, limit = sys.argv[1:]
secret = "Bearer " + sys.stdin.readline().strip()
root = os.path.realpath(cache) + os.sep
blobs = os.path.join(cache, folder, "blobs")
class Blobs(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120
    def log_message(self, *words):
        pass
    def do_HEAD(self):
        self.give(False)
    def do_GET(self):
        self.give(True)
    def say(self, status, *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, str(value))
        self.end_headers()
    def give(self, body):
        if not hmac.compare_digest(self.headers.get("Authorization", "").encode(), secret.encode()):
            return self.say(401, ("Content-Length", 0))
        name = self.path[1:]
        path = os.path.realpath(os.path.join(blobs, name))
        if not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", name) or not path.startswith(root):
            return self.say(404, ("Content-Length", 0))
        try:
            file = open(path, "rb")
        except OSError:
            return self.say(404, ("Content-Length", 0))
        with file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return self.say(404, ("Content-Length", 0))
            size, begin, end, code, more = status.st_size, 0, status.st_size, 200, []
            asked = re.fullmatch(r"bytes=(\d{1,18})-(\d{0,18})", self.headers.get("Range", ""))
            if asked:
                begin = int(asked[1])
                end = min(size, int(asked[2]) + 1) if asked[2] else size
                if begin >= end:
                    return self.say(416, ("Content-Length", 0), ("Content-Range", "bytes */%d" % size))
                code, more = 206, [("Content-Range", "bytes %d-%d/%d" % (begin, end - 1, size))]
            self.say(code, ("Content-Length", end - begin), ("Accept-Ranges", "bytes"), *more)
            if body and end > begin:
                self.wfile.flush()
                self.connection.sendfile(file, begin, end - begin)
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
    daemon_threads = True
    def handle_error(self, *request):
        pass
    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = address, self.server_address[1]
server = Server((address, 0), Blobs)
threading.Thread(target=server.serve_forever, daemon=True).start()
until = time.monotonic() + float(limit)
try:
    print("port", server.server_port, flush=True)
    while time.monotonic() < until:
        time.sleep(1)
        print("alive", flush=True)
except OSError:
    pass
os._exit(0)
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A Spark that may have the weights. `address` is its own on the fabric, as the fetching Spark reaches it."""

    name: str
    host: Host
    address: str
    cache: str = DEFAULT_CACHE


class PeerRefused(Exception):
    """This peer can't serve. The message is for people; the hub is the way then."""


def serve_script(peer: Peer, folder: str, secret: str, limit: float) -> str:
    """The shell text that serves. Raises PeerRefused for an address that is not one machine's own."""
    try:
        address = ipaddress.ip_address(peer.address)
    except ValueError as error:
        raise PeerRefused(f"{peer.name}: {peer.address!r} is not an address") from error
    if address.is_unspecified or address.is_multicast:
        raise PeerRefused(f"{peer.name}: {address} is not the address of one interface")
    argv = ("exec", "python3", "-I", "-c", SERVER, shell.home_path(peer.cache), folder, str(address), f"{limit:g}")
    # The secret stands in no argv: `printf` is built into the shell.
    return "\n".join((assign("secret", secret), f"printf '%s\\n' \"$secret\" | {{ {shell.join(argv)}; }}"))


@asynccontextmanager
async def serving(peer: Peer, state: Completeness, repository: str, *, limit: float = LIMIT) -> AsyncIterator[Source]:
    """`peer` as a Source, as long as the context lasts. Raises PeerRefused, with the reason in words."""
    secret = secrets.token_urlsafe(32)
    script = serve_script(peer, folder_of(repository), secret, limit)
    lines = cast("AsyncGenerator[str, None]", peer.host.stream(script))
    async with aclosing(lines):
        port = await _port(peer, lines)
        # Its lines must be read on, or the server would take it that nobody is there.
        drain = asyncio.create_task(_drain(lines), name=f"serving weights from {peer.name}")
        try:
            origin = f"http://[{peer.address}]:{port}" if ":" in peer.address else f"http://{peer.address}:{port}"
            urls = {file.etag: f"{origin}/{file.etag}" for file in state.missing}
            yield Source(peer.name, origin, urls, secret)
        finally:
            drain.cancel()
            with suppress(asyncio.CancelledError):
                await drain


async def _port(peer: Peer, lines: AsyncGenerator[str, None]) -> int:
    said = ""
    try:
        async with asyncio.timeout(OPENING):
            async for line in lines:
                if match := re.fullmatch(r"port (\d{1,5})", line):
                    return int(match[1])
                said = line.strip() or said
    except TimeoutError:
        raise PeerRefused(f"{peer.name} did not begin to serve its copy in time") from None
    except LinkDown as down:
        raise PeerRefused(f"{peer.name} can't serve its copy: {down.message}") from down
    if "not found" in said:
        raise PeerRefused(f"{peer.name} has the files, but no python3 to serve them with")
    raise PeerRefused(f"{peer.name} can't serve its copy: {said[:200] or 'it said nothing'}")


async def _drain(lines: AsyncGenerator[str, None]) -> None:
    with suppress(LinkDown):
        async for _ in lines:
            pass
