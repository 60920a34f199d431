"""What is broken at the moment, as plain values: `faults` sets them, the machine's parts look at them.

Each part that a switch bites says so with `count`, so that a test can tell a fault that never happened from
one that was survived.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

STALL_STEP: Final = 0.2


@dataclass(slots=True)
class ExitAfter:
    """A container (by name or image) that exits by itself."""

    target: str
    seconds: float
    code: int
    times: int  # how often still; below 0: always


@dataclass(slots=True)
class Switches:
    """All faults that stay on until they are switched off; the defaults are a healthy Spark."""

    slow_stop: float | None = None  # seconds every program takes to obey SIGTERM
    missing_images: set[str] = field(default_factory=set)
    missing_programs: set[str] = field(default_factory=set)  # not in any image's $PATH
    pull_error: str = ""  # network | unauthorized
    pull_stalled: bool = False
    exits: list[ExitAfter] = field(default_factory=list)
    daemon_down: bool = False
    disk_full: bool = False
    memory_release: float | None = None  # seconds after an end until its memory is back
    auth_refused: bool = False
    sudo: bool = False  # the SSH user may drop the page cache without a password
    registry_users: dict[str, tuple[str, str]] = field(default_factory=dict)  # registry -> the only login it takes
    forwarding: bool = True
    max_sessions: int = 10
    command_delay: float = 0.0
    lose_replies: int = 0
    cut_output: int | None = None  # bytes of output after which the connection breaks
    unhealthy: set[str] = field(default_factory=set)  # containers whose /health says 503
    deaf: set[str] = field(default_factory=set)  # containers whose server accepts and never answers
    hung: set[str] = field(default_factory=set)  # containers whose /health says 200 while every real request hangs
    loading: set[str] = field(default_factory=set)  # containers whose server listens, and says 503 until it has loaded
    counts: Counter[str] = field(default_factory=Counter)

    async def stall(self) -> None:
        """As long as pulls are stalled."""
        while self.pull_stalled:  # noqa: ASYNC110 - the switch is a plain value
            await asyncio.sleep(STALL_STEP)

    def count(self, fault: str) -> None:
        """Note that `fault` made a difference just now."""
        self.counts[fault] += 1

    def exit_for(self, name: str, image: str) -> ExitAfter | None:
        """The exit that a starting container of this name and image is due, using it up."""
        for planned in self.exits:
            if planned.target in {name, image} and planned.times != 0:
                planned.times -= 1
                self.count("exit_after")
                return planned
        return None
