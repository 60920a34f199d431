"""(a) A container's process is killed, or the container removed: how long until it runs again."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from reconciler.shell import Argv, join
from tests.bench.figures import Table, against, ms, p50, p99, ratio
from tests.bench.outside import Outside
from tests.hosts import images
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.keeper import Keeper, keeping

NAMES = tuple(f"w{n}" for n in range(1, 6))
PAUSE = 2.2  # seconds between two faults: each of five pairs of containers is up for more than 20 s before its next
LONG_ENOUGH = 10.5  # Docker starts a container that was up for less than 10 s with a growing delay


@dataclass
class Times:
    """Seconds from the fault to `docker start` (or `run`) on the host, and to the container running again."""

    issued: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)


@dataclass
class Stage:
    """One real host under a whole controller, watched from outside."""

    host: Host
    keeper: Keeper
    outside: Outside
    conn: asyncssh.SSHClientConnection


async def bench(samples: int) -> list[Table]:
    async with _stage() as stage:
        return [await _killed(stage, samples), await _removed(stage, samples)]


@asynccontextmanager
async def _stage() -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory() as base, Fleet.up(1, Path(base), name="bench", network="10.95") as fleet:
        images.load_all(fleet)
        host = fleet.hosts[0]
        ssh = asyncssh.connect(
            host.address, username="root", client_keys=[str(fleet.key)], known_hosts=str(fleet.known_hosts), config=()
        )
        folder = Path(base, "keeper")
        keeping_it = keeping(
            folder, _desired(host), key=fleet.key, known_hosts=fleet.known_hosts, journal=Path(base, "journal.db")
        )
        async with Outside.of(host) as outside, ssh as conn, keeping_it as keeper:
            await keeper.until(lambda: keeper.settled(*NAMES))
            yield Stage(host, keeper, outside, conn)


def _desired(host: Host) -> str:
    services = "".join(
        f"  {name}: {{on: s1, recipe: {{image: keep/echo:1, port: {8100 + at}, command: ['--port', '{8100 + at}'], "
        "probe: http}}\n"
        for at, name in enumerate(NAMES)
    )
    return f"sparks: {{s1: {{host: {host.address}, user: root, reserve: 0}}}}\nservices:\n{services}"


async def _killed(stage: Stage, samples: int) -> Table:
    """Ours, then Docker's own, and so on; each takes its containers in turn."""
    peers = [f"peer-{name}" for name in NAMES]
    for at, peer in enumerate(peers):
        argv = ["--name", peer, "--network", "host", "--restart", "always", "keep/echo:1", "--port", str(8200 + at)]
        stage.host.docker("run", "--detach", *argv)
    await asyncio.sleep(LONG_ENOUGH)
    ours, docker = Times(), Times()
    for at in range(samples):
        name = NAMES[at % len(NAMES)]
        killed = await stage.outside.kill(f"sparkkeep-{name}")
        ours.whole.append(await stage.outside.when(f"sparkkeep-{name}", "start", killed) - killed)
        ours.issued.append(_came(stage.host, "start", killed) - killed)
        await _calm(stage, name)
        peer = peers[at % len(peers)]
        killed = await stage.outside.kill(peer)
        docker.whole.append(await stage.outside.when(peer, "start", killed) - killed)
        await asyncio.sleep(PAUSE)
    stage.host.docker("rm", "--force", *peers)
    table = _table(
        "(a) Its process is killed (kill -9): running again", ours, "Docker's own `--restart=always`", docker
    )
    _goals(table, ours, docker, whole=1.0)
    table.notes.append(
        f"{samples} kills each, in turns, five containers each, every one up for more than 10 s before it is killed "
        "(Docker then waits its shortest, 100 ms); our backoff is reset between kills (a second end within 10 min "
        "would wait 10 s). Ours: the whole controller over SSH, probes and a journal on disk included. From the kill "
        "to the engine's own `start` event; `issued`: to the arrival of `docker start` on the host."
    )
    return table


async def _removed(stage: Stage, samples: int) -> Table:
    """Ours, then a bare `docker run` of the same arguments over an open connection, and so on."""
    bare = _bare_argv(stage)
    await stage.conn.run(join(bare), check=True)
    await asyncio.sleep(PAUSE)
    ours, plain = Times(), Times()
    for at in range(samples):
        name = NAMES[at % len(NAMES)]
        removed = await stage.outside.remove(f"sparkkeep-{name}")
        ours.whole.append(await stage.outside.when(f"sparkkeep-{name}", "start", removed) - removed)
        ours.issued.append(_came(stage.host, "run", removed) - removed)
        await _calm(stage, name)
        removed = await stage.outside.remove("peer-bare")
        await stage.conn.run(join(bare), check=True)
        plain.whole.append(await stage.outside.when("peer-bare", "start", removed) - removed)
        plain.issued.append(_came(stage.host, "run", removed) - removed)
        await asyncio.sleep(PAUSE)
    stage.host.docker("rm", "--force", "peer-bare")
    table = _table("(a) It is removed by hand (docker rm -f): running again", ours, "bare `docker run` at once", plain)
    _goals(table, ours, plain, whole=1.5)
    table.notes.append(
        f"{samples} removals each, in turns. From the end of the removal to the engine's `start` event. The bare one: "
        "the same arguments by asyncssh on an open connection, sent as soon as the removal is done."
    )
    return table


def _bare_argv(stage: Stage) -> Argv:
    """The command that creates our first workload, for a container that our loop takes for somebody else's."""
    step = stage.keeper.loop.target().creations["s1", f"sparkkeep-{NAMES[0]}"]
    swap = {f"sparkkeep-{NAMES[0]}": "peer-bare", "sparkkeep.owner=sparkkeep": "sparkkeep.owner=bench", "8100": "8300"}
    return tuple(swap.get(str(arg), arg) for arg in step.argv)


def _came(host: Host, verb: str, after: float) -> float:
    """When the first such docker command after a time arrived."""
    return next(at for at, argv in host.timed_commands() if at > after and argv[1] == verb)


async def _calm(stage: Stage, name: str) -> None:
    """Let the loop come to rest with the failure forgotten, as it would be after ten healthy minutes."""
    await asyncio.sleep(PAUSE / 2)
    stage.keeper.loop.reset_backoff(name)
    stage.host.clear_commands()
    await asyncio.sleep(PAUSE / 2)


def _table(title: str, ours: Times, peer: str, theirs: Times) -> Table:
    table = Table(title, ("", "p50", "p99", "goal"))
    table.add("sparkkeep, whole", ms(p50(ours.whole)), ms(p99(ours.whole)), "")
    table.add("sparkkeep, issued", ms(p50(ours.issued)), ms(p99(ours.issued)), "")
    if theirs.issued:
        table.add(f"{peer}, issued", ms(p50(theirs.issued)), ms(p99(theirs.issued)), "")
    table.add(peer, ms(p50(theirs.whole)), ms(p99(theirs.whole)), "")
    return table


def _goals(table: Table, ours: Times, theirs: Times, *, whole: float) -> None:
    halves = [(p50(ours.whole), p50(theirs.whole)), (p99(ours.whole), p99(theirs.whole))]
    goal = against(whole, halves[0][0] / halves[0][1], f"p50 <= {whole}")
    table.add("ratio", ratio(*halves[0]), ratio(*halves[1]), goal)
    issued = f"{against(0.150, p50(ours.issued), 'p50 <= 150 ms')}; {against(0.500, p99(ours.issued), 'p99 <= 500 ms')}"
    at = next(at for at, row in enumerate(table.rows) if row[0] == "sparkkeep, issued")
    table.rows[at] = (*table.rows[at][:3], issued)
