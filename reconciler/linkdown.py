"""How a Spark's connection fails: the errors, and the plain words for them.

Everything that can go wrong with a Spark's connection is a `LinkDown` with a reason (one CamelCase word) and a
sentence that says what to do. The one question that matters after a failure is whether a command may have run, so
`LinkDown.maybe_done` answers it. A Spark that answers and says no, to a forwarded port or socket, is no such
failure: that is a `ChannelRefused`.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

import asyncssh
from asyncssh.config import ConfigParseError


class LinkDown(Exception):
    """The Spark can't be used through this connection. `maybe_done`: a command was sent, its fate is unknown."""

    maybe_done = False

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class NotSent(LinkDown):
    """The connection stands, but the command got no channel: it surely did not run."""


class ConnectionBroken(LinkDown):
    """The connection broke after the command was sent."""

    maybe_done = True


class CommandTimeout(LinkDown):
    """The command was sent and did not end in time; its channel was killed."""

    maybe_done = True


class OutputTooLong(ConnectionBroken):
    """The command printed more than is kept; it was killed."""


class ChannelRefused(Exception):
    """The Spark answered, and the answer was no: nothing is wrong with the connection."""


class ForwardingRefused(ChannelRefused):
    """The SSH server forbids this kind of forwarding."""


class PortClosed(ChannelRefused):
    """Nothing answers at that port or socket. For a socket, OpenSSH says the same where it forbids forwarding."""


WORDS: Final = (
    (TimeoutError, "ConnectTimeout", "{who} did not answer in time: is it switched on, and on this network?"),
    (socket.gaierror, "NameNotResolved", "the name of {who} is not known here: {why}"),
    (ConnectionRefusedError, "ConnectionRefused", "{who} is up, but nothing answers at its SSH port: does sshd run?"),
    (ConnectionError, "ConnectionLost", "{who} closed the connection while it was being opened: {why}"),
    (OSError, "NoRoute", "{who} can't be reached from here: {why}"),
    (asyncssh.PermissionDenied, "AuthRefused", "{who} refused the user or key: {why}. Does plain `ssh` get in?"),
    (asyncssh.HostKeyNotVerifiable, "HostKeyUnknown", "the host key of {who} was refused: {why}"),
    (asyncssh.ChannelOpenError, "NoRoute", "the jump host can't reach {who}: {why}"),
    (asyncssh.ConnectionLost, "ConnectionLost", "{who} closed the connection while it was being opened: {why}"),
    (asyncssh.Error, "ProtocolError", "no SSH connection with {who} came about: {why}"),
    (ConfigParseError, "ConfigUnreadable", "the SSH configuration has a mistake: {why}"),
    (ValueError, "KeyUnreadable", "a key for {who} can't be used: {why}"),
)


def explain(error: Exception, name: str, host: str) -> LinkDown:
    """What went wrong when the connection was opened, and what to do about it."""
    if isinstance(error, OSError) and error.filename is not None:
        return LinkDown("KeyUnreadable", f"{error.filename} can't be read: {error.strerror}")
    if type(error) is OSError and f"[Errno {errno.ECONNREFUSED}]" in str(error):
        error = ConnectionRefusedError(str(error))  # several addresses were tried; asyncio joins their errors
    why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    reason, text = next((reason, text) for kind, reason, text in WORDS if isinstance(error, kind))
    return LinkDown(reason, text.format(who=f"{name} ({host})", why=why))
