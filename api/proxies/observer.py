"""What the wire tells of each request while it passes, for those who keep records. Nothing here keeps any."""

from __future__ import annotations

from typing import Protocol

from api.proxies.calls import Call, Decision


class Words(Protocol):
    """Wants to know what is said, where people have asked for that."""

    def asked(self, body: bytes) -> None:
        """What the app has said, as far as it is kept; again if another backend is asked."""

    def heard(self, raw: bytes, *, chunked: bool) -> None:
        """A piece of the answer's body as it was framed."""


class Record(Protocol):
    """One request. The calls come in this order; each may be left out by what happens, `ended` never."""

    def held(self) -> None:
        """It waits."""

    def routed(self, decision: Decision) -> Words | None:
        """Where it goes; a second time, if the first did not answer. Gives whoever wants to know what is said."""

    def answering(self, status: int) -> None:
        """The head of the answer has come."""

    def first(self) -> None:
        """The first byte of an answer goes to the client."""

    def ended(self, cause: str, *, status: int, received: int, sent: int, beginning: bytes, end: bytes) -> None:
        """It is over. `cause`: `answered`, or a reason in CamelCase; `status`: 0 if none was said.

        `received`, `sent`: bytes of its body and of its answer. `beginning` and `end` of the answer's body, as it was
        framed: where the count of tokens stands.
        """


class Observer(Protocol):
    """Who wants to know of requests."""

    def begin(self, call: Call, request_id: str) -> Record:
        """One has come, and may be answered."""


class Unseen:
    """A record and an observer of nothing."""

    def begin(self, call: Call, request_id: str) -> Record:  # noqa: ARG002  # as the protocol has it
        """Nothing is noted."""
        return self

    def held(self) -> None:
        """Nothing is noted."""

    def routed(self, decision: Decision) -> Words | None:  # noqa: ARG002  # as the protocol has it
        """Nothing is noted."""
        return None

    def answering(self, status: int) -> None:
        """Nothing is noted."""

    def first(self) -> None:
        """Nothing is noted."""

    def ended(self, cause: str, *, status: int, received: int, sent: int, beginning: bytes, end: bytes) -> None:
        """Nothing is noted."""
