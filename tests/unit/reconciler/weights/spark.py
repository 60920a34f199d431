"""A Spark of this machine: real `sh` (and curl, sha256sum, flock) in a HOME of its own, behind the loop's seam."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from reconciler.hosts import Answer
from reconciler.model import ProbeSpec, Scan
from reconciler.sessions import Outcome
from reconciler.shell import guarded
from reconciler.weights.cache import folder_of

HUB_FOLDER = ".cache/huggingface/hub"


class LocalSpark:
    """Runs scripts as a Spark does: as the standard input of `sh`. A stream that is closed is not killed, as for root."""

    def __init__(self, home: Path, *, program: str = "sh", path: str = os.environ["PATH"], limits: str = "") -> None:
        self.home = home
        self.scripts: list[str] = []
        self.seen: list[str] = []
        self._argv = [program]
        self._limits = limits
        home.mkdir(parents=True, exist_ok=True)
        self._env = {"PATH": path, "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8"}
        self.children: list[asyncio.subprocess.Process] = []

    @property
    def hub(self) -> Path:
        return self.home / HUB_FOLDER

    def folder(self, repository: str) -> Path:
        return self.hub / folder_of(repository)

    async def _start(self, script: str, *, merged: bool) -> asyncio.subprocess.Process:
        self.scripts.append(script)
        child = await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT if merged else asyncio.subprocess.PIPE,
            env=self._env,
            cwd=self.home,
        )
        self.children.append(child)
        assert child.stdin is not None
        child.stdin.write(guarded(f"{self._limits}\n{script}").encode())
        child.stdin.close()
        return child

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        child = await self._start(script, merged=False)
        out, err = await asyncio.wait_for(child.communicate(), timeout)
        return Outcome(child.returncode, out.decode(errors="replace"), err.decode(errors="replace"))

    async def stream(self, script: str) -> AsyncIterator[str]:
        child = await self._start(script, merged=True)
        assert child.stdout is not None
        try:
            while line := await child.stdout.readline():
                self.seen.append(line.decode(errors="replace").rstrip("\r\n"))
                yield self.seen[-1]
        finally:
            child._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]  # as a closed channel

    async def ended(self) -> None:
        """Wait until all that was started here has ended, by itself."""
        for child in self.children:
            await asyncio.wait_for(child.wait(), 20)
            await asyncio.sleep(0)  # its pipes are closed a step later

    async def connect(self) -> None: ...

    async def scan(self, *, full: bool, before: Scan | None) -> Scan:
        raise NotImplementedError

    async def watch(self, wake: Callable[[str], None]) -> None:
        raise NotImplementedError

    async def ask(self, probe: ProbeSpec) -> Answer:
        raise NotImplementedError

    async def close(self) -> None: ...


needs_tools = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("curl", "flock", "sha256sum", "sha1sum", "stat", "truncate")),
    reason="needs the tools of a Spark",
)
