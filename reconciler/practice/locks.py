"""Files that a script holds open, and the locks on them: `exec 9<file`, then `flock 9`.

As the kernel has it, a lock belongs to what was opened and not to who opened it: subshells share it, and it is let go
when the last of them is done with it, whatever became of the connection. A lock that is asked for in another mode is
let go first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reconciler.practice.shell_io import Io
    from reconciler.practice.shell_run import Shell

USAGE: Final = 64
NOT_OPEN: Final = 65
TAKEN: Final = 1


class FileLock:
    """Who holds a lock on one file; True for exclusively."""

    def __init__(self) -> None:
        self._held: dict[Opened, bool] = {}
        self._waiting: list[asyncio.Future[None]] = []

    async def take(self, opened: Opened, *, exclusive: bool, patience: float | None) -> bool:
        """Whether it was to be had within so many seconds; None waits for ever."""
        self.release(opened)
        try:
            async with asyncio.timeout(patience):
                while any(exclusive or other for other in self._held.values()):
                    turn = asyncio.get_running_loop().create_future()
                    self._waiting.append(turn)
                    await turn
        except TimeoutError:
            return False
        self._held[opened] = exclusive
        return True

    def release(self, opened: Opened) -> None:
        """Let go of it; whoever waits tries again."""
        self._held.pop(opened, None)
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)


class Opened:
    """A file as it was opened once, shared by so many shells."""

    def __init__(self, path: str, lock: FileLock) -> None:
        self.path = path
        self.lock = lock
        self._shells = 1

    def share(self) -> Opened:
        """One more shell has it."""
        self._shells += 1
        return self

    def close(self) -> None:
        """One shell less; the last one takes the lock with it."""
        self._shells -= 1
        if not self._shells:
            self.lock.release(self)


async def flock(shell: Shell, argv: list[str], io: Io) -> int:
    """`flock [-s | -x | -u] [-n] [-w SECONDS] NUMBER`."""
    exclusive, patience, words = True, None, argv[1:]
    while words and words[0].startswith("-"):
        match words.pop(0), words:
            case "-s" | "-x" | "-e" as mode, _:
                exclusive = mode != "-s"
            case "-n", _:
                patience = 0.0
            case "-w", [seconds, *rest] if seconds.replace(".", "", 1).isdigit():
                patience, words = float(seconds), rest
            case "-u", [number] if number.isdigit() and int(number) in shell.descriptors:
                opened = shell.descriptors[int(number)]
                opened.lock.release(opened)
                return 0
            case option, _:
                io.error(f"flock: practice: `{option}` is not known here\n")
                return USAGE
    if len(words) != 1 or not words[0].isdigit():
        io.error("flock: practice: only `flock [OPTION]... NUMBER` is known here\n")
        return USAGE
    opened_as = shell.descriptors.get(int(words[0]))
    if opened_as is None:
        io.error(f"flock: {words[0]}: Bad file descriptor\n")
        return NOT_OPEN
    return 0 if await opened_as.lock.take(opened_as, exclusive=exclusive, patience=patience) else TAKEN
