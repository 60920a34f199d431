"""`sparkkeep serve`: the loop and its HTTP API in one process, until told to end.

The first SIGINT or SIGTERM lets commands in flight come to their end for up to five seconds, and requests under way for
as long as `drain` says; a second one does not wait. What was not answered by then is no loss: the next start looks at
the Sparks again.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Final, cast

import uvicorn
from fastapi import FastAPI

from api.app import build
from api.assemble import find_desired, running
from api.context import Context
from api.environment import without_sparks
from api.folder import DataFolder, Unusable
from api.guard.addressed import Hosts, public
from api.guard.bearer import Token, read_token
from api.guard.origins import Origins
from api.practice import no_download, welcome, workshop
from api.proxies.front import Front
from api.proxies.wire import Wire
from api.started import Start, in_force, named
from api.version import VERSION
from api.versioned import Versioned

log = logging.getLogger("sparkkeep.api")

ANYWHERE: Final = "0.0.0.0"  # noqa: S104  # guarded by api.guard.middleware
HERE: Final = "127.0.0.1"
GRACE: Final = 5  # seconds for commands under way
LAST_WORDS: Final = 0.5  # seconds of the time to drain, in which those who are still there are told
TICK: Final = 1.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for on the command line or in the environment."""

    desired: Path | None = None
    practice: int = 0
    host: str | None = None
    port: int = 9999
    data: Path = Path("~/.local/share/sparkkeep")
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    token_file: Path | None = None
    drain: float = 5.0  # seconds for answers under way at the end
    started: tuple[Start, ...] = ()  # all of it, for people
    versioned: Versioned = field(default_factory=Versioned)


class Server(uvicorn.Server):
    """uvicorn, leaving signals to `serve`: on its own it would raise them again before anything is put away."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing here."""
        yield

    async def main_loop(self) -> None:
        """A tick a second, which is what the date in the heads needs, where uvicorn takes ten to see `should_exit`."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), TICK)

    def stop(self) -> None:
        """End once the requests under way are answered; told again, at once."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._told.set()


async def serve(options: Options, environ: Mapping[str, str] = os.environ) -> None:
    """Serve until told to end. Raises Unusable, or state.problems.Invalid for a desired state that is not valid."""
    data = options.data.expanduser()
    host = options.host or (HERE if options.practice else ANYWHERE)
    token = Token(read_token(options.token_file)) if options.token_file else None
    origins = Origins(options.allow_origins)
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(_listen(host, options.port))
        address = _address(listener)
        if found := public(listener.getsockname()[0]) if token is None else ():
            log.warning(open_to_the_world(found, listener.getsockname()[1]))
        folder = stack.enter_context(DataFolder(data / "practice" if options.practice else data))
        if options.practice:
            room = await stack.enter_async_context(workshop(options.practice, folder, options.desired))
            parts = await stack.enter_async_context(
                running(
                    room.desired,
                    folder,
                    without_sparks(environ),
                    reach=room.reach,
                    bring=no_download,
                    before_launch=False,  # practice engines start without weights
                    versioned=options.versioned,
                )
            )
            parts.context.practice = room
            _say(welcome(room, address))
        else:
            desired = find_desired(options.desired, folder)
            parts = await stack.enter_async_context(running(desired, folder, environ, versioned=options.versioned))
            _say(f"sparkkeep {VERSION} keeps {desired} at {address}{_exposed(host, token)}")
        came = {"host": host, "port": listener.getsockname()[1], "desired": parts.store.path}
        told = in_force(options.started, **came, token_file=options.token_file)
        parts.context.started = (*told, *named(environ))
        app = build(parts.context, version=VERSION, allow_hosts=options.allow_hosts, origins=origins, token=token)
        if (wire := parts.context.wire) is not None:
            wire.guarded(hosts=Hosts(options.allow_hosts), origins=origins, token=token)
            wire.limits = replace(wire.limits, drain=max(0.0, options.drain - LAST_WORDS))
            stack.callback(wire.close)
        await _until_told(app, parts.context, listener, options.drain)


def configured(app: FastAPI, wire: Wire | None = None, *, drain: float = GRACE) -> uvicorn.Config:
    """How the app is served; with the data path before it, if there is one. `drain`: seconds for it to end."""
    http = "h11" if wire is None else cast("type[asyncio.Protocol]", partial(Front, wire))
    return uvicorn.Config(
        app,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        lifespan="off",
        http=http,  # h11 here too, and what `guard.heads` relies on; a faster one would read heads less strictly
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=max(1, ceil(drain)),
    )


async def _until_told(app: FastAPI, context: Context, listener: socket.socket, drain: float) -> None:
    server = Server(configured(app, context.wire, drain=drain))

    def stop() -> None:
        server.stop()
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


def _exposed(host: str, token: Token | None) -> str:
    if host not in {ANYWHERE, "::"}:
        return ""
    if token is not None:
        return "\nOpen to this network, for those who show the token."
    return "\nOpen to this network, without a login: private addresses and this machine's names only, same origin only."


def open_to_the_world(addresses: Sequence[str], port: int) -> str:
    """What a person should know who made this server public without a token."""
    shown = ", ".join(addresses[:4]) + (f" and {len(addresses) - 4} more" if len(addresses) > 4 else "")  # noqa: PLR2004
    return (
        f"this server listens on the internet ({shown}, port {port}) and asks nobody for a login: whoever reaches it "
        "commands your Sparks. Listen on an address of your own network or VPN only (--host ADDRESS), or close the "
        "port in a firewall, or ask for a token (--token-file PATH)"
    )


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # what a person waits for, on standard output
