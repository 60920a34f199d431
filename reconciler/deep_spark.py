"""Deep health of one Spark: how fast it answers, and whether everything is there that the loop would need there.

Each question is a command that changes nothing, sent as any command is: over SSH, by way of the docker program, which
also acts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from reconciler.facts import disk
from reconciler.findings import Finding, Outcome
from reconciler.hosts import Host
from reconciler.lease import Lease
from reconciler.linkdown import LinkDown
from reconciler.sessions import Outcome as Ran
from reconciler.shell import join

PATIENCE: Final = 10.0  # seconds for one answer
LEAST_FREE: Final = 10 * 2**30  # bytes of a disk: no model and hardly an image fits into less
MOST_AHEAD: Final = 5.0  # seconds between two clocks
NOT_FOUND: Final = 127
SSH: Final = ("true",)
ENGINE: Final = ("docker", "version", "--format", "{{.Server.Version}}")
DISK: Final = ("df", "-P", "-k", "/")
CLOCK: Final = ("date", "+%s.%N")
GPU: Final = ("timeout", "5", "nvidia-smi", "--query-gpu=name", "--format=csv,noheader")


class SparkCheck:
    """Asks one Spark. `clock` is the loop's own, for durations; `now` gives Unix seconds."""

    def __init__(
        self,
        name: str,
        host: Host,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
        gpu: bool,
        lease: Lease | None,
    ) -> None:
        self._name = name
        self._host = host
        self._clock = clock
        self._now = now
        self._gpu = gpu  # whether something on it wants a GPU
        self._lease = lease

    async def findings(self) -> list[Finding]:
        """All of them; after the first question that finds no connection, there is only that."""
        found: list[Finding] = []
        for question in (self._ssh, self._engine, self._disk, self._time, self._smi):
            try:
                found.append(await question())
            except LinkDown as down:
                found.append(self._found(question.__name__.strip("_"), "failed", down.message))
                break
        if self._lease is not None and not self._lease.ours:
            found.append(self._found("lease", "warning", self._lease.told()))
        return found

    async def _ask(self, argv: tuple[str, ...]) -> tuple[Ran, float]:
        began = self._clock()
        ran = await self._host.run(join(argv), timeout=PATIENCE)
        return ran, self._clock() - began

    def _found(self, check: str, outcome: Outcome, message: str, took: float | None = None) -> Finding:
        milliseconds = None if took is None else round(1000 * took, 1)
        return Finding(
            kind="spark", name=self._name, spark=self._name, check=check, outcome=outcome, message=message,
            milliseconds=milliseconds,
        )  # fmt: skip

    async def _ssh(self) -> Finding:
        ran, took = await self._ask(SSH)
        good = ran.status == 0
        return self._found("ssh", "ok" if good else "failed", "it runs commands" if good else _said(ran), took)

    async def _engine(self) -> Finding:
        ran, took = await self._ask(ENGINE)
        version = ran.stdout.strip()
        if ran.status == NOT_FOUND:
            return self._found("engine", "failed", "there is no docker program, and nothing can be started without it")
        if ran.status != 0 or not version:
            return self._found("engine", "failed", f"the Docker Engine does not answer: {_said(ran)}", took)
        return self._found("engine", "ok", f"the Docker Engine {version[:40]} answers", took)

    async def _disk(self) -> Finding:
        ran, _ = await self._ask(DISK)
        free, total = disk(ran.stdout) if ran.status == 0 else (None, None)
        if free is None or total is None:
            return self._found("disk", "warning", f"it does not say how full its disk is: {_said(ran)}")
        left = f"{free / 2**30:.0f} GiB of {total / 2**30:.0f} GiB are free"
        if free < LEAST_FREE:
            return self._found("disk", "failed", f"{left}: `sparkkeep weights gc` says what could go")
        return self._found("disk", "ok", left)

    async def _time(self) -> Finding:
        before = self._now()
        ran, _ = await self._ask(CLOCK)
        after = self._now()
        if ran.status != 0 or re.fullmatch(r"\d{1,12}\.\d{1,9}", ran.stdout.strip()) is None:
            return self._found("clock", "warning", f"it does not tell the time: {_said(ran)}")
        ahead = float(ran.stdout) - (before + after) / 2
        way = "ahead of" if ahead > 0 else "behind"
        told = f"its clock is {abs(ahead):.3f} s {way} ours"
        if abs(ahead) > MOST_AHEAD + (after - before) / 2:
            return self._found("clock", "failed", f"{told}: logs and certificates go by it; does it have NTP?")
        return self._found("clock", "ok", told)

    async def _smi(self) -> Finding:
        ran, took = await self._ask(GPU)
        names = [line for line in ran.stdout.splitlines() if line.strip()]
        if ran.status == 0 and names:
            return self._found("gpu", "ok", f"nvidia-smi answers: {', '.join(names[:4])[:200]}", took)
        missing = ran.status == NOT_FOUND
        if not self._gpu:
            return self._found("gpu", "skipped", "no GPU answers, and nothing here wants one")
        told = "there is no nvidia-smi" if missing else f"nvidia-smi does not answer: {_said(ran)}"
        return self._found("gpu", "failed", f"{told}, and something here wants a GPU")


def _said(ran: Ran) -> str:
    words = " ".join((ran.stderr.strip() or ran.stdout.strip()).split())[:300]
    return words or f"exit status {ran.status}"
