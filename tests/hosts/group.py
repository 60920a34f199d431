"""Control groups (v1) that name every process of a fleet, so that none is missed and no other is hit."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.hosts.shell import wait_for

ROOT = Path("/sys/fs/cgroup")
_FINDER = ROOT / "pids"  # any one hierarchy lists all members


def usable() -> bool:
    """Say whether this machine has the version 1 hierarchies."""
    return (_FINDER / "cgroup.procs").exists()


def create(group: str) -> None:
    """Make `group` (a/b makes a too) in every hierarchy; host-join.sh puts processes in."""
    for tree in _trees():
        folder = tree
        for part in group.split("/"):
            above, folder = folder, folder / part
            folder.mkdir(exist_ok=True)
            if tree.name == "cpuset":  # an empty cpuset takes no process
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (folder / name).write_text((above / name).read_text())


def members(group: str, *, deep: bool = False) -> list[int]:
    """Return the processes in `group`, and in the groups under it if `deep`."""
    found = []
    for folder, _, _ in os.walk(_FINDER / group):
        with suppress(OSError):
            found += [int(pid) for pid in Path(folder, "cgroup.procs").read_text().split()]
        if not deep:
            break
    return found


def first_process(group: str) -> int | None:
    """Return, as this machine numbers it, the process that is number 1 in the PID namespace of `group`."""
    for pid in members(group):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("NSpid:") and line.split()[2:] == ["1"]:
                    return pid
    return None


def kill(group: str) -> None:
    """End every process in `group` at once, and wait until none is left."""

    def empty() -> bool:
        left = members(group, deep=True)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_for(empty, f"the processes of {group} to end")


def remove(group: str) -> None:
    """Remove the folders of `group`, which Docker fills with one for each container, in every hierarchy."""
    for tree in _trees():
        wait_for(lambda top=tree / group: _removed(top), f"{tree / group} to go")  # type: ignore[misc]


def _removed(top: Path) -> bool:
    for folder, _, _ in os.walk(top, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()
    return not top.exists()


def _trees() -> list[Path]:
    return [tree for tree in ROOT.iterdir() if (tree / "cgroup.procs").exists()]
