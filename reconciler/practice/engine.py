"""The pretend Docker engine: containers from creation to removal, the way dockerd does it.

Methods are what the daemon's API offers; they raise `DaemonError` with the daemon's own sentences. Whoever
minds a running container is a task of its own (`mind`), which also restarts it as its policy says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from reconciler.practice import engine_texts
from reconciler.practice.clock import Ids
from reconciler.practice.containers import STOP_TIMEOUT, Container, Policy, Spec
from reconciler.practice.engine_checks import check_name, check_spec, conflict
from reconciler.practice.engine_life import SIGKILL, SIGTERM, Life
from reconciler.practice.errors import DaemonError, no_such_container
from reconciler.practice.files import Files
from reconciler.practice.images import Images
from reconciler.practice.machine import Machine
from reconciler.practice.programs import Serve

VERSION: Final = "28.2.2"
CRASHED: Final = 255
WORDS: Final = ("brave", "calm", "eager", "gentle", "keen", "lucid", "quirky", "vivid")
PEOPLE: Final = ("borg", "curie", "hopper", "kepler", "lovelace", "noether", "ritchie", "turing")


class Engine(Life):
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
        super().__init__(machine, files or Files(), serve=serve, version=version)
        self.images = Images(machine, self.events, pull_seconds=pull_seconds)
        self.calls: set[asyncio.Future[int]] = set()  # what clients are waiting for
        self._ids = ids

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
        spec = spec.upon(image.config)
        if not spec.argv:
            raise DaemonError(400, "no command specified")
        identity = self._ids.hex()
        name = spec.name.removeprefix("/") or self._random_name(identity)
        check_name(spec.name or name)
        self._check_free(name)
        container = Container(id=identity, name=name, spec=spec, image_id=image.id, created=self.machine.clock.nanos())
        self.containers[identity] = container
        for mount in spec.mounts:
            if mount.kind == "bind" and not self.files.exists(mount.source):
                self.files.make_folder(mount.source)  # `-v` makes what it does not find, as root
        self.tell(container, "create")
        return container

    async def start(self, reference: str) -> None:
        """Start one; nothing happens if it runs. Raises DaemonError."""
        container = self.find(reference)
        if container.state == "paused":
            raise DaemonError(409, "cannot start a paused container, try unpause instead")
        if container.active:
            return
        container.restarts, container.restart_delay, container.stopped_by_hand = 0, 0.0, False
        self.launch(container)
        container.minder = asyncio.create_task(self.mind(container), name=f"mind {container.name}")
        await asyncio.sleep(0)

    async def stop(self, reference: str, seconds: int | None = None) -> None:
        """SIGTERM, and SIGKILL if it still runs after `seconds` (its own timeout if None, never if negative)."""
        container = self.find(reference)
        if not container.active:
            return
        container.stopped_by_hand = True
        if container.state == "restarting":
            await self.cancel_restart(container)
        else:
            limit = seconds
            if limit is None:
                limit = STOP_TIMEOUT if container.spec.stop_timeout is None else container.spec.stop_timeout
            await self.signal(container, SIGTERM)
            try:
                await asyncio.wait_for(container.ended.wait(), None if limit < 0 else limit)
            except TimeoutError:
                await self.signal(container, SIGKILL)
                await container.ended.wait()
        self.tell(container, "stop")

    async def restart(self, reference: str, seconds: int | None = None) -> None:
        """Stop and start. Raises DaemonError."""
        await self.stop(reference, seconds)
        await self.start(reference)
        self.tell(self.find(reference), "restart")

    async def kill(self, reference: str, signal: int = SIGKILL) -> None:
        """A signal from a person: an end by it is not followed by a restart."""
        container = self.find(reference)
        if not container.active:
            raise DaemonError(409, f"Cannot kill container: {reference}: Container {container.id} is not running")
        if signal in {SIGKILL, SIGTERM}:
            container.stopped_by_hand = True
        if container.state == "restarting":
            await self.cancel_restart(container)
            return
        await self.signal(container, signal)
        if signal == SIGKILL:
            await container.ended.wait()

    async def remove(self, reference: str, *, force: bool = False) -> None:
        """Raises DaemonError for one that runs, unless forced."""
        container = self.find(reference)
        if container.active and not force:
            raise DaemonError(409, engine_texts.cannot_remove(container, self.major))
        if container.active:
            await self.kill(container.id)
        if self.containers.pop(container.id, None) is None:
            raise DaemonError(409, f"removal of container {container.id} is already in progress")
        self.tell(container, "destroy")

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
        self.tell(container, "rename", oldName=f"/{old}")

    def update(self, reference: str, *, policy: Policy) -> None:
        """Another restart policy, while it runs. Raises DaemonError."""
        container = self.find(reference)
        policy.check()
        container.spec.policy = policy
        self.tell(container, "update")

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
        self.tell(container, "pause")

    def unpause(self, reference: str) -> None:
        """Let it go on. Raises DaemonError."""
        container = self.find(reference)
        if container.state != "paused":
            raise DaemonError(500, f"Container {container.id} is not paused")
        self.thaw(container)
        self.tell(container, "unpause")

    # The machine under it

    async def crash(self) -> None:
        """Power loss: everything ends at once, and nobody is told."""
        self.hang_up()
        minders = [c.minder for c in self.containers.values() if c.minder is not None]
        for minder in minders:
            minder.cancel()
        if minders:
            await asyncio.wait(minders)  # not gather: whoever hangs up on this wait must not cancel them twice
        self.events.forget()

    def hang_up(self) -> None:
        """The daemon is gone: whoever waits for it waits no longer."""
        for call in list(self.calls):
            call.cancel()

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

    def _check_free(self, name: str) -> None:
        for other in self.containers.values():
            if other.name == name:
                raise conflict(name, other.id)

    def _random_name(self, identity: str) -> str:
        one, two = int(identity[:4], 16), int(identity[4:8], 16)
        name = f"{WORDS[one % len(WORDS)]}_{PEOPLE[two % len(PEOPLE)]}"
        taken = {container.name for container in self.containers.values()}
        return name if name not in taken else f"{name}{one}"

    async def close(self) -> None:
        """End every task; nothing is told."""
        await self.crash()

    def running(self) -> Iterable[Container]:
        """Those in state `running`."""
        return (container for container in self.containers.values() if container.state == "running")
