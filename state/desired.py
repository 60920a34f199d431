"""The desired state: which models and services should run on which Spark.

One schema for every way in (file, git, API, dashboard, command line). What is wrong with a document is
said by `state.load`, with file, line and column; this module only says what is allowed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from state.fields import (
    Alias,
    Duration,
    EnvName,
    EnvValue,
    FlagName,
    Host,
    HostPath,
    Image,
    JumpHost,
    LocalPath,
    Name,
    Port,
    Revision,
    Sentence,
    Size,
    User,
)
from state.recipes import Declared, Recipe, SecretRef

API_VERSION = "sparkkeep/v1"
ANY = "any"


class Spark(Declared):
    """A host reached over SSH. Everything left out comes from `~/.ssh/config`, then from defaults."""

    host: Host
    user: User | None = None
    port: Port | None = None
    key: LocalPath | None = None
    jump: JumpHost | None = None
    trust: Literal["known-hosts", "on-first-use"] = "known-hosts"
    socket: HostPath = "/var/run/docker.sock"
    interface: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,15}$")] | None = None
    reserve: Size = 4 * 2**30
    cordon: bool = False
    drain: bool = False


def _run_word(value: object) -> object:
    """YAML 1.1 has no trap in always/never, but people write `run: no`."""
    return "never" if value is False else value


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Workload(Declared):
    """A model or a service: a recipe, where it goes, and when it runs.

    `on` is a Spark, a list of Sparks (one replica on each), or `any`. `across` is one workload over several
    Sparks (a group: one rank on each). `flags`, `env`, `image`, `revision`, `port` and `memory` lie over the recipe's.
    """

    recipe: Name | Recipe
    on: Annotated[list[Name], BeforeValidator(_one_or_many), Field(min_length=1, max_length=256)] = [ANY]
    across: Annotated[list[Name], Field(min_length=2, max_length=64)] | None = None
    run: Annotated[Literal["always", "on-demand", "never"], BeforeValidator(_run_word)] = "always"
    suspend: bool = False
    idle: Duration | None = None
    priority: Annotated[int, Field(strict=True, ge=-1000, le=1000)] = 0
    aliases: Annotated[list[Alias], Field(max_length=32)] = []
    flags: Annotated[dict[FlagName, JsonValue], Field(max_length=256)] = {}
    env: Annotated[dict[EnvName, EnvValue | SecretRef], Field(max_length=256)] = {}
    image: Image | None = None
    revision: Revision | None = None
    port: Port | None = None
    memory: Size | None = None
    description: Sentence = ""

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
    max_destructive: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 10
    unreachable_freeze: Annotated[float, Field(ge=0, le=1)] = 0.55


class Settings(Declared):
    """Optional knobs. `owner` tells the containers of two sparkkeeps on one Spark apart."""

    owner: Name = "sparkkeep"
    scan_interval: Annotated[Duration, Field(ge=1, le=3600)] = 30.0


class Desired(Declared):
    """The whole desired state at one revision."""

    api_version: Literal["sparkkeep/v1"] = API_VERSION
    sparks: Annotated[dict[Name, Spark], Field(max_length=256)] = {}
    models: Annotated[dict[Name, Workload], Field(max_length=4096)] = {}
    services: Annotated[dict[Name, Workload], Field(max_length=4096)] = {}
    settings: Settings = Settings()
    guards: Guards = Guards()

    @property
    def workloads(self) -> dict[str, Workload]:
        """Models and services together; `state.load` has made sure that no name stands twice."""
        return {**self.models, **self.services}
