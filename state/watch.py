"""When it is worth looking at files again: something stirred in their folders, or enough time has passed.

Folders are watched, not files, since editors and Kubernetes replace files whole. Events are hints and may get lost;
the regular look does not. A folder that was itself replaced is noticed by its inode and watched anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from pathlib import Path
from typing import Final

from watchfiles import Change, awatch

from state.sources import SUFFIXES

BREATH: Final = 2.0  # seconds between two glances at the clock and at the folders' inodes


async def changes(paths: Sequence[Path], *, every: float) -> AsyncGenerator[None, None]:
    """Yields when one of these files or folders may have changed, and at least each `every` seconds."""
    names = {part.name for path in paths for part in (path, path.resolve())}
    due = 0.0  # look as soon as the watch stands
    while True:
        folders = await asyncio.to_thread(_folders, paths)
        async with contextlib.aclosing(_stirs([path for path, _ in folders], min(every, BREATH))) as stirs:
            async for stirred in stirs:
                if time.monotonic() >= due or any(_matters(Path(path), names) for _, path in stirred):
                    yield
                    due = time.monotonic() + every
                if await asyncio.to_thread(_folders, paths) != folders:
                    due = 0.0  # what changes until the new watch stands gives no event
                    break


async def _stirs(folders: Sequence[Path], breath: float) -> AsyncGenerator[set[tuple[Change, str]], None]:
    """What changed in the folders; nothing after each `breath` seconds."""
    timeout = round(breath * 1000)
    try:
        if folders:
            watch = awatch(
                *folders,
                watch_filter=None,
                recursive=False,
                step=200,
                debounce=400,
                rust_timeout=timeout,
                yield_on_timeout=True,
            )
            async with contextlib.aclosing(watch) as found:
                async for stirred in found:
                    yield stirred
    except (OSError, RuntimeError):  # no inotify watches left, a folder that went away
        pass
    await asyncio.sleep(breath)
    yield set()


def _folders(paths: Iterable[Path]) -> tuple[tuple[Path, tuple[int, int]], ...]:
    """The folders to watch, with what tells whether one was replaced by another of its name."""
    wanted: set[Path] = set()
    for path in paths:
        for place in (path, path.resolve()):
            wanted |= {place.parent, place} if place.is_dir() else {place.parent}
    found = []
    for folder in sorted(wanted):
        with contextlib.suppress(OSError):
            status = folder.stat()
            found.append((folder, (status.st_dev, status.st_ino)))
    return tuple(found)


def _matters(path: Path, names: set[str]) -> bool:
    """Ours, or a YAML file beside ours, or Kubernetes' `..data`; not a database that is written all the time."""
    return path.name in names or path.suffix in SUFFIXES or path.name.startswith("..")
