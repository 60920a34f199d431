"""What one machine says of itself, by one command: the script that asks, and the reading of its answer.

Each section stands between two sentinel lines that carry a nonce and, at its end, its exit status; the last
line says that nothing was cut off. An answer that lacks a section it needs, or its end, is a failed scan,
never "nothing there". Pure: text out, text in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from reconciler.model import Facts, Gpu
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
    "interfaces": ("ip", "-o", "addr", "show"),
}
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


def script(nonce: str, *, full: bool, cli: bool) -> str:
    """The shell script of one scan. `full` adds the slow facts, `cli` the containers and images.

    `nonce` must be unguessable: a container's name or a file's content can then not pass for a sentinel.
    The answer is gathered and printed at once: every piece printed alone costs both ends a packet.
    """
    commands = {**QUICK, **(SLOW if full else {}), **(CLI if cli else {})}
    head = (
        "LC_ALL=C; export LC_ALL",
        LISTENING,
        f's() {{ n=$1; shift; printf \'={nonce} %s\\n\' "$n"; "$@" 2>&1; printf \'\\n={nonce} %s %s\\n\' "$n" "$?"; }}',
    )
    body = (f"s {name} {join(command)}" for name, command in commands.items())
    return "\n".join((*head, "answer=$(", *body, ") || exit 1", f"printf '%s\\n={nonce} end\\n' \"$answer\""))


def sections(answer: str, nonce: str) -> dict[str, Section]:
    """The answer, cut at its sentinels. Raises ScanFailed if it is not whole."""
    if not answer.endswith(f"={nonce} end\n"):
        raise ScanFailed("ScanCutShort", "the answer of the scan ends before its end mark")
    found: dict[str, Section] = {}
    pattern = re.compile(
        rf"^={nonce} (?P<name>\w+)\n(?P<text>.*?)\n={nonce} (?P=name) (?P<status>\d+)$",
        re.DOTALL | re.MULTILINE,
    )
    for match in pattern.finditer(answer):
        found[match["name"]] = Section(match["text"], int(match["status"]))
    return found


def check(found: Mapping[str, Section], wanted: frozenset[str]) -> None:
    """Raises ScanFailed for the first wanted section that is missing or did not exit with 0."""
    for name in sorted(wanted):
        section = found.get(name)
        if section is None:
            raise ScanFailed("ScanCutShort", f"the answer of the scan lacks its part `{name}`")
        if section.status != 0:
            raise ScanFailed("ScanFailed", f"`{name}` failed on the Spark: {section.text.strip()[-300:]}")


def read_facts(found: Mapping[str, Section], *, before: Facts | None = None) -> Facts:
    """Facts from the sections. What a quick scan leaves out is carried over from `before`, the last facts known."""
    boot_id, _, meminfo = found["kernel"].text.partition("\n")
    memory = _meminfo(meminfo)
    disk = _read(found, "disk", _disk, (before.disk_free, before.disk_total) if before else (None, None))
    return Facts(
        boot_id=boot_id.strip(),
        memory_total=memory["MemTotal"],
        memory_available=memory["MemAvailable"],
        listeners=frozenset(_listeners(found["listeners"].text)),
        disk_free=disk[0],
        disk_total=disk[1],
        gpus=_read(found, "gpu", _gpus, before.gpus if before else ()),
        interfaces=_read(found, "interfaces", _interfaces, before.interfaces if before else {}),
    )


def _good(found: Mapping[str, Section], name: str) -> str:
    section = found.get(name)
    return section.text if section is not None and section.status == 0 else ""


def _read(found: Mapping[str, Section], name: str, parse: Callable[[str], T], otherwise: T) -> T:
    text = _good(found, name)
    return parse(text) if text else otherwise


def _meminfo(text: str) -> dict[str, int]:
    """`MemAvailable:   123 kB` and the like, in bytes. Raises ScanFailed if one we need is missing."""
    found = {m[1]: int(m[2]) * 1024 for m in re.finditer(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
    for name in ("MemTotal", "MemAvailable"):
        if name not in found:
            raise ScanFailed("ScanFailed", f"/proc/meminfo has no {name}")
    return found


def _listeners(text: str) -> Iterator[int]:
    """Ports that something listens on, on whatever address: from `ss -Htln`, or from /proc/net/tcp and tcp6."""
    for line in text.splitlines():
        match line.split():
            case ["LISTEN", _, _, address, *_]:
                yield int(address.rpartition(":")[2])
            case [_, address, _, state, *_] if state == LISTEN:
                yield int(address.rpartition(":")[2], 16)


def _disk(text: str) -> tuple[int | None, int | None]:
    """Free and total bytes of the last row of `df -P -k`."""
    row = text.strip().splitlines()[-1].split()
    match row:
        case [_, total, _, free, _, *_] if total.isdigit() and free.isdigit():
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


def _interfaces(text: str) -> dict[str, tuple[str, ...]]:
    """Addresses (without prefix length) per interface, from `ip -o addr show`."""
    found: dict[str, tuple[str, ...]] = {}
    for match in re.finditer(r"^\d+:\s+(\S+)\s+inet6?\s+([0-9a-fA-F.:]+)/", text, re.MULTILINE):
        found[match[1]] = (*found.get(match[1], ()), match[2])
    return found
