"""A loop whose time jumps: waiting costs nothing, and everything happens in the same order every time."""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

EPOCH = 1_800_000_000.0


class _Selector(selectors.SelectSelector):
    """Nothing comes from outside; where nothing is ready, the next timer is."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("everything waits for something that nobody will do")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` begins at 0. What would run in a thread runs at once."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def wall(self) -> float:
        """Unix seconds."""
        return EPOCH + self._virtual.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        del executor
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  # whoever awaits it gets it
            done.set_exception(error)
        return done
