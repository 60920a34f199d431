"""Recipes: how to launch one known model or service.

A recipe is data, never shell: flags are a map, commands are argv lists, secrets are named and not written.
The recipes that ship with sparkkeep lie in `models.yaml`; an operator's own lie on top, or stand in place
under a workload's `recipe:`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic.alias_generators import to_camel

from state.fields import (
    Argument,
    ContainerPath,
    Duration,
    EnvName,
    EnvValue,
    FlagName,
    Image,
    Name,
    Port,
    Repository,
    Revision,
    Sentence,
    Size,
    UrlPath,
    User,
    VolumeOrPath,
)

Engine = Literal["vllm", "sglang", "trtllm", "llamacpp", "nim", "container"]
ProbeKind = Literal[
    "chat", "completion", "embedding", "rerank", "transcription", "diarization", "speech", "http", "none"
]
RestartPolicy = Literal["no", "on-failure", "unless-stopped", "always"]


class Declared(BaseModel):
    """A part of what a person wrote: camelCase in YAML, unknown keys refused, never changed afterwards."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=False, serialize_by_alias=True
    )


class SecretRef(Declared):
    """The name of a secret; its value lies outside the desired state and outside git."""

    secret: Name


class Mount(Declared):
    """A folder of the Spark (or a named volume) inside the container.

    `source` may start with `$HOME`, which the Spark expands. A missing folder is an error unless `create`
    is set, since Docker's own habit of creating it as root hides a misspelt path.
    """

    source: VolumeOrPath
    target: ContainerPath
    read_only: bool = False
    create: bool = False


class PublishedPort(Declared):
    """One port of the Spark led into the container; only with `network: bridge`."""

    host: Port
    container: Port
    protocol: Literal["tcp", "udp"] = "tcp"


class Probe(Declared):
    """How to tell that an instance answers. `path` and `port` are for `http` (port: the recipe's own)."""

    kind: ProbeKind = "http"
    path: UrlPath = "/health"
    port: Port | None = None
    interval: Duration = 10.0
    timeout: Duration = 5.0
    failures: Annotated[int, Field(strict=True, ge=1, le=100)] = 3


def _probe_shorthand(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


def _restart_word(value: object) -> object:
    """YAML 1.1 reads a bare `no` as false."""
    return "no" if value is False else value


class Recipe(Declared):
    """How to launch a model or service: everything but where and when. Sizes in bytes, durations in seconds."""

    engine: Engine = "container"
    description: Sentence = ""
    source: Sentence = ""
    model: Repository | None = None
    revision: Revision | None = None
    image: Image
    pull: Literal["missing", "never"] = "missing"
    entrypoint: Annotated[list[Argument], Field(max_length=64)] | None = None
    command: Annotated[list[Argument], Field(max_length=512)] = []
    flags: Annotated[dict[FlagName, JsonValue], Field(max_length=256)] = {}
    env: Annotated[dict[EnvName, EnvValue | SecretRef], Field(max_length=256)] = {}
    mounts: Annotated[list[Mount], Field(max_length=64)] = []
    port: Port | None = None
    ports: Annotated[list[PublishedPort], Field(max_length=64)] = []
    gpus: Annotated[Literal["all", "none"], BeforeValidator(lambda v: "none" if v is False else v)] = "none"
    shm: Size | None = None
    memory: Size | None = None
    network: Literal["host", "bridge", "none"] = "host"
    ipc: Literal["private", "host"] = "private"
    user: User | Annotated[str, Field(pattern=r"^\d{1,7}(:\d{1,7})?$")] | None = None
    workdir: ContainerPath | None = None
    ulimits: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z]{2,12}$")], Annotated[int, Field(ge=-1, le=2**62)]],
        Field(max_length=16),
    ] = {}
    devices: Annotated[list[ContainerPath], Field(max_length=32)] = []
    cap_add: Annotated[list[Annotated[str, Field(pattern=r"^[A-Z_]{2,32}$")]], Field(max_length=16)] = []
    init: bool = False
    restart: Annotated[RestartPolicy, BeforeValidator(_restart_word)] = "no"
    stop_timeout: Duration = 30.0
    start_timeout: Duration = 1800.0
    probe: Annotated[Probe, BeforeValidator(_probe_shorthand)] = Probe(kind="none")

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.ports and self.network != "bridge":
            raise ValueError("ports: only with network: bridge (with network: host the container's ports are the Spark's)")
        if self.probe.kind != "none" and self.port is None and self.probe.port is None:
            raise ValueError(f"port: a probe of kind {self.probe.kind} needs the port that it asks")
        return self


def merge_over(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """`overlay` on top of `base`: maps are merged key by key, everything else is replaced."""
    merged = dict(base)
    for key, value in overlay.items():
        below = merged.get(key)
        both_maps = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = merge_over(below, value) if both_maps else value  # type: ignore[arg-type]  # both are dicts here
    return merged
