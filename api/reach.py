"""How Sparks are reached: over SSH, with the key, configuration and host keys that plain `ssh` would use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.hostkeys import HostKeys
from reconciler.remote import RemoteHost
from reconciler.ssh import Link
from state.desired import Spark

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

    def host(self, name: str, spark: Spark, owner: str) -> RemoteHost:
        """A Spark behind the loop's seam."""
        return RemoteHost(self.link(name, spark), spark.socket, owner)


def _key_in(folder: Path) -> Path | None:
    return next((folder / name for name in KEY_FILES if (folder / name).is_file()), None)
