# ruff: noqa: RUF012  # pydantic copies mutable defaults
"""The desired state: which models and services should run on which Spark.

One schema for every way in (file, git, API, dashboard, command line). What is wrong with a document is
said by `state.load`, with file, line and column; this module only says what is allowed. The text under a
field is its help in editors (`examples/desired.schema.json`).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from state.fields import (
    Alias,
    Duration,
    Host,
    HostPath,
    Image,
    Interface,
    JumpHost,
    LocalPath,
    Name,
    Port,
    Revision,
    ScanInterval,
    Sentence,
    Size,
    User,
    as_input,
)
from state.recipes import Declared, Env, Flags, NamedOrWritten

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
    reserve: Size = 4 * 2**30
    """Memory that no launch may touch, such as 4GiB."""
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
    """always, on-demand (started by the first request) or never."""
    suspend: bool = False
    """Leave it alone: neither start nor stop it."""
    idle: Duration | None = None
    """On-demand: stopped after this long unused, such as 20m."""
    priority: Annotated[int, Field(strict=True, ge=-1000, le=1000)] = 0
    """Who yields when memory is short: the lower one."""
    aliases: Annotated[list[Alias], Field(max_length=32)] = []
    """Further names that apps may use."""
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

    allow_empty: bool = False
    """Obey a desired state without any workload, which stops everything, without asking."""
    max_destructive: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 10
    """Containers that one plan may stop or remove without asking."""
    unreachable_freeze: Annotated[float, Field(ge=0, le=1)] = 0.55
    """Change nothing anywhere while more than this share of the Sparks does not answer."""


class Settings(Declared):
    """Optional knobs."""

    owner: Name = "sparkkeep"
    """Label on our containers; tells two sparkkeeps on one Spark apart."""
    scan_interval: ScanInterval = 30.0
    """Time between two full scans of a Spark, such as 30s."""


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
