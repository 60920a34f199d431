"""A container's life: its start, its end, and the restarts in between.

The part of the engine that works by itself. Whoever minds a running container is a task of its own (`mind`).
"""

from __future__ import annotations

import asyncio
from typing import Final

from reconciler.practice import engine_texts
from reconciler.practice.clock import BILLION
from reconciler.practice.containers import Container, Publish
from reconciler.practice.errors import DaemonError
from reconciler.practice.events import Events
from reconciler.practice.files import Files
from reconciler.practice.machine import Machine
from reconciler.practice.programs import Outcome, Process, Serve

SIGKILL: Final = 9
SIGTERM: Final = 15
NOT_FOUND: Final = 127
NOT_STARTED: Final = 128
FIRST_RANDOM_PORT: Final = 32768
LAST_RANDOM_PORT: Final = 60999
NETWORKS: Final = frozenset({"default", "bridge", "host", "none"})


class Life:
    """Containers that run and restart."""

    def __init__(self, machine: Machine, files: Files, *, serve: Serve | None, version: str) -> None:
        self.machine = machine
        self.files = files
        self.version = version
        self.events = Events(machine.clock)
        self.containers: dict[str, Container] = {}
        self._serve = serve

    @property
    def major(self) -> int:
        """Docker's major version: some of its sentences depend on it."""
        return int(self.version.partition(".")[0])

    def launch(self, container: Container) -> None:
        """Take its ports and begin its process. Raises DaemonError and leaves it as it was."""
        program = container.spec.argv[0]
        if program in self.machine.switches.missing_programs:
            self.machine.switches.count("program_missing")
            self._not_started(container, NOT_FOUND, engine_texts.program_not_found(program))
        for device in container.spec.devices:
            if not self.files.exists(device.partition(":")[0]):
                text = f'error gathering device information while adding custom device "{device}"'
                self._not_started(container, NOT_FOUND, f"{text}: no such file or directory")
        container.ports = []
        if container.spec.network not in NETWORKS and not container.spec.network.startswith("container:"):
            text = engine_texts.networking(f"network {container.spec.network} not found", self.major)
            self._not_started(container, NOT_STARTED, text)
        if container.spec.network != "host":
            for port in container.spec.publish:
                self._publish(container, port)
        container.state, container.error, container.oom_killed, container.exit_code = "running", "", False, 0
        container.started = self.machine.clock.nanos()
        container.pid = 1000 + container.started // 1000 % 60000
        container.ended = asyncio.Event()
        container.process = Process(
            container, self.machine, serve=self._serve, log=lambda stream, line: self.log(container, stream, line)
        )
        self.tell(container, "start")

    def _publish(self, container: Container, port: Publish) -> None:
        host = port.host or next(
            n for n in range(FIRST_RANDOM_PORT, LAST_RANDOM_PORT) if n not in self.machine.listeners
        )
        holder = self.machine.listeners.get(host)
        if self.machine.listen(host, container.id):
            container.ports.append(Publish(host, port.inner, port.protocol, port.address))
            return
        self.machine.unlisten(container.id)
        container.ports = []
        wanted = Publish(host, port.inner, port.protocol, port.address)
        text = engine_texts.port_taken(container, wanted, self.major, by_container=holder in self.containers)
        self._not_started(container, NOT_STARTED, text)

    def _not_started(self, container: Container, code: int, text: str) -> None:
        container.exit_code, container.error = code, text
        raise DaemonError(500, text)

    async def mind(self, container: Container) -> None:
        """Run the process, and again for as long as the policy wants."""
        while container.process is not None:
            outcome = await container.process.run()
            delay = self._died(container, outcome)
            if delay is None:
                break
            await asyncio.sleep(delay)
            try:
                self.launch(container)
            except DaemonError:
                self._settle(container, "exited")
                break

    def _died(self, container: Container, outcome: Outcome) -> float | None:
        """Book the end; the seconds until the restart, or None if it stays down."""
        now = self.machine.clock.nanos()
        ran = (now - container.started) / BILLION
        container.finished, container.exit_code, container.oom_killed = now, outcome.code, outcome.oom
        container.pid, container.process, container.ports = 0, None, []
        if outcome.oom:
            self.tell(container, "oom")
        self.tell(container, "die", execDuration=str(int(ran)), exitCode=str(outcome.code))
        policy = container.spec.policy
        wanted = policy.wants_restart(code=outcome.code, restarts=container.restarts, stopped_by_hand=False)
        if container.stopped_by_hand or not wanted:
            self._settle(container, "exited")
            return None
        container.restarts += 1
        container.state = "restarting"
        return container.next_delay(ran)

    def _settle(self, container: Container, state: str) -> None:
        container.state = state
        container.ended.set()
        self.log_ended(container)
        if container.spec.auto_remove:
            self.containers.pop(container.id, None)
            self.tell(container, "destroy")

    async def cancel_restart(self, container: Container) -> None:
        """It waited to start again, and shall not."""
        if container.minder is not None:
            container.minder.cancel()
            await asyncio.gather(container.minder, return_exceptions=True)
        self._settle(container, "exited")

    async def signal(self, container: Container, signal: int) -> None:
        """Send it one; a frozen container is let go first."""
        self.tell(container, "kill", signal=str(signal))
        self.thaw(container)
        process = container.process
        if process is None:
            return
        if signal == SIGKILL:
            process.kill()
        elif signal == SIGTERM:
            process.terminate()
        await asyncio.sleep(0)

    def thaw(self, container: Container) -> None:
        """Let its processes go on."""
        if container.state == "paused":
            container.state = "running"
        if container.process is not None:
            container.process.unfrozen.set()

    def log(self, container: Container, stream: str, line: str) -> None:
        """A line that its program printed."""
        container.logs.append((self.machine.clock.nanos(), stream, line))
        self.log_ended(container)

    @staticmethod
    def log_ended(container: Container) -> None:
        """Wake whoever follows the log."""
        waiting, container.logged = container.logged, asyncio.Event()
        waiting.set()

    def tell(self, container: Container, action: str, **more: str) -> None:
        """An event of this container's."""
        attributes = {**container.spec.labels, "image": container.spec.image, "name": container.name, **more}
        if self.major < engine_texts.EVENTS_SAY_HOW_LONG:
            attributes.pop("execDuration", None)
        self.events.tell("container", action, container.id, attributes)
