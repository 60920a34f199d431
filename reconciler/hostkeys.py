"""Which host keys are trusted: what `known_hosts` files say, and what sparkkeep adds to its own.

The files of the user are read, never written. A key that a person confirmed (`sparkkeep trust`), or that was
met first under `trust: on-first-use`, goes into `own`. A host that has a key and shows another is refused,
whatever its `trust` says. The files are looked at again at every verdict, so a repaired one takes effect
at the next connection.

Names are matched as OpenSSH does: `[host]:port` where the port is not 22. If there is no such entry, a plain
entry of the host can still vouch for the same key, but a different key under the plain name is another
server's, not a change.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import asyncssh

if TYPE_CHECKING:
    from state.desired import Spark

Trust = Literal["known-hosts", "on-first-use"]
Stamp = tuple[tuple[int, int, int] | None, ...]
FETCH_TIMEOUT: Final = 8.0  # seconds
SSH_PORT: Final = 22
FAST_KEX: Final = "^curve25519-sha256,curve25519-sha256@libssh.org"
CERTIFIED: Final = "*-cert-v01@openssh.com"
PREFERRED: Final = "ssh-ed25519"  # shown first by OpenSSH too; asyncssh alone would ask for RSA


class Verdict(StrEnum):
    """What the files say of a key that a host has shown."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    ACCEPTED = "accepted"


class HostKeyUnknown(Exception):
    """No file has a key of this host. `key_line` is what `HostKeys.trust` takes once a person agreed."""

    def __init__(self, fingerprint: str, key_line: str) -> None:
        super().__init__(
            f"shows a host key that is not known yet: {fingerprint}. If that is its key, run `sparkkeep trust SPARK`"
        )
        self.fingerprint = fingerprint
        self.key_line = key_line


class HostKeyChanged(Exception):
    """The host showed another key than the files have (or one that they revoke)."""

    def __init__(self, fingerprint: str, expected: tuple[str, ...]) -> None:
        known = " or ".join(expected) or "one that is not revoked"
        super().__init__(
            f"shows another host key than before: {fingerprint} instead of {known}. Somebody may be listening in. "
            "If it was reinstalled, remove its old key (ssh-keygen -R) and run `sparkkeep trust SPARK`"
        )
        self.fingerprint = fingerprint
        self.expected = expected


def pattern(host: str, port: int) -> str:
    """The name that a known_hosts file has for this server."""
    return host if port == SSH_PORT else f"[{host}]:{port}"


def key_line(host: str, port: int, key: asyncssh.SSHKey) -> str:
    """One line of a known_hosts file, without a comment."""
    kind, data = key.export_public_key("openssh").decode().split()[:2]
    return f"{pattern(host, port)} {kind} {data}"


