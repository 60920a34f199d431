"""What a `kill -9` ends: every task of one controller, at one await, without a single `finally`.

A controller's tasks are told from the world's by a context variable, which tasks inherit. Each time one of them goes
on after an await is a step of its life, and a life can end before any of its steps. From then on its tasks wait for
ever; what they were waiting for goes on without them, as it does on a Spark whose client died.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any

_LIFE: ContextVar["Life | None"] = ContextVar("whose task this is", default=None)


def _nothing() -> None:
    pass


class Life:
    """Of one controller. `fatal` is the step before which it ends; 0: it lives on."""

    def __init__(
        self,
        name: str,
        fatal: int = 0,
        died: Callable[[], None] = _nothing,
        stepped: Callable[[], None] = _nothing,
    ) -> None:
        self.name = name
        self.fatal = fatal
        self.steps = 0
        self.dead = False
        self.open = set[asyncio.Task[Any]]()
        self._died = died
        self._stepped = stepped

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of this life; so is every task that it makes."""
        token = _LIFE.set(self)
        try:
            return asyncio.get_running_loop().create_task(work, name=self.name)
        finally:
            _LIFE.reset(token)

    def step(self) -> bool:
        """Whether the next step may be taken."""
        if self.dead:
            return False
        self._stepped()
        self.steps += 1
        if self.steps == self.fatal:
            self.end()
        return not self.dead

    def cancel(self) -> None:
        """It is asked to end, and may tidy up."""
        for task in self.open:
            if task.get_name() == self.name:
                task.cancel()

    def end(self) -> None:
        """Now."""
        if not self.dead:
            self.dead = True
            died, self._died = self._died, _nothing  # timers of its tasks, and so their context, outlast it by hours
            died()


class Mortal(Coroutine[Any, Any, Any]):
    """A coroutine that takes its steps only while its life lasts."""

    def __init__(self, inner: Coroutine[Any, Any, Any], life: Life) -> None:
        self._inner = inner
        self._life = life

    def send(self, value: Any) -> Any:
        return self._inner.send(value) if self._life.step() else _never()

    def throw(self, *error: Any) -> Any:
        return self._inner.throw(*error) if self._life.step() else _never()

    def close(self) -> None:
        if not self._life.dead:
            self._inner.close()

    def bury(self) -> None:
        """Its frames go, at last."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError


def _never() -> asyncio.Future[None]:
    waiting = asyncio.get_running_loop().create_future()
    waiting._asyncio_future_blocking = True  # as `yield from` of a future has it
    return waiting


def mortal(loop: asyncio.AbstractEventLoop) -> None:
    """From now on tasks that belong to a life can die with it."""

    def make(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        context = more.get("context")
        life = _LIFE.get() if context is None else context.get(_LIFE)
        if life is None:
            return asyncio.Task(work, loop=loop, **more)
        task: asyncio.Task[Any] = asyncio.Task(Mortal(work, life), loop=loop, **more)
        life.open.add(task)
        task.add_done_callback(life.open.discard)
        return task

    loop.set_task_factory(make)
