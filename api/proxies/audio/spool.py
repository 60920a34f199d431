"""Where the sound of one request lies while it is asked about: a file without a name, beside what is in memory.

It is never linked into a folder, so the kernel removes it with the last descriptor, however this process ends. It is
written and read in threads, a piece at a time: a slow disk is not felt by other requests. Pieces have their places, so
several can read at once.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import IO, Final, TypeVar

from api.proxies.calls import Refused

PIECE: Final = 256 * 2**10
"""Bytes that are read at once."""
HELD: Final = 2**20
"""Bytes after which what has come is written."""

AGAIN: Final = 15.0
"""Seconds after which another sound may be gone."""
MOST: Final = 8 * 2**30

_Value = TypeVar("_Value")


class Room:
    """What all sounds together may take of the disk. `most`: bytes, which may be set anew at any time."""

    def __init__(self, most: Callable[[], int] = lambda: MOST) -> None:
        self._most = most
        self.taken = 0

    def take(self, size: int, *, whole: int) -> None:
        """So much more, for one that is `whole` bytes with that. Raises Refused."""
        most = self._most()
        if whole > most:
            message = f"all sounds together may take {_mib(most)} here (`settings.proxy.spool`), and this one is larger"
            raise Refused(413, "BodyTooLarge", message)
        if self.taken + size > most:
            message = (
                f"other sounds take {_mib(self.taken)} of the {_mib(most)} that there is for all "
                "(`settings.proxy.spool`); send it again later"
            )
            raise Refused(507, "SpoolFull", message, retry_after=AGAIN)
        self.taken += size

    def give(self, size: int) -> None:
        """So much less."""
        self.taken -= size


def _mib(size: int) -> str:
    return f"{size / 2**20:.4g} MiB"


class Spool:
    """One of them, whose size counts in `room`.

    `told` is called when it is `behind`, and again when it has caught up or failed.
    """

    __slots__ = (
        "_closed",
        "_file",
        "_folder",
        "_held",
        "_jobs",
        "_room",
        "_taken",
        "_told",
        "_writing",
        "failed",
        "size",
    )

    def __init__(self, folder: Path | None, told: Callable[[], None], room: Room | None = None) -> None:
        self._folder = folder
        self._told = told
        self._room = room or Room()
        self._taken = 0
        self._file: IO[bytes] | None = None
        self._held = bytearray()
        self._writing: asyncio.Future[None] | None = None
        self._jobs = 0  # threads that use the file
        self._closed = False
        self.size = 0
        self.failed: OSError | None = None

    @property
    def behind(self) -> bool:
        """Whether a piece is being written."""
        return self._writing is not None

    def expect(self, size: int) -> None:
        """So large it will be at least: the room for it is taken now. Raises Refused."""
        if size > self._taken and not self._closed:
            self._room.take(size - self._taken, whole=size)
            self._taken = size

    def write(self, data: bytes) -> None:
        """More of it. Raises Refused where there is no room."""
        if self._closed:
            return
        if self.size + len(data) > self._taken:
            self.expect(self.size + max(HELD, len(data)))
        self._held += data
        self.size += len(data)
        if len(self._held) >= HELD and self._writing is None:
            self._begin()

    def _begin(self) -> None:
        held, self._held = bytes(self._held), bytearray()
        at = self.size - len(held)
        self._writing = self._in_thread(partial(self._written, held, at))
        self._writing.add_done_callback(self._wrote)
        self._told()

    def _written(self, data: bytes, at: int) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115  # closed by `close`
        view = memoryview(data)
        while view:
            done = os.pwrite(self._file.fileno(), view, at)
            view, at = view[done:], at + done

    def _wrote(self, writing: asyncio.Future[None]) -> None:
        self._writing = None
        error = None if writing.cancelled() else writing.exception()
        if isinstance(error, OSError):
            self.failed = error
        elif error is not None:
            raise error
        if not self._closed:
            if len(self._held) >= HELD and self.failed is None:
                self._begin()
            else:
                self._told()

    async def settled(self) -> None:
        """All of it is there to be read. Raises OSError."""
        while self.failed is None and (self._writing is not None or self._held):
            if self._writing is None:
                self._begin()
            if self._writing is not None:
                await asyncio.wait([self._writing])
        if self.failed is not None:
            raise self.failed

    async def pieces(self) -> AsyncIterator[bytes]:
        """From its beginning to its end."""
        at = 0
        while at < self.size and not self._closed:
            piece = await asyncio.shield(self._in_thread(partial(self._read, at)))
            if not piece:
                raise OSError("what was spooled is not there any more")
            at += len(piece)
            yield piece

    def descriptor(self) -> int:
        """Another descriptor of the file, for a process of its own; whoever gets it closes it. Raises OSError."""
        if self._file is None:
            raise OSError("nothing was spooled")
        return os.dup(self._file.fileno())

    def _read(self, at: int) -> bytes:
        return b"" if self._file is None else os.pread(self._file.fileno(), PIECE, at)

    def _in_thread(self, work: Callable[[], _Value]) -> asyncio.Future[_Value]:
        self._jobs += 1
        job = asyncio.get_running_loop().run_in_executor(None, work)
        job.add_done_callback(self._ended)
        return job

    def _ended(self, _: object) -> None:
        self._jobs -= 1
        if self._closed:
            self._close()

    def close(self) -> None:
        """Nobody needs it any more."""
        self._closed = True
        self._held.clear()
        self._close()

    def _close(self) -> None:
        if self._jobs:  # a thread may not lose it under its hands
            return
        self._room.give(self._taken)
        self._taken = 0
        if self._file is not None:
            self._file.close()
            self._file = None
