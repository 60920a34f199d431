"""Asks a Spark everything that doctor wants to know; the only file here that does I/O. Nothing there is changed by it.

The way is tried step by step (name, port, the server's first words), since "it can't be reached" helps nobody; then the
very connection that the loop would use is opened, and one script is run over it.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from reconciler.disks.where import DEFAULT_CACHE
from reconciler.doctor import asked
from reconciler.doctor.case import Broken, Case, Place, Stage
from reconciler.facts import ScanFailed
from reconciler.hostkeys import HostKeyChanged, HostKeyUnknown
from reconciler.linkdown import ChannelRefused, CommandTimeout, LinkDown
from reconciler.ssh import Link

PATIENCE: Final = 5.0  # seconds for each step of the way
GREETING: Final = b"SSH-"
LINES: Final = 20  # that a server may say before its greeting
OF_REASON: Final[dict[str, Stage]] = {
    "ConfigUnreadable": "name", "JumpLoop": "name", "NameNotResolved": "name",
    "NoRoute": "port", "ConnectionRefused": "port",
    "ConnectionLost": "ssh", "ProtocolError": "ssh",
    "HostKeyUnknown": "host-key", "HostKeyChanged": "host-key",
    "AuthRefused": "login", "KeyUnreadable": "login",
}  # fmt: skip
Tell = Callable[[str], None]


async def examine(link: Link, case: Case, tell: Tell, *, now: Callable[[], float] = time.time) -> Case:
    """`case` with all that could be found out. Closes the connection; never raises for what is wrong with the Spark."""
    try:
        tell("finding the way")
        case = await _way(link, case)
        if case.broken is not None:
            return case
        tell("logging in")
        case = await _login(link, case)
        if case.broken is not None:
            return case
        tell("asking Docker, the GPU, the disks")
        case = await _ask(link, case, now)
        if case.told is None:
            return case
        return replace(case, forwards=await _forwards(link, case))
    finally:
        await link.close()


async def _way(link: Link, case: Case) -> Case:
    """Name, port and greeting of a Spark that is reached directly. Through another machine only that one knows them."""
    try:
        host, port, user, between = await link.whereabouts()
    except LinkDown as down:
        return replace(case, broken=_broken(down, "name"))
    case = replace(case, place=Place(host=host, port=port, user=user, jumped=between))
    if between:
        return case
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(2 * PATIENCE):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # gaierror and TimeoutError are kinds of it
        what = getattr(error, "strerror", None) or str(error) or "nobody answered in time"
        return _cut(case, "name", "NameNotResolved", str(error), what)
    case = replace(case, addresses=tuple(dict.fromkeys(str(each[4][0]) for each in found)))
    return await _greeting(case, host, port)


async def _greeting(case: Case, host: str, port: int) -> Case:
    """Whether something takes connections there, and greets as an SSH server does."""
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return _cut(case, "port", "ConnectTimeout", "", f"no answer within {PATIENCE:g} s")
    except OSError as error:
        refused = isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error)
        reason = "ConnectionRefused" if refused and "111" in str(error) else "NoRoute"
        return _cut(case, "port", reason, str(error), error.strerror or str(error))
    said = b""
    try:
        async with asyncio.timeout(PATIENCE):
            for _ in range(LINES):
                line = await reader.readline()
                said += line
                if line.startswith(GREETING):
                    return case
                if not line:
                    break
    except TimeoutError:
        return _cut(case, "ssh", "Silent", "", "") if not said else _not_ssh(case, said)
    except (OSError, ValueError):  # a reset; or a line without an end, which no SSH server sends
        pass
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return _not_ssh(case, said) if said else _cut(case, "ssh", "Closed", "", "")


def _not_ssh(case: Case, said: bytes) -> Case:
    return _cut(case, "ssh", "NotSsh", "", said[:60].decode(errors="replace").strip())


async def _login(link: Link, case: Case) -> Case:
    try:
        await link.connect()
    except LinkDown as down:
        return replace(case, broken=_broken(down, "ssh"))
    return case


def _broken(down: LinkDown, otherwise: Stage) -> Broken:
    cause = down.__cause__
    detail = cause.fingerprint if isinstance(cause, HostKeyUnknown | HostKeyChanged) else ""
    stage = OF_REASON.get(down.reason, otherwise)
    return Broken(stage=stage, reason=down.reason, message=down.message, detail=detail)


def _cut(case: Case, stage: Stage, reason: str, message: str, detail: str) -> Case:
    return replace(case, broken=Broken(stage=stage, reason=reason, message=message, detail=detail))


async def _ask(link: Link, case: Case, now: Callable[[], float]) -> Case:
    nonce = secrets.token_hex(16)
    script = asked.script(nonce, socket=case.spark.socket, weights=DEFAULT_CACHE)
    sent = now()
    try:
        outcome = await link.run(script, timeout=asked.LIMIT)
    except CommandTimeout as late:
        return _cut(case, "shell", "CommandTimeout", late.message, "")
    except LinkDown as down:
        return _cut(case, "shell", down.reason, down.message, "")
    answered = now()
    try:
        told, noise = asked.read(outcome.stdout, nonce)
    except ScanFailed as failed:
        said = (outcome.stdout + outcome.stderr).strip()
        return _cut(case, "shell", failed.reason, str(failed), "" if nonce in said else said)
    return replace(case, told=told, noise=f"{noise}{outcome.stderr}", sent_at=sent, answered_at=answered)


async def _forwards(link: Link, case: Case) -> bool | None:
    """Whether its server forwards the Engine's socket; None if the connection is gone."""
    home = (case.text("home") or "").strip()
    try:
        _, writer = await link.open_socket(case.spark.socket.replace("$HOME", home, 1))
    except ChannelRefused:
        return False
    except LinkDown:
        return None
    writer.channel.abort()
    return True
