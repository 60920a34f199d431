"""The proxy as busy as it can be while containers die, and a hundred workloads changed at once while streams flow.

sparkkeep is a process of its own on a core of its own; the practice Sparks that it keeps live in this one.
"""

from __future__ import annotations

import asyncio
import copy
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.practice.fleet import PracticeFleet
from reconciler.practice.spark import Settings
from tests.bench.figures import Table, against, ms, p50, p99
from tests.bench.proxies.load import JSON_MODEL, STREAM_MODEL, Load, Requests, Streams, Target
from tests.bench.proxies.measured import smooth
from tests.bench.proxies.programs import (
    TICKS,
    Cores,
    allow_many_files,
    compiled,
    free_port,
    installed,
    listens,
    pinned,
    running,
)
from tests.bench.proxies.upstream import NGINX, answer
from tests.datapath.serving import Serving, kept

SPARKS = 4
WORKLOADS = 100  # half of them are killed while the proxy idles, half while it does not
CLIENTS = 256  # that ask without rest
STREAMS = 100  # at 50 chunks a second each
PAUSE = 0.2  # seconds between two kills
ROUND = 5.0  # seconds of load at a time
CALM = 10.0  # seconds of streams while nothing changes
PATIENCE = 30.0  # seconds
REPAIR, GAP = 1.0, 0.25  # the goals, in seconds
IMAGE = "keep/echo:1"
NEEDED = ("wrk", "nginx", "gcc", "taskset")


def missing() -> str | None:
    """Why it can't be measured here."""
    lacking = [name for name in NEEDED if installed(name) is None]
    return f"not installed: {', '.join(lacking)} (apt-get install wrk nginx-light)" if lacking else None


