"""What the pretend daemon refuses: an HTTP status for the socket, and the sentence the CLI prints."""

from __future__ import annotations


class DaemonError(Exception):
    """`status` is what the Engine API answers with; the text comes after `Error response from daemon: `."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def no_such_container(reference: str) -> DaemonError:
    """The one everybody knows."""
    return DaemonError(404, f"No such container: {reference}")


class DaemonGone(Exception):
    """The daemon went away while a client waited for it, or was never there: `reached` tells which."""

    def __init__(self, *, reached: bool) -> None:
        super().__init__()
        self.reached = reached
