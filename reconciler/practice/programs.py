"""What runs in a container: a server on the ports it declares, or one of a few small programs.

The flags of the test image in `tests/hosts` mean the same here (`--slow-start`, `--exit-after`, ...), so that
one scenario can run against real containers and against these.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Protocol

from reconciler.engines.scripts import SIGNED
from reconciler.practice.files import Files
from reconciler.practice.shell_io import Input, Io
from reconciler.practice.shell_run import Shell
from reconciler.practice.shell_words import PROGRAMS

if TYPE_CHECKING:
    from reconciler.practice.containers import Container
    from reconciler.practice.machine import Machine

STOP_SECONDS: Final = 0.1
OOM_SECONDS: Final = 0.05
KILLED: Final = 137
TERMINATED: Final = 143
SERVER_SWITCHES: Final = frozenset({"--ignore-term", "--fail-bind-exit"})
SERVER_NUMBERS: Final = frozenset(
    {"--slow-start", "--unhealthy-after", "--exit-after", "--exit-code", "--gpu-memory-utilization"}
)


class Closing(Protocol):
    """Something that listens."""

    async def close(self) -> None:
        """Stop listening."""


Serve = Callable[["Process", int], Awaitable[Closing]]
Log = Callable[[str, str], None]  # stream, line


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a process ended."""

    code: int
    oom: bool = False


