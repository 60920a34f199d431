# ruff: noqa: RUF012  # pydantic copies mutable defaults
"""The desired state: which models and services should run on which Spark.

One schema for every way in (file, git, API, dashboard, command line). What is wrong with a document is
said by `state.load`, with file, line and column; this module only says what is allowed. The text under a
field is its help in editors (`examples/desired.schema.json`).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from state.declared import Declared
from state.fields import (
    Alias,
    Backoff,
    DiskReserve,
    Duration,
    Forgetting,
    Host,
    HostPath,
    Image,
    Interface,
    JumpHost,
    LocalPath,
    MemoryReserve,
    Name,
    Port,
    Registry,
    RegistryUser,
    Repository,
    Revision,
    ScanInterval,
    ScanTimeout,
    Sentence,
    Size,
    Steers,
    SurveyInterval,
    User,
    as_input,
)
from state.notifications import Notification
from state.proxy import Proxy
from state.queue import Queue
from state.recipes import Env, Flags, NamedOrWritten
from state.redaction import Redaction

API_VERSION: Final = "sparkkeep/v1"
ANY: Final = "any"

Run = Literal["always", "on-demand", "never"]


class Spark(Declared):
    """A host reached over SSH. Everything left out comes from `~/.ssh/config`, then from defaults."""

    host: Host
    """Host name or address, or a name that `~/.ssh/config` knows."""
    user: User | None = None
    """User to log in as."""
    port: Port | None = None
    """SSH port."""
    key: LocalPath | None = None
    """Private key, a file of this machine."""
    jump: JumpHost | None = None
    """Host to go through, such as user@gateway."""
    trust: Literal["known-hosts", "on-first-use"] = "known-hosts"
    """Which host keys to believe: those in known_hosts, or also the first one seen."""
    socket: HostPath = "/var/run/docker.sock"
    """The Docker Engine's socket on the Spark."""
    interface: Interface | None = None
    """Network interface that Sparks use among themselves (the fabric); found by the scan if left out."""
    reserve: Size | None = None
    """Memory that no launch may touch, such as 8GiB; `reserve` of the settings if left out."""
    cordon: bool = False
    """Start nothing new here."""
    drain: bool = False
    """Start nothing new here and stop what runs."""


def _run_word(value: object) -> object:
    """People write `run: no` and `run: off`."""
    return "never" if value is False or value in ("no", "off", "false") else value


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


Several = Annotated[list[Name], Field(min_length=1, max_length=256)]


class Workload(Declared):
    """A model or a service: a recipe, where it goes, and when it runs."""

    recipe: NamedOrWritten
    """How to launch it: the name of a recipe of models.yaml, or the recipe itself."""
    on: Annotated[Several, as_input(_one_or_many, Name | Several)] = [ANY]
    """A Spark, a list of Sparks (one replica on each), or `any`."""
    across: Annotated[list[Name], Field(min_length=2, max_length=64)] | None = None
    """One workload over several Sparks: a group, with one rank on each; the first is its head."""
    run: Annotated[Run, as_input(_run_word, Run)] = "always"
    """always, on-demand (started when a request asks for it, stopped when unused or in the way) or never."""
    suspend: bool = False
    """Leave it alone: neither start nor stop it."""
    idle: Duration | None = None
    """On-demand: stopped after this long without a request, such as 20m; if left out, only to make room for others."""
    priority: Annotated[int, Field(strict=True, ge=-1000, le=1000)] = 0
    """Who goes first when memory is short, and for whom on-demand ones are stopped: never one of a higher priority."""
    aliases: Annotated[list[Alias], Field(max_length=32)] = []
    """Further names that apps may use."""
    concurrency: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    """Requests that one instance of it gets at once, more wait their turn; `proxy.concurrency` of the settings if left
    out."""
    flags: Flags = {}
    """Flags over the recipe's."""
    env: Env = {}
    """Environment variables over the recipe's."""
    image: Image | None = None
    """Image in place of the recipe's."""
    revision: Revision | None = None
    """Revision of the weights in place of the recipe's."""
    port: Port | None = None
    """Port in place of the recipe's."""
    memory: Size | None = None
    """Peak of memory in place of the recipe's, such as 92GiB."""
    description: Sentence = ""
    """A note for people."""

    @model_validator(mode="after")
    def _consistent(self) -> Workload:
        if self.across is not None and "on" in self.model_fields_set:
            raise ValueError("across: give either `on` or `across`, not both")
        for field, names in (("on", self.on), ("across", self.across or [])):
            if len(set(names)) != len(names):
                raise ValueError(f"{field}: names a Spark twice")
        if ANY in self.on and len(self.on) > 1:
            raise ValueError("on: `any` stands alone")
        return self


class Guards(Declared):
    """Limits on what one pass may destroy; what goes over them waits for a person (`sparkkeep apply`)."""

    allow_empty: Annotated[bool, Steers("the planner: a desired state without workloads")] = False
    """Obey a desired state without any workload, which stops everything, without asking."""
    max_destructive: Annotated[int, Field(strict=True, ge=0, le=10_000), Steers("the planner: every plan")] = 10
    """Containers that one plan may stop or remove without asking."""
    unreachable_freeze: Annotated[float, Field(ge=0, le=1), Steers("the planner: Sparks that don't answer")] = 0.55
    """Change nothing anywhere while more than this share of the Sparks does not answer."""


