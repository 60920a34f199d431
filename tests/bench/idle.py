"""(c) `sparkkeep serve` with nothing to do: its processor time and memory."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.bench.figures import Table, against
from tests.hosts import images
from tests.hosts.fleet import Fleet
from tests.hosts.shell import wait_for

SPARKS = 16
SETTLE = 10.0  # seconds
CPU_GOAL, RSS_GOAL = 2.0, 150.0  # percent of a core, MiB
TICKS = os.sysconf("SC_CLK_TCK")
SERVE = Path(sys.executable).with_name("sparkkeep")


def bench(seconds: float) -> list[Table]:
    with (
        tempfile.TemporaryDirectory() as base,
        Fleet.up(SPARKS, Path(base), name="bench", network="10.95") as fleet,
    ):
        images.load_all(fleet)
        with _serving(fleet) as pid:
            time.sleep(SETTLE)
            before, began = _ticks(pid), time.monotonic()
            time.sleep(seconds)
            used = (_ticks(pid) - before) / TICKS / (time.monotonic() - began) * 100
            memory = _status(pid, "VmRSS") / 1024
            peak = _status(pid, "VmHWM") / 1024
    table = Table(f"(c) Idle with {SPARKS} Sparks", ("", "measured", "goal"))
    table.add("processor", f"{used:.2f} % of a core", against(CPU_GOAL, used, f"< {CPU_GOAL:g} %"))
    table.add("resident memory", f"{memory:.0f} MiB", against(RSS_GOAL, memory, f"< {RSS_GOAL:g} MiB"))
    table.add("resident memory, highest", f"{peak:.0f} MiB", "")
    table.notes.append(
        f"`sparkkeep serve` as a user starts it, {SPARKS} real hosts with two containers each, probed every 10 s, "
        f"scanned every 30 s; {seconds:.0f} s after everything was healthy for {SETTLE:.0f} s, from /proc/PID/stat."
    )
    return [table]


@contextmanager
def _serving(fleet: Fleet) -> Iterator[int]:
    """The controller, once everything is as declared."""
    folder = fleet.base / "keeper"
    folder.mkdir()
    desired = folder / "desired.yaml"
    desired.write_text(_desired(fleet))
    port = _free_port()
    options = ["--desired", str(desired), "--data", str(folder / "data"), "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"SSH_KEY_PATH": str(fleet.key), "SSH_KNOWN_HOSTS": str(fleet.known_hosts)}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([SERVE, "serve", *options], env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: _healthy(port), f"all to be healthy; see {folder / 'log'}", seconds=180, every=0.5)
        yield server.pid
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def _desired(fleet: Fleet) -> str:
    sparks = "".join(f"  {host.name}: {{host: {host.address}, user: root, reserve: 0}}\n" for host in fleet.hosts)
    names = ", ".join(host.name for host in fleet.hosts)
    services = "".join(
        f"  {name}: {{on: [{names}], recipe: {{image: keep/echo:1, port: {port}, command: ['--port', '{port}'], "
        "probe: http}}\n"
        for name, port in (("one", 8101), ("two", 8102))
    )
    return f"sparks:\n{sparks}services:\n{services}"


def _healthy(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status", timeout=5) as answer:
        found = json.load(answer)["workloads"].values()
        return bool(found) and all(w["health"] == "Healthy" and w["sync"] == "Synced" for w in found)
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _ticks(pid: int) -> int:
    """Processor time in the kernel and outside, in ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])


def _status(pid: int, name: str) -> int:
    """A line of /proc/PID/status, in KiB."""
    return int(Path(f"/proc/{pid}/status").read_text().partition(f"{name}:")[2].split()[0])
