"""Any sound as WAV of 16 kHz, mono: decoded in a process apart, since files of strangers are read by libraries in C.

The process (`decoding`) gets the spooled file as its input and nothing else; what it gives is spooled again while it
comes. It needs PyAV, which `sparkkeep[audio]` installs.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import struct
import sys
from collections.abc import Callable
from typing import Final

from api.proxies.audio.spool import Spool
from api.proxies.calls import Refused

RATE: Final = 16000
WAV_PART: Final = (
    b'Content-Disposition: form-data; name="file"; filename="sound.wav"\r\nContent-Type: audio/wav\r\n\r\n'
)
LONGEST: Final = 24 * 3600
"""Seconds of a sound."""
PATIENCE: Final = 1800.0
AT_ONCE: Final = 2
NO_SOUND, NOTHING_HEARD, TOO_LONG = 3, 4, 5
"""How the process ends that has nothing to give."""
_HEADER: Final = 44
_BYTES: Final = 2  # of a sample
_PIECE: Final = 256 * 2**10
_SAID: Final = {
    NO_SOUND: (415, "UnsupportedMediaType", "the file is no sound that can be read here"),
    NOTHING_HEARD: (422, "BadSound", "the file is broken, or has no sound in it"),
    TOO_LONG: (422, "BadSound", f"a sound may last {LONGEST // 3600} hours"),
}


def wav_header(size: int) -> bytes:
    """What stands before so many bytes of samples."""
    size = min(size, 2**32 - _HEADER)
    form = struct.pack("<HHIIHH", 1, 1, RATE, RATE * _BYTES, _BYTES, 8 * _BYTES)
    return struct.pack("<4sI4s4sI16s4sI", b"RIFF", size + _HEADER - 8, b"WAVE", b"fmt ", 16, form, b"data", size)


class Decoder:
    """Of one server. `spool` makes a place for a sound."""

    def __init__(self, spool: Callable[[Callable[[], None]], Spool]) -> None:
        self._spool = spool
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def decoded(self, sound: Spool) -> Spool | None:
        """Its samples in a spool of the caller's; None: it is such a WAV. Raises Refused, OSError."""
        async for first in sound.pieces():
            if _is_wanted(first[:_HEADER]):
                return None
            break
        if importlib.util.find_spec("av") is None:
            message = (
                "this model's server reads WAV of 16 kHz, mono, alone, and nothing is installed here that makes one: "
                "send such a WAV, or install `sparkkeep[audio]`"
            )
            raise Refused(415, "UnsupportedMediaType", message, field="file")
        async with self._turn:
            return await self._run(sound)

    async def _run(self, sound: Spool) -> Spool:
        room = asyncio.Event()
        target = self._spool(room.set)
        given = sound.descriptor()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "api.proxies.audio.decoding", str(LONGEST)),
                stdin=given,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=_PIECE,
            )
        except BaseException:
            target.close()
            raise
        finally:
            os.close(given)
        try:
            async with asyncio.timeout(PATIENCE):
                await _taken(process, target, room)
                _judge(await process.wait())
                await target.settled()
        except TimeoutError:
            target.close()
            raise _refused(NOTHING_HEARD) from None
        except BaseException:
            target.close()
            raise
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return target


def _refused(status: int) -> Refused:
    return Refused(*_SAID.get(status, _SAID[NOTHING_HEARD]), field="file")


def _judge(status: int) -> None:
    if status:  # also by a signal
        raise _refused(status)


async def _taken(process: asyncio.subprocess.Process, target: Spool, room: asyncio.Event) -> None:
    assert process.stdout is not None  # noqa: S101  # a pipe
    while piece := await process.stdout.read(_PIECE):
        target.write(piece)
        while target.behind:
            room.clear()
            await room.wait()


def _is_wanted(head: bytes) -> bool:
    """Whether a file begins as such a WAV does that has nothing else in it."""
    return (
        len(head) == _HEADER
        and head[:4] == b"RIFF"
        and head[8:16] == b"WAVEfmt "
        and head[20:36] == wav_header(0)[20:36]
        and head[36:40] == b"data"
    )
