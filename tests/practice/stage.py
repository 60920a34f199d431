"""The stage of practice Sparks: the same stories, without a real machine."""

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

from reconciler.practice.containers import ImageConfig
from reconciler.practice.docker_cli import DockerCli
from reconciler.practice.fleet import PracticeFleet, PracticeSpark
from reconciler.practice.shell_io import Buffer, Input, Io
from reconciler.practice.shell_run import Shell
from tests.scenarios.stage import OURS, READS, Command, Seen, changing, normalised

REAL_DOCKER = 0.2  # seconds a real one takes, in which a controller hears of it
IMAGES = {
    f"keep/{name}:{tag}": ImageConfig((f"/bin/keep-{program}",), (), ("PATH=/bin", f"KEEP_VERSION={tag}"))
    for name, program, tag in (("echo", "server", "1"), ("echo", "server", "2"), ("argv", "argv", "1"))
}


class PracticeStage:
    """A fleet of practice Sparks as `tests.scenarios.stage.Stage`."""

    runs_programs = False
    registry = "registry.practice:5000"

    def __init__(self, fleet: PracticeFleet) -> None:
        self.sparks = tuple(fleet.sparks)
        self.key: Path = fleet.key_path
        self.known_hosts: Path = fleet.known_hosts_path
        self._fleet = fleet
        self._names: dict[str, dict[str, str]] = {name: {} for name in self.sparks}
        self._from = dict.fromkeys(self.sparks, 0)
        self._first_key = {name: spark.host_key for name, spark in fleet.sparks.items()}
        for spark in fleet.sparks.values():
            spark.engine.images.known.update(IMAGES)
            spark.faults.image_missing(f"{self.registry}/keep/none:1")
            spark.faults.image_missing(f"{self.registry}/keep/none")
            for image in IMAGES:
                spark.engine.images.add(image)

    def spark(self, name: str) -> PracticeSpark:
        return self._fleet[name]

    def desired(self) -> dict[str, Any]:
        return {name: {**there, "reserve": 0} for name, there in self._fleet.desired_sparks().items()}

    async def docker(self, spark: str, *argv: str) -> str:
        status, out, error = await self._told(spark, *argv)
        assert status == 0, f"{argv}: {status} {error}"
        if argv[0] not in READS:
            await asyncio.sleep(REAL_DOCKER)
        return out

    async def _told(self, spark: str, *argv: str) -> tuple[int, str, str]:
        engine = self.spark(spark).engine
        out, error = Buffer(), Buffer()
        status = await DockerCli(engine)(Shell({}, engine.files, {}), ["docker", *argv], Io(Input(), out, error))
        self._learn(spark)
        return status, out.text, error.text

    async def containers(self, spark: str) -> dict[str, Seen]:
        """Without those that go away while they are looked at: Docker tells of the others all the same."""
        self._learn(spark)
        ids = [container.id for container in self.spark(spark).engine.containers.values()]
        _, found, _ = await self._told(spark, "inspect", *ids) if ids else (0, "[]", "")
        return {seen.name: seen for seen in map(_seen, json.loads(found))}

    async def commands(self, spark: str) -> list[Command]:
        return (await self.trace(spark))[self._from[spark] :]

    async def trace(self, spark: str) -> list[Command]:
        self._learn(spark)
        return [normalised(argv, self._names[spark]) for argv in self._changing(spark)]

    def _changing(self, spark: str) -> list[list[str]]:
        return changing(list(command.argv) for command in self.spark(spark).commands)

    def clear(self) -> None:
        self._from = {name: len(self._changing(name)) for name in self.sparks}

    async def fetch(self, spark: str, port: int, path: str) -> str:
        def get() -> str:
            with urllib.request.urlopen(f"http://{self.spark(spark).host}:{port}{path}", timeout=5) as answer:
                return str(answer.read().decode())

        return await asyncio.to_thread(get)

    async def has_folder(self, spark: str, path: str) -> bool:
        files = self.spark(spark).engine.files
        return path.replace("$HOME", files.home) in files.folders

    async def files(self, spark: str, folder: str) -> list[str]:
        files = self.spark(spark).engine.files
        return files.names(folder.replace("$HOME", files.home))

    async def cut(self, spark: str) -> None:
        self.spark(spark).faults.cut()

    async def heal(self, spark: str) -> None:
        self.spark(spark).faults.heal()

    async def reboot(self, spark: str) -> None:
        self._learn(spark)
        await self.spark(spark).faults.power_off()
        await self.spark(spark).faults.boot()

    async def restart_daemon(self, spark: str) -> None:
        self._learn(spark)
        await self.spark(spark).faults.daemon_restart(0.2)

    async def new_host_key(self, spark: str) -> None:
        self._learn(spark)
        await self.spark(spark).faults.power_off()
        self.spark(spark).faults.new_host_key()
        await self.spark(spark).faults.boot()

    async def old_host_key(self, spark: str) -> None:
        await self.spark(spark).faults.power_off()
        self.spark(spark).host_key = self._first_key[spark]
        await self.spark(spark).faults.boot()

    async def listen(self, spark: str, port: int) -> None:
        self.spark(spark).faults.port_taken(port)

    async def unlisten(self, spark: str, port: int) -> None:
        self.spark(spark).faults.port_freed(port)

    async def hold_registry(self) -> None:
        for spark in self._fleet.sparks.values():
            spark.faults.pull_stalls()

    async def release_registry(self) -> None:
        for spark in self._fleet.sparks.values():
            spark.faults.pull_stalls(False)

    def _learn(self, spark: str) -> None:
        """The names behind the ids, also of containers that are gone."""
        engine = self.spark(spark).engine
        for event in engine.events.past(0):
            if event.action == "create":
                self._names[spark].setdefault(event.id[:12], event.attributes["name"])
        self._names[spark].update({c.id[:12]: c.name for c in engine.containers.values()})


def _seen(item: dict[str, Any]) -> Seen:
    return Seen(
        id=item["Id"],
        name=item["Name"].removeprefix("/"),
        image=item["Config"]["Image"],
        state=item["State"]["Status"],
        started=item["State"]["StartedAt"],
        restart=item["HostConfig"]["RestartPolicy"]["Name"],
        command=tuple(item["Config"]["Cmd"] or ()),
        labels={key: value for key, value in (item["Config"]["Labels"] or {}).items() if key.startswith(OURS)},
    )
