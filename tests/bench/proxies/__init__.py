"""sparkkeep's data path beside other proxies: one run, one machine, the same upstream, each held to one core."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.figures import Table
from tests.bench.proxies.keeper import kept
from tests.bench.proxies.load import Load, Target
from tests.bench.proxies.measured import check, measure
from tests.bench.proxies.programs import PEERS, Cores, allow_many_files, installed, patiently
from tests.bench.proxies.rivals import RIVALS, Proxy, Rival, started, version
from tests.bench.proxies.tables import tables
from tests.bench.proxies.upstream import JSON_PORT, STREAM_PORT, Upstream, upstream
from tests.hosts import images
from tests.hosts.fleet import Fleet
from tests.hosts.shell import HostError

NEEDED = ("wrk", "nginx", "gcc", "taskset")


@dataclass
class Field:
    """Who takes part, and why others don't."""

    proxies: list[Proxy] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)


def missing() -> str | None:
    """Why it can't be measured here."""
    lacking = [name for name in NEEDED if installed(name) is None]
    return f"not installed: {', '.join(lacking)} (apt-get install wrk nginx-light)" if lacking else None


def bench(rounds: int, seconds: float) -> list[Table]:
    if reason := missing():
        raise HostError(reason)
    allow_many_files()
    cores = Cores.of_this_machine()
    with _field(cores) as (found, load):
        seen = measure(found.proxies, load, rounds=rounds, seconds=seconds)
    return tables(seen, found.versions, found.absent, rounds=rounds, seconds=seconds)


@contextmanager
def _field(cores: Cores) -> Iterator[tuple[Field, Load]]:
    """Everything that is measured, up and answering."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fleet = stack.enter_context(Fleet.up(1, folder / "hosts", name="proxies", network="10.96"))
        images.load_all(fleet)
        host = fleet.hosts[0]
        ours = stack.enter_context(kept(fleet, folder, cores))
        behind = stack.enter_context(upstream(host, f"{fleet.name}-{host.number}", folder, cores))
        found = Field([Proxy("direct", Target(host.address, JSON_PORT, STREAM_PORT))])
        _join(found, ours, "")
        for rival in RIVALS:
            _enter(found, rival, stack, folder, behind, cores)
        yield found, Load(folder, cores)


def _enter(found: Field, rival: Rival, stack: ExitStack, folder: Path, behind: Upstream, cores: Cores) -> None:
    if rival.missing():
        found.absent.append(f"{rival.name} is not here ({PEERS})")
        return
    try:
        proxy = stack.enter_context(started(rival, folder, behind, cores))
    except HostError as error:
        found.absent.append(f"{rival.name} did not start: {error}")
        return
    _join(found, proxy, version(rival))


def _join(found: Field, proxy: Proxy, version: str) -> None:
    """It takes part if it answers as it should; some listen before they know their routes."""
    try:
        patiently(lambda: check(proxy))
    except HostError as error:
        found.absent.append(str(error))
        return
    found.proxies.append(proxy)
    if version:
        found.versions.append(f"{proxy.name} {version}")
