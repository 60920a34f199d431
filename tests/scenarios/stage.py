"""What a scenario may do to the world by hand, and what it may see of it.

A scenario knows only this: the same story runs on real hosts (`RealStage`) and on practice Sparks.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Command = tuple[str, ...]

READS = frozenset(
    {"events", "images", "info", "inspect", "logs", "ps", "version"}
)  # docker commands that change nothing
OURS = "sparkkeep."
FLEETING = ("sparkkeep.revision", "sparkkeep.generation", "sparkkeep.spec-hash", "sparkkeep.fence")
ID = re.compile(r"[0-9a-f]{12}(?:[0-9a-f]{52})?")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One container as it truly is, seen past sparkkeep."""

    id: str
    name: str
    image: str
    state: str
    started: str
    restart: str = "no"
    command: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        return self.state == "running"


class Stage(Protocol):
    """A fleet with nobody in charge of it. What is done here is not counted among the controller's commands."""

    sparks: tuple[str, ...]
    key: Path
    known_hosts: Path
    runs_programs: bool  # what images hold is run, and not only played
    registry: str  # the host of a registry that has keep/echo:1 and keep/echo:2, and no keep/none

    def desired(self) -> dict[str, Any]:
        """The `sparks` section that leads to this fleet."""

    async def docker(self, spark: str, *argv: str) -> str:
        """Run docker on the Spark as a person would. Raises if it fails."""

    async def containers(self, spark: str) -> dict[str, Seen]:
        """Every container by name."""

    async def commands(self, spark: str) -> list[Command]:
        """The docker commands that the controller has run there since `clear` and that change something."""

    async def trace(self, spark: str) -> list[Command]:
        """The same, since the beginning."""

    def clear(self) -> None:
        """Count commands from here on."""

    async def fetch(self, spark: str, port: int, path: str) -> str:
        """What a server on the Spark answers."""

    async def has_folder(self, spark: str, path: str) -> bool:
        """Whether it exists on the Spark; `$HOME` is the SSH user's."""

    async def files(self, spark: str, folder: str) -> list[str]:
        """The names of what lies in a folder."""

    async def cut(self, spark: str) -> None:
        """Drop every packet, silently."""

    async def heal(self, spark: str) -> None:
        """Undo `cut`."""

    async def reboot(self, spark: str) -> None:
        """Power off and on."""

    async def restart_daemon(self, spark: str) -> None:
        """Stop and start Docker."""

    async def new_host_key(self, spark: str) -> None:
        """Boot with another SSH host key, as a reinstalled machine does."""

    async def old_host_key(self, spark: str) -> None:
        """Boot with the first one again."""

    async def listen(self, spark: str, port: int) -> None:
        """A process that is no container takes the port."""

    async def unlisten(self, spark: str, port: int) -> None:
        """It ends."""

    async def hold_registry(self) -> None:
        """Pulls begin and don't end."""

    async def release_registry(self) -> None:
        """They go on."""


def changing(commands: Iterable[list[str]]) -> list[list[str]]:
    """Those of the docker commands that do more than look."""
    return [
        argv for argv in commands if len(argv) > 1 and argv[1] not in READS and "sparkkeep.preflight=flags" not in argv
    ]


def normalised(argv: Iterable[str], names: Mapping[str, str]) -> Command:
    """A docker command without what differs from fleet to fleet. `names` has short ids of containers."""
    words = []
    for word in argv:
        label, _, _ = word.partition("=")
        if label in FLEETING:
            words.append(f"{label}=*")
        elif ID.fullmatch(word):
            words.append(f"<{names.get(word[:12], 'unknown')}>")
        else:
            words.append(word)
    return tuple(words)


def verbs(commands: Iterable[Command]) -> list[str]:
    """`stop`, `rm`, `run`, ..."""
    return [command[1] for command in commands]