class Process:
    """One run of a container's program. `serve` opens a real listener; without it (simulation) none is opened."""

    def __init__(self, container: Container, machine: Machine, *, serve: Serve | None, log: Log) -> None:
        self.container = container
        self.machine = machine
        self.began = machine.clock.monotonic()
        self.unfrozen = asyncio.Event()
        self.unfrozen.set()
        self.ready = asyncio.Event()  # it listens
        self.ended = asyncio.Event()
        self.flags = server_flags(container.spec.argv)
        self._serve = serve
        self._log = log
        self._asked = asyncio.Event()
        self._forced: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._listeners: list[Closing] = []

    def terminate(self) -> None:
        """SIGTERM."""
        self._asked.set()
        if self.container.spec.init and self._small():
            self._end(Outcome(TERMINATED))

    def kill(self, *, oom: bool = False) -> None:
        """SIGKILL, from a person or from the kernel."""
        self._end(Outcome(KILLED, oom))

    def _end(self, outcome: Outcome) -> None:
        if not self._forced.done():
            self._forced.set_result(outcome)

    async def run(self) -> Outcome:
        """From start to end; whatever it held is given back."""
        holder = self.container.id
        main = asyncio.create_task(self._main(), name=f"process {self.container.name}")
        timer = self._exit_timer()
        ends: list[asyncio.Future[Any]] = [main, self._forced]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return self._forced.result() if self._forced.done() else Outcome(main.result())
        finally:
            if timer is not None:
                timer.cancel()
            main.cancel()
            try:
                await asyncio.gather(main, return_exceptions=True)
                for listener in self._listeners:
                    await listener.close()
            finally:  # also when it is hurried: what ended holds nothing
                self.machine.unlisten(holder)
                self.machine.release_memory(holder)
                self.ended.set()

    def _exit_timer(self) -> asyncio.TimerHandle | None:
        planned = self.machine.switches.exit_for(self.container.name, self.container.spec.image)
        loop = asyncio.get_running_loop()
        if planned is not None:
            return loop.call_later(planned.seconds, self._end, Outcome(planned.code))
        if "exit-after" in self.flags:
            code = int(self.flags.get("exit-code", 0))
            return loop.call_later(self.flags["exit-after"], self._end, Outcome(code))
        return None

    def _small(self) -> bool:
        """Not a server. A constant script of ours (mods, Ray, options) ends in a server, so it counts as one."""
        argv = self.container.spec.argv
        if argv[3:4] and argv[3].startswith(SIGNED):
            return False
        return PurePosixPath(argv[0]).name in {*PROGRAMS, "keep-argv", "timeout"}

    async def _main(self) -> int:
        container = self.container
        limit = container.spec.memory
        late = container.peak and not self._small()
        await self._take(0 if late else container.memory)
        if limit and container.memory > limit:
            await self._out_of_memory()
        if self._small():
            return await self._run_small(container.spec.argv)
        return await self._run_server()

    async def _take(self, size: int) -> None:
        if not self.machine.take_memory(self.container.id, size):
            await self._out_of_memory()

    async def _out_of_memory(self) -> None:
        await asyncio.sleep(OOM_SECONDS)
        self.kill(oom=True)

    async def _run_small(self, argv: list[str]) -> int:
        """`sleep`, `sh -c ...` and their like: as in a real container, they don't hear SIGTERM as process 1."""
        if PurePosixPath(argv[0]).name == "keep-argv":
            self._log("stdout", json.dumps(argv, ensure_ascii=False))
            return 0
        if PurePosixPath(argv[0]).name == "timeout":  # the question for an engine's flags: there is no engine here
            self._log("stderr", f"timeout: failed to run command '{argv[-1]}': a practice image holds no programs")
            return 127
        variables = {"PATH": "/usr/bin:/bin", **self.container.spec.environment}
        shell = Shell(PROGRAMS, Files(), variables, name=PurePosixPath(argv[0]).name)
        out, error = (LogSink(self._log, stream) for stream in ("stdout", "stderr"))
        status = await PROGRAMS[PurePosixPath(argv[0]).name](shell, argv, Io(Input(), out, error))
        out.flush()
        error.flush()
        return status

    async def _run_server(self) -> int:
        """Load, listen, serve until told to stop. Without a port it only runs, as the worker of a group does."""
        machine, container = self.machine, self.container
        self._log("stdout", f"practice server for {container.spec.image}: loading")
        load = machine.load_seconds + machine.load_seconds_per_gib * container.memory / 1024**3
        if (lacking := self._lacks_free_memory()) is not None:
            self._log("stderr", lacking)
            return 1
        await self._load(self.flags.get("slow-start", load))
        for port in [] if self._asked.is_set() else container.serving_ports:
            if "fail-bind-exit" in self.flags or not await self._listen(port):
                self._log("stderr", "bind: Address already in use")
                return 1
            self._log("stdout", f"listening on {port}")
        self.ready.set()
        await self._until_told(None)
        slow = machine.switches.slow_stop
        if slow is not None:
            machine.switches.count("slow_stop")
        await asyncio.sleep(STOP_SECONDS if slow is None else slow)
        return 0

    async def _load(self, seconds: float) -> None:
        """To where it can serve. One with a peak takes its memory late, and for a while more than it keeps."""
        if self.container.peak:
            await self._until_told(seconds / 2)
            await self._take(self.container.peak)
        await self._until_told(seconds / 2 if self.container.peak else seconds)
        if self.container.peak:
            self.machine.keep_memory(self.container.id, self.container.memory)

    def _lacks_free_memory(self) -> str | None:
        """The first check of vLLM, in its words: CUDA must call its share free, and the page cache is not."""
        share, machine = self.flags.get("gpu-memory-utilization"), self.machine
        if not share or not machine.page_cache or machine.memory_free >= share * machine.memory_total:
            return None
        free, total, wanted = (
            f"{size / 1024**3:.2f}"
            for size in (machine.memory_free, machine.memory_total, share * machine.memory_total)
        )
        return (
            f"ValueError: Free memory on device cuda:0 ({free}/{total} GiB) on startup is less than desired GPU "
            f"memory utilization ({share}, {wanted} GiB). Decrease GPU memory utilization or reduce GPU memory used "
            "by other processes."
        )

    async def _until_told(self, seconds: float | None) -> None:
        """Wait for SIGTERM, no longer than this; with `--ignore-term` just wait."""
        told = asyncio.Event() if "ignore-term" in self.flags else self._asked
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(told.wait(), seconds)

    async def _listen(self, port: int) -> bool:
        if not self.machine.listen(port, self.container.id):
            return False
        if self._serve is not None:
            try:
                self._listeners.append(await self._serve(self, port))
            except OSError:
                self.machine.unlisten(self.container.id)
                return False
        return True


class LogSink:
    """Cuts what a small program prints into log lines."""

    def __init__(self, log: Log, stream: str) -> None:
        self._log = log
        self._stream = stream
        self._rest = b""

    def write(self, data: bytes, /) -> None:
        """Some output; whole lines are logged."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._log(self._stream, line.decode(errors="replace"))

    def flush(self) -> None:
        """The last line, if it had no end."""
        if self._rest:
            self.write(b"\n")


def server_flags(argv: list[str]) -> Mapping[str, float]:
    """The flags that steer a practice server; whatever else stands on its command line is the model's business."""
    found: dict[str, float] = {}
    for at, word in enumerate(argv):
        following = argv[at + 1] if at + 1 < len(argv) else ""
        if word in SERVER_SWITCHES:
            found[word[2:]] = 1
        elif word in SERVER_NUMBERS:
            try:
                found[word[2:]] = float(following)
            except ValueError:
                found[word[2:]] = 0
    return found
