"""The stage of real hosts: network namespaces, OpenSSH, dockerd."""

import asyncio
import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from tests.hosts import net
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.hosts.registry import Registry
from tests.hosts.shell import HostError
from tests.scenarios.stage import OURS, Command, Seen, changing, normalised

LISTENER = """
import socket, sys
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("0.0.0.0", int(sys.argv[1])))
server.listen()
print("listening", flush=True)
sys.stdin.read()
"""


class RealStage:
    """Use as a context manager: what was started by hand is ended."""

    runs_programs = True

    def __init__(self, fleet: Fleet, registry: Registry) -> None:
        self.sparks = tuple(host.name for host in fleet.hosts)
        self.key, self.known_hosts = fleet.key, fleet.known_hosts
        self.registry = registry.host
        self._registry = registry
        self._fleet = fleet
        self._hosts = {host.name: host for host in fleet.hosts}
        self._names: dict[str, dict[str, str]] = {name: {} for name in self.sparks}
        self._from = dict.fromkeys(self.sparks, 0)
        self._listeners: dict[tuple[str, int], subprocess.Popen[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners.values():
            _end(listener)
        self._signal_registry(signal.SIGCONT)

    def host(self, spark: str) -> Host:
        return self._hosts[spark]

    def desired(self) -> dict[str, Any]:
        return {name: {"host": host.address, "user": "root", "reserve": 0} for name, host in self._hosts.items()}

    async def docker(self, spark: str, *argv: str) -> str:
        return await asyncio.to_thread(self._hosts[spark].docker, *argv)

    async def containers(self, spark: str) -> dict[str, Seen]:
        found = await asyncio.to_thread(self._inspect, spark)
        return {seen.name: seen for seen in map(_seen, found)}

    async def commands(self, spark: str) -> list[Command]:
        return (await self.trace(spark))[self._from[spark] :]

    async def trace(self, spark: str) -> list[Command]:
        await asyncio.to_thread(self._learn, spark)
        commands = changing(self._hosts[spark].commands())
        return [normalised(argv, self._names[spark]) for argv in commands]

    def clear(self) -> None:
        self._from = {name: len(changing(host.commands())) for name, host in self._hosts.items()}

    async def fetch(self, spark: str, port: int, path: str) -> str:
        def get() -> str:
            with urllib.request.urlopen(f"http://{self._hosts[spark].address}:{port}{path}", timeout=5) as answer:
                return str(answer.read().decode())

        return await asyncio.to_thread(get)

    async def has_folder(self, spark: str, path: str) -> bool:
        try:
            await self._do(spark, lambda host: host.run(["test", "-d", path.replace("$HOME", "/root")]))
        except HostError:
            return False
        return True

    async def files(self, spark: str, folder: str) -> list[str]:
        inside = ["ls", "-A", folder.replace("$HOME", "/root")]
        return (await asyncio.to_thread(self._hosts[spark].run, inside)).splitlines()

    async def cut(self, spark: str) -> None:
        await self._do(spark, Host.cut)

    async def heal(self, spark: str) -> None:
        await self._do(spark, Host.heal)

    async def reboot(self, spark: str) -> None:
        await asyncio.to_thread(self._learn, spark)
        await self._do(spark, Host.crash)
        await self._do(spark, _boot)

    async def restart_daemon(self, spark: str) -> None:
        await asyncio.to_thread(self._learn, spark)
        await self._do(spark, Host.restart_daemon)

    async def new_host_key(self, spark: str) -> None:
        def work(host: Host) -> None:
            host.crash()
            host.new_host_key()
            _boot(host)

        await asyncio.to_thread(self._learn, spark)
        await self._do(spark, work)

    async def old_host_key(self, spark: str) -> None:
        def work(host: Host) -> None:
            host.crash()
            for ending in ("", ".pub"):
                shutil.copy(f"{host.folder / 'first-hostkey'}{ending}", f"{host.control / 'hostkey'}{ending}")
            _boot(host)

        await self._do(spark, work)

    async def listen(self, spark: str, port: int) -> None:
        self._listeners[spark, port] = await asyncio.to_thread(self._start_listener, spark, port)

    async def unlisten(self, spark: str, port: int) -> None:
        await asyncio.to_thread(_end, self._listeners.pop((spark, port)))

    async def hold_registry(self) -> None:
        self._signal_registry(signal.SIGSTOP)

    async def release_registry(self) -> None:
        self._signal_registry(signal.SIGCONT)

    async def _do(self, spark: str, work: Callable[[Host], object]) -> None:
        await asyncio.to_thread(work, self._hosts[spark])

    def _signal_registry(self, number: signal.Signals) -> None:
        if self._registry._process is not None:
            self._registry._process.send_signal(number)

    def _start_listener(self, spark: str, port: int) -> "subprocess.Popen[str]":
        space = net.NAMESPACES / f"{self._fleet.name}-{self._hosts[spark].number}"
        process = subprocess.Popen(
            ["nsenter", f"--net={space}", sys.executable, "-c", LISTENER, str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        return process

    def _inspect(self, spark: str) -> list[dict[str, Any]]:
        found = []
        for item in _ask(self._hosts[spark].docker_socket, "/containers/json?all=1"):
            with suppress(LookupError):  # it went away in between
                found.append(_ask(self._hosts[spark].docker_socket, f"/containers/{item['Id']}/json"))
        self._names[spark].update({item["Id"][:12]: item["Name"].removeprefix("/") for item in found})
        return found

    def _learn(self, spark: str) -> None:
        """The names of containers that are gone; the engine forgets them when it restarts."""
        if not self._hosts[spark].daemon_answers():
            return
        filters = quote('{"type":["container"],"event":["create"]}')
        past = f"/events?since=0&until={time.time():.6f}&filters={filters}"
        for event in _ask(self._hosts[spark].docker_socket, past, lines=True):
            self._names[spark].setdefault(event["Actor"]["ID"][:12], event["Actor"]["Attributes"]["name"])


def _boot(host: Host) -> None:
    """Boot with a boot id of its own: the kernel, and so its id, is shared by all. It is there before the engine is."""
    host._engine = False
    host.boot()
    host._engine = True
    host.run(
        ["sh", "-c", f"echo {uuid.uuid4()} >/run/boot_id && mount --bind /run/boot_id /proc/sys/kernel/random/boot_id"]
    )
    host.start_daemon()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=20)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _ask(path: Path, target: str, *, lines: bool = False) -> Any:
    """The Engine's answer. Raises LookupError for what is not there."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        text = response.read().decode()
        if response.status != 200:
            raise LookupError(f"{target}: {response.status} {text}")
        return [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
    finally:
        connection.close()


def _seen(item: dict[str, Any]) -> Seen:
    return Seen(
        id=item["Id"],
        name=item["Name"].removeprefix("/"),
        image=item["Config"]["Image"],
        state=item["State"]["Status"],
        started=item["State"]["StartedAt"],
        restart=item["HostConfig"]["RestartPolicy"]["Name"],
        command=tuple(item["Config"]["Cmd"] or ()),
        labels={key: value for key, value in (item["Config"]["Labels"] or {}).items() if key.startswith(OURS)},
    )


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()
