"""What one machine says of itself, by one command: the script that asks, and the reading of its answer.

Each section stands between two sentinel lines that carry a nonce and, at its end, its exit status; the last
line says that nothing was cut off. An answer that lacks a section it needs, or its end, is a failed scan,
never "nothing there". Pure: text out, text in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeVar

from reconciler.model import Facts, Gpu, Rdma
from reconciler.shell import join

Command = tuple[str, ...]
T = TypeVar("T")

QUICK: Final[Mapping[str, Command]] = {
    "kernel": ("cat", "/proc/sys/kernel/random/boot_id", "/proc/meminfo"),
    "listeners": ("listening",),
}
# To read /proc/net/tcp the kernel walks its whole table of connections (5 ms for each file, more on a large machine);
# `ss` asks for the listeners alone.
LISTENING: Final = (
    "listening() { ss -Htln 2>/dev/null && return; cat /proc/net/tcp && { cat /proc/net/tcp6 2>/dev/null || :; }; }"
)
SLOW: Final[Mapping[str, Command]] = {
    "disk": ("df", "-P", "-k", "/"),
    "gpu": (
        "timeout",  # a driver that hangs must not cost the whole scan
        "5",
        "nvidia-smi",
        "--query-gpu=name,utilization.gpu,temperature.gpu,power.draw",
        "--format=csv,noheader,nounits",
    ),
}
SETTLED: Final[Mapping[str, Command]] = {  # what hardly ever changes
    "interfaces": ("ip", "-o", "addr", "show"),
    "rdma": ("rdma",),
}
# Of each RDMA device: kind, network interface and address of each entry of its table that is in use.
RDMA: Final = (
    "rdma() { grep -sv '^0000:0000:0000:0000:0000:0000:0000:0000$' /sys/class/infiniband/*/ports/1/gid_attrs/*/* "
    "/sys/class/infiniband/*/ports/1/gids/*; :; }"
)
ENTRY: Final = re.compile(
    r"^/sys/class/infiniband/(?P<device>[^/]+)/ports/1/(?P<what>gid_attrs/types|gid_attrs/ndevs|gids)/(?P<index>\d+):(?P<value>.*)$",
    re.MULTILINE,
)
MEMORY: Final = re.compile(r"^(MemTotal|MemAvailable|MemFree):\s+(\d+) kB$", re.MULTILINE)
V4_MAPPED: Final = "0000:0000:0000:0000:0000:ffff:"
NOT_FOUND: Final = 127  # what `timeout` says of a program that is not there
# Where the Engine's socket can't be forwarded, the docker CLI in the same command. `docker inspect` of a
# container that went away in between fails the section, and with it the scan: the next one sees the truth.
CLI: Final[Mapping[str, Command]] = {
    "containers": (
        "sh",
        "-c",
        (
            "ids=$(docker ps --all --quiet --no-trunc) || exit 1\n"
            'if [ -n "$ids" ]; then exec docker inspect --type container $ids; fi\n'
            "echo '[]'"
        ),
    ),
    "images": ("docker", "images", "--no-trunc", "--digests", "--format", "{{json .}}"),
}
REQUIRED: Final = frozenset({"kernel", "listeners", "containers", "images"})
LISTEN: Final = "0A"


class ScanFailed(Exception):
    """An answer that can't be trusted. `reason` is one CamelCase word, the text says what was wrong with it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Section:
    """What one command of the script printed (both streams), and its exit status."""

    text: str
    status: int


def script(nonce: str, *, full: bool, settled: bool = False, cli: bool) -> str:
    """The shell script of one scan.

    `full` adds the slow facts, `settled` those that hardly ever change, `cli` the containers and images.
    `nonce` must be unguessable: a container's name or a file's content can then not pass for a sentinel.
    The answer is gathered and printed at once: every piece printed alone costs both ends a packet.
    """
    commands = {**QUICK, **(SLOW if full else {}), **(SETTLED if settled else {}), **(CLI if cli else {})}
    head = (
        "LC_ALL=C; export LC_ALL",
        LISTENING,
        *((RDMA,) if settled else ()),
        f's() {{ n=$1; shift; printf \'={nonce} %s\\n\' "$n"; "$@" 2>&1; printf \'\\n={nonce} %s %s\\n\' "$n" "$?"; }}',
    )
    body = (f"s {name} {join(command)}" for name, command in commands.items())
    return "\n".join((*head, "answer=$(", *body, ")", f"printf '%s\\n={nonce} end\\n' \"$answer\""))


def end_mark(nonce: str) -> str:
    """The last line of a whole answer."""
    return f"={nonce} end\n"


def sections(answer: str, nonce: str) -> dict[str, Section]:
    """The answer, cut at its sentinels. Raises ScanFailed if it is not whole."""
    if not answer.endswith(end_mark(nonce)):
        raise ScanFailed("ScanCutShort", "the answer of the scan ends before its end mark")
    found: dict[str, Section] = {}
    pieces = f"\n{answer}".split(f"\n={nonce} ")[1:]  # a pattern would be compiled anew for each nonce
    for beginning, end in pairwise(pieces):
        name, begun, text = beginning.partition("\n")
        ended, _, status = end.partition("\n")[0].partition(" ")
        if begun and ended == name and status.isdecimal():
            found[name] = Section(text, int(status))
    return found


