"""Secrets: files of mode 0600 in a folder of their own, named in the desired state and never written there.

A value appears in no message and no repr. A file that others could read is refused, with the command that mends it.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Final

from state.fields import NAME

MAX_VALUE: Final = 32_768
OTHERS: Final = 0o077


class SecretRefused(Exception):
    """A secret that is not there, or not fit to be used. The message says what to do, never the value."""


class Secrets:
    """The secrets in a folder."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def __repr__(self) -> str:
        return f"Secrets({str(self.folder)!r})"

    def names(self) -> tuple[str, ...]:
        """The secrets that exist, readable or not."""
        try:
            return tuple(sorted(path.name for path in self.folder.iterdir() if re.fullmatch(NAME, path.name)))
        except FileNotFoundError:
            return ()

    def get(self, name: str) -> str:
        """The value, without one newline at its end. Raises SecretRefused."""
        path = self._path(name)
        try:
            # Not to wait for a writer, should somebody have put a pipe there.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise SecretRefused(
                f"there is no secret {name}: `sparkkeep secret set {name}` puts it into {path}"
            ) from None
        except OSError as error:
            raise SecretRefused(f"the secret {name} can't be read: {error.strerror}") from None
        try:
            _check(path, os.fstat(descriptor))
            return _value(name, os.read(descriptor, MAX_VALUE + 2))
        finally:
            os.close(descriptor)

    def set(self, name: str, value: str) -> None:
        """Write it whole or not at all. Raises SecretRefused."""
        path = self._path(name)
        data = value.encode("utf-8", "surrogatepass")
        _value(name, data)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=self.folder)  # mode 0600 from the start
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise SecretRefused(f"the secret {name} can't be written: {error.strerror}") from None

    def remove(self, name: str) -> bool:
        """Forget it; False if there was none. Raises SecretRefused."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise SecretRefused(f"the secret {name} can't be removed: {error.strerror}") from None
        return True

    def _path(self, name: str) -> Path:
        if not re.fullmatch(NAME, name):
            raise SecretRefused("a secret's name has lower-case letters, digits, '-' and '.', at most 63")
        return self.folder / name


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SecretRefused(f"{path} is not a file")
    if status.st_uid != os.geteuid():
        raise SecretRefused(f"{path} belongs to another user; run: sudo chown {os.geteuid()} {path}")
    if status.st_mode & OTHERS:
        raise SecretRefused(f"{path} can be read by others; run: chmod 600 {path}")


def _value(name: str, data: bytes) -> str:
    """One line of text: it will stand in an environment file."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise SecretRefused(f"the secret {name} is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or len(data) > MAX_VALUE:
        raise SecretRefused(f"the secret {name} must have 1 to {MAX_VALUE} bytes")
    if any(mark in text for mark in "\n\r\0"):
        raise SecretRefused(f"the secret {name} must be one line, without NUL")
    return text