class HostKeys:
    """The known_hosts files, and the one among them that sparkkeep writes."""

    def __init__(self, files: Sequence[Path], own: Path) -> None:
        self._files = tuple(dict.fromkeys((*files, own)))
        self._own = own
        self._stamp: Stamp | None = None
        self._known = asyncssh.SSHKnownHosts()
        self._unread = False  # a file is there that can't be read, so nobody knows what "first" is

    def judge(self, host: str, addr: str, port: int, key: asyncssh.SSHKey, trust: Trust) -> Verdict:
        """The verdict on a key; on first use it is written down, then accepted."""
        names = [name for name in dict.fromkeys((host, addr)) if name]
        keys, authorities, revoked = self._entries([pattern(name, port) for name in names])
        if key in revoked or (keys and key not in keys):
            return Verdict.CHANGED
        if keys or (port != SSH_PORT and key in self._entries(names)[0]):
            return Verdict.KNOWN
        if trust != "on-first-use" or authorities or self._unread:
            return Verdict.UNKNOWN
        try:
            self.trust(key_line(host, port, key))
        except OSError:
            return Verdict.UNKNOWN  # what can't be written down would be "first" again tomorrow
        return Verdict.ACCEPTED

    def require(self, host: str, addr: str, port: int, key: asyncssh.SSHKey, trust: Trust) -> None:
        """Raises HostKeyUnknown or HostKeyChanged unless the key is known or was just accepted."""
        verdict = self.judge(host, addr, port, key, trust)
        if verdict is Verdict.UNKNOWN:
            raise HostKeyUnknown(key.get_fingerprint(), key_line(host, port, key))
        if verdict is Verdict.CHANGED:
            keys = self._entries([pattern(name, port) for name in (host, addr) if name])[0]
            raise HostKeyChanged(key.get_fingerprint(), tuple(k.get_fingerprint() for k in keys if k != key))

    def authorities(
        self, host: str, addr: str, port: int | None
    ) -> tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]:
        """For asyncssh's `known_hosts`: certificate authorities and revoked keys; plain keys go to `judge`."""
        names = [pattern(name, port or SSH_PORT) for name in (host, addr) if name]
        _, authorities, revoked = self._entries(names)
        return [], authorities, revoked

    def algorithms(self, host: str, port: int) -> str:
        """The host key algorithms to ask for: those of what is known of the host first, as OpenSSH does."""
        keys, authorities, _ = self._entries([pattern(host, port)])
        names = [CERTIFIED] if authorities else []
        for key in keys or self._entries([host])[0]:
            names += [name.decode() for name in key.sig_algorithms if name != b"ssh-rsa"]
        return "^" + ",".join(dict.fromkeys([*names, PREFERRED]))

    def trust(self, line: str) -> None:
        """Append a line to `own`, atomically and readable by the owner only. Raises ValueError for a bad one.

        It replaces what `own` had for the same name and kind of key.
        """
        fields = line.split()
        if len(fields) < 3 or "\n" in line.strip() or not _parse(line):  # noqa: PLR2004 - name, kind, key
            raise ValueError("not a line of a known_hosts file: it needs a name, a kind of key, and the key")
        old = self._own.read_text(errors="surrogateescape").splitlines() if self._own.exists() else []
        kept = [entry for entry in old if entry.split()[:2] != fields[:2]]
        self._own.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._own.with_name(f"{self._own.name}.{os.getpid()}.new")
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", errors="surrogateescape") as file:
            file.write("".join(f"{entry}\n" for entry in (*kept, line.strip())))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._own)

    async def fetch(
        self,
        spark: Spark,
        *,
        config: Sequence[Path] = (),
        tunnel: asyncssh.SSHClientConnection | None = None,
    ) -> tuple[str, str]:
        """The fingerprint and known_hosts line that the Spark shows now, for a person to confirm.

        Nothing is trusted by this. Raises OSError, TimeoutError or asyncssh.Error if the Spark can't be asked.
        """
        files = [str(file) for file in config]
        port = () if spark.port is None else spark.port
        async with asyncio.timeout(FETCH_TIMEOUT):
            options = await asyncssh.SSHClientConnectionOptions.construct(
                None, host=spark.host, port=port, config=files, client_keys=None
            )
            key = await asyncssh.get_server_host_key(
                spark.host,
                port,
                config=files,
                tunnel=tunnel,
                kex_algs=FAST_KEX,
                server_host_key_algs=f"^{PREFERRED}",
            )
        if key is None:
            raise asyncssh.KeyExchangeFailed("the server has shown no host key")
        return key.get_fingerprint(), key_line(options.host_key_alias or options.host, options.port, key)

    def _entries(
        self, names: Sequence[str]
    ) -> tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]:
        """Keys, certificate authorities and revoked keys of all these names."""
        self._refresh()
        found: tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]] = ([], [], [])
        for name in names:
            match = self._known.match(name, "", None)
            for into, keys in zip(found, match[:3], strict=True):
                into.extend(key for key in keys if key not in into)
        return found

    def _refresh(self) -> None:
        """Read the files again if any of them changed; a line that can't be read is passed over."""
        stamp = tuple(_stamp(file) for file in self._files)
        if stamp == self._stamp:
            return
        self._known, self._unread = asyncssh.SSHKnownHosts(), False
        for file, there in zip(self._files, stamp, strict=True):
            try:
                text = "" if there is None else file.read_text(errors="replace")
            except OSError:
                text, self._unread = "", True
            for line in text.splitlines():
                _load(self._known, line)
        self._stamp = stamp


class Checker(asyncssh.SSHClient):
    """Asks the policy about the key of one connection, and says when that connection is lost."""

    def __init__(self, keys: HostKeys, trust: Trust, *, tunneled: bool) -> None:
        self._keys = keys
        self._trust: Trust = trust
        self._tunneled = tunneled
        self.refusal: HostKeyUnknown | HostKeyChanged | None = None
        self.lost: Callable[[Exception | None], None] = lambda _: None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Whether asyncssh may go on. Behind a jump host `addr` is the jump host's own: it vouches for nothing."""
        try:
            self._keys.require(host, "" if self._tunneled else addr, port, key, self._trust)
        except (HostKeyUnknown, HostKeyChanged) as refusal:
            self.refusal = refusal
            return False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self.lost(exc)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino


def _load(known: asyncssh.SSHKnownHosts, line: str) -> bool:
    try:
        known.load(line)
    except ValueError:
        return False
    return True


def _parse(line: str) -> bool:
    """Whether the line holds a key that a host could show."""
    known = asyncssh.SSHKnownHosts()
    name = line.split(maxsplit=1)[0]
    return _load(known, line) and bool(known.match(name, "", None)[0])
