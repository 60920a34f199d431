"""The pretend machine: memory, disk, ports, boot id. It knows no Docker and no SSH.

Memory is what matters on a Spark, so it is kept honestly: what a program holds is counted from its start, and
comes back only some time after its end, as a driver gives it back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from reconciler.practice.clock import Clock, Ids
from reconciler.practice.switches import Switches

GIB: Final = 1024**3
KIB: Final = 1024
SSH_PORT: Final = 22


@dataclass(slots=True, kw_only=True)
class Machine:
    """One Spark's hardware, as far as a fleet tool looks. Sizes in bytes."""

    name: str
    clock: Clock
    ids: Ids
    switches: Switches
    number: int = 1
    address: str = "127.77.0.1"
    memory_total: int = 121 * GIB
    memory_other: int = 6 * GIB
    memory_release: float = 0.5
    page_cache: int = 0  # clean pages of files: MemAvailable counts them as free, MemFree (and CUDA) as taken
    disk_total: int = 3700 * GIB
    disk_used: int = 420 * GIB
    load_seconds: float = 0.3  # a server's way from start to listening, plus this per GiB it holds:
    load_seconds_per_gib: float = 0.02
    boot_id: str = ""
    booted_at: float = 0.0
    overcommits: int = 0  # how often something was started that did not fit: on a real Spark, a hang
    memory_lowest: int = 0  # the least that was ever available since the boot
    listeners: dict[int, str] = field(default_factory=dict)  # port -> what holds it
    _held: dict[str, int] = field(default_factory=dict)
    _releasing: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.power_on()

    def power_on(self) -> None:
        """A new boot: a new boot id, nothing held, only the system's own listeners and the foreign ones."""
        self.boot_id = self.ids.uuid()
        self.booted_at = self.clock.wall()
        self._held.clear()
        self._releasing.clear()
        foreign = {port: owner for port, owner in self.listeners.items() if owner == "foreign"}
        self.listeners = {SSH_PORT: "sshd", **foreign}
        self.memory_lowest = self.memory_available

    # Memory

    @property
    def memory_available(self) -> int:
        """MemAvailable: what is left after the others, the running, and what is still on its way back."""
        now = self.clock.monotonic() if self._releasing else 0.0
        self._releasing = [(until, size) for until, size in self._releasing if until > now]
        used = self.memory_other + sum(self._held.values()) + sum(size for _, size in self._releasing)
        return max(0, self.memory_total - used)

    @property
    def memory_free(self) -> int:
        """MemFree, and what CUDA calls free: the page cache is not in it."""
        return max(0, self.memory_available - self.page_cache)

    def take_memory(self, holder: str, size: int) -> bool:
        """Whether it fits; what does not fit is not held (the kernel kills it)."""
        if size > self.memory_available:
            self.overcommits += 1
            return False
        self._held[holder] = size
        self.memory_lowest = min(self.memory_lowest, self.memory_available)
        return True

    def keep_memory(self, holder: str, size: int) -> None:
        """The holder needs no more than this from now on; the rest is free at once."""
        self._held[holder] = min(size, self._held.get(holder, 0))

    def release_memory(self, holder: str) -> None:
        """The holder has ended; its memory comes back after a while."""
        size = self._held.pop(holder, 0)
        if self.switches.memory_release is not None:
            self.switches.count("memory_slow_release")
        delay = self.memory_release if self.switches.memory_release is None else self.switches.memory_release
        if size and delay > 0:
            self._releasing.append((self.clock.monotonic() + delay, size))

    # Disk

    @property
    def disk_free(self) -> int:
        """Bytes; none if a fault says so."""
        return 0 if self.switches.disk_full else max(0, self.disk_total - self.disk_used)

    def write_disk(self, size: int) -> bool:
        """Whether there was room; nothing is written if there was not."""
        if size > self.disk_free:
            if self.switches.disk_full:
                self.switches.count("disk_full")
            return False
        self.disk_used += size
        return True

    # Ports

    def listen(self, port: int, holder: str) -> bool:
        """Take a port. False if something else has it."""
        if self.listeners.setdefault(port, holder) == holder:
            return True
        if self.listeners[port] == "foreign":
            self.switches.count("port_taken")
        return False

    def unlisten(self, holder: str) -> None:
        """Give back all ports of a holder."""
        self.listeners = {port: owner for port, owner in self.listeners.items() if owner != holder}
