"""`sparkkeep serve` as a user starts it, keeping a real host; its two models are where the upstream will listen."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.bench.proxies.load import JSON_MODEL, STREAM_MODEL, Target
from tests.bench.proxies.programs import Cores, free_port, pinned, running
from tests.bench.proxies.rivals import HERE_ADDRESS, Proxy
from tests.bench.proxies.upstream import JSON_PORT, STREAM_PORT
from tests.hosts.fleet import Fleet
from tests.hosts.shell import HostError, wait_for

SERVE = Path(sys.executable).with_name("sparkkeep")
ELSEWHERE = 1000  # added to a port: there the containers listen, where nobody asks


@contextmanager
def kept(fleet: Fleet, folder: Path, cores: Cores) -> Iterator[Proxy]:
    """Once both models run. Their ports are free until then: a launch looks."""
    own = folder / "sparkkeep"
    own.mkdir()
    desired = own / "desired.yaml"
    desired.write_text(_desired(fleet))
    port = free_port()
    options = ["--desired", str(desired), "--data", str(own / "data"), "--host", HERE_ADDRESS, "--port", str(port)]
    environ = {"SSH_KEY_PATH": str(fleet.key), "SSH_KNOWN_HOSTS": str(fleet.known_hosts)}
    log = own / "log"
    with running(pinned(cores.proxy, [str(SERVE), "serve", *options]), log, environ) as one:
        wait_for(lambda: one.ended() or _healthy(port), f"its models to run; see {log}", seconds=90, every=0.25)
        if one.ended():
            raise HostError(f"sparkkeep ended: {log.read_text(errors='replace')[-600:]}")
        yield Proxy("sparkkeep", Target(HERE_ADDRESS, port, port), one)


def _desired(fleet: Fleet) -> str:
    host = fleet.hosts[0]
    recipe = "engine: container, image: keep/echo:1, memory: 64MiB, probe: none"
    models = "".join(
        f"  {name}:\n    on: {host.name}\n"
        f"    recipe: {{{recipe}, port: {port}, command: ['--port', '{port + ELSEWHERE}']}}\n"
        for name, port in ((JSON_MODEL, JSON_PORT), (STREAM_MODEL, STREAM_PORT))
    )
    return f"sparks:\n  {host.name}: {{host: {host.address}, user: root, reserve: 0}}\nmodels:\n{models}"


def _healthy(port: int) -> bool:
    url = f"http://{HERE_ADDRESS}:{port}/api/status"
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        found = json.load(answer)["workloads"].values()
        return bool(found) and all(w["health"] == "Healthy" and w["sync"] == "Synced" for w in found)
    return False
