"""A fleet of real hosts on this machine, for tests and benchmarks; needs root on Debian, and its packages.

    python -m tests.hosts.fleet up 2          two hosts that stay until `down`
    python -m tests.hosts.fleet status
    python -m tests.hosts.fleet run 1 docker ps
    python -m tests.hosts.fleet down

In a program: `with Fleet.up(2, base=folder) as fleet: ...`.
"""

import argparse
import fcntl
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

from tests.hosts import group, images, net, tools
from tests.hosts.host import Host
from tests.hosts.shell import HostError, call

PACKAGES = (
    "openssh-server docker.io runc docker-registry busybox-static nftables iproute2 iptables gcc libc6-dev curl python3"
)
_PROGRAMS = (
    "sshd",
    "ssh-keygen",
    "dockerd",
    "containerd",
    "runc",
    "docker",
    "docker-registry",
    "busybox",
    "nft",
    "ip",
    "gcc",
    "nsenter",
    "unshare",
)
_AT_ONCE = 8
T = TypeVar("T")


def missing() -> str | None:
    """Return why hosts cannot run on this machine, or None."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "real hosts need root on Linux"
    for name in _PROGRAMS:
        try:
            tools.program(name)
        except HostError:
            return f"{name} is not installed (apt-get install {PACKAGES})"
    if not group.usable():
        return "real hosts need the version 1 control groups"
    return None


class BusyError(HostError):
    """The fleet's name is in use by a live program."""


class Fleet:
    """Hosts on one bridge. `name` and `network` set two fleets on one machine apart.

    The `shared` folders of this machine are on every host, read-only and at the same place.
    """

    def __init__(
        self,
        count: int,
        base: Path,
        *,
        name: str = "sk",
        network: str = "10.78",
        engine: bool = True,
        shared: Sequence[Path] = (),
    ) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]{0,8}", name):
            raise HostError(f"a fleet's name is 1 to 9 letters and digits, not {name!r}")
        self.base, self.name, self.network = base.resolve(), name, network
        self.images = self.base / "images"
        self.gateway = net.gateway_of(network)
        self.key, self.known_hosts = self.base / "id", self.base / "known_hosts"
        numbers = range(1, count + 1)
        self.hosts = [Host(name, number, network, self.base, engine=engine, shared=shared) for number in numbers]

    @classmethod
    @contextmanager
    def up(
        cls,
        count: int,
        base: Path,
        name: str = "sk",
        network: str = "10.78",
        engine: bool = True,
        shared: Sequence[Path] = (),
    ) -> Iterator[Self]:
        """Start `count` hosts that keep their files under `base`; take everything down at the end.

        What a killed run of the same name left is removed first; a live one's hosts are an error.
        """
        fleet = cls(count, base, name=name, network=network, engine=engine, shared=shared)
        with claim(name):
            try:
                fleet.start()
                yield fleet
            finally:
                fleet.down()

    def start(self) -> None:
        """Remove what is left of an earlier fleet of this name, then boot every host."""
        reason = missing()
        if reason:
            raise HostError(reason)
        sweep(self.name)
        for folder in self.base.glob("spark-*"):
            shutil.rmtree(folder)
        self.base.mkdir(parents=True, exist_ok=True)
        self.base.chmod(0o755)
        tools.build(self.base / "tools")
        if not self.key.exists():
            call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "keep", "-f", str(self.key)])
        net.add_bridge(self.name, self.network)
        self.each(Host.boot)
        self.known_hosts.write_text("".join(f"{host.address} {host.public_key()}\n" for host in self.hosts))

    def each(self, work: Callable[[Host], T]) -> list[T]:
        """Do the same on every host, several at once; return the answers in the hosts' order."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(work, self.hosts))

    def down(self) -> None:
        """End every process of the fleet, of this run or an earlier one; remove all but keys and logs."""
        sweep(self.name)
        for host in self.hosts:
            host.forget()
        for folder in self.base.glob("spark-*"):
            for part in ("root", "etc", "etc-work"):
                shutil.rmtree(folder / part, ignore_errors=True)


def sweep(name: str) -> None:
    """End every process of the fleet called `name` and remove its groups, links and namespaces."""
    group.kill(name)
    net.sweep(name)
    group.remove(name)


@contextmanager
def claim(name: str) -> Iterator[None]:
    """Hold the right to a fleet's name; the kernel lets go of it if this process is killed."""
    with Path("/run/lock", f"sparkkeep-hosts-{name}").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BusyError(f"another program runs the fleet {name!r}") from error
        yield


def main() -> int:
    """Answer the command line; its fleet has a name and network of its own, apart from any test's."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosts.fleet")
    parser.add_argument("--base", type=Path, default=Path("/tmp/sparkkeep-hosts"))
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up").add_argument("count", type=int)
    verbs.add_parser("down")
    verbs.add_parser("status")
    run = verbs.add_parser("run")
    run.add_argument("host", type=int)
    run.add_argument("argv", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    kept = len(list(asked.base.glob("spark-*")))
    fleet = Fleet(asked.count if asked.verb == "up" else kept, asked.base, name="hand", network="10.90")
    if asked.verb == "up":
        fleet.start()
        images.load_all(fleet)
    elif asked.verb == "down":
        fleet.down()
        shutil.rmtree(fleet.base, ignore_errors=True)
        return 0
    elif asked.verb == "run":
        sys.stdout.write(fleet.hosts[asked.host - 1].run(asked.argv))
        return 0
    for host in fleet.hosts:
        state = "up" if host.up() else "down"
        engine = "engine" if host.daemon_answers() else "no engine"
        sys.stdout.write(f"{host.name} {host.address} {state} {engine}\n")
    if not fleet.hosts:
        sys.stdout.write("no hosts\n")
        return 0
    sys.stdout.write(f"ssh -i {fleet.key} -o UserKnownHostsFile={fleet.known_hosts} root@ADDRESS\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
