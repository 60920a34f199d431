"""The optional bearer token: one word in a file, which callers show and the server compares.

It is given by its file's name, never by itself: what stands in an argv or in the environment can be read by others.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Final

from api.folder import Unusable

WORD: Final = re.compile(rb"[A-Za-z0-9._~+/=-]{16,4096}")
OTHERS: Final = 0o077
CHALLENGE: Final = 'Bearer realm="sparkkeep"'


class Token:
    """What callers have to show. Only its digest is kept."""

    def __init__(self, word: str) -> None:
        self._digest = _digest(word)

    def __repr__(self) -> str:
        return "Token(...)"

    def shown_in(self, authorization: Iterable[str]) -> bool:
        """Whether these Authorization headers are one, and show it. Takes as long for every guess."""
        given = list(authorization)
        scheme, _, word = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        return compare_digest(_digest(word.strip()), self._digest) and scheme.lower() == "bearer"


def read_token(path: Path) -> str:
    """The word in a file that only its owner can read. Raises Unusable, without the word."""
    try:
        # Not to wait for a writer, should somebody have put a pipe there.
        descriptor = os.open(path.expanduser(), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unusable(f"the token file {path} can't be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unusable(f"the token file {path} is not a file")
        if status.st_mode & OTHERS:
            raise Unusable(f"the token file {path} can be read by others; run: chmod 600 {path}")
        word = os.read(descriptor, 5000).strip()
    finally:
        os.close(descriptor)
    if not WORD.fullmatch(word):
        raise Unusable(
            f"the token file {path} must hold one word of 16 to 4096 letters, digits and ._~+/=-; "
            f"this makes one: (umask 077; openssl rand -hex 32 > {path})"
        )
    return word.decode()


def _digest(word: str) -> bytes:
    """So that what is compared has one length, whatever was sent."""
    return sha256(word.encode("utf-8", "surrogatepass")).digest()
