"""The words of the data path: who can answer, what is asked, where it goes, and why it can't be answered.

Values only. The wire (`front`, `exchange`, `upstream`) moves bytes and asks a `Routing` where to; what knows the
fleet, its queues and its limits stands behind that one seam, so each side can be tried without the other.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from api.proxies.embeddings.way import Way

Field = tuple[bytes, bytes]
"""A header field as it came: name and value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One instance that answers now: where it listens, and what its server calls the model."""

    workload: str
    spark: str
    host: str
    port: int
    model: str
    engine: str = "container"
    way: Way | None = None
    """How it is asked for vectors and scores; None: as its engine usually is."""
    wav: bool = False
    """Whether it reads nothing but WAV of 16 kHz, mono."""
    base: str | None = None
    """Of a service outside: where its API begins, in the place of `/v1`; what is asked there passes as it is."""
    tls: ssl.SSLContext | None = field(default=None, compare=False, repr=False)
    """How its certificate is looked at; None: it is asked in plain text."""
    shown: bytes = field(default=b"", compare=False, repr=False)
    """Lines of a request's head with the key that its server wants to see of us."""
    key: str = field(init=False, compare=False)
    """What tells it from every other: `workload@spark`."""
    place: tuple[str, str] = field(init=False, compare=False)
    """The same as the loop has it."""
    address: tuple[str, int] = field(init=False, compare=False)
    """Where it listens."""
    link: tuple[str, int, ssl.SSLContext | None] = field(init=False, compare=False, repr=False)
    """The same with how, by which its connections are kept."""

    def __post_init__(self) -> None:
        """Made once, and asked for with every request."""
        object.__setattr__(self, "key", f"{self.workload}@{self.spark}")
        object.__setattr__(self, "place", (self.workload, self.spark))
        object.__setattr__(self, "address", (self.host, self.port))
        object.__setattr__(self, "link", (self.host, self.port, self.tls))


class Conversation(Protocol):
    """What a body says of whose it is and how it begins."""

    @property
    def session(self) -> str:
        """Its name, or nothing."""

    @property
    def prefix(self) -> int:
        """A hash of how it begins; 0: unknown."""


@dataclass(slots=True, kw_only=True)
class Call:
    """One request as far as routing needs it. `path` is without its query; `who`: a key's name, else an address."""

    method: str
    path: str
    model: str = ""
    stream: bool = False
    session: str = ""
    prefix: int = 0
    """A hash of how its conversation begins; 0: unknown."""
    who: str = ""
    asked: Conversation | None = None
    """Its body, which is looked at for both where somebody wants to know, and let go of when it is answered."""
    under: str = ""
    """What stood before its path: `/redact`, of one whose words are masked."""

    def conversation(self) -> tuple[str, int]:
        """Its session and prefix."""
        asked, self.asked = self.asked, None
        if asked is not None:
            self.session, self.prefix = self.session or asked.session, asked.prefix
        return self.session, self.prefix


class Decision(NamedTuple):
    """Where a call goes. `why` is one sentence for the answer's headers and for people."""

    backend: Backend
    why: str


class Refused(Exception):
    """A call that can't be answered. `retry_after` in seconds, where trying again may help."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        field: str | None = None,
        allowed: Sequence[str] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.field = field
        self.allowed = tuple(allowed)
        self.retry_after = retry_after


class Hold(Protocol):
    """A call that waits: for its turn, or for a model that is being started."""

    @property
    def decided(self) -> asyncio.Future[Decision]:
        """Ends with where it goes, or raises Refused."""

    def told(self) -> str:
        """What it waits for, with its position and the seconds expected, in one line: for keep-alives."""

    def leave(self) -> None:
        """Its client has gone."""


class Routing(Protocol):
    """Says where calls go, and counts them there."""

    def choose(self, call: Call, *, without: Collection[str] = ()) -> Decision | Hold:
        """Where it goes, but to none of the backends `without`; or a wait. Raises Refused."""

    def began(self, decision: Decision) -> None:
        """Its request is under way. Each is followed by one `ended`."""

    def ended(self, decision: Decision, *, answered: bool) -> None:
        """It is over. `answered`: the backend gave an answer, whatever it was."""
