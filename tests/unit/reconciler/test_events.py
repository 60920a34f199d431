"""What of the Engine's event stream wakes the loop."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine import Engine, EngineDown
from reconciler.events import ACTIONS, watch
from reconciler.linkdown import ChannelRefused, ConnectionBroken
from reconciler.ssh import Link
from tests.unit.reconciler.test_engine import StandIn
from tests.unit.reconciler.test_ssh import SSHD, link_to, serving

pytestmark = pytest.mark.skipif(not SSHD.exists(), reason="OpenSSH's server is not installed")

# Docker 20.10 and 28 as recorded; 28 no longer repeats itself in `status`, `id` and `from`.
START_20 = {
    "status": "start", "id": "87", "from": "keep/echo:1", "Type": "container", "Action": "start", "scope": "local",
    "Actor": {"ID": "87", "Attributes": {"image": "keep/echo:1", "name": "ours"}}, "time": 1795388466, "timeNano": 1795388466861728000,
}  # fmt: skip
START_28 = {key: value for key, value in START_20.items() if key not in {"status", "id", "from"}}


class Woken:
    def __init__(self) -> None:
        self.actions: list[str] = []
        self._more = asyncio.Event()

    def __call__(self, action: str) -> None:
        self.actions.append(action)
        self._more.set()

    async def reach(self, count: int) -> list[str]:
        async with asyncio.timeout(5):
            while len(self.actions) < count:
                self._more.clear()
                await self._more.wait()
        return self.actions


def watching(link: Link, engine: Engine, woken: Woken, **more: Any) -> asyncio.Task[None]:
    return asyncio.create_task(watch(link, engine, **({"since": None, "wake": woken} | more)))


async def test_events_that_a_scan_would_see_wake_the_loop(tmp_path: Path) -> None:
    with serving(tmp_path / "sshd") as server:
        async with StandIn(tmp_path / "docker.sock", lambda _: (200, {})) as stand_in, link_to(server) as link:
            engine, woken = Engine(link, str(stand_in.path)), Woken()
            task = watching(link, engine, woken)
            for event in (
                START_20, START_28, {"Action": "exec_create: sh -c true"}, {"Action": "exec_start: x"}, {"Action": "exec_die"},
                {"Action": "attach"}, {"Action": "resize"}, {"Action": "top"}, {"Action": "pull", "Type": "image"},
                {"Action": "destroy", "Type": "volume"}, {}, {"Action": None}, {"Action": "health_status: healthy", "Type": "container"},
                *({"Action": action} for action in sorted(ACTIONS)),
            ):  # fmt: skip
                await stand_in.events.put(event)
            assert await woken.reach(3 + len(ACTIONS)) == ["start", "start", "health_status", *sorted(ACTIONS)]
            await stand_in.events.put(None)
            with pytest.raises(EngineDown):
                await task


async def test_a_socket_that_can_not_be_had(tmp_path: Path) -> None:
    with serving(tmp_path / "sshd") as server:
        async with link_to(server) as link:
            with pytest.raises(ChannelRefused):
                await watching(link, Engine(link, str(tmp_path / "none")), Woken())


async def test_a_link_that_breaks(tmp_path: Path) -> None:
    with serving(tmp_path / "sshd") as server:
        async with StandIn(tmp_path / "docker.sock", lambda _: (200, {})) as stand_in, link_to(server) as link:
            woken = Woken()
            task = watching(link, Engine(link, str(stand_in.path)), woken)
            await stand_in.events.put(START_28)
            await woken.reach(1)
            server.stop()
            with pytest.raises(ConnectionBroken):
                await task


@pytest.mark.parametrize("last", [None, "Cannot connect to the Docker daemon", "[]"])
async def test_by_the_docker_command_where_forwarding_is_refused(tmp_path: Path, last: str | None) -> None:
    folder = tmp_path / "sshd"
    docker = folder / "bin/docker"
    docker.parent.mkdir(parents=True)
    lines = [
        json.dumps(START_20),
        json.dumps({"Action": "exec_die"}),
        json.dumps({"Action": "die", "Type": "container"}),
    ]
    lines += [last] if last else []
    (folder / "lines").write_text("\n".join(lines) + "\n")
    docker.write_text(f'#!/bin/sh\necho "$*" > {folder}/argv\ncat {folder}/lines\n')
    docker.chmod(0o755)
    with serving(folder, f"SetEnv PATH={docker.parent}:/usr/bin:/bin") as server:
        async with link_to(server) as link:
            await link.connect()
            engine, woken = Engine(link, "/var/run/docker.sock"), Woken()
            engine.use_cli()
            with pytest.raises(EngineDown, match="Cannot connect" if last and "Cannot" in last else "ended"):
                await watching(link, engine, woken, since=1700000000.25)
            assert woken.actions == ["start", "die"]
            argv = (folder / "argv").read_text()
            assert argv == "events --format {{json .}} --filter type=container --since 1700000000.250000000\n"
