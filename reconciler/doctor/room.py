"""Disks and memory: is there room, and who takes it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from reconciler.doctor.case import Case
from reconciler.doctor.checks import fail, ok, unknown, warn
from reconciler.doctor.docker import read_info
from reconciler.doctor.finding import Finding
from reconciler.doctor.gpu import GB10, name_of
from reconciler.facts import disk
from reconciler.shell import join

GIB: Final = 2**30
SYSTEM: Final = (1 * GIB, 5 * GIB)  # below the first it fails, below the second it warns
IMAGES: Final = (5 * GIB, 20 * GIB)
WEIGHTS: Final = 50 * GIB
SCARCE: Final = 0.1  # of all memory
ROW: Final = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)
HOLDER: Final = re.compile(r"^\s*(\d+)\s+(\S+)$", re.MULTILINE)


def judge(case: Case) -> Iterator[Finding]:
    """Three disks, which may be one; memory; swap."""
    yield _disk(case, "disk-root", "disk", "the system's disk", SYSTEM, "sudo du -xh --max-depth=2 / | sort -h | tail")
    folder = (read_info(case) or {}).get("DockerRootDir", "Docker's folder")
    yield _disk(
        case, "disk-docker", "diskdocker", f"the disk of {folder}", IMAGES, "docker system df", "docker image prune"
    )
    yield _weights(case)
    rows = {name: int(size) * 1024 for name, size in ROW.findall(case.text("memory") or "")}
    yield _memory(case, rows)
    yield _swap(case, rows)


def shown(size: int) -> str:
    """Bytes for people."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / 2**20:.0f} MiB"


def _disk(case: Case, check: str, part: str, what: str, least: tuple[int, int], *look: str) -> Finding:
    text = case.text(part)
    if text is None and part == "diskdocker":
        return unknown(check, "could not be asked while the Engine does not answer")
    free, total = disk(text) if text is not None else (None, None)
    if free is None or total is None:
        return unknown(check, f"could not be asked: {case.said(part) or 'no answer'}")
    told = f"{what} has {shown(free)} free of {shown(total)}"
    if free < least[0]:
        return fail(check, f"{told}: less than {shown(least[0])}", *look)
    if free < least[1]:
        return warn(check, f"{told}: less than {shown(least[1])}", *look)
    return ok(check, told)


def _weights(case: Case) -> Finding:
    reserve = case.wanted.disk_reserve
    found = _disk(
        case, "disk-weights", "diskweights", "the disk for weights", (reserve, WEIGHTS), "sparkkeep weights gc"
    )
    folder = (case.text("weights") or case.said("weights")).strip()
    if case.status("weights") not in {None, 0} and folder.startswith("/"):
        return fail(
            "disk-weights",
            f"{case.user} may not write to {folder}, where weights go: a container that ran as root made it",
            f"sudo chown -R {join((case.user,))} {join((folder,))}",
        )
    return found


def _memory(case: Case, rows: dict[str, int]) -> Finding:
    total, free = rows.get("MemTotal"), rows.get("MemAvailable")
    if not total or free is None:
        return unknown("memory", f"could not be asked: {case.said('memory') or 'no answer'}")
    told = f"{shown(free)} of {shown(total)} is available"
    if free >= max(case.wanted.reserve, SCARCE * total):
        return ok("memory", told)
    holders = [f"{name} {shown(int(size) * 1024)}" for size, name in HOLDER.findall(case.text("holders") or "")]
    by = f"; the largest that run: {', '.join(holders[:3])}" if holders else ""
    word = fail if free < case.wanted.reserve else warn
    limit = (
        f"less than the {shown(case.wanted.reserve)} that no launch may touch" if word is fail else "a tenth or less"
    )
    return word(
        "memory",
        f"{told}, {limit}: no model can be started{by}",
        "ps -eo rss,pid,args --sort=-rss | head",
        "docker stats --no-stream",
    )


def _swap(case: Case, rows: dict[str, int]) -> Finding:
    total = rows.get("SwapTotal")
    if total is None:
        return unknown("swap", f"could not be asked: {case.said('memory') or 'no answer'}")
    if not total:
        return ok("swap", "it is off")
    gpu = name_of(case)
    told = f"{shown(total)} of swap is on, {shown(total - rows.get('SwapFree', total))} of it used"
    if gpu is not None and GB10 not in gpu:
        return ok("swap", f"{told}; the {gpu} has memory of its own")
    return warn(
        "swap",
        f"{told}. Some keep a small one on purpose, for the minute in which kernels are compiled",
        "sudo swapoff -a",
        "sudo sed -i '/ swap / s/^/#/' /etc/fstab",
    )