def bench(samples: int, workloads: int = WORKLOADS, seconds: float = PATIENCE) -> list[Table]:
    """`samples` kills of each kind, of at most half the workloads; then `seconds` of changes."""
    allow_many_files()
    cores = Cores.of_this_machine()
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {int(core) for core in cores.others.split(",")})
        return asyncio.run(_measured(cores, min(samples, workloads // 2), workloads, seconds))
    finally:
        os.sched_setaffinity(0, before)


async def _measured(cores: Cores, samples: int, workloads: int, seconds: float) -> list[Table]:
    async with _stage(cores, workloads) as stage:
        repairs = await _repairs(stage, samples)
        return [repairs, await _gaps(stage, seconds)]


@dataclass
class Stage:
    """Everything that takes part."""

    fleet: PracticeFleet
    sparkkeep: Serving
    load: Load
    beside: Load  # for two at a time: each has files of its own
    through: Target
    direct: Target
    desired: dict[str, Any]

    def spark_of(self, workload: str) -> str:
        return str(self.desired["services"][workload]["on"])

    def worked(self) -> float:
        """Seconds of its processor that sparkkeep took so far."""
        fields = Path(f"/proc/{self.sparkkeep.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@asynccontextmanager
async def _stage(cores: Cores, workloads: int) -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        settings = Settings(pull_seconds=0.02, load_seconds=0.05)
        async with PracticeFleet(SPARKS, folder / "sparks", first_port=0, settings=settings, images=[IMAGE]) as fleet:
            direct = stack.enter_context(_upstream(fleet["spark-1"].host, folder, cores))
            desired = _desired(fleet, direct, workloads)
            ground = _Keys(fleet.key_path, fleet.known_hosts_path)
            async with kept(ground, folder / "keep", desired, tuple(pinned(cores.proxy, []))) as one:
                await asyncio.to_thread(one.until_healthy, seconds=4 * PATIENCE)
                through = Target("127.0.0.1", one.port, one.port)
                (folder / "beside").mkdir()
                loads = Load(folder, cores), Load(folder / "beside", cores)
                yield Stage(fleet, one, *loads, through, direct, desired)


@dataclass(frozen=True)
class _Keys:
    key: Path
    known_hosts: Path


@contextmanager
def _upstream(address: str, folder: Path, cores: Cores) -> Iterator[Target]:
    """What answers in place of the two models of the proxies' bench, at the address of a practice Spark."""
    nginx, stub = installed("nginx"), compiled("stub", folder)
    assert nginx is not None
    target = Target(address, free_port(), free_port())
    config = folder / "upstream.conf"
    config.write_text(NGINX.format(folder=folder, port=f"{address}:{target.json_port}", answer=answer()))
    argvs = {
        target.json_port: [nginx, "-p", str(folder), "-c", str(config)],
        target.stream_port: [str(stub), str(target.stream_port)],
    }
    with ExitStack() as stack:
        for port, argv in argvs.items():
            log = folder / f"upstream-{port}.log"
            one = stack.enter_context(running(pinned(cores.others, argv), log))
            listens(one, [(address, port)], log)
        yield target


def _desired(fleet: PracticeFleet, there: Target, workloads: int) -> dict[str, Any]:
    """The models' own containers listen elsewhere, where nobody asks."""
    ports = {JSON_MODEL: there.json_port, STREAM_MODEL: there.stream_port}
    models = {
        name: {"on": "spark-1", "recipe": _recipe(port, free_port(), engine="container", probe="none")}
        for name, port in ports.items()
    }
    services = {
        f"w-{number}": {"on": f"spark-{number % SPARKS + 1}", "recipe": _recipe(20000 + number, 20000 + number)}
        for number in range(workloads)
    }
    sparks = {name: {**there, "reserve": 0} for name, there in fleet.desired_sparks().items()}
    guards = {"maxDestructive": 2 * workloads}
    return {"apiVersion": "sparkkeep/v1", "sparks": sparks, "models": models, "services": services, "guards": guards}


def _recipe(port: int, listens_on: int, **more: str) -> dict[str, Any]:
    return {
        "image": IMAGE,
        "port": port,
        "memory": "64MiB",
        "command": ["--port", str(listens_on)],
        "probe": "http",
        **more,
    }


async def _repairs(stage: Stage, samples: int) -> Table:
    """Kills while the proxy idles, then while it is asked without rest."""
    names = list(stage.desired["services"])
    idle = [await _repaired(stage, name) for name in names[:samples]]
    resting = asyncio.Event()
    asking = asyncio.create_task(_asking(stage, resting))
    await asyncio.sleep(ROUND / 2)
    worked, began = stage.worked(), time.monotonic()
    busy = [await _repaired(stage, name) for name in names[samples : 2 * samples]]
    share = (stage.worked() - worked) / (time.monotonic() - began)
    resting.set()
    asked = await asking
    table = Table(
        "Saturated: a container's process is killed, until the command that starts it comes", ("", "p50", "p99", "goal")
    )
    table.add("the proxy idle", ms(p50(idle)), ms(p99(idle)), "")
    table.add("the proxy saturated", ms(p50(busy)), ms(p99(busy)), against(REPAIR, p99(busy), "p99 <= 1 s"))
    table.notes.append(
        f"{samples} kills each, on {SPARKS} practice Sparks over SSH, one after the other, each of another workload of "
        f"{len(names)}. Saturated: {CLIENTS} clients that ask without rest (wrk, an nginx behind it), "
        f"{p50([each.per_second for each in asked]):,.0f} requests a second, {share:.0%} of sparkkeep's core, "
        f"{sum(each.failed for each in asked)} requests failed."
    )
    return table


async def _asking(stage: Stage, resting: asyncio.Event) -> list[Requests]:
    found = []
    while not resting.is_set():
        found.append(await asyncio.to_thread(stage.load.requests, stage.through, CLIENTS, ROUND))
    return found


async def _repaired(stage: Stage, workload: str) -> float:
    """Seconds from its end to the command on its Spark."""
    spark = stage.fleet[stage.spark_of(workload)]
    known = len(spark.commands)
    killed = time.time()
    await spark.faults.kill(f"sparkkeep-{workload}")
    async with asyncio.timeout(PATIENCE):
        while True:
            came = [each.at for each in spark.commands[known:] if each.argv[1] in {"start", "run"}]
            if came:
                break
            await asyncio.sleep(0.005)
    await asyncio.sleep(PAUSE)
    return came[0] - killed


async def _gaps(stage: Stage, seconds: float) -> Table:
    """Streams while nothing changes, then while everything does: through the proxy, and beside it."""
    calm = await asyncio.to_thread(stage.load.paced, stage.through, STREAMS, CALM)
    streams = [
        asyncio.to_thread(stage.load.paced, stage.through, STREAMS, seconds),
        asyncio.to_thread(stage.beside.paced, stage.direct, STREAMS, seconds),
    ]
    (changed, bare), took = await asyncio.gather(asyncio.gather(*streams), _change_all(stage, seconds))
    table = Table("Saturated: the longest silence of 100 paced streams", ("", "p50", "p99", "longest", "goal"))
    rows = {"nothing changes": calm, "all workloads change": changed, "all change, but directly": bare}
    for name, seen in rows.items():
        goal = against(GAP, seen.gap_max, "<= 250 ms") if seen is changed else ""
        table.add(name, ms(seen.gap_p50), ms(seen.gap_p99), ms(seen.gap_max), goal)
    count = len(stage.desired["services"])
    table.notes.append(
        f"{STREAMS} streams at 50 chunks a second each, {CALM:.0f} s and {seconds:.0f} s long"
        f"{'' if all(map(_whole, rows.values())) else ', NOT ALL OF THEM WHOLE'}. One edit gives {count} workloads another "
        f"environment; all of them run anew {took} later. Directly: the same streams beside the proxy at the same time, "
        "which is what this machine can do."
    )
    return table


def _whole(seen: Streams) -> bool:
    return not seen.broken and seen.events > 0 and (seen.gap_max > GAP or smooth(seen, STREAMS))


async def _change_all(stage: Stage, seconds: float) -> str:
    """Another environment for each workload. How long it took until all of them had it."""
    await asyncio.sleep(2.0)
    changed = copy.deepcopy(stage.desired)
    for service in changed["services"].values():
        service["env"] = {"ROUND": "2"}
    began = time.monotonic()
    stage.sparkkeep.declare(changed)
    while time.monotonic() - began < seconds:
        if sum(map(_anew, stage.fleet.sparks.values())) == len(changed["services"]):
            return f"{time.monotonic() - began:.1f} s"
        await asyncio.sleep(0.05)
    return f"not even {seconds:.0f} s"


def _anew(spark: Any) -> int:
    return sum(c.state == "running" and "ROUND=2" in c.spec.env for c in spark.engine.containers.values())
