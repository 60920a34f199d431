"""A lock between processes, on a file or a folder; the kernel lets go of it when its holder dies."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from state.git import GitFailed

LIMIT: Final = 60.0  # seconds to wait
PAUSE: Final = 0.02  # seconds between two tries


@asynccontextmanager
async def alone(path: Path) -> AsyncGenerator[None, None]:
    """While it holds, no other holder of a lock on this path goes on. A file is made if there is none."""
    try:
        handle = await asyncio.to_thread(_open, path)
    except OSError as error:
        raise GitFailed(f"{path} can't be locked: {error.strerror or error}") from None
    try:
        until = time.monotonic() + LIMIT
        while not _take(handle):
            if time.monotonic() > until:
                raise GitFailed(f"another sparkkeep has held {path} for more than {LIMIT:g} s")
            await asyncio.sleep(PAUSE)
        yield
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o644)


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
