"""The seam between the loop and a Spark: all that the loop ever asks of one.

`reconciler.remote` answers it over SSH. The simulation answers it in process, with the same errors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from reconciler.canaries.exchange import Reply, Request
from reconciler.model import ProbeSpec, Scan
from reconciler.ssh import Outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """What an instance said to a probe. `message` is for people.

    `busy`: it did not say no, it only did not answer (in time). `retry_after`: seconds that it asks for. `work`: its
    own count of what it has done, where that was the question.
    """

    ready: bool
    message: str
    busy: bool = False
    retry_after: float = 0.0
    work: float | None = None


class Host(Protocol):
    """One Spark, as the loop sees it. Every call is bounded in time; `LinkDown` and its kin say what went wrong."""

    async def connect(self) -> None:
        """Have a connection. Raises LinkDown."""

    async def scan(self, *, full: bool, before: Scan | None) -> Scan:
        """Look at it. Raises LinkDown or ScanFailed; never returns a partial scan."""

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        """Run a command. Raises NotSent (surely not done), ConnectionBroken or CommandTimeout (nobody knows)."""

    async def look(self, script: str, *, timeout: float) -> str:
        """What a small script prints, all of it, in the shell kept for scans; it may be run twice. Raises LinkDown."""

    def stream(self, script: str) -> AsyncIterator[str]:
        """The lines of a command that goes on, such as a followed log."""

    async def watch(self, wake: Callable[[str], None]) -> None:
        """Follow the Engine's events, calling `wake` for each; raises when the stream ends."""

    async def ask(self, probe: ProbeSpec) -> Answer:
        """Ask an instance whether it serves. Never raises for a server that doesn't. Raises LinkDown."""

    async def exchange(self, request: Request, port: int, *, timeout: float) -> Reply:
        """A request to a port of the Spark itself. Raises NoReply, LinkDown."""

    async def close(self) -> None:
        """Let go of the connection."""
