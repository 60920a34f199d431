"""Several practice Sparks at once, with all that a client needs to reach them: keys, known hosts, addresses."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import asyncssh

from reconciler.practice.clock import Clock
from reconciler.practice.console import USER
from reconciler.practice.containers import Spec
from reconciler.practice.machine import GIB
from reconciler.practice.server import SshListener
from reconciler.practice.spark import NETWORK, Settings, Spark

FIRST_PORT: Final = 2200
_FLEETS: Final = itertools.count()
MOST: Final = 16  # as many as anybody has
FOREIGN: Final = {  # what a Spark's owner may have started by hand
    "grafana": Spec(image="grafana/grafana:12.2.0", name="grafana", network="host", env=["PORT=3000"]),
    "jupyter": Spec(
        image="quay.io/jupyter/minimal-notebook:2025-10-06",
        name="jupyter",
        network="host",
        env=["PORT=8888", f"PRACTICE_MEMORY={3 * GIB}"],
    ),
}


class PracticeSpark(Spark):
    """A Spark with a real port."""

    host: str = ""
    port: int = 0
    key_path: Path = Path()

    @property
    def known_hosts(self) -> str:
        """Its line of a known_hosts file."""
        key = self.host_key.export_public_key().decode().strip()
        return f"[{self.host}]:{self.port} {' '.join(key.split()[:2])}\n"


class PracticeFleet:
    """`async with PracticeFleet(2, folder) as fleet:` and `fleet["spark-1"]` can be logged in to.

    `folder` keeps the client's key, the host keys and `known_hosts` between runs. `first_port=0` lets the
    system choose ports, on a network of this process's own, as tests want it that run side by side (ports of
    models are not chosen); otherwise Spark N listens on `first_port + N`.
    """

    def __init__(
        self,
        count: int,
        folder: Path | str,
        *,
        first_port: int = FIRST_PORT,
        settings: Settings | None = None,
        foreign: Sequence[str] = (),
        forwarding: bool = True,
        images: Iterable[str] = (),
        clock: Clock | None = None,
    ) -> None:
        if not 1 <= count <= MOST:
            raise ValueError("a practice fleet has 1 to 16 Sparks")
        self.folder = Path(folder)
        self.settings = settings or Settings()
        if not first_port and self.settings.network == NETWORK:
            self.settings = replace(self.settings, network=_own_network())
        self.sparks = {f"spark-{n}": PracticeSpark(f"spark-{n}", n, self.settings, clock) for n in range(1, count + 1)}
        self._first_port = first_port
        self._foreign = tuple(foreign)
        self._images = tuple(images)
        self._listeners: list[SshListener] = []
        for spark in self.sparks.values():
            spark.switches.forwarding = forwarding

    def __getitem__(self, name: str) -> PracticeSpark:
        return self.sparks[name]

    @property
    def key_path(self) -> Path:
        """The client's private key."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts_path(self) -> Path:
        """A file that holds `known_hosts`."""
        return self.folder / "known_hosts"

    @property
    def known_hosts(self) -> str:
        """A line for every Spark."""
        return "".join(spark.known_hosts for spark in self.sparks.values())

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        client = _key(self.key_path)
        for number, spark in enumerate(self.sparks.values(), 1):
            spark.allowed_keys.add(client.public_data)
            spark.key_path = self.key_path
            spark.host_key = _key(self.folder / f"{spark.name}.hostkey")
            for image in self._images:
                spark.engine.images.add(image)
            if self.settings.serve:
                await self._listen(spark, number)
        self.known_hosts_path.write_text(self.known_hosts if self.settings.serve else "")
        first = next(iter(self.sparks.values()))
        for name in self._foreign:
            await preload(first, FOREIGN[name])

    async def _listen(self, spark: PracticeSpark, number: int) -> None:
        listener = SshListener(spark, self._first_port + number if self._first_port else 0)
        try:
            spark.port = await listener.start()
        except OSError as error:
            if spark.address == "127.0.0.1" or "assign" not in str(error):
                raise
            spark.address = spark.machine.address = "127.0.0.1"  # where only this one loopback address exists (macOS)
            spark.port = await listener.start()
        spark.host = spark.address
        self._listeners.append(listener)

    async def close(self) -> None:
        """Every port and every task is gone after this."""
        await asyncio.gather(*(listener.close() for listener in self._listeners))
        await asyncio.gather(*(spark.close() for spark in self.sparks.values()))
        self._listeners.clear()

    def desired_sparks(self) -> dict[str, dict[str, Any]]:
        """The `sparks:` part of a desired state."""
        return {name: {"host": spark.host, "port": spark.port, "user": USER} for name, spark in self.sparks.items()}


def _own_network() -> str:
    """Three numbers of loopback that no other fleet of this process has, nor, most likely, of another process."""
    process = os.getpid()
    return f"127.{100 + (process // 250 + 7 * next(_FLEETS)) % 100}.{process % 250}"


async def preload(spark: Spark, spec: Spec) -> None:
    """A container that somebody else started."""
    spark.engine.images.add(spec.image)
    await spark.engine.start(spark.engine.create(spec).id)


def _key(path: Path) -> asyncssh.SSHKey:
    """The private key in a file, made if there is none; only its owner may read it."""
    if path.exists():
        return asyncssh.read_private_key(path)
    key = asyncssh.generate_private_key("ssh-ed25519", comment="sparkkeep practice")
    path.touch(mode=0o600)
    path.write_bytes(key.export_private_key())
    path.with_suffix(".pub").write_bytes(key.export_public_key())
    return key
