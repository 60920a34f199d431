"""(b) A whole look at every host, connections kept open."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from reconciler import scan as scanning
from reconciler.engine import Engine
from reconciler.hostkeys import HostKeys
from reconciler.place import Placements
from reconciler.remote import RemoteHost
from reconciler.ssh import Link
from reconciler.target import Overrides, build
from state.desired import Desired
from state.load import load_text
from tests.bench.figures import Table, against, ms, p50, p99, ratio
from tests.bench.peers import Peer, peers
from tests.hosts import images
from tests.hosts.fleet import Fleet

SIZES = (2, 16, 64)
GOAL = 0.8
BASE = "asyncssh, kept connections: docker ps"


async def bench(rounds: int) -> list[Table]:
    with (
        tempfile.TemporaryDirectory() as base,
        Fleet.up(max(SIZES), Path(base), name="bench", network="10.95") as fleet,
    ):
        images.load_all(fleet)
        desired = _start_containers(fleet)
        async with _ours(fleet, desired) as hosts, peers(fleet) as others:
            before = [await host.scan(full=True, before=None) for host in hosts]

            async def ours(count: int) -> None:
                looks = zip(hosts[:count], before, strict=False)
                await asyncio.gather(*(host.scan(full=True, before=seen) for host, seen in looks))

            async def quick(count: int) -> None:
                looks = zip(hosts[:count], before, strict=False)
                await asyncio.gather(*(host.scan(full=False, before=seen) for host, seen in looks))

            asked = [Peer("sparkkeep: full scan", ours), Peer("sparkkeep: quick scan", quick), *others]
            return [await _fleets(asked, rounds), await _one(fleet, desired, others[0])]


def _start_containers(fleet: Fleet) -> Desired:
    """Two of ours on each host, by the product's own commands."""
    sparks = "".join(f"  {host.name}: {{host: {host.address}, user: root}}\n" for host in fleet.hosts)
    services = "".join(
        f"  {name}: {{on: [{', '.join(host.name for host in fleet.hosts)}], "
        f"recipe: {{image: keep/echo:1, port: {port}, command: ['--port', '{port}']}}}}\n"
        for name, port in (("one", 8101), ("two", 8102))
    )
    loaded = load_text(f"sparks:\n{sparks}services:\n{services}", "desired.yaml")
    target = build(
        loaded.desired,
        loaded.resolved.values(),
        revision="bench",
        generations={},
        overrides=Overrides(),
        placements=Placements(on={}, waiting={}),
    )
    commands = {spark: [s.argv for (on, _), s in target.creations.items() if on == spark] for spark in target.sparks}
    fleet.each(lambda host: [host.docker(*map(str, argv[1:])) for argv in commands[host.name]])
    return loaded.desired


def _links(fleet: Fleet, desired: Desired) -> list[Link]:
    keys = HostKeys([fleet.known_hosts], own=fleet.base / "own_known_hosts")
    return [Link(h.name, desired.sparks[h.name], keys, key_path=fleet.key, config=()) for h in fleet.hosts]


@asynccontextmanager
async def _ours(fleet: Fleet, desired: Desired) -> AsyncIterator[list[RemoteHost]]:
    hosts = [RemoteHost(link, "/var/run/docker.sock", "sparkkeep") for link in _links(fleet, desired)]
    try:
        for host in hosts:
            await host.connect()
        yield hosts
    finally:
        await asyncio.gather(*(host.close() for host in hosts))


async def _fleets(asked: list[Peer], rounds: int) -> Table:
    table = Table("(b) All hosts at once, warm", ("hosts", "way", "p50", "p99", "full scan / it", "goal"))
    for size in SIZES:
        times: dict[str, list[float]] = {peer.name: [] for peer in asked}
        for peer in asked:  # warm
            await peer.ask(size)
        for turn in range(rounds):
            for peer in asked:
                if turn % peer.every == 0:
                    times[peer.name].append(await _timed(partial(peer.ask, size)))
        ours = p50(times[asked[0].name])
        for peer in asked:
            taken = times[peer.name]
            goal = against(GOAL, ours / p50(taken), f"<= {GOAL}") if peer.name == BASE else ""
            of = "" if peer is asked[0] else ratio(ours, p50(taken))
            table.add(str(size), peer.name, ms(p50(taken)), ms(p99(taken)), of, goal)
    table.notes.append(
        f"{rounds} rounds, each way in turn in every round (forked ssh and the pyinfra command in every fifth). Two containers of "
        "ours on each host. Ours reads more than the others: containers in full, images, memory, listeners, disk, GPU; "
        "the quick scan, which follows an event, leaves out disk and GPU. Interfaces are asked for every five minutes, so "
        "hardly any of these scans asks for them. The ratio is of medians."
    )
    return table


async def _one(fleet: Fleet, desired: Desired, exec_peer: Peer) -> Table:
    """What a scan of one host is made of."""
    link = _links(fleet, desired)[0]
    engine = Engine(link, "/var/run/docker.sock")
    host = RemoteHost(link, "/var/run/docker.sock", "sparkkeep")
    before = await host.scan(full=True, before=None)

    def facts(*, full: bool) -> Awaitable[object]:
        return scanning._sections(link, engine, full=full, settled=False, cli=False, limit=10.0)

    parts: dict[str, Callable[[], Awaitable[object]]] = {
        "list of containers (GET /containers/json)": lambda: engine.get("/containers/json?all=1"),
        "containers in full, and images": lambda: scanning._from_socket(engine, "sparkkeep"),
        "quick facts (one command)": lambda: facts(full=False),
        "all facts (one command)": lambda: facts(full=True),
        "quick scan": lambda: host.scan(full=False, before=before),
        "full scan": lambda: host.scan(full=True, before=before),
        "exec `true`": lambda: link.run("true", timeout=10.0),
        exec_peer.name: lambda: exec_peer.ask(1),
    }
    times: dict[str, list[float]] = {name: [] for name in parts}
    for turn in range(105):
        for name, part in parts.items():
            took = await _timed(part)
            if turn >= 5:
                times[name].append(took)
    await host.close()
    await engine.close()
    table = Table("(b) One host: what a scan is made of", ("part", "p50", "p99"))
    for name, taken in times.items():
        table.add(name, ms(p50(taken)), ms(p99(taken)))
    return table


async def _timed(ask: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await ask()
    return time.perf_counter() - began
