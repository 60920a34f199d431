"""The docker program of a practice Spark: the very argv we send, strictly read, answered in Docker's own words.

Texts and exit codes are those of docker 28.2 as measured against real engines. What a command did is kept in
`log`, so that a test can count what was really sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from reconciler.practice import docker_login, docker_run, docker_show
from reconciler.practice.containers import parse_policy
from reconciler.practice.docker_flags import BadUsage, Parsed, parse
from reconciler.practice.docker_usage import COMMANDS, GROUPS
from reconciler.practice.errors import DaemonError, DaemonGone
from reconciler.practice.images import parse_reference

if TYPE_CHECKING:
    from reconciler.practice.containers import Container, Spec
    from reconciler.practice.engine import Engine
    from reconciler.practice.shell_io import Io
    from reconciler.practice.shell_run import Shell

SOCKET: Final = "/var/run/docker.sock"
DAEMON_DOWN: Final = f"Cannot connect to the Docker daemon at unix://{SOCKET}. Is the docker daemon running?"
DAEMON_LEFT: Final = 'error during connect: Post "http://%2Fvar%2Frun%2Fdocker.sock/v1.50": EOF'
GIVEN_UP: Final = frozenset({"build", "create", "events", "logs", "pull", "run", "wait"})  # end with their client
CREATING: Final = frozenset({"run", "create"})
SIGNALS: Final = {"KILL": 9, "TERM": 15, "INT": 2, "HUP": 1, "QUIT": 3, "USR1": 10, "USR2": 12}
CLIENT_ERROR: Final = 125
NOT_FOUND: Final = 127
CONFIG: Final[ContextVar[str]] = ContextVar("the configuration file of the command that runs")


@dataclass(slots=True)
class Command:
    """One docker command that reached the Spark. `status` is None while it runs."""

    at: float
    argv: tuple[str, ...]
    status: int | None = None


class DockerCli:
    """A tool of the Spark's shell; an instance is called with a shell, an argv and the streams."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.log: list[Command] = []
        self._acting: Mapping[str, Callable[[Parsed, Io], Awaitable[int]]] = {
            "run": self._run,
            "create": self._create,
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "kill": self._kill,
            "rm": self._rm,
            "pause": self._pause,
            "unpause": self._unpause,
            "rename": self._rename,
            "update": self._update,
            "wait": self._wait,
            "pull": self._pull,
            "login": self._login,
            "rmi": self._rmi,
            "tag": self._tag,
        }

    async def __call__(self, shell: Shell, argv: list[str], io: Io) -> int:
        """Run one command."""
        command = Command(self.engine.machine.clock.wall(), tuple(argv))
        self.log.append(command)
        CONFIG.set(f"{shell.value('DOCKER_CONFIG') or shell.files.home + '/.docker'}/config.json")
        command.status = await self._dispatch(argv[1:], io)
        return command.status

    async def _dispatch(self, argv: list[str], io: Io) -> int:
        name, *rest = argv or ["--help"]
        if name in GROUPS and rest:
            name, *rest = [GROUPS[name].get(rest[0], f"{name} {rest[0]}"), *rest[1:]]
        if name in {"--version", "-v"}:
            io.out(f"Docker version {self.engine.version}, build practice\n")
            return 0
        if name not in COMMANDS:
            io.error(f"docker: unknown command: docker {name}\n\nRun 'docker --help' for more information\n")
            return 1
        try:
            parsed = parse(COMMANDS[name], rest)
        except BadUsage as error:
            io.error(str(error))
            return error.status
        try:
            return await self._perform(name, parsed, io)
        except DaemonGone as gone:
            self.engine.machine.switches.count("daemon_down")
            return self._failed(name, DAEMON_LEFT if gone.reached else DAEMON_DOWN, io)
        except DaemonError as error:
            return self._failed(name, f"Error response from daemon: {error}", io)
        except ValueError as error:
            return self._failed(name, str(error), io)

    async def _perform(self, name: str, parsed: Parsed, io: Io) -> int:
        if self.engine.machine.switches.daemon_down:
            if name == "inspect" and "format" not in parsed.flags:
                io.out("[]\n")
            raise DaemonGone(reached=False)
        acting = self._acting.get(name)
        work = docker_show.SHOWING[name](self.engine, parsed, io) if acting is None else acting(parsed, io)
        call = asyncio.ensure_future(work)
        self.engine.calls.add(call)
        call.add_done_callback(self.engine.calls.discard)
        try:
            await asyncio.wait({call})
            if call.cancelled():
                raise DaemonGone(reached=True)
            return call.result()
        finally:
            if name in GIVEN_UP:
                call.cancel()

    @staticmethod
    def _failed(name: str, text: str, io: Io) -> int:
        if name not in CREATING:
            io.error(f"{text}\n")
            return 1
        prefix = "docker: " if name == "run" else ""
        tail = f"\n\nRun 'docker {name} --help' for more information\n" if name == "run" else "\n"
        io.error(f"{prefix}{text}{tail}")
        return CLIENT_ERROR if name == "run" else 1

    # Creating

    async def _created(self, parsed: Parsed, io: Io) -> Container:
        spec = docker_run.spec(parsed, self.engine.files)
        images = self.engine.images
        if spec.pull == "always":
            await images.pull(spec.image, lambda line: io.error(f"{line}\n"))
        try:
            return self._new(spec, io)
        except DaemonError as error:
            if spec.pull != "missing" or not str(error).startswith("No such image"):
                raise
        io.error(f"Unable to find image '{parse_reference(spec.image)}' locally\n")
        await images.pull(spec.image, lambda line: io.error(f"{line}\n"))
        return self._new(spec, io)

    def _new(self, spec: Spec, io: Io) -> Container:
        container = self.engine.create(spec)
        if spec.network == "host" and spec.publish:
            io.error("WARNING: Published ports are discarded when using host network mode\n")
        return container

    async def _create(self, parsed: Parsed, io: Io) -> int:
        io.out(f"{(await self._created(parsed, io)).id}\n")
        return 0

    async def _run(self, parsed: Parsed, io: Io) -> int:
        container = await self._created(parsed, io)
        detach = container.spec.detach
        following = None
        if detach:
            io.out(f"{container.id}\n")
        else:
            following = asyncio.create_task(docker_show.follow(container, io))
        try:
            await self.engine.start(container.id)
        except DaemonError as error:
            if following is not None:
                following.cancel()
            self._failed("run", f"Error response from daemon: {error}", io)
            return NOT_FOUND if container.exit_code == NOT_FOUND else CLIENT_ERROR
        if following is not None:
            await following
            return container.exit_code
        return 0

    # Acting on containers

    async def _each(self, names: list[str], io: Io, act: Callable[[str], Awaitable[None]]) -> list[str]:
        """Do it to each and print its name; the names it failed for, their errors told."""
        failed: list[str] = []
        for name in names:
            try:
                await act(name)
            except DaemonError as error:
                io.error(f"Error response from daemon: {error}\n")
                failed.append(name)
            else:
                io.out(f"{name}\n")
        return failed

    async def _start(self, parsed: Parsed, io: Io) -> int:
        failed = await self._each(parsed.arguments, io, self.engine.start)
        if failed:
            io.error(f"Error: failed to start containers: {', '.join(failed)}\n")
        return int(bool(failed))

    def _seconds(self, parsed: Parsed, io: Io) -> int | None:
        """`--timeout`, or `--time` as it was called before docker 28."""
        if "time" in parsed.flags and self.engine.version.startswith("28."):
            io.out("Flag --time has been deprecated, use --timeout instead\n")
        given = parsed.last("timeout") or parsed.last("time")
        return int(given) if given else None

    async def _stop(self, parsed: Parsed, io: Io) -> int:
        seconds = self._seconds(parsed, io)
        return int(bool(await self._each(parsed.arguments, io, lambda name: self.engine.stop(name, seconds))))

    async def _restart(self, parsed: Parsed, io: Io) -> int:
        seconds = self._seconds(parsed, io)
        return int(bool(await self._each(parsed.arguments, io, lambda name: self.engine.restart(name, seconds))))

    async def _kill(self, parsed: Parsed, io: Io) -> int:
        text = parsed.last("signal", "KILL").upper().removeprefix("SIG")
        signal = int(text) if text.isdigit() else SIGNALS.get(text, 0)
        if not signal:
            raise DaemonError(400, f"invalid signal: {parsed.last('signal')}")

        async def kill(name: str) -> None:
            try:
                await self.engine.kill(name, signal)
            except DaemonError as error:
                text = str(error)
                same = text.startswith("Cannot kill")
                raise DaemonError(error.status, text if same else f"Cannot kill container: {name}: {text}") from error

        return int(bool(await self._each(parsed.arguments, io, kill)))

    async def _rm(self, parsed: Parsed, io: Io) -> int:
        """With `--force`, one that isn't there is told and forgiven."""
        force, gone = parsed.on("force"), 0

        async def remove(name: str) -> None:
            nonlocal gone
            try:
                await self.engine.remove(name, force=force)
            except DaemonError as error:
                gone += error.status == HTTPStatus.NOT_FOUND
                raise

        failed = await self._each(parsed.arguments, io, remove)
        return int(len(failed) > (gone if force else 0))

    async def _pause(self, parsed: Parsed, io: Io) -> int:
        async def pause(name: str) -> None:
            self.engine.pause(name)

        return int(bool(await self._each(parsed.arguments, io, pause)))

    async def _unpause(self, parsed: Parsed, io: Io) -> int:
        async def unpause(name: str) -> None:
            self.engine.unpause(name)

        return int(bool(await self._each(parsed.arguments, io, unpause)))

    async def _rename(self, parsed: Parsed, io: Io) -> int:
        old, new = parsed.arguments
        try:
            self.engine.rename(old, new)
        except DaemonError as error:
            io.error(f"Error response from daemon: {error}\nError: failed to rename container named {old}\n")
            return 1
        return 0

    async def _update(self, parsed: Parsed, io: Io) -> int:
        if not parsed.flags:
            raise ValueError("you must provide one or more flags when using this command")

        async def update(name: str) -> None:
            if "restart" in parsed.flags:
                self.engine.update(name, policy=parse_policy(parsed.last("restart")))

        return int(bool(await self._each(parsed.arguments, io, update)))

    async def _wait(self, parsed: Parsed, io: Io) -> int:
        for name in parsed.arguments:
            container = self.engine.find(name)
            if container.active:
                await container.ended.wait()
            io.out(f"{container.exit_code}\n")
        return 0

    # Images

    async def _pull(self, parsed: Parsed, io: Io) -> int:
        name = parsed.arguments[0]
        quiet = parsed.on("quiet")
        docker_login.check(self.engine, parse_reference(name), CONFIG.get())
        lines: list[str] = []
        if ":" not in name.rpartition("/")[2] and "@" not in name and not quiet:
            io.out("Using default tag: latest\n")
        await self.engine.images.pull(name, lines.append if quiet else lambda line: io.out(f"{line}\n"))
        if quiet:
            io.out(f"{lines[-1]}\n")
        return 0

    async def _login(self, parsed: Parsed, io: Io) -> int:
        return await docker_login.login(self.engine, parsed, CONFIG.get(), io)

    async def _rmi(self, parsed: Parsed, io: Io) -> int:
        for name in parsed.arguments:
            found = self.engine.images.find(name)
            users = [c for c in self.engine.containers.values() if found is not None and c.image_id == found.id]
            if users and not parsed.on("force"):
                text = f"container {users[0].id[:12]} is using its referenced image {users[0].image_id[7:19]}"
                raise DaemonError(
                    409, f'conflict: unable to remove repository reference "{name}" (must force) - {text}'
                )
            self.engine.images.remove(name)
            io.out(f"Untagged: {parse_reference(name)}\n")
        return 0

    async def _tag(self, parsed: Parsed, _io: Io) -> int:
        source, target = parsed.arguments
        found = self.engine.images.find(source)
        if found is None:
            raise DaemonError(404, f"No such image: {parse_reference(source)}")
        for other in self.engine.images.all.values():
            other.tags.discard(str(parse_reference(target)))
        found.tags.add(str(parse_reference(target)))
        return 0