def check(found: Mapping[str, Section], wanted: frozenset[str]) -> None:
    """Raises ScanFailed for the first wanted section that is missing or did not exit with 0."""
    for name in sorted(wanted):
        section = found.get(name)
        if section is None:
            raise ScanFailed("ScanCutShort", f"the answer of the scan lacks its part `{name}`")
        if section.status != 0:
            raise ScanFailed("ScanFailed", f"`{name}` failed on the Spark: {section.text.strip()[-300:]}")


def read_facts(found: Mapping[str, Section], *, at: float = 0.0, before: Facts | None = None) -> Facts:
    """Facts from the sections, asked `at` (Unix time). What was not asked is carried over from `before`.

    Raises ScanFailed for text that makes no sense.
    """
    try:
        return _facts(found, at, before)
    except ValueError as error:
        raise ScanFailed("ScanFailed", f"the Spark's answer makes no sense: {error}") from error


def _facts(found: Mapping[str, Section], at: float, before: Facts | None) -> Facts:
    boot_id, _, meminfo = found["kernel"].text.partition("\n")
    boot_id, memory = boot_id.strip(), _meminfo(meminfo)
    free, total = _read(found, "disk", disk, (before.disk_free, before.disk_total) if before else (None, None))
    return Facts(
        boot_id=boot_id,
        memory_total=memory["MemTotal"],
        memory_available=memory["MemAvailable"],
        memory_free=memory.get("MemFree"),
        listeners=frozenset(listening_ports(found["listeners"].text)),
        disk_free=free,
        disk_total=total,
        gpus=_read(found, "gpu", _gpus, before.gpus if before else ()),
        gpu=_has_gpu(found.get("gpu"), before.gpu if before else None),
        rdma=_read(found, "rdma", rdma_devices, before.rdma if before else ()),
        interfaces=_read(found, "interfaces", addresses, before.interfaces if before else {}),
        settled_at=at if "interfaces" in found else before.settled_at if before and before.boot_id == boot_id else 0.0,
    )


def _good(found: Mapping[str, Section], name: str) -> str:
    section = found.get(name)
    return section.text if section is not None and section.status == 0 else ""


def _read(found: Mapping[str, Section], name: str, parse: Callable[[str], T], otherwise: T) -> T:
    text = _good(found, name)
    return parse(text) if text else otherwise


def _meminfo(text: str) -> dict[str, int]:
    """`MemAvailable:   123 kB` and the like, in bytes. Raises ScanFailed if one we need is missing."""
    found = {name: int(size) * 1024 for name, size in MEMORY.findall(text)}
    for name in ("MemTotal", "MemAvailable"):
        if name not in found:
            raise ScanFailed("ScanFailed", f"/proc/meminfo has no {name}")
    return found


def listening_ports(text: str) -> Iterator[int]:
    """Ports that something listens on, on whatever address: from `ss -Htln`, or from /proc/net/tcp and tcp6."""
    for line in text.splitlines():
        match line.split():
            case ["LISTEN", _, _, address, *_]:
                yield int(address.rpartition(":")[2])
            case [_, address, _, state, *_] if state == LISTEN:
                yield int(address.rpartition(":")[2], 16)


def disk(text: str) -> tuple[int | None, int | None]:
    """Free and total bytes of the last row of `df -P -k`."""
    match text.strip().rpartition("\n")[2].split():
        case [_, total, _, free, _, *_] if total.isdecimal() and free.isdecimal():
            return int(free) * 1024, int(total) * 1024
        case _:
            return None, None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None  # [N/A], Not Supported


def _gpus(text: str) -> tuple[Gpu, ...]:
    rows = ([cell.strip() for cell in line.split(",")] for line in text.splitlines())
    return tuple(
        Gpu(name=row[0], utilization=_number(row[1]), temperature=_number(row[2]), power=_number(row[3]))
        for row in rows
        if len(row) == len(("name", "utilization", "temperature", "power"))
    )


def _has_gpu(section: Section | None, before: bool | None) -> bool | None:
    """A driver that hangs or fails is no sign that there is no GPU; a machine without `nvidia-smi` has none.

    Nor is a program that was there and is gone: a driver is being updated, and nothing loses its GPU over that.
    """
    if section is not None and section.status == 0:
        return bool(section.text.strip())
    missing = section is not None and section.status == NOT_FOUND and "nvidia-smi" in section.text
    return False if missing and before is None else before


def rdma_devices(text: str) -> tuple[Rdma, ...]:
    """Devices and their interfaces, with the entry that RoCE v2 over IPv4 uses."""
    entries: dict[tuple[str, int], dict[str, str]] = {}
    for match in ENTRY.finditer(text):
        entry = entries.setdefault((match["device"], int(match["index"])), {})
        entry[match["what"].removeprefix("gid_attrs/")] = match["value"].strip()
    found: dict[tuple[str, str], int | None] = {}
    for (device, index), entry in sorted(entries.items()):
        if interface := entry.get("ndevs"):
            usable = entry.get("types") == "RoCE v2" and entry.get("gids", "").startswith(V4_MAPPED)
            known = found.get((device, interface))
            found[device, interface] = index if usable and known is None else known
    return tuple(Rdma(device=d, interface=i, gid_index=index) for (d, i), index in sorted(found.items()))


def addresses(text: str) -> dict[str, tuple[str, ...]]:
    """Addresses (without prefix length) per interface, from `ip -o addr show`."""
    found: dict[str, tuple[str, ...]] = {}
    for match in re.finditer(r"^\d+:\s+(\S+)\s+inet6?\s+([0-9a-fA-F.:]+)/", text, re.MULTILINE):
        found[match[1]] = (*found.get(match[1], ()), match[2])
    return found
