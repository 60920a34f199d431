# ruff: noqa: RUF012  # pydantic copies mutable defaults
"""Recipes: how to launch one known model or service.

A recipe is data, never shell: flags are a map, commands are argv lists, secrets are named and not written.
The recipes that ship with sparkkeep lie in `models.yaml`; an operator's own lie on top, or stand in place
under a workload's `recipe:`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from state.declared import Declared
from state.engines import fault, listening_port
from state.fields import (
    Argument,
    Capability,
    ContainerPath,
    ContainerUser,
    ContextName,
    Duration,
    EnvName,
    EnvValue,
    FlagName,
    FlagValue,
    Image,
    Interval,
    Limit,
    ModName,
    Name,
    Port,
    Quant,
    Repository,
    RepositoryFile,
    Revision,
    SecurityOption,
    Sentence,
    Size,
    UrlPath,
    VolumeOrPath,
    as_input,
)
from state.pooling import Pooling
from state.pooling import fault as pooling_fault

Engine = Literal["vllm", "sglang", "trtllm", "llamacpp", "nim", "container"]
ProbeKind = Literal[
    "chat", "completion", "embedding", "rerank", "transcription", "diarization", "speech", "http", "none"
]
RestartPolicy = Literal["no", "on-failure", "unless-stopped", "always"]

BRANCH: Final = "<"  # begins the names of a union's branches, so that they can be told from keys in an error


class SecretRef(Declared):
    """The name of a secret; its value lies outside the desired state and outside git."""

    secret: Name
    """Name of the secret (`sparkkeep secret set NAME`)."""


def map_or_text(value: object) -> str:
    """Which branch of a union a value belongs to."""
    return "<map>" if isinstance(value, (dict, BaseModel)) else "<text>"


EnvEntry = Annotated[
    Annotated[EnvValue, Tag("<text>")] | Annotated[SecretRef, Tag("<map>")], Discriminator(map_or_text)
]
Flags = Annotated[dict[FlagName, FlagValue], Field(max_length=256)]
Env = Annotated[dict[EnvName, EnvEntry], Field(max_length=256)]


class Mount(Declared):
    """A folder of the Spark (or a named volume) inside the container."""

    source: VolumeOrPath
    """Folder of the Spark (it may start with `$HOME`, which the Spark expands), or the name of a volume."""
    target: ContainerPath
    """Where it appears inside the container."""
    read_only: bool = False
    """The container may not write to it."""
    create: bool = False
    """Create a missing folder. Otherwise it is an error: Docker would create a misspelt path, as root."""


class PublishedPort(Declared):
    """One port of the Spark led into the container; only with `network: bridge`."""

    host: Port
    """Port of the Spark."""
    container: Port
    """Port inside the container."""
    protocol: Literal["tcp", "udp"] = "tcp"
    """tcp or udp."""


class Probe(Declared):
    """How to tell that an instance answers."""

    kind: ProbeKind = "http"
    """What to ask it: a chat token, a vector, a rerank, a second of audio, a page (http), or nothing (none)."""
    path: UrlPath = "/health"
    """For `http`: the page to ask for."""
    port: Port | None = None
    """The port to ask; left out: the recipe's own."""
    interval: Interval = 10.0
    """Time between two questions."""
    timeout: Interval = 5.0
    """How long an answer may take."""
    failures: Annotated[int, Field(strict=True, ge=1, le=100)] = 3
    """Unanswered questions in a row after which the instance counts as failed."""
    known_answer: bool = True
    """Whether the answer has to be the right one where it is known: English words that are said, texts that are alike.
    `false` for a model that can't know it, such as one that hears another language: then any answer will do."""


class Build(Declared):
    """How an image is built on each Spark that needs it, and built anew when anything of this changes."""

    context: ContextName
    """Folder with a Dockerfile, beside the desired state; `spark_embed` ships with sparkkeep. At most 500 files and
    8 MiB, without what its .dockerignore names; no secrets."""
    base: Image | None = None
    """Image to build upon, fetched first, and given to the Dockerfile as `ARG BASE`; left out: what its FROM says."""
    args: Annotated[dict[EnvName, EnvValue], Field(max_length=64)] = {}
    """Values for the Dockerfile's other ARGs. Whoever has the image can read them: no secrets."""


