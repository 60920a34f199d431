"""A container: what it was created with, and how it stands. Plain records; `engine` changes them."""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from reconciler.practice.errors import DaemonError

if TYPE_CHECKING:
    from reconciler.practice.programs import Process

PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHM_DEFAULT: Final = 64 * 1024 * 1024
STOP_TIMEOUT: Final = 10
FIRST_DELAY: Final = 0.1
LAST_DELAY: Final = 60.0
RAN_WELL: Final = 10.0
LOG_LINES: Final = 5000
NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Policy:
    """When Docker starts a container again by itself."""

    name: str = "no"
    most: int = 0

    def check(self) -> None:
        """Raises DaemonError as the daemon does for a policy that can't be."""
        if self.name not in {"no", "", "always", "unless-stopped", "on-failure"}:
            raise DaemonError(400, f"invalid restart policy '{self.name}'")
        if self.most and self.name != "on-failure":
            raise DaemonError(400, f"maximum retry count cannot be used with restart policy '{self.name}'")
        if self.most < 0:
            raise DaemonError(400, "maximum retry count cannot be negative")

    def wants_restart(self, *, code: int, restarts: int, stopped_by_hand: bool) -> bool:
        """Docker's own rule, for an exit and for a boot alike."""
        if self.name == "always":
            return True
        if self.name == "unless-stopped":
            return not stopped_by_hand
        return self.name == "on-failure" and code != 0 and (self.most == 0 or restarts < self.most)


def parse_policy(text: str) -> Policy:
    """`on-failure:3`. Raises ValueError with the CLI's words for what it checks itself."""
    name, colon, most = text.partition(":")
    if colon and not name:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    if not colon:
        return Policy(name)
    if not re.fullmatch(r"[+-]?\d+", most):
        raise ValueError("invalid restart policy format: maximum retry count must be an integer")
    return Policy(name, int(most))


@dataclass(frozen=True, slots=True)
class Publish:
    """A port of the container that the Spark answers on. `host` 0 lets Docker choose."""

    host: int
    inner: int
    protocol: str = "tcp"
    address: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or volume in the container; `bind` by `-v` (which makes the folder) or by `--mount` (which doesn't)."""

    kind: str
    source: str
    target: str
    read_only: bool = False
    by_volume_flag: bool = False
    mode: str = ""


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image brings along. By default a server that needs no arguments."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ("serve",)
    env: tuple[str, ...] = (PATH,)
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, kw_only=True)
class Spec:
    """What `docker run` or `create` asked for."""

    image: str
    name: str = ""
    command: list[str] = field(default_factory=list)
    entrypoint: list[str] | None = None  # None: the image's; empty: none at all
    env: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    policy: Policy = Policy()
    network: str = "default"
    ipc: str = "private"
    shm: int = SHM_DEFAULT
    gpus: list[dict[str, object]] = field(default_factory=list)
    mounts: list[Mount] = field(default_factory=list)
    publish: list[Publish] = field(default_factory=list)
    user: str = ""
    workdir: str = ""
    ulimits: dict[str, tuple[int, int]] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)
    cap_add: list[str] = field(default_factory=list)
    init: bool | None = None
    stop_timeout: int | None = None
    memory: int = 0
    auto_remove: bool = False
    hostname: str = ""
    detach: bool = False
    pull: str = "missing"
    other: dict[str, list[str]] = field(default_factory=dict)  # flags that Docker knows and we don't act on

    @property
    def argv(self) -> list[str]:
        """What runs."""
        return [*(self.entrypoint or []), *self.command]

    def upon(self, image: ImageConfig) -> Spec:
        """The same with what the image brings; a command of its own counts only under its own entrypoint."""
        own = self.entrypoint is None
        names = {entry.partition("=")[0] for entry in self.env}
        return replace(
            self,
            entrypoint=(list(image.entrypoint) or None) if own else (self.entrypoint or None),
            command=self.command or (list(image.command) if own else []),
            env=[*self.env, *(entry for entry in image.env if entry.partition("=")[0] not in names)],
            labels={**dict(image.labels), **self.labels},
        )

    @property
    def environment(self) -> dict[str, str]:
        """Its variables, by name."""
        return {name: value for name, _, value in (entry.partition("=") for entry in self.env)}


@dataclass(slots=True, kw_only=True)
class Container:
    """One container of the engine."""

    id: str
    name: str
    spec: Spec
    image_id: str
    created: int
    state: str = "created"  # created | running | paused | restarting | exited | dead
    pid: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    started: int = 0
    finished: int = 0
    restarts: int = 0
    restart_delay: float = 0.0
    stopped_by_hand: bool = False
    ports: list[Publish] = field(default_factory=list)  # published while it runs
    logs: deque[tuple[int, str, str]] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    logged: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    process: Process | None = None
    minder: asyncio.Task[None] | None = None

    @property
    def active(self) -> bool:
        """Docker's `Running`, which it also says while it waits to restart."""
        return self.state in {"running", "paused", "restarting"}

    @property
    def memory(self) -> int:
        """What it will hold: our label's estimate, or what PRACTICE_MEMORY says."""
        text = self.spec.environment.get("PRACTICE_MEMORY") or self.spec.labels.get("sparkkeep.memory") or "0"
        return int(text) if text.isdigit() else 0

    @property
    def peak(self) -> int:
        """What PRACTICE_PEAK says that it takes at its most, half-way through its start; 0 if it takes no more then."""
        text = self.spec.environment.get("PRACTICE_PEAK", "0")
        return int(text) if text.isdigit() else 0

    @property
    def serving_ports(self) -> list[int]:
        """The Spark's ports it listens on when it serves; none if nothing says that it does."""
        if self.spec.network != "host":
            return [port.host for port in self.ports if port.protocol == "tcp"]
        port = _declared_port(self.spec)
        return [port] if port else []

    def next_delay(self, ran: float) -> float:
        """Docker's pause before a restart: 100 ms, doubling to a minute, from the start again after a good run."""
        if ran >= RAN_WELL or self.restart_delay == 0:
            self.restart_delay = FIRST_DELAY
        else:
            self.restart_delay = min(LAST_DELAY, self.restart_delay * 2)
        return self.restart_delay


def _declared_port(spec: Spec) -> int:
    """The port a server on the Spark's own network is told: on its command line, else in our label, else in PORT."""
    arguments = spec.argv
    for at, argument in enumerate(arguments):
        if argument == "--port" and at + 1 < len(arguments) and arguments[at + 1].isdigit():
            return int(arguments[at + 1])
        if argument.startswith("--port=") and argument[7:].isdigit():
            return int(argument[7:])
    try:
        declared = json.loads(spec.labels.get("sparkkeep.spec", "{}")).get("port")
    except (ValueError, AttributeError):
        declared = None
    if isinstance(declared, int):
        return declared
    text = spec.environment.get("PORT", "")
    if text.isdigit():
        return int(text)
    return 8000 if PurePosixPath(arguments[0]).name == "keep-server" else 0
