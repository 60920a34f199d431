"""How Sparks are reached: over SSH, with the key, configuration and host keys that plain `ssh` would use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import asyncssh

from reconciler.hostkeys import HostKeys
from reconciler.remote import RemoteHost
from reconciler.ssh import Link
from state.desired import Settings, Spark

KEY_FILES: Final = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How Sparks are reached: with which key, which ssh configuration, and which host keys believed."""

    hostkeys: HostKeys
    key: Path | None = None
    config: tuple[Path, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str], own: Path) -> Reach:
        """As SSH_DIR, SSH_KEY_PATH and SSH_KNOWN_HOSTS say, or as plain `ssh` would. `own` is what trust writes to."""
        folder = Path(environ.get("SSH_DIR") or "~/.ssh").expanduser()
        known = Path(environ.get("SSH_KNOWN_HOSTS") or folder / "known_hosts").expanduser()
        named = environ.get("SSH_KEY_PATH")
        return cls(
            hostkeys=HostKeys([known], own=own),
            key=Path(named).expanduser() if named else _key_in(folder) if environ.get("SSH_DIR") else None,
            config=(folder / "config",),
        )

    def link(self, name: str, spark: Spark) -> Link:
        """A connection to a Spark, not opened yet."""
        return Link(name, spark, self.hostkeys, key_path=self.key, config=self.config)

    def address(self, name: str, spark: Spark) -> str:
        """Where apps' requests to it go: the host that is declared, or what ~/.ssh/config calls so."""
        del name
        host = spark.host.strip("[]")
        files = [(file, file.stat().st_mtime_ns) for file in map(Path.expanduser, self.config) if file.is_file()]
        return _host_name(host, tuple(files)) if files else host

    def host(self, name: str, spark: Spark, settings: Callable[[], Settings]) -> RemoteHost:
        """A Spark behind the loop's seam. `settings` are those in force whenever they are asked for."""
        link = self.link(name, spark)
        return RemoteHost(link, spark.socket, settings().owner, deadline=lambda: settings().scan_timeout)


@lru_cache(maxsize=256)
def _host_name(host: str, config: tuple[tuple[Path, int], ...]) -> str:
    """`config`: the files, and when each was written."""
    try:
        found = asyncssh.SSHClientConnectionOptions(
            config=[str(file) for file, _ in config], host=host, client_keys=None
        )
    except (asyncssh.Error, OSError, ValueError):
        return host  # the loop says what is wrong with it when it connects
    return str(found.host)


def _key_in(folder: Path) -> Path | None:
    return next((folder / name for name in KEY_FILES if (folder / name).is_file()), None)
