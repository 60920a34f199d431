"""How the machine describes itself: /proc, df, nvidia-smi and ip, as a DGX Spark prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.practice.clock import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.practice.engine import Engine
    from reconciler.practice.machine import Machine

LISTEN: Final = "0A"
SYSTEMD_RESOLVED: Final = "3500007F:0035"
GPU: Final = "NVIDIA GB10"
NOT_AVAILABLE: Final = "[N/A]"
IDLE_WATTS: Final = 4.5


def meminfo(machine: Machine) -> str:
    """/proc/meminfo, its first lines."""
    available = machine.memory_available // 1024
    rows = {
        "MemTotal": machine.memory_total // 1024,
        "MemFree": min(available * 3 // 4, machine.memory_free // 1024),
        "MemAvailable": available,
        "Buffers": available // 100,
        "Cached": max(available // 5, machine.page_cache // 1024),
        "SwapCached": 0,
        "SwapTotal": 16 * 1024**2,
        "SwapFree": 16 * 1024**2,
    }
    return "".join(f"{name + ':':<15} {size:>9} kB\n" for name, size in rows.items())


def tcp(machine: Machine) -> str:
    """/proc/net/tcp: what listens."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    addresses = [SYSTEMD_RESOLVED, *(f"00000000:{port:04X}" for port in sorted(machine.listeners))]
    tail = "00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0"
    return head + "".join(f"{n:4}: {a} 00000000:0000 {LISTEN} {tail}\n" for n, a in enumerate(addresses))


def tcp6(_machine: Machine) -> str:
    """/proc/net/tcp6: sshd's."""
    head = "  sl  local_address                         remote_address                        st tx_queue rx_queue\n"
    zero = "0" * 32
    return f"{head}   0: {zero}:0016 {zero}:0000 {LISTEN} 00000000:00000000\n"


def df(machine: Machine) -> str:
    """`df -P -k /`."""
    total, free = machine.disk_total // 1024, machine.disk_free // 1024
    used = total - free
    share = -(-used * 100 // total)
    head = "Filesystem     1024-blocks       Used  Available Capacity Mounted on\n"
    return f"{head}/dev/nvme0n1p2 {total:11} {used:10} {free:10} {share:7}% /\n"


def nvidia_smi(engine: Engine, argv: list[str]) -> str | None:
    """`nvidia-smi --query-gpu=... --format=csv[,noheader][,nounits]`; None if it's asked something else."""
    options = dict(word.split("=", 1) for word in argv[1:] if word.startswith("--") and "=" in word)
    if "--query-gpu" not in options:
        return None
    names = [name.strip() for name in options["--query-gpu"].split(",")]
    form = options.get("--format", "").split(",")
    busy = [c for c in engine.running() if c.spec.gpus and c.process is not None and c.process.ready.is_set()]
    load = min(96, sum(3 + int(digest(c.id)[:2], 16) % 9 for c in busy))
    values: dict[str, tuple[str, str]] = {
        "name": (GPU, ""),
        "gpu_name": (GPU, ""),
        "index": ("0", ""),
        "count": ("1", ""),
        "driver_version": ("580.95.05", ""),
        "compute_cap": ("12.1", ""),
        "uuid": (f"GPU-{digest(engine.machine.name)[:8]}-0000-0000-0000-000000000001", ""),
        "utilization.gpu": (str(load), " %"),
        "temperature.gpu": (str(38 + load // 4), ""),
        "power.draw": (f"{IDLE_WATTS + load * 0.9:.2f}", " W"),
    }
    row = [values.get(name, (NOT_AVAILABLE, "")) for name in names]
    lines = [] if "noheader" in form else [", ".join(names)]
    lines.append(", ".join(text + ("" if "nounits" in form else unit) for text, unit in row))
    return "".join(f"{line}\n" for line in lines)


def interfaces(machine: Machine) -> str:
    """`ip -o addr show`: loopback, the office network (this Spark's address), and the fabric between Sparks."""
    tail = "valid_lft forever preferred_lft forever"
    rows = (
        ("1", "lo", "inet 127.0.0.1/8 scope host lo"),
        ("2", "enP7s7", f"inet {machine.address}/24 scope global enP7s7"),
        ("3", "enp1s0f0np0", f"inet 192.168.100.{machine.number + 10}/24 scope global enp1s0f0np0"),
        ("3", "enp1s0f0np0", "inet6 fe80::4abb:2dff:fe00:1/64 scope link"),
        ("4", "enP2p1s0f0np0", f"inet 192.168.101.{machine.number + 10}/24 scope global enP2p1s0f0np0"),
    )
    return "".join(f"{number}: {name}    {text}\\       {tail}\n" for number, name, text in rows)


def proc(machine: Machine) -> dict[str, Callable[[], str]]:
    """The files of /proc that a scan reads."""
    return {
        "/proc/sys/kernel/random/boot_id": lambda: f"{machine.boot_id}\n",
        "/proc/meminfo": lambda: meminfo(machine),
        "/proc/net/tcp": lambda: tcp(machine),
        "/proc/net/tcp6": lambda: tcp6(machine),
        "/proc/uptime": lambda: f"{machine.clock.wall() - machine.booted_at:.2f} 0.00\n",
        "/proc/sys/kernel/hostname": lambda: f"{machine.name}\n",
        "/etc/hostname": lambda: f"{machine.name}\n",
        "/etc/os-release": lambda: 'NAME="Ubuntu"\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.2 LTS"\nID=ubuntu\n',
        "/etc/dgx-release": lambda: 'DGX_NAME="DGX Spark"\nDGX_SWBUILD_VERSION="7.2.3"\n',
    }
