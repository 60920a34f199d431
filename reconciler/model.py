"""The values that travel through the reconciler: what was seen, what shall be done, and why.

Plain frozen data, no I/O, no clock. Times named `*_at` are Unix seconds; times named `began`/`ended` are
seconds of the loop's own monotonic clock, comparable only with each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Final

from pydantic import JsonValue

from reconciler.lease import Lease
from reconciler.preflight.tables import Table
from reconciler.shell import Argv, join
from reconciler.weights.cache import Want
from reconciler.weights.lack import Lack

# Labels: a container's memory of who made it, for what, and from which spec. `PREFIX` is part of the contract.
OWNER: Final = "sparkkeep.owner"
WORKLOAD: Final = "sparkkeep.workload"
RANK: Final = "sparkkeep.rank"
GENERATION: Final = "sparkkeep.generation"
REVISION: Final = "sparkkeep.revision"
SPEC_HASH: Final = "sparkkeep.spec-hash"
SPEC: Final = "sparkkeep.spec"
MEMORY: Final = "sparkkeep.memory"
BUILD: Final = "sparkkeep.build"  # on images that a Spark built for itself, and by that on their containers
FENCE: Final = "sparkkeep.fence"  # the token of the lease under which it was created; no part of what should be

MOST_DIGITS: Final = 15  # of a number in a label: what a shell can count with, more than any token or memory needs


def _number(text: str) -> int:
    """A whole number in a label, 0 for anything else. Anybody may write labels: `²` is a digit that is no number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < MOST_DIGITS else 0


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
    stop_timeout: float | None = None  # seconds that it was given at its creation to stop before it is killed

    @property
    def workload(self) -> str:
        """The workload that it was created for; empty if it is not ours."""
        return self.labels.get(WORKLOAD, "")

    @property
    def rank(self) -> int:
        """Its rank in a group; 0 outside groups."""
        return _number(self.labels.get(RANK, ""))

    @property
    def spec_hash(self) -> str:
        """The hash of the spec that it was created from."""
        return self.labels.get(SPEC_HASH, "")

    @property
    def memory(self) -> int:
        """Bytes that its workload was declared to need when it was created; 0 if nobody said."""
        return _number(self.labels.get(MEMORY, ""))

    @property
    def fence(self) -> int:
        """The token of the lease under which it was created; 0 if it says none."""
        return _number(self.labels.get(FENCE, ""))

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
class Rdma(Value):
    """One RDMA device, as it serves one network interface. `gid_index` is that of RoCE v2 over IPv4, if any."""

    device: str
    interface: str
    gid_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(Value):
    """What the machine says of itself. Sizes in bytes. `gpus` and disk come with full scans, the network with few."""

    boot_id: str
    memory_total: int
    memory_available: int
    listeners: frozenset[int]
    memory_free: int | None = None  # without the page cache, which CUDA counts as taken
    disk_free: int | None = None
    disk_total: int | None = None
    gpus: tuple[Gpu, ...] = ()
    gpu: bool | None = None  # whether there is one; None if that is not known (the driver did not answer)
    rdma: tuple[Rdma, ...] = ()
    interfaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settled_at: float = 0.0  # when the network was last asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan(Value):
    """One complete look at one Spark. There is no partial one: a scan that lacks a part has failed."""

    began: float
    ended: float
    taken_at: float
    containers: tuple[Container, ...]
    images: Mapping[str, frozenset[str]]  # what the Spark's engine can run: reference -> the image's id and digests
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


