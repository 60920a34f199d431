"""The data folder: what sparkkeep remembers between runs, and the lock that keeps a second one out."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

DEFAULT: Final = Path("~/.local/share/sparkkeep")
HOLDER: Final = re.compile(r"[0-9a-f-]{36}\n")


class Unusable(Exception):
    """Something on this machine stands in the way; the message says what to do."""


class DataFolder:
    """Use as `with DataFolder(path) as folder`: it is there, ours alone, and nobody else's until the end."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        self._lock: int | None = None

    @property
    def journal(self) -> Path:
        """What has happened."""
        return self.path / "journal.sqlite"

    @property
    def secrets(self) -> Path:
        """One file for each secret."""
        return self.path / "secrets"

    @property
    def redaction_map(self) -> Path:
        """What redacted sessions have masked, encrypted."""
        return self.path / "redaction.sqlite"

    @property
    def known_hosts(self) -> Path:
        """The host keys that people agreed to."""
        return self.path / "known_hosts"

    @property
    def desired(self) -> Path:
        """The desired state, where none is named and for practice."""
        return self.path / "desired.yaml"

    @property
    def mods(self) -> Path:
        """Patches for containers, where none lie beside the desired state."""
        return self.path / "mods"

    def holder(self) -> str:
        """`ID@MACHINE`: who we are to other sparkkeeps that could keep the same Sparks, the same in every run.

        The machine's name is part of it, so that a copy of this folder elsewhere is somebody else. Raises Unusable.
        """
        kept = self.path / "holder"
        try:
            known = kept.read_text() if kept.exists() else ""
            if not HOLDER.fullmatch(known):
                known = f"{uuid.uuid4()}\n"
                fresh = kept.with_suffix(".new")
                fresh.write_text(known)
                fresh.replace(kept)
        except (OSError, UnicodeDecodeError) as error:
            what = f"{kept} can't be read or written: put it right, or name another folder with --data"
            raise Unusable(what) from error
        machine = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:100]
        return f"{known.strip()}@{machine or 'localhost'}"

    def make(self) -> None:
        """Create what is missing, for this user only. Raises Unusable."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.secrets.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            what = f"the data folder {self.path} can't be used ({error.strerror}): name another one with --data"
            raise Unusable(what) from error

    def __enter__(self) -> Self:
        self.make()
        try:
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            what = f"the data folder {self.path} can't be written to ({error.strerror}): name another one with --data"
            raise Unusable(what) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(lock, 20).decode(errors="replace").strip()
            os.close(lock)
            who = f"sparkkeep (process {owner})" if owner.isdigit() else "sparkkeep"
            what = f"another {who} already uses {self.path}: stop it, or give this one its own folder with --data"
            raise Unusable(what) from error
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            with suppress(OSError):
                os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None
