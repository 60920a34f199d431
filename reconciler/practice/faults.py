"""What can go wrong with a practice Spark, switched on and off by name. `counts` tells which faults really bit.

Two kinds: those that stay until they are taken back (a full disk, a slow stop), which live in `switches`; and
those that happen once (a crash, a cut), which are done to the parts right here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

import asyncssh

from reconciler.practice.containers import Container
from reconciler.practice.switches import ExitAfter, Switches

if TYPE_CHECKING:
    from reconciler.practice.spark import Spark

BOOT_SECONDS: Final = 0.5
PULL_FAILURES: Final = frozenset({"", "network", "unauthorized"})


class Faults:
    """The faults of one Spark. `None` or an empty value switches one off; `clear` all that stay."""

    def __init__(self, spark: Spark) -> None:
        self._spark = spark

    @property
    def counts(self) -> Counter[str]:
        """How often each fault made a difference."""
        return self._spark.switches.counts

    def _did(self, fault: str) -> None:
        self._spark.switches.count(fault)

    def clear(self) -> None:
        """A healthy Spark again; what has happened stays happened, and counted."""
        switches = self._spark.switches
        fresh = Switches()
        for name in Switches.__dataclass_fields__:
            if name != "counts":
                setattr(switches, name, getattr(fresh, name))
        self._spark.machine.unlisten("foreign")
        self._spark.machine.keep_memory("foreign", 0)
        self._spark.machine.page_cache = 0
        self._spark.link.heal()

    # The machine

    async def power_off(self) -> None:
        """Power loss: nobody is told, connections hang half-open."""
        self._did("power_off")
        self._spark.link.cut()
        await self._spark.end_sessions()
        self._spark.hang_up_engine()
        await self._spark.engine.crash()

    async def boot(self) -> None:
        """Power is back: a new boot id, old connections are reset, containers start as their policies say."""
        self._did("boot")
        self._spark.machine.power_on()
        self._spark.engine.files.reboot()
        self._spark.link.drop()
        self._spark.link.heal()
        await self._spark.engine.boot()

    async def reboot(self, seconds: float = BOOT_SECONDS) -> None:
        """Down and up again; connections are closed, as a proper shutdown does."""
        self._did("reboot")
        self._spark.link.drop()
        await self.power_off()
        await asyncio.sleep(seconds)
        await self.boot()

    def disk_full(self, on: bool = True) -> None:
        """Not a byte is free."""
        self._spark.switches.disk_full = on

    def memory_slow_release(self, seconds: float | None) -> None:
        """How long memory takes to come back after a program's end."""
        self._spark.switches.memory_release = seconds

    def memory_taken(self, size: int) -> None:
        """A process that is no container holds so many bytes; 0: it has ended."""
        machine = self._spark.machine
        machine.keep_memory("foreign", 0)
        if not machine.take_memory("foreign", size):
            raise ValueError("a process can't hold more than there is")

    def page_cache(self, size: int) -> None:
        """So many bytes of files have been read and are kept, until somebody needs the memory."""
        self._spark.machine.page_cache = size

    def page_cache_may_be_dropped(self, on: bool = True) -> None:
        """Whether sudo lets the SSH user drop the page cache without a password."""
        self._spark.machine.switches.sudo = on

    def registry_wants(self, registry: str, user: str, password: str) -> None:
        """A registry gives its images only to this login."""
        self._spark.machine.switches.registry_users[registry] = (user, password)

    def port_taken(self, port: int) -> None:
        """Something that is no container listens on a port."""
        self._spark.machine.listeners[port] = "foreign"

    def port_freed(self, port: int) -> None:
        """It is gone."""
        if self._spark.machine.listeners.get(port) == "foreign":
            del self._spark.machine.listeners[port]

    # Images

    def image_missing(self, image: str, on: bool = True) -> None:
        """No registry has this image (`name` or `name:tag`)."""
        missing = self._spark.switches.missing_images
        (missing.add if on else missing.discard)(image)

    def pull_fails(self, kind: str = "network") -> None:
        """`network`, `unauthorized`, or nothing to heal it."""
        if kind not in PULL_FAILURES:
            raise ValueError(f"a pull fails by one of {sorted(PULL_FAILURES)}, not {kind!r}")
        self._spark.switches.pull_error = kind

    def pull_stalls(self, on: bool = True) -> None:
        """A pull never gets on, for as long as this stays."""
        self._spark.switches.pull_stalled = on

    def program_missing(self, program: str, on: bool = True) -> None:
        """No image has this program: a start fails with 127."""
        missing = self._spark.switches.missing_programs
        (missing.add if on else missing.discard)(program)

    # Containers

    def slow_stop(self, seconds: float | None) -> None:
        """How long every server takes to obey SIGTERM."""
        self._spark.switches.slow_stop = seconds

    def exit_after(self, target: str, seconds: float, code: int = 1, *, times: int = -1) -> None:
        """Containers of this name or image that start from now on exit by themselves; `times` limits how many."""
        self._spark.switches.exits.append(ExitAfter(target, seconds, code, times))

    def no_exits(self) -> None:
        """Forget what `exit_after` planned."""
        self._spark.switches.exits.clear()

    async def kill(self, container: str) -> None:
        """Its process dies, not by Docker's hand: the restart policy applies."""
        await self._end("kill", container, oom=False)

    async def oom(self, container: str) -> None:
        """The kernel kills it for its memory."""
        await self._end("oom", container, oom=True)

    async def _end(self, fault: str, reference: str, *, oom: bool) -> None:
        container: Container = self._spark.engine.find(reference)
        if container.process is not None:
            process = container.process
            self._did(fault)
            process.kill(oom=oom)
            await process.ended.wait()

    def unhealthy(self, container: str, on: bool = True) -> None:
        """/health says 503."""
        names = self._spark.switches.unhealthy
        (names.add if on else names.discard)(container)

    def deaf(self, container: str, on: bool = True) -> None:
        """Its server accepts connections and never answers."""
        names = self._spark.switches.deaf
        (names.add if on else names.discard)(container)

    def hung(self, container: str, on: bool = True) -> None:
        """Its engine is dead behind a living server: /health says 200, real requests hang."""
        names = self._spark.switches.hung
        (names.add if on else names.discard)(container)

    def loading(self, container: str, on: bool = True) -> None:
        """It listens already and says 503 to everything, as llama.cpp's server does while it loads."""
        names = self._spark.switches.loading
        (names.add if on else names.discard)(container)

    # The daemon

    def daemon_down(self) -> None:
        """Dockerd is gone; what runs in containers runs on."""
        self._spark.switches.daemon_down = True
        self._spark.hang_up_engine()

    def daemon_up(self) -> None:
        """The daemon answers again."""
        self._spark.switches.daemon_down = False

    async def daemon_restart(self, seconds: float = BOOT_SECONDS) -> None:
        """Dockerd restarts (without live-restore): containers end, and start as their policies say."""
        self._did("daemon_restart")
        self.daemon_down()
        await self._spark.engine.crash()
        await asyncio.sleep(seconds)
        self.daemon_up()
        await self._spark.engine.boot()

    # SSH and the network

    def cut(self) -> None:
        """Bytes stop, nothing is closed; new connections hear nothing."""
        self._did("cut")
        self._spark.link.cut()

    def heal(self) -> None:
        """Bytes pass again, the held back ones first."""
        self._spark.link.heal()

    def drop(self) -> None:
        """All connections are reset; new ones work."""
        self._did("drop")
        self._spark.link.drop()

    def auth_refused(self, on: bool = True) -> None:
        """No key is accepted."""
        self._spark.switches.auth_refused = on

    def forwarding_refused(self, on: bool = True) -> None:
        """Neither sockets nor ports are forwarded."""
        self._spark.switches.forwarding = not on

    def new_host_key(self) -> None:
        """As after a reinstallation, or with someone in between."""
        self._did("new_host_key")
        self._spark.host_key = asyncssh.generate_private_key("ssh-ed25519")

    def max_sessions(self, count: int = 10) -> None:
        """How many sessions sshd allows on a connection: MaxSessions."""
        self._spark.switches.max_sessions = count

    def command_delay(self, seconds: float = 0.0) -> None:
        """Every command takes this long before it begins."""
        self._spark.switches.command_delay = seconds

    def lose_reply(self, times: int = 1) -> None:
        """The next commands are done, and the connection breaks before the answer."""
        self._spark.switches.lose_replies = times

    def cut_output(self, after: int | None) -> None:
        """The connection breaks once a command has printed this many bytes."""
        self._spark.switches.cut_output = after
