"""`sparkkeep serve`: the loop and its HTTP API in one process, until told to end.

The first SIGINT or SIGTERM lets requests under way and commands in flight come to their end for up to five seconds;
a second one does not wait. What was not answered by then is no loss: the next start looks at the Sparks again.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI

from api.app import build
from api.assemble import find_desired, running
from api.context import Context
from api.environment import without_sparks
from api.folder import DataFolder, Unusable
from api.practice import welcome, workshop
from api.version import VERSION

ANYWHERE: Final = "0.0.0.0"  # noqa: S104  # guarded by api.guard
HERE: Final = "127.0.0.1"
GRACE: Final = 5  # seconds for requests and commands under way


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for on the command line or in the environment."""

    desired: Path | None = None
    practice: int = 0
    host: str | None = None
    port: int = 9999
    data: Path = Path("~/.local/share/sparkkeep")
    allow_hosts: tuple[str, ...] = ()


class Server(uvicorn.Server):
    """uvicorn, leaving signals to `serve`: on its own it would raise them again before anything is put away."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing here."""
        yield


async def serve(options: Options, environ: Mapping[str, str] = os.environ) -> None:
    """Serve until told to end. Raises Unusable, or state.problems.Invalid for a desired state that is not valid."""
    data = options.data.expanduser()
    host = options.host or (HERE if options.practice else ANYWHERE)
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(_listen(host, options.port))
        address = _address(listener)
        folder = stack.enter_context(DataFolder(data / "practice" if options.practice else data))
        if options.practice:
            room = await stack.enter_async_context(workshop(options.practice, folder, options.desired))
            parts = await stack.enter_async_context(
                running(room.desired, folder, without_sparks(environ), reach=room.reach)
            )
            parts.context.practice = room
            _say(welcome(room, address))
        else:
            desired = find_desired(options.desired, folder)
            parts = await stack.enter_async_context(running(desired, folder, environ))
            _say(f"sparkkeep {VERSION} keeps {desired} at {address}{_exposed(host)}")
        app = build(parts.context, version=VERSION, allow_hosts=options.allow_hosts)
        await _until_told(app, parts.context, listener)


async def _until_told(app: FastAPI, context: Context, listener: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    server = Server(config)

    def stop() -> None:
        if server.should_exit:
            server.force_exit = True
        server.should_exit = True
        context.closing.set()

    async def finish() -> None:
        await context.closing.wait()
        await context.loop.finish(GRACE)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await asyncio.gather(server.serve(sockets=[listener]), finish())
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket, before anything else is begun. Raises Unusable."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
    except OSError as error:
        raise Unusable(f"{host} is no address to listen on: {error.strerror}") from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                what = f"port {port} is in use (by another sparkkeep?): choose another with --port or BIND_PORT"
            else:
                what = f"can't listen on {host} port {port}: {error.strerror}"
            raise Unusable(what) from error
        listener.listen(128)
        listener.setblocking(False)  # the standard library's own signature
        yield listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in {ANYWHERE, "::"}:
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _exposed(host: str) -> str:
    if host not in {ANYWHERE, "::"}:
        return ""
    return "\nOpen to this network, without a login: private addresses and this machine's names only, same origin only."


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # what a person waits for, on standard output
