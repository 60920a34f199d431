"""All that is known of one Spark when it is judged: what was declared, how the way to it went, what it said. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from reconciler.facts import NOT_FOUND, Section
from reconciler.shell import join
from state.desired import Spark

TIMED_OUT: Final = 124  # `timeout`'s exit status
WAY: Final = ("name", "port", "ssh", "host-key", "login", "shell")
Stage = Literal["name", "port", "ssh", "host-key", "login", "shell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the desired state wants of this Spark. `ports`: workloads by the port they are to have."""

    ports: Mapping[int, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    owner: str = "sparkkeep"
    reserve: int = 4 * 2**30
    disk_reserve: int = 8 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """Where the way to the Spark ended, and how."""

    stage: Stage
    reason: str
    message: str
    detail: str = ""  # a fingerprint, or what stood in place of an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where SSH goes, by what is declared and ~/.ssh/config. `jumped`: through another machine."""

    host: str
    port: int
    user: str
    jumped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One Spark. `told` is None where the way broke before it could be asked anything."""

    name: str
    spark: Spark
    place: Place | None = None
    key: str = ""  # the private key that was shown; empty: the agent's and the usual ones
    addresses: tuple[str, ...] = ()
    broken: Broken | None = None
    told: Mapping[str, Section] | None = None
    noise: str = ""
    sent_at: float = 0.0
    answered_at: float = 0.0
    forwards: bool | None = None
    wanted: Wanted = Wanted()

    def text(self, name: str) -> str | None:
        """What a part said; None if it was not asked or failed."""
        section = (self.told or {}).get(name)
        return section.text if section is not None and section.status == 0 else None

    def status(self, name: str) -> int | None:
        """The exit status of a part."""
        section = (self.told or {}).get(name)
        return section.status if section is not None else None

    def said(self, name: str) -> str:
        """What a part said, however it ended, in one line for people."""
        section = (self.told or {}).get(name)
        return " ".join(section.text.split())[:300] if section is not None else ""

    def missing(self, name: str) -> bool:
        """The program of this part is not there."""
        return self.status(name) == NOT_FOUND

    def late(self, name: str) -> bool:
        """The program of this part did not end in time."""
        return self.status(name) == TIMED_OUT

    @property
    def user(self) -> str:
        """Whom we are there, as the Spark says, or as was asked for."""
        return (self.text("user") or "").strip() or (self.place.user if self.place else self.spark.user) or "$USER"

    @property
    def root(self) -> bool:
        """The user there is root."""
        return (self.text("uid") or "").strip() == "0"

    @property
    def who(self) -> str:
        """The Spark and its address, for people."""
        at = self.spark.host if self.place is None else self.place.host
        return self.name if self.name == at else f"{self.name} ({at})"

    def ssh(self, *command: str) -> str:
        """The command line that logs in there, as a person types it."""
        return join(("ssh", *self.options("-p"), self.login, *command))

    @property
    def login(self) -> str:
        """`user@host`, as plain ssh takes it."""
        return f"{self.spark.user}@{self.spark.host}" if self.spark.user else self.spark.host

    def options(self, port: str) -> tuple[str, ...]:
        """The options that lead plain ssh and its kin there; `port` is how they call the port's."""
        jump = ("-o", f"ProxyJump={self.spark.jump}") if self.spark.jump else ()
        return (*jump, *((port, str(self.spark.port)) if self.spark.port else ()))
