"""A process that reads a sound of any kind and writes its samples: 16 bits, 16 kHz, mono (`decoder`).

python -m api.proxies.audio.decoding SECONDS < sound > samples
"""

from __future__ import annotations

import importlib
import os
import resource
import sys
from typing import Any, Final

from api.proxies.audio.decoder import NO_SOUND, NOTHING_HEARD, RATE, TOO_LONG

MEMORY: Final = 4 * 2**30
"""Bytes of address space: a hostile file may ask for as much as it likes."""
PROCESSOR: Final = 1200
"""Seconds of work."""


def main(longest: int) -> int:
    """How it ends."""
    av: Any = importlib.import_module("av")  # what of it is known to mypy depends on whether it is there
    bad = (av.error.FFmpegError, ValueError, OSError, MemoryError)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it writes into a pipe
    os.lseek(sys.stdin.fileno(), 0, os.SEEK_SET)
    written = 0
    try:
        container = av.open(sys.stdin.buffer, options={"protocol_whitelist": "pipe"})  # no playlist
    except bad:
        return NO_SOUND
    try:
        if not container.streams.audio:
            return NOTHING_HEARD
        into = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        for frame in container.decode(audio=0):
            for made in into.resample(frame):
                written += _write(made)
            if written > longest * RATE:
                return TOO_LONG
        for made in into.resample(None):
            written += _write(made)
    except bad:
        return NOTHING_HEARD  # a part of a sound would look like all of it
    return 0 if written else NOTHING_HEARD


def _write(frame: Any) -> int:
    """The number of its samples."""
    count: int = frame.samples
    sys.stdout.buffer.write(bytes(frame.planes[0])[: 2 * count])
    return count


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
