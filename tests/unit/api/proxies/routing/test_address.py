"""Where a Spark is for the requests of apps: where it is declared to be, or what the ssh configuration calls so."""

from __future__ import annotations

import os
from pathlib import Path

from api.reach import Reach
from reconciler.hostkeys import HostKeys
from state.desired import Spark


def reach(folder: Path, text: str | None) -> Reach:
    config = folder / "config"
    if text is not None:
        config.write_text(text)
    return Reach(hostkeys=HostKeys([folder / "known_hosts"], own=folder / "own"), config=(config,))


def where(made: Reach, host: str) -> str:
    return made.address("spark-1", Spark(host=host))


def test_what_is_declared_is_where_it_is(tmp_path: Path) -> None:
    made = reach(tmp_path, None)
    assert [where(made, host) for host in ("192.168.1.11", "spark.lan", "[fd00::1]")] == [
        "192.168.1.11",
        "spark.lan",
        "fd00::1",
    ]


def test_a_name_of_the_ssh_configuration_is_looked_up_there(tmp_path: Path) -> None:
    made = reach(tmp_path, "Host desk\n  HostName 10.1.2.3\n  User me\n")
    assert (where(made, "desk"), where(made, "other")) == ("10.1.2.3", "other")
    (tmp_path / "config").write_text("Host desk\n  HostName 10.9.9.9\n")
    os.utime(tmp_path / "config", ns=(1, 1))  # whatever the clock's step, it was written at another time
    assert where(made, "desk") == "10.9.9.9"


def test_a_configuration_that_can_not_be_read_leaves_what_is_declared(tmp_path: Path) -> None:
    assert where(reach(tmp_path, "Host desk\n  Port many\n"), "desk") == "desk"
