"""`sparkkeep serve` as a process of its own, which can be told to end and started again at the same address."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.bench.proxies.programs import free_port
from tests.hosts.shell import wait_for

ROOT = Path(__file__).parents[2]
DRAIN = 5.0  # seconds, its default
PATIENCE = 60.0


class Reachable(Protocol):
    """Sparks, and what it takes to log in there."""

    @property
    def key(self) -> Path: ...

    @property
    def known_hosts(self) -> Path: ...


@dataclass
class Away:
    """From when on it was told to end until it answered again, in seconds of `time.monotonic`."""

    told: float
    back: float = float("inf")


@dataclass
class Serving:
    """One sparkkeep over one data folder. `argv` goes before its command line, to pin it to a core."""

    folder: Path
    key: Path
    known_hosts: Path
    argv: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    away: list[Away] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def file(self) -> Path:
        """The desired state."""
        return self.folder / "desired.yaml"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def complaints(self) -> list[str]:
        """What its log calls an error, and what failed without a word for it."""
        return [line for line in self.log().splitlines() if " ERROR " in line or line.startswith("Traceback")]

    def declare(self, desired: dict[str, Any]) -> None:
        """As an editor saves it: a new file in place of the old one."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(desired))
        fresh.replace(self.file)

    def start(self) -> None:
        """Returns once it answers."""
        options = ["--desired", str(self.file), "--data", str(self.folder / "data"), "--port", str(self.port)]
        ours = {"HOME": str(self.folder), "SSH_KEY_PATH": str(self.key), "SSH_KNOWN_HOSTS": str(self.known_hosts)}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self.argv, sys.executable, "-m", "api.cli", "serve", "--host", "127.0.0.1", *options],
                cwd=ROOT,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", **ours},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(lambda: self._ended() or self.answers(), "sparkkeep to answer", seconds=PATIENCE, every=0.05)
        assert not self._ended(), self.log()

    def stop(self) -> None:
        """As a service manager does. Returns once it has ended."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(DRAIN + PATIENCE)
            self._process = None

    async def restart(self) -> None:
        """Told to end, and started again as soon as it has."""
        away = Away(told=time.monotonic())
        self.away.append(away)
        await asyncio.to_thread(self.stop)
        await asyncio.to_thread(self.start)
        away.back = time.monotonic()

    def answers(self) -> bool:
        with suppress(OSError):
            self.ask("/v1/models")
            return True
        return False

    def ask(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:  # noqa: S310  # its own address
            found: dict[str, Any] = json.load(answer)
            return found

    def workloads(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("/api/status")["workloads"]
        return found

    def until_healthy(self, *names: str, seconds: float = PATIENCE) -> None:
        """Those are as declared and answer (all, if none is named)."""

        def healthy() -> bool:
            found = self.workloads()
            wanted = names or tuple(found)
            return all(n in found and (found[n]["sync"], found[n]["health"]) == ("Synced", "Healthy") for n in wanted)

        wait_for(healthy, f"{', '.join(names) or 'all'} to be healthy", seconds=seconds, every=0.2)

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None


@asynccontextmanager
async def kept(
    ground: Reachable, folder: Path, desired: dict[str, Any], argv: tuple[str, ...] = ()
) -> AsyncIterator[Serving]:
    """Until the end of the block. It is waited for in threads, since practice Sparks are served by this event loop."""
    folder.mkdir(parents=True, exist_ok=True)
    one = Serving(folder, ground.key, ground.known_hosts, argv)
    one.declare(desired)
    try:
        await asyncio.to_thread(one.start)
        yield one
    finally:
        await asyncio.to_thread(one.stop)
