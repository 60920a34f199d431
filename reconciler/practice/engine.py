"""The pretend Docker engine: containers from creation to removal, the way dockerd does it.

Methods are what the daemon's API offers; they raise `DaemonError` with the daemon's own sentences. Whoever
minds a running container is a task of its own (`_mind`), which also restarts it as its policy says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from reconciler.practice.clock import BILLION, Ids, digest
from reconciler.practice.containers import STOP_TIMEOUT, Container, Policy, Publish, Spec
from reconciler.practice.engine_checks import check_name, check_spec, conflict
from reconciler.practice.errors import DaemonError, no_such_container
from reconciler.practice.events import Events
from reconciler.practice.files import Files
from reconciler.practice.images import Images
from reconciler.practice.machine import Machine
from reconciler.practice.programs import Outcome, Process, Serve

VERSION: Final = "28.2.2"
SIGKILL: Final = 9
SIGTERM: Final = 15
CRASHED: Final = 255
NOT_STARTED: Final = 128
FIRST_RANDOM_PORT: Final = 32768
NETWORKS: Final = frozenset({"default", "bridge", "host", "none"})
WORDS: Final = ("brave", "calm", "eager", "gentle", "keen", "lucid", "quirky", "vivid")
PEOPLE: Final = ("borg", "curie", "hopper", "kepler", "lovelace", "noether", "ritchie", "turing")


class Engine:
    """One Spark's containers and images."""

    def __init__(
        self,
        machine: Machine,
        ids: Ids,
        *,
        files: Files | None = None,
        serve: Serve | None = None,
        version: str = VERSION,
        pull_seconds: float = 1.0,
    ) -> None:
        self.machine = machine
        self.version = version
        self.events = Events(machine.clock)
        self.images = Images(machine, self.events, pull_seconds=pull_seconds)
        self.containers: dict[str, Container] = {}
        self.files = files or Files()
        self._ids = ids
        self._serve = serve

    # Looking

    def find(self, reference: str) -> Container:
        """By name, id or the start of an id. Raises DaemonError."""
        bare = reference.removeprefix("/")
        for container in self.containers.values():
            if bare in {container.id, container.name}:
                return container
        starts = [c for c in self.containers.values() if bare and c.id.startswith(bare)]
        if len(starts) > 1:
            raise DaemonError(400, f"multiple IDs found with provided prefix: {reference}")
        if not starts:
            raise no_such_container(reference)
        return starts[0]

    def newest_first(self) -> list[Container]:
        """All containers, in Docker's order."""
        return sorted(self.containers.values(), key=lambda container: -container.created)

    # Acting

    def create(self, spec: Spec) -> Container:
        """A container that does not run yet. Raises DaemonError."""
        check_spec(spec, self.files)
        image = self.images.find(spec.image)
        if image is None:
            raise DaemonError(404, f"No such image: {spec.image if ':' in spec.image else spec.image + ':latest'}")
        if self.machine.disk_free == 0:
            self.machine.switches.count("disk_full")
            raise DaemonError(500, "mkdir /var/lib/docker/overlay2/l: no space left on device")
        identity = self._ids.hex()
        name = spec.name.removeprefix("/") or self._random_name(identity)
        check_name(spec.name or name)
        self._check_free(name)
        container = Container(id=identity, name=name, spec=spec, image_id=image.id, created=self.machine.clock.nanos())
        self.containers[identity] = container
        for mount in spec.mounts:
            if mount.kind == "bind" and not self.files.exists(mount.source):
                self.files.make_folder(mount.source)  # `-v` makes what it does not find, as root
        self._tell(container, "create")
        return container

    async def start(self, reference: str) -> None:
        """Start one; nothing happens if it runs. Raises DaemonError."""
        container = self.find(reference)
        if container.state == "paused":
            raise DaemonError(409, "cannot start a paused container, try unpause instead")
        if container.active:
            return
        container.restarts, container.restart_delay, container.stopped_by_hand = 0, 0.0, False
        self._launch(container)
        container.minder = asyncio.create_task(self._mind(container), name=f"mind {container.name}")
        await asyncio.sleep(0)

    async def stop(self, reference: str, seconds: int | None = None) -> None:
        """SIGTERM, and SIGKILL if it still runs after `seconds` (its own timeout if None, never if negative)."""
        container = self.find(reference)
        if not container.active:
            return
        container.stopped_by_hand = True
        if container.state == "restarting":
            await self._cancel_restart(container)
        else:
            limit = seconds
            if limit is None:
                limit = STOP_TIMEOUT if container.spec.stop_timeout is None else container.spec.stop_timeout
            await self._signal(container, SIGTERM)
            try:
                await asyncio.wait_for(container.ended.wait(), None if limit < 0 else limit)
            except TimeoutError:
                await self._signal(container, SIGKILL)
                await container.ended.wait()
        self._tell(container, "stop")

    async def restart(self, reference: str, seconds: int | None = None) -> None:
        """Stop and start. Raises DaemonError."""
        await self.stop(reference, seconds)
        await self.start(reference)
        self._tell(self.find(reference), "restart")

    async def kill(self, reference: str, signal: int = SIGKILL) -> None:
        """A signal from a person: an end by it is not followed by a restart."""
        container = self.find(reference)
        if not container.active:
            raise DaemonError(409, f"Cannot kill container: {reference}: Container {container.id} is not running")
        if signal in {SIGKILL, SIGTERM}:
            container.stopped_by_hand = True
        if container.state == "restarting":
            await self._cancel_restart(container)
            return
        await self._signal(container, signal)
        if signal == SIGKILL:
            await container.ended.wait()

    async def remove(self, reference: str, *, force: bool = False) -> None:
        """Raises DaemonError for one that runs, unless forced."""
        container = self.find(reference)
        if container.active and not force:
            raise DaemonError(409, self._cannot_remove(container))
        if container.active:
            await self.kill(container.id)
        if self.containers.pop(container.id, None) is None:
            raise DaemonError(409, f"removal of container {container.id} is already in progress")
        self._tell(container, "destroy")

    def rename(self, reference: str, name: str) -> None:
        """Raises DaemonError."""
        container = self.find(reference)
        if name.removeprefix("/") == container.name:
            raise DaemonError(400, "Renaming a container with the same name as its current name")
        try:
            check_name(name.removeprefix("/"), shown=f"/{name.removeprefix('/')}")
            self._check_free(name.removeprefix("/"))
        except DaemonError as error:
            raise DaemonError(error.status, f"Error when allocating new name: {error}") from error
        old, container.name = container.name, name.removeprefix("/")
        self._tell(container, "rename", oldName=f"/{old}")

    def update(self, reference: str, *, policy: Policy) -> None:
        """Another restart policy, while it runs. Raises DaemonError."""
        container = self.find(reference)
        policy.check()
        container.spec.policy = policy
        self._tell(container, "update")

    def pause(self, reference: str) -> None:
        """Freeze its processes. Raises DaemonError."""
        container = self.find(reference)
        if container.state == "restarting":
            raise DaemonError(409, f"Container {container.id} is restarting, wait until the container is running")
        if container.state != "running":
            raise DaemonError(409, f"Container {container.id} is not running")
        container.state = "paused"
        if container.process is not None:
            container.process.unfrozen.clear()
        self._tell(container, "pause")

    def unpause(self, reference: str) -> None:
        """Let it go on. Raises DaemonError."""
        container = self.find(reference)
        if container.state != "paused":
            raise DaemonError(500, f"Container {container.id} is not paused")
        self._thaw(container)
        self._tell(container, "unpause")

    # The machine under it

    async def crash(self) -> None:
        """Power loss: everything ends at once, and nobody is told."""
        minders = [c.minder for c in self.containers.values() if c.minder is not None]
        for minder in minders:
            minder.cancel()
        await asyncio.gather(*minders, return_exceptions=True)
        self.events.forget()

    async def boot(self) -> None:
        """The daemon comes up: what ran has exited with 255 and starts again if its policy says so."""
        self.events.forget()
        for container in self.containers.values():
            container.minder = container.process = None
            if container.active:
                container.state, container.exit_code, container.pid = "exited", CRASHED, 0
                container.finished = self.machine.clock.nanos()
                container.ports = []
        for container in list(self.containers.values()):
            if container.spec.auto_remove and container.started:
                del self.containers[container.id]
            elif container.started and container.spec.policy.wants_restart(
                code=container.exit_code, restarts=container.restarts, stopped_by_hand=container.stopped_by_hand
            ):
                try:
                    await self.start(container.id)
                except DaemonError as error:
                    container.error = str(error)

    # A container's life

    def _launch(self, container: Container) -> None:
        """Take its ports and begin its process. Raises DaemonError and leaves it as it was."""
        program = container.spec.argv[0]
        if program in self.machine.switches.missing_programs:
            self.machine.switches.count("program_missing")
            self._not_started(container, 127, _not_found(program))
        for device in container.spec.devices:
            if not self.files.exists(device.partition(":")[0]):
                text = f'error gathering device information while adding custom device "{device}"'
                self._not_started(container, 127, f"{text}: no such file or directory")
        container.ports = []
        if container.spec.network not in NETWORKS and not container.spec.network.startswith("container:"):
            self._not_started(container, NOT_STARTED, f"{self._networking}network {container.spec.network} not found")
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
        self._tell(container, "start")

    def _publish(self, container: Container, port: Publish) -> None:
        host = port.host or next(n for n in range(FIRST_RANDOM_PORT, 61000) if n not in self.machine.listeners)
        holder = self.machine.listeners.get(host)
        if self.machine.listen(host, container.id):
            container.ports.append(Publish(host, port.inner, port.protocol, port.address))
            return
        self.machine.unlisten(container.id)
        container.ports = []
        address = f"{port.address or '0.0.0.0'}:{host}"
        if holder in self.containers:
            why = f"Bind for {address} failed: port is already allocated"
        else:
            why = f"failed to bind host port for {address}: address already in use"
            if self._major < 28:
                why = f"Error starting userland proxy: listen tcp4 {address}: bind: address already in use"
        endpoint = f"{container.name} ({digest('endpoint ' + container.id)})"
        text = f"{self._networking}driver failed programming external connectivity on endpoint {endpoint}: {why}"
        self._not_started(container, NOT_STARTED, text)

    def _not_started(self, container: Container, code: int, text: str) -> None:
        container.exit_code, container.error = code, text
        raise DaemonError(500, text)

    async def _mind(self, container: Container) -> None:
        """Run the process, and again for as long as the policy wants."""
        while container.process is not None:
            outcome = await container.process.run()
            delay = self._died(container, outcome)
            if delay is None:
                break
            await asyncio.sleep(delay)
            try:
                self._launch(container)
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
            self._tell(container, "oom")
        self._tell(container, "die", execDuration=str(int(ran)), exitCode=str(outcome.code))
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
            self._tell(container, "destroy")

    async def _cancel_restart(self, container: Container) -> None:
        if container.minder is not None:
            container.minder.cancel()
            await asyncio.gather(container.minder, return_exceptions=True)
        self._settle(container, "exited")

    async def _signal(self, container: Container, signal: int) -> None:
        self._tell(container, "kill", signal=str(signal))
        self._thaw(container)
        process = container.process
        if process is None:
            return
        if signal == SIGKILL:
            process.kill()
        elif signal == SIGTERM:
            process.terminate()
        await asyncio.sleep(0)

    def _thaw(self, container: Container) -> None:
        if container.state == "paused":
            container.state = "running"
        if container.process is not None:
            container.process.unfrozen.set()

    # Small things

    def log(self, container: Container, stream: str, line: str) -> None:
        """A line that its program printed."""
        container.logs.append((self.machine.clock.nanos(), stream, line))
        self.log_ended(container)

    @staticmethod
    def log_ended(container: Container) -> None:
        """Wake whoever follows the log."""
        waiting, container.logged = container.logged, asyncio.Event()
        waiting.set()

    @property
    def _major(self) -> int:
        return int(self.version.partition(".")[0])

    @property
    def _networking(self) -> str:
        return "failed to set up container networking: " if self._major >= 28 else ""

    def _cannot_remove(self, container: Container) -> str:
        if self._major < 24:
            return (
                f"You cannot remove a {container.state} container {container.id}. "
                "Stop the container before attempting removal or force remove"
            )
        verb = "unpause" if container.state == "paused" else "stop"
        return (
            f'cannot remove container "/{container.name}": container is {container.state}: '
            f"{verb} the container before removing or force remove"
        )

    def _check_free(self, name: str) -> None:
        for other in self.containers.values():
            if other.name == name:
                raise conflict(name, other.id)

    def _random_name(self, identity: str) -> str:
        one, two = int(identity[:4], 16), int(identity[4:8], 16)
        name = f"{WORDS[one % len(WORDS)]}_{PEOPLE[two % len(PEOPLE)]}"
        taken = {container.name for container in self.containers.values()}
        return name if name not in taken else f"{name}{one}"

    def _tell(self, container: Container, action: str, **more: str) -> None:
        attributes = {**container.spec.labels, "image": container.spec.image, "name": container.name, **more}
        if self._major < 23:
            attributes.pop("execDuration", None)
        self.events.tell("container", action, container.id, attributes)

    async def close(self) -> None:
        """End every task; nothing is told."""
        await self.crash()

    def running(self) -> Iterable[Container]:
        """Those in state `running`."""
        return (container for container in self.containers.values() if container.state == "running")


def _not_found(program: str) -> str:
    return (
        "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create "
        f'failed: unable to start container process: error during container init: exec: "{program}": '
        "executable file not found in $PATH: unknown"
    )
