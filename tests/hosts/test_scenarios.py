"""Every scenario on real hosts: OpenSSH, Docker, packets that get lost; and the same on practice Sparks, equally told."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from reconciler.practice.fleet import PracticeFleet
from reconciler.practice.spark import Settings
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.hosts.registry import Registry
from tests.practice.stage import PracticeStage
from tests.scenarios.play import Told, play
from tests.scenarios.real import RealStage
from tests.scenarios.scenarios import ALL
from tests.scenarios.stage import Command

Traces = dict[str, list[Command]]


@pytest.fixture
def stage(fleet: Fleet, hosts: list[Host], registry: Registry) -> Iterator[RealStage]:
    with RealStage(fleet, registry) as ready:
        yield ready


async def practised(told: Told, folder: Path) -> Traces:
    settings = Settings(pull_seconds=0.1, load_seconds=0.05)
    async with PracticeFleet(2, folder / "practice", first_port=0, settings=settings) as fleet:
        stage = PracticeStage(fleet)
        homes = {spark.engine.files.home for spark in fleet.sparks.values()}
        fabric = {f"192.168.101.{spark.machine.number + 10}": "ADDRESS" for spark in fleet.sparks.values()}
        here = {**dict.fromkeys(homes, "HOME"), **fabric, "enP2p1s0f0np0": "INTERFACE"}
        return anonymous(await play(told, stage, folder), {stage.registry: "REGISTRY", **here})


def anonymous(traces: Traces, names: Mapping[str, str]) -> Traces:
    """Without what is called differently on every fleet. Images are fetched beside the rest, so their order is free."""

    def worded(word: str) -> str:
        for name, instead in names.items():
            word = word.replace(name, instead)
        return word

    def fetches(command: Command) -> bool:
        return command[1] == "pull"

    found = {spark: [tuple(map(worded, command)) for command in trace] for spark, trace in traces.items()}
    return {
        spark: [*sorted(filter(fetches, trace)), *(c for c in trace if not fetches(c))]
        for spark, trace in found.items()
    }


@pytest.mark.timeout(180)
@pytest.mark.parametrize("told", ALL.values(), ids=ALL)
async def test_on_real_hosts(told: Told, stage: RealStage, hosts: list[Host], tmp_path: Path) -> None:
    addresses = {host.address: "ADDRESS" for host in hosts}
    home = {"source=/root/": "source=HOME/", "/root/.sparkkeep": "HOME/.sparkkeep"}
    here = {stage.registry: "REGISTRY", **home, **addresses, "eth0": "INTERFACE"}
    traces = anonymous(await play(told, stage, tmp_path / "real"), here)
    if not told.loose:
        assert traces == await practised(told, tmp_path / "practised")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "name",
    ["changes_the_image", "a_container_is_killed", "its_image_is_fetched", "its_server_dies_in_a_living_container"],
)
async def test_where_ssh_forwards_nothing(name: str, stage: RealStage, tmp_path: Path) -> None:
    """The docker command reads in place of the Engine's socket, and curl asks in place of a forwarded port."""
    for spark in stage.sparks:
        stage.host(spark).sshd_option("AllowStreamLocalForwarding no")
        stage.host(spark).sshd_option("AllowTcpForwarding no")
    await play(ALL[name], stage, tmp_path)