NEVER_SEEN: Final = Sight()


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
    privileged: bool = False
    security_opt: tuple[str, ...] = ()

    def canonical(self) -> str:
        """JSON without the defaults, so that a field added by a later version changes no hash."""
        return json.dumps(self.given(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def given(self) -> dict[str, object]:
        """The fields that are not at their defaults."""
        return {name: value for name, default in SPEC_DEFAULTS if (value := getattr(self, name)) != default}

    def digest(self) -> str:
        """16 hex digits: short enough to read, long enough not to collide in a fleet."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]

    @property
    def host_ports(self) -> tuple[int, ...]:
        """The Spark's ports that a container of this spec listens on."""
        own = (self.port,) if self.port is not None and self.network == "host" else ()
        return own + tuple(host for host, _, _ in self.ports)


SPEC_DEFAULTS: Final = tuple((each.name, each.default) for each in fields(LaunchSpec))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSpec(Value):
    """How to ask an instance whether it serves. Durations in seconds.

    Kinds of models are asked twice: for their health page every `interval`, and for their canary at `path` (left
    at its default: the kind's own) every `canary_interval`, by the name that the model is served by. Its answer has to
    be the right one, unless there is no `known_answer`.
    """

    kind: str = "none"
    path: str = "/health"
    port: int = 0
    interval: float = 10.0
    timeout: float = 5.0
    failures: int = 3
    health: str = "/health"
    model: str = ""
    voice: str = "alloy"
    known_answer: bool = True
    canary_interval: float = 60.0
    canary_timeout: float = 60.0
    canary_failures: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Built(Value):
    """An image that is built on its Spark. `tag` is made from all the rest but the context's name and numbers."""

    tag: str
    context: str  # the folder's name
    content: str  # the hash of what is in it
    files: int
    size: int  # bytes
    base: str = ""  # the image that it is built upon, where that is named
    args: tuple[tuple[str, str], ...] = ()  # the base is one of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance(Value):
    """One container that should be: a workload's spec bound to a Spark and a rank."""

    workload: str
    kind: str  # model | service
    spark: str
    rank: int = 0
    ranks: int = 1  # of the group that it belongs to; 1 is no group
    head: str = ""  # the Spark of rank 0; empty outside groups
    name: str
    spec: LaunchSpec
    spec_hash: str
    ports: tuple[int, ...] = ()  # of the Spark, that it listens on
    memory: int = 0
    memory_source: str = "stated"  # or measured, estimated, unknown: then it is not started
    memory_lines: tuple[str, ...] = ()  # the arithmetic, for people
    restart: str = "no"
    create_folders: tuple[str, ...] = ()
    open_folders: tuple[str, ...] = ()  # the same, and the container's user may write there whoever that is
    mods: tuple[tuple[str, str], ...] = ()  # name and digest of each, in the order they run
    pull: str = "missing"
    built: Built | None = None  # its image is not fetched but built
    probe: ProbeSpec = ProbeSpec()
    stop_timeout: float = 30.0
    start_timeout: float = 1800.0
    priority: int = 0
    generation: int = 1
    on_demand: bool = False
    idle: float | None = None  # on demand: seconds without a request after which it is stopped; None: never for that
    replicas: int = 1  # instances of its workload, each able to answer alone
    engine: str = "container"
    flags: Mapping[str, JsonValue] = field(
        default_factory=dict
    )  # as the recipe gives them, where the image can be asked
    patched: bool = False  # mods change the program before it starts
    weights: Want | None = None  # what must lie whole in its Spark's cache before it starts, as far as that is known

    @property
    def fetched(self) -> str:
        """The image that comes from a registry: its own, or the one that its own is built upon; there may be none."""
        return self.spec.image if self.built is None else self.built.base

    @property
    def plain(self) -> bool:
        """Nothing but its image has to be there before it may start, and nobody has to want it."""
        return not (self.flags or self.weights or self.on_demand or self.ranks > 1)

    @property
    def alone(self) -> bool:
        """A model that takes its time to load, and its Spark for itself while it does."""
        return self.kind == "model" and (self.probe.kind != "none" or self.ranks > 1)


class Verb(StrEnum):
    """What a step does; the words a person reads in a plan."""

    PULL = "pull"
    BUILD = "build"
    ASK = "ask"
    MKDIR = "mkdir"
    DELIVER = "deliver"
    FREE = "free"
    CREATE = "create"
    START = "start"
    RESTART = "restart"
    UPDATE = "update"
    UNPAUSE = "unpause"
    STOP = "stop"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login(Value):
    """How to log in to a registry. The password is the secret of that name, looked up when it is needed."""

    registry: str
    user: str
    secret: str


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
    login: Login | None = None  # for a fetch: who logs in to the registry before it
    mod: str = ""  # digest of the mod that it delivers
    image: str = ""  # that it fetches or builds
    content: str = ""  # digest of what it builds from
    name: str = ""  # of the container
    failing: bool = False  # the step answers a failure, which counts towards the backoff
    event: str = ""  # the reason that its event is told by, where the verb alone says too little
    sake: str = ""  # the workload that it makes room for, where that runs on demand
    drains: tuple[str, str] | None = None  # of a stop that waits for requests: the instance that has them under way
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
    want: Want | None = None  # weights that its Spark is to fetch meanwhile
    blockers: tuple[str, ...] = ()  # workloads whose stop would let it start, or whose start is waited for
    drains: tuple[str, str] | None = None  # the instance that gets no new requests meanwhile


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
    renewed: bool = False  # the secrets that it had have changed since: what is left of it is made anew


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult(Value):
    """The last word of the prober on one container. `ready_at` is when it first answered, 0 if never yet."""

    container: str
    ready: bool
    ready_at: float = 0.0
    failing_since: float = 0.0
    failures: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish(Value):
    """What apps want of one workload that runs on demand (`reconciler.demand`)."""

    turn: int = 0  # its place in the order of asking; 0: nobody waits for it
    under_way: int = 0  # requests that have begun and not ended
    last: float = 0.0  # on the loop's own clock: when it was used, or somebody who waited left
    served: bool = False  # a request was under way since it was asked for
    yields: bool = False  # it may be stopped for another although it was used just now, and is not started
    abandoned: bool = False  # whoever waited for it has left before it served anybody

    @property
    def wanted(self) -> bool:
        """Somebody waits for it, and it is its turn: it shall run."""
        return self.turn > 0 and not self.yields

    @property
    def busy(self) -> bool:
        """Stopping it would hurt somebody: a request is under way, or it has been started for one that waits."""
        return self.under_way > 0 or (self.turn > 0 and not (self.yields and self.served))


NO_WISH: Final = Wish()


Key = tuple[str, str]  # workload, Spark: what failures and probe results are remembered by


@dataclass(frozen=True, slots=True, kw_only=True)
class World(Value):
    """All that a plan depends on besides the desired state. `now` is Unix time."""

    sights: Mapping[str, Sight]
    now: float
    failures: Mapping[Key, Failure] = field(default_factory=dict)
    probes: Mapping[Key, ProbeResult] = field(default_factory=dict)
    loads: Mapping[Key, str] = field(default_factory=dict)  # how far a model is that still loads, in words
    pulling: frozenset[tuple[str, str]] = frozenset()  # Spark, image
    building: frozenset[tuple[str, str]] = frozenset()  # likewise
    suspended: frozenset[str] = frozenset()
    cordoned: frozenset[str] = frozenset()
    drained: frozenset[str] = frozenset()
    restarts: Mapping[str, float] = field(default_factory=dict)  # container id -> the start that a person wants ended
    approved: frozenset[str] = frozenset()  # ids of containers that a person agreed to lose
    answers: Mapping[tuple[str, str], Table | None] = field(default_factory=dict)  # engine, image id: its own help
    asking: frozenset[tuple[str, str, str]] = frozenset()  # Spark, engine, image id
    lenient: bool = False  # for people who ask what would happen: what was last seen is taken to hold
    led: frozenset[str] = frozenset()  # ids of workers' containers that were seen beside a head
    commits: Mapping[Key, str] = field(default_factory=dict)  # what caches have for groups that name no commit
    leases: Mapping[str, Lease] = field(default_factory=dict)  # by Spark; one without is shared with nobody
    weights: Mapping[tuple[str, Want], Lack] = field(default_factory=dict)  # Spark, revision: what a launch waits for
    wishes: Mapping[str, Wish] = field(default_factory=dict)  # by workload; what runs on demand and has none is unasked
    clock: float = 0.0  # the loop's own clock, on which `Wish.last` was read
    returning: Mapping[str, int] = field(default_factory=dict)  # Spark -> bytes of what we stopped that are not back
    under_way: Mapping[Key, int] = field(default_factory=dict)  # requests, by the instance that they are under way at
    stopping: frozenset[Key] = frozenset()  # instances whose stop was sent, until the next look
    draining: Mapping[Key, float] = field(default_factory=dict)  # since when, by `clock`, an instance gets no new ones