def _probe_shorthand(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


def _restart_word(value: object) -> object:
    """JSON written by a reader of YAML 1.1 says false where a person wrote `no`."""
    return "no" if value is False else value


def _gpus_word(value: object) -> object:
    return {False: "none", True: "all"}.get(value, value) if isinstance(value, bool) else value


class Recipe(Declared):
    """How to launch a model or service: everything but where and when. Sizes in bytes, durations in seconds."""

    engine: Engine = "container"
    """What serves the model; `container` is any other program, started by `command`."""
    description: Sentence = ""
    """A note for people."""
    source: Sentence = ""
    """Where the recipe comes from, for people."""
    model: Repository | None = None
    """Hugging Face repository of the weights, such as owner/name."""
    revision: Revision | None = None
    """Commit, branch or tag of the weights; a commit is better."""
    quant: Quant | None = None
    """llamacpp: which quantization of the repository to take, such as Q4_K_M."""
    file: RepositoryFile | None = None
    """llamacpp: which GGUF file of the repository to take, in place of `quant`."""
    image: Image
    """Container image; a digest (name@sha256:...) is better than a tag."""
    pull: Literal["missing", "never"] = "missing"
    """Fetch the image when the Spark lacks it, or never."""
    build: Build | None = None
    """Build the image on the Spark instead of fetching it; `image` is then the name that it gets, without a tag."""
    entrypoint: Annotated[list[Argument], Field(max_length=64)] | None = None
    """Replaces the image's own entrypoint; an argv list. A model engine knows what its images need if left out."""
    command: Annotated[list[Argument], Field(max_length=512)] = []
    """Arguments of the container; an argv list, never a shell line. Only for `engine: container`."""
    flags: Flags = {}
    """The engine's flags without their dashes: `max-model-len: 65536`. true is a bare flag, false or null none; a map
    is one argument of JSON, a list several arguments."""
    mods: Annotated[list[ModName], Field(max_length=16)] = []
    """Patches to run inside the container before the program: folders, each with a run.sh, of the mods folder."""
    distributed: Literal["native", "ray"] | None = None
    """vllm, `across` several Sparks: by its own means (native, if left out) or by Ray."""
    env: Env = {}
    """Environment variables; a value is text or `{secret: NAME}`."""
    mounts: Annotated[list[Mount], Field(max_length=64)] = []
    """Folders and volumes inside the container."""
    port: Port | None = None
    """The port that it listens on; a model engine has one of its own if left out."""
    ports: Annotated[list[PublishedPort], Field(max_length=64)] = []
    """Published ports; only with `network: bridge`."""
    gpus: Annotated[Literal["all", "none"], as_input(_gpus_word, Literal["all", "none"])] | None = None
    """Whether the container sees the GPU; left out: all for a model engine, else none."""
    shm: Size | None = None
    """Size of /dev/shm, such as 16GiB."""
    memory: Size | None = None
    """Peak of memory that it needs, such as 92GiB; estimated if left out."""
    network: Literal["host", "bridge", "none"] = "host"
    """With `host` the container's ports are the Spark's."""
    ipc: Literal["private", "host"] | None = None
    """Whether it shares the Spark's IPC namespace; left out: host for vllm, sglang and trtllm, else private."""
    user: ContainerUser | None = None
    """User inside the container: a name, or numbers such as 1000:1000."""
    workdir: ContainerPath | None = None
    """Working folder inside the container."""
    ulimits: Annotated[dict[Limit, Annotated[int, Field(strict=True, ge=-1, le=2**62)]], Field(max_length=16)] = {}
    """Limits such as `memlock: -1`."""
    devices: Annotated[list[ContainerPath], Field(max_length=32)] = []
    """Devices of the Spark that the container may use, such as /dev/infiniband."""
    cap_add: Annotated[list[Capability], Field(max_length=16)] = []
    """Linux capabilities beyond the usual ones, such as IPC_LOCK."""
    privileged: bool = False
    """Give the container every right on the Spark; some images for several Sparks want it."""
    security_opt: Annotated[list[SecurityOption], Field(max_length=16)] = []
    """Docker's security options, such as no-new-privileges or seccomp=unconfined."""
    init: bool = False
    """Run a small init process as number 1, which reaps its children."""
    restart: Annotated[RestartPolicy, as_input(_restart_word, RestartPolicy)] = "no"
    """Docker's own restart policy; models stay with `no`, since the loop restarts them in order."""
    stop_timeout: Duration = 30.0
    """How long it may take to stop before it is killed."""
    start_timeout: Duration = 1800.0
    """How long it may take to answer after its start."""
    probe: Annotated[Probe, as_input(_probe_shorthand, ProbeKind | Probe)] | None = None
    """How to tell that it answers: a kind, or the details; left out: a model engine's health page, else none."""
    sound: Literal["any", "wav"] = "any"
    """What sound its server reads: any container, or `wav` (16 kHz, mono) alone, into which others are brought."""
    pooling: Pooling | None = None
    """A model of vectors or of rerank scores: how much it takes at a time, and what is done for it."""

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.ports and self.network != "bridge":
            raise ValueError(
                "ports: only with network: bridge (with network: host the container's ports are the Spark's)"
            )
        probe = self.probe or Probe(kind="none")
        if probe.kind != "none" and probe.port is None and self.listening_port is None:
            raise ValueError(f"port: a probe of kind {probe.kind} needs the port that it asks")
        wrong = fault(self) or (self.pooling and pooling_fault(self.engine, self.image, self.pooling))
        if wrong is not None:
            raise ValueError(wrong)
        return self

    @property
    def listening_port(self) -> int | None:
        """The port that it listens on, the engine's own if none is given."""
        return listening_port(self)


NamedOrWritten = Annotated[Annotated[Name, Tag("<text>")] | Annotated[Recipe, Tag("<map>")], Discriminator(map_or_text)]


def merge_over(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """`overlay` on top of `base`: maps are merged key by key, everything else is replaced."""
    merged = dict(base)
    for key, value in overlay.items():
        below = merged.get(key)
        merged[key] = merge_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
