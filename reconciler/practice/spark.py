"""One practice Spark, put together: machine, engine, shell, API, and the link that leads to them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import asyncssh

from reconciler.practice.clock import Clock, Ids
from reconciler.practice.console import USER, Console
from reconciler.practice.docker_cli import Command, DockerCli
from reconciler.practice.engine import VERSION, Engine
from reconciler.practice.faults import Faults
from reconciler.practice.http_api import EngineApi
from reconciler.practice.http_server import HttpConnection, Reader, Writer
from reconciler.practice.link import Link
from reconciler.practice.machine import Machine
from reconciler.practice.models import ModelServer
from reconciler.practice.switches import Switches
from reconciler.practice.weights import stock

if TYPE_CHECKING:
    from reconciler.practice.programs import Process

NETWORK: Final = "127.77.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a practice Spark is made. `serve=False` opens no socket: for simulations in virtual time."""

    seed: str = "practice"
    network: str = NETWORK  # the first three numbers of every Spark's address, on loopback
    serve: bool = True
    version: str = VERSION
    pull_seconds: float = 1.0
    memory_total: int = 0  # bytes; 0: a DGX Spark's 121 GiB
    load_seconds: float = 0.3


class Spark:
    """What a test or the fleet holds in its hand."""

    def __init__(self, name: str, number: int = 1, settings: Settings = Settings(), clock: Clock | None = None) -> None:
        self.name = name
        self.user = USER
        self.address = f"{settings.network}.{number}"
        self.settings = settings
        self.switches = Switches()
        self.machine = Machine(
            name=name,
            number=number,
            address=self.address,
            clock=clock or Clock(),
            ids=Ids(f"{settings.seed}/{name}/machine"),
            switches=self.switches,
            load_seconds=settings.load_seconds,
        )
        if settings.memory_total:
            self.machine.memory_total = settings.memory_total
        self.engine = Engine(
            self.machine,
            Ids(f"{settings.seed}/{name}/engine"),
            serve=self._serve_model,
            version=settings.version,
            pull_seconds=settings.pull_seconds,
        )
        stock(self.engine.files, number)
        self.servers: dict[int, ModelServer] = {}
        self.console = Console(self.machine, DockerCli(self.engine), self.servers)
        self.api = EngineApi(self.engine)
        self.link = Link()
        self.faults = Faults(self)
        self.allowed_keys: set[bytes] = set()
        self._host_key: asyncssh.SSHKey | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._api_clients: set[Writer] = set()

    @property
    def commands(self) -> list[Command]:
        """Every docker command that came, in order."""
        return self.console.docker.log

    # The SSH side

    @property
    def host_key(self) -> asyncssh.SSHKey:
        """The SSH server's private key."""
        if self._host_key is None:
            self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        return self._host_key

    @host_key.setter
    def host_key(self, key: asyncssh.SSHKey) -> None:
        self._host_key = key

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Something that goes on by itself, until the power goes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def end_sessions(self) -> None:
        """Whatever commands were running are gone."""
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # The Engine's socket

    async def serve_engine(self, reader: Reader, writer: Writer) -> None:
        """One client of the Engine's socket."""
        self._api_clients.add(writer)
        try:
            await HttpConnection(reader, writer, self.api.handle).run()
        finally:
            self._api_clients.discard(writer)

    def hang_up_engine(self) -> None:
        """The daemon went away: its clients see their connections end."""
        self.engine.events.forget()
        self.engine.hang_up()
        for writer in list(self._api_clients):
            with contextlib.suppress(OSError):
                writer.close()

    # Model servers

    async def _serve_model(self, process: Process, port: int) -> ModelServer:
        """Raises OSError if the real port can't be had."""
        server = ModelServer(process, self, port)
        if self.settings.serve:
            await server.listen()
        self.servers[port] = server
        return server

    async def close(self) -> None:
        """Everything ends."""
        await self.end_sessions()
        self.hang_up_engine()
        await self.engine.close()
