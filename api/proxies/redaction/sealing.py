"""The key of the map, and what is done with it: rows that only it opens, and names that only it can compute."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class VaultRefused(Exception):
    """The map can't be opened or used; what to do about it is said."""


class Seal:
    """One key for sealing and one for computing names, both out of the file's."""

    def __init__(self, key: bytes) -> None:
        self._aes = AESGCM(_derived(key, b"sparkkeep map: rows"))
        self._names = _derived(key, b"sparkkeep map: names")

    def sealed(self, plain: bytes, place: bytes) -> bytes:
        """Encrypted for one place of the map: elsewhere it doesn't open."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aes.encrypt(nonce, plain, place)

    def opened(self, sealed: bytes, place: bytes) -> bytes:
        """Raises VaultRefused where the key is another, or the row not what was written."""
        try:
            return self._aes.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place)
        except (InvalidTag, ValueError) as error:
            raise VaultRefused(
                "a row of the map doesn't open with its key: it was changed, or belongs elsewhere"
            ) from error

    def name(self, *parts: str) -> bytes:
        """A keyed hash of these words, each with its length, so that no two lists of words give the same."""
        told = hmac.new(self._names, digestmod=hashlib.sha256)
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            told.update(len(data).to_bytes(8, "big") + data)
        return told.digest()


def read_key(path: Path) -> bytes | None:
    """The key in the file; None: there is no file. Raises VaultRefused where others can read it, or it is no key."""
    try:
        with path.open("rb") as file:
            mode, key = os.fstat(file.fileno()).st_mode, file.read(KEY_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise VaultRefused(f"can't read the map's key {path}: {error.strerror}") from error
    if mode & OTHERS:
        raise VaultRefused(f"others can read the map's key {path} (mode {stat.S_IMODE(mode):o}): chmod 600 it")
    if len(key) != KEY_BYTES:
        raise VaultRefused(f"{path} is no key of a map: it has to hold {KEY_BYTES} bytes")
    return key


def make_key(path: Path) -> bytes:
    """A new key, for its owner only, on the disk before anything is sealed with it. Raises VaultRefused."""
    key = os.urandom(KEY_BYTES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, key)
            os.fsync(file)
        finally:
            os.close(file)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise VaultRefused(f"can't make the map's key {path}: {error.strerror}") from error
    return key


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.new(key, purpose, hashlib.sha256).digest()
