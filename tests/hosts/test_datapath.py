"""The same load as on practice Sparks (`tests.datapath.mixed`), on real hosts."""

from pathlib import Path

import pytest

from tests.datapath.grounds import real
from tests.datapath.mixed import MEMORY, MODELS, story
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host


@pytest.mark.timeout(300)
async def test_apps_are_answered_while_real_hosts_change(fleet: Fleet, hosts: list[Host], tmp_path: Path) -> None:
    told = await story(real(fleet, MEMORY), tmp_path / "sparkkeep", seconds=10, apps=6, seed=2)
    assert told.whole(), f"{told.table().markdown()}\n{told.faults[:5]}\n{told.complaints[:5]}"
    assert {each.model for each in told.asked if each.verdict == "right"} == set(MODELS), told.table().markdown()
    assert {"move", "recreate", "kill", "cut", "restart"} <= set(told.done)
    assert not any("/proc/meminfo" in host.run(["cat", "/proc/self/mounts"]) for host in hosts)