class RegistryLogin(Declared):
    """Who logs in to a registry before an image is fetched from it; the password is a secret."""

    user: RegistryUser
    """User there, such as $oauthtoken."""
    secret: Name
    """Name of the secret that is the password. Without such a secret nobody logs in."""


NGC: Final = {"nvcr.io": RegistryLogin(user="$oauthtoken", secret="ngc")}  # noqa: S106  # the secret's name


SHORTEST_DEEP: Final = 300.0  # seconds


def _with_ngc(given: dict[str, RegistryLogin]) -> dict[str, RegistryLogin]:
    return {**NGC, **given}


def _not_too_often(seconds: float) -> float:
    if 0 < seconds < SHORTEST_DEEP:
        raise ValueError("must be 0 (never), or at least 5m: each run asks every model a question")
    return seconds


def _named_once(given: list[Notification]) -> list[Notification]:
    names = [each.name for each in given]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"two of them are named {twice}")
    return given


class Settings(Declared):
    """Optional knobs."""

    owner: Annotated[Name, Steers("labels of containers, and the leases of the Sparks")] = "sparkkeep"
    """Label on our containers; tells two sparkkeeps on one Spark apart. What has another label is left alone."""
    scan_interval: Annotated[ScanInterval, Steers("the loop: how often it looks at each Spark")] = 30.0
    """Time between two full scans of a Spark, such as 30s."""
    scan_timeout: Annotated[ScanTimeout, Steers("the loop: when a Spark counts as Unknown")] = 10.0
    """A Spark that has not answered a scan after this long is Unknown, and nothing on it is changed."""
    survey_interval: Annotated[SurveyInterval, Steers("the menu of models, weights, estimates of memory")] = 600.0
    """Time between two surveys of what lies on a Spark's disks, such as 10m."""
    reserve: Annotated[MemoryReserve, Steers("admission: what a launch may take")] = 4 * 2**30
    """Memory of each Spark that no launch may touch, where its own `reserve` says nothing else, such as 4GiB."""
    disk_reserve: Annotated[DiskReserve, Steers("fetching weights")] = 8 * 2**30
    """Space on a Spark's disk that a fetch of weights leaves free, such as 8GiB."""
    longest_backoff: Annotated[Backoff, Steers("the loop: starting again what has failed")] = 300.0
    """The longest pause before something that keeps failing is tried again; pauses begin at 10s and double."""
    forget_failures: Annotated[Forgetting, Steers("the loop: starting again what has failed")] = 600.0
    """After this long of running well, earlier failures no longer count."""
    keep_events: Annotated[int, Field(strict=True, ge=1_000, le=200_000), Steers("the journal: events")] = 10_000
    """How many events are kept; the oldest go first."""
    keep: Annotated[list[Repository], Field(max_length=1024), Steers("deleting weights")] = []
    """Repositories whose weights `weights gc` never deletes, such as [Qwen/Qwen3-8B]."""
    registries: Annotated[
        dict[Registry, RegistryLogin],
        Field(max_length=64),
        AfterValidator(_with_ngc),
        Steers("fetching images"),
    ] = NGC
    """Logins of registries, by name; nvcr.io is always there, with the secret ngc unless another is named."""
    fetch_weights: Annotated[bool, Steers("launches of models")] = True
    """Before a model starts, its Spark fetches the weights that it lacks; otherwise the engine does, as it starts."""
    drop_page_cache: Annotated[bool, Steers("launches of models")] = True
    """Before a model starts, drop the page cache where it holds memory that the model needs (and sudo allows it)."""
    evict_after: Annotated[Duration, Steers("on-demand workloads: making room for one that is asked for")] = 60.0
    """An on-demand workload unused for this long may be stopped for one that finds no memory, such as 60s."""
    notifications: Annotated[
        list[Notification],
        Field(max_length=16),
        AfterValidator(_named_once),
        Steers("who is told what lasts"),
    ] = []
    """Who is told when something is wrong and lasts: webhooks, Slack, ntfy."""
    proxy: Proxy = Proxy()
    """How apps are let in to the models."""
    deep_health_every: Annotated[Duration, AfterValidator(_not_too_often), Steers("deep health")] = 6 * 3600.0
    """Time between two runs of deep health (a question to everything), such as 6h; at least 5m, or 0 for never."""
    redaction: Redaction = Redaction()
    """How private words are taken out of requests, and where those may go."""
    queue: Queue = Queue()
    """Requests that wait for a model."""


class Desired(Declared):
    """The whole desired state at one revision."""

    api_version: Literal["sparkkeep/v1"] = API_VERSION
    """Version of this schema."""
    sparks: Annotated[dict[Name, Spark], Field(max_length=256)] = {}
    """The hosts, by name."""
    models: Annotated[dict[Name, Workload], Field(max_length=4096)] = {}
    """The models, by the name that apps use."""
    services: Annotated[dict[Name, Workload], Field(max_length=4096)] = {}
    """Everything else that should run: speech, embeddings, tools."""
    settings: Settings = Settings()
    """Optional knobs; the dashboard's gear edits these."""
    guards: Guards = Guards()
    """Limits on what one pass may destroy."""

    @property
    def workloads(self) -> dict[str, Workload]:
        """Models and services together; `state.load` has made sure that no name stands twice."""
        return {**self.models, **self.services}
