"""Other ways to ask many hosts for their containers; each asks the first `count` hosts at once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from tests.hosts.fleet import Fleet

Ask = Callable[[int], Awaitable[object]]
PYINFRA = "BENCH_PYINFRA"  # an existing virtual environment with pyinfra; a fresh one is made otherwise


@dataclass(frozen=True)
class Peer:
    """One way to ask. `every`: it takes part in one round of so many, where a round of it is long."""

    name: str
    ask: Ask
    every: int = 1


@asynccontextmanager
async def peers(fleet: Fleet) -> AsyncIterator[list[Peer]]:
    """Every peer, connected where it keeps connections."""
    async with AsyncExitStack() as stack:
        kept = await stack.enter_async_context(asyncssh_kept(fleet))
        master = await stack.enter_async_context(control_master(fleet))
        found = [
            Peer("asyncssh, kept connections: docker ps", kept),
            Peer("ssh over ControlMaster: docker ps", master),
            Peer("ssh forked per host: docker ps", ssh_forked(fleet), every=5),
        ]
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        venv = await _pyinfra(Path(folder))
        if venv is not None:
            found.append(
                Peer(
                    "pyinfra API, kept connections: docker ps",
                    await stack.enter_async_context(pyinfra_kept(fleet, venv)),
                )
            )
            found.append(
                Peer("pyinfra command: exec -- docker ps", pyinfra_command(fleet, venv, Path(folder)), every=5)
            )
        yield found


@asynccontextmanager
async def asyncssh_kept(fleet: Fleet) -> AsyncIterator[Ask]:
    async with AsyncExitStack() as stack:
        conns = [
            await stack.enter_async_context(
                asyncssh.connect(
                    host.address,
                    username="root",
                    client_keys=[str(fleet.key)],
                    known_hosts=str(fleet.known_hosts),
                    config=(),
                )
            )
            for host in fleet.hosts
        ]

        async def ask(count: int) -> None:
            await asyncio.gather(*(conn.run("docker ps", check=True) for conn in conns[:count]))

        yield ask


def ssh_argv(fleet: Fleet, address: str, *options: str) -> list[str]:
    given = [f"-oUserKnownHostsFile={fleet.known_hosts}", "-oBatchMode=yes", *options]
    return ["ssh", "-F", "none", "-i", str(fleet.key), *given, f"root@{address}"]


async def run(argv: Sequence[str]) -> None:
    process = await asyncio.create_subprocess_exec(*argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    await process.communicate()
    assert process.returncode == 0, argv


def ssh_forked(fleet: Fleet) -> Ask:
    async def ask(count: int) -> None:
        hosts = fleet.hosts[:count]
        await asyncio.gather(*(run([*ssh_argv(fleet, host.address), "docker", "ps"]) for host in hosts))

    return ask


@asynccontextmanager
async def control_master(fleet: Fleet) -> AsyncIterator[Ask]:
    with tempfile.TemporaryDirectory() as folder:
        option = f"-oControlPath={folder}/%h"
        for host in fleet.hosts:
            await run(ssh_argv(fleet, host.address, option, "-fNM"))
        try:

            async def ask(count: int) -> None:
                hosts = fleet.hosts[:count]
                await asyncio.gather(*(run([*ssh_argv(fleet, host.address, option), "docker", "ps"]) for host in hosts))

            yield ask
        finally:
            for host in fleet.hosts:
                await run([*ssh_argv(fleet, host.address, option, "-q"), "-Oexit"])


@asynccontextmanager
async def pyinfra_kept(fleet: Fleet, venv: Path) -> AsyncIterator[Ask]:
    script = Path(__file__).with_name("pyinfra_peer.py")
    addresses = [host.address for host in fleet.hosts]
    process = await asyncio.create_subprocess_exec(
        str(venv / "bin/python"), str(script), str(fleet.key), str(fleet.known_hosts), *addresses,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    async def ask(count: int) -> None:
        stdin.write(f"{count}\n".encode())
        assert float(await stdout.readline())

    try:
        await ask(len(addresses))  # connected from here on
        yield ask
    finally:
        stdin.close()
        await process.wait()


def pyinfra_command(fleet: Fleet, venv: Path, folder: Path) -> Ask:
    async def ask(count: int) -> None:
        inventory = folder / f"hosts_{count}.py"
        data = {"ssh_user": "root", "ssh_key": str(fleet.key), "ssh_known_hosts_file": str(fleet.known_hosts)}
        inventory.write_text(f"hosts = ({[host.address for host in fleet.hosts[:count]]!r}, {data!r})\n")
        argv = [str(venv / "bin/pyinfra"), "-y", "--parallel", str(count), str(inventory), "exec", "--", "docker", "ps"]
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()[-2000:]

    return ask


async def _pyinfra(folder: Path) -> Path | None:
    """A virtual environment with pyinfra; None where it can't be installed."""
    if PYINFRA in os.environ:
        return Path(os.environ[PYINFRA])
    venv = folder / "pyinfra"
    for argv in ([sys.executable, "-m", "venv", str(venv)], [str(venv / "bin/pip"), "install", "--quiet", "pyinfra"]):
        process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if await process.wait():
            return None
    return venv
