"""The seam between the loop and a Spark: all that the loop ever asks of one.

`reconciler.remote` answers it over SSH. The simulation answers it in process, with the same errors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from reconciler.model import ProbeSpec, Scan
from reconciler.ssh import Outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """What an instance said to a probe. `message` is for people."""

    ready: bool
    message: str


class Host(Protocol):
    """One Spark, as the loop sees it. Every call is bounded in time; `LinkDown` and its kin say what went wrong."""

    async def connect(self) -> None:
        """Have a connection. Raises LinkDown."""

    async def scan(self, *, full: bool, before: Scan | None) -> Scan:
        """Look at it. Raises LinkDown or ScanFailed; never returns a partial scan."""

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        """Run a command. Raises NotSent (surely not done), ConnectionBroken or CommandTimeout (nobody knows)."""

    def stream(self, script: str) -> AsyncIterator[str]:
        """The lines of a command that goes on, such as a followed log."""

    async def watch(self, wake: Callable[[str], None]) -> None:
        """Follow the Engine's events, calling `wake` for each; raises when the stream ends."""

    async def ask(self, probe: ProbeSpec) -> Answer:
        """Ask an instance whether it serves. Never raises for a server that doesn't. Raises LinkDown."""

    async def close(self) -> None:
        """Let go of the connection."""
