"""The values that travel through the reconciler: what was seen, what shall be done, and why.

Plain frozen data, no I/O, no clock. Times named `*_at` are Unix seconds; times named `began`/`ended` are
seconds of the loop's own monotonic clock, comparable only with each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from reconciler.shell import Argv, join

# Labels: a container's memory of who made it, for what, and from which spec. `PREFIX` is part of the contract.
OWNER: Final = "sparkkeep.owner"
WORKLOAD: Final = "sparkkeep.workload"
RANK: Final = "sparkkeep.rank"
GENERATION: Final = "sparkkeep.generation"
REVISION: Final = "sparkkeep.revision"
SPEC_HASH: Final = "sparkkeep.spec-hash"
SPEC: Final = "sparkkeep.spec"
MEMORY: Final = "sparkkeep.memory"


class Value:
    """Marks the frozen values of this module; gives them nothing."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Container(Value):
    """One container as the Engine described it. `ports` are those it publishes, or declares in our labels."""

    id: str
    name: str
    image: str
    image_id: str = ""
    state: str  # created | running | restarting | paused | exited | dead | removing
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    started_at: float = 0.0
    finished_at: float = 0.0
    restart_count: int = 0
    restart_policy: str = "no"

    @property
    def workload(self) -> str:
        """The workload that it was created for; empty if it is not ours."""
        return self.labels.get(WORKLOAD, "")

    @property
    def rank(self) -> int:
        """Its rank in a group; 0 outside groups."""
        text = self.labels.get(RANK, "0")
        return int(text) if text.isdigit() else 0

    @property
    def spec_hash(self) -> str:
        """The hash of the spec that it was created from."""
        return self.labels.get(SPEC_HASH, "")

    @property
    def memory(self) -> int:
        """Bytes that its workload was declared to need when it was created; 0 if nobody said."""
        text = self.labels.get(MEMORY, "0")
        return int(text) if text.isdigit() else 0

    @property
    def running(self) -> bool:
        """It holds (or may hold) memory and ports."""
        return self.state in {"running", "paused", "restarting", "removing"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu(Value):
    """What `nvidia-smi` says of one GPU; None where it says [N/A], as a GB10 does for memory."""

    name: str
    utilization: float | None = None  # percent
    temperature: float | None = None  # Celsius
    power: float | None = None  # watts


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(Value):
    """What the machine says of itself. Sizes in bytes. `gpus`, `disk_free` and `interfaces` come with full scans."""

    boot_id: str
    memory_total: int
    memory_available: int
    listeners: frozenset[int]
    disk_free: int | None = None
    disk_total: int | None = None
    gpus: tuple[Gpu, ...] = ()
    interfaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan(Value):
    """One complete look at one Spark. There is no partial one: a scan that lacks a part has failed."""

    began: float
    ended: float
    taken_at: float
    containers: tuple[Container, ...]
    images: frozenset[str]  # every tag, digest reference and id that the Spark's engine can run
    facts: Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight(Value):
    """What is known of one Spark: the last complete scan, and whether it still holds.

    `unknown` is empty while the Spark answers; otherwise it names why it doesn't (a CamelCase reason), and
    `message` says it in words. `scan` is then history: shown to people, never planned from.
    """

    scan: Scan | None = None
    unknown: str = "NotYetSeen"
    message: str = "not scanned yet"
    since: float = 0.0

    @property
    def current(self) -> Scan | None:
        """The last scan, if the Spark still answers."""
        return None if self.unknown else self.scan


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec(Value):
    """Everything that decides how a container is created; two equal specs make equal containers."""

    image: str
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()  # variable, name of the secret
    mounts: tuple[tuple[str, str, bool], ...] = ()  # source, target, read-only
    port: int | None = None
    ports: tuple[tuple[int, int, str], ...] = ()  # host, container, protocol
    gpus: bool = False
    shm: int | None = None
    network: str = "host"
    ipc: str = "private"
    user: str | None = None
    workdir: str | None = None
    ulimits: tuple[tuple[str, int], ...] = ()
    devices: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    init: bool = False

    def canonical(self) -> str:
        """JSON without the defaults, so that a field added by a later version changes no hash."""
        given = {
            name: value
            for name in self.__dataclass_fields__
            if (value := getattr(self, name)) != self.__dataclass_fields__[name].default
        }
        return json.dumps(given, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def digest(self) -> str:
        """16 hex digits: short enough to read, long enough not to collide in a fleet."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]

    @property
    def host_ports(self) -> tuple[int, ...]:
        """The Spark's ports that a container of this spec listens on."""
        own = (self.port,) if self.port is not None and self.network == "host" else ()
        return own + tuple(host for host, _, _ in self.ports)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSpec(Value):
    """How to ask an instance whether it serves. Durations in seconds."""

    kind: str = "none"
    path: str = "/health"
    port: int = 0
    interval: float = 10.0
    timeout: float = 5.0
    failures: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance(Value):
    """One container that should be: a workload's spec bound to a Spark and a rank."""

    workload: str
    kind: str  # model | service
    spark: str
    rank: int = 0
    name: str
    spec: LaunchSpec
    spec_hash: str
    ports: tuple[int, ...] = ()  # of the Spark, that it listens on
    memory: int = 0
    restart: str = "no"
    create_folders: tuple[str, ...] = ()
    pull: str = "missing"
    probe: ProbeSpec = ProbeSpec()
    stop_timeout: float = 30.0
    start_timeout: float = 1800.0
    priority: int = 0
    generation: int = 1
    on_demand: bool = False


class Verb(StrEnum):
    """What a step does; the words a person reads in a plan."""

    PULL = "pull"
    MKDIR = "mkdir"
    CREATE = "create"
    START = "start"
    RESTART = "restart"
    UPDATE = "update"
    UNPAUSE = "unpause"
    STOP = "stop"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Value):
    """One command on one Spark, with its cause and its consequence.

    `look_first` names what an earlier step of the same plan must bring about before this one may run (its
    memory or port must be seen to be free): the loop ends its pass there, scans, and plans again.
    """

    verb: Verb
    spark: str
    workload: str
    rank: int = 0
    argv: Argv
    cause: str
    consequence: str
    container: str = ""
    destructive: bool = False
    look_first: str = ""
    secrets: tuple[tuple[str, str], ...] = ()
    name: str = ""  # of the container
    failing: bool = False  # the step answers a failure, which counts towards the backoff
    timeout: float = 60.0

    @property
    def command(self) -> str:
        """The command line, quoted."""
        return join(self.argv)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(Value):
    """Something the plan does not do, and why. `until` is a Unix time where waiting ends by itself."""

    spark: str
    workload: str
    rank: int = 0
    reason: str
    message: str
    until: float | None = None
    terminal: bool = False
    approvable: bool = False  # a person's `sparkkeep apply` releases it


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Value):
    """The ordered steps from observed to desired, and everything that was left alone on purpose."""

    revision: str
    steps: tuple[Step, ...] = ()
    held: tuple[Held, ...] = ()
    withheld: tuple[Step, ...] = ()  # steps that a guard keeps back until a person approves them
    unknown: tuple[str, ...] = ()  # Sparks whose scan is not current: nothing was planned for them

    @property
    def digest(self) -> str:
        """Names this plan: equal for equal steps on an equal revision, whatever the time."""
        lines = [self.revision, *(f"{s.spark}\t{s.command}" for s in (*self.steps, *self.withheld))]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def for_spark(self, spark: str) -> tuple[Step, ...]:
        """The steps on one Spark, in order."""
        return tuple(step for step in self.steps if step.spark == spark)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(Value):
    """What the loop remembers of an instance that did not come up or did not stay up."""

    count: int
    reason: str
    message: str
    spec_hash: str
    at: float
    terminal: bool = False
    retry_at: float = 0.0
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult(Value):
    """The last word of the prober on one container. `ready_at` is when it first answered, 0 if never yet."""

    container: str
    ready: bool
    ready_at: float = 0.0
    failing_since: float = 0.0
    failures: int = 0
    message: str = ""


Key = tuple[str, str]  # workload, Spark: what failures and probe results are remembered by


@dataclass(frozen=True, slots=True, kw_only=True)
class World(Value):
    """All that a plan depends on besides the desired state. `now` is Unix time."""

    sights: Mapping[str, Sight]
    now: float
    failures: Mapping[Key, Failure] = field(default_factory=dict)
    probes: Mapping[Key, ProbeResult] = field(default_factory=dict)
    pulling: frozenset[tuple[str, str]] = frozenset()  # Spark, image
    suspended: frozenset[str] = frozenset()
    cordoned: frozenset[str] = frozenset()
    drained: frozenset[str] = frozenset()
    restarts: Mapping[str, float] = field(default_factory=dict)  # container id -> the start that a person wants ended
    approved: frozenset[str] = frozenset()  # ids of containers that a person agreed to lose
