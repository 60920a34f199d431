"""What can stand between a client and a backend that does not speak its dialect. Bytes in, bytes out, no waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from api.proxies.calls import Backend, Field


class Translation(Protocol):
    """One call that an app makes in one dialect and its backend answers in another."""

    @property
    def path(self) -> str:
        """What the backend is asked instead."""

    @property
    def status(self) -> int:
        """The answer's status as it is known now; of one that is not streamed it may change until its end."""

    def body(self) -> bytes:
        """The request for the backend. Raises Refused for what can't be said there."""

    def head(self, status: int, fields: list[Field]) -> tuple[int, list[Field]]:
        """The answer's head: the backend's in, the app's out. Its length is not known yet."""

    def feed(self, data: bytes) -> bytes:
        """Bytes of the backend's answer in, bytes for the app out; nothing is held back that need not be."""

    def end(self) -> bytes:
        """The backend's answer is complete."""

    def broken(self, reason: str, message: str) -> bytes:
        """It broke: an error event, where a stream had begun."""


Translate = Callable[[str, list[Field], bytes, Backend], Translation | None]
"""Makes one for a call: its path, header fields and body, and who answers it. None: the backend speaks its dialect."""
