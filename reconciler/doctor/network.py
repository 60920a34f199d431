"""The network between Sparks, where a group needs it, and the ports that are declared. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from reconciler.doctor.case import Case
from reconciler.doctor.checks import fail, ok, unknown, warn
from reconciler.doctor.finding import Finding
from reconciler.fabric import alone
from reconciler.facts import addresses, listening_ports, rdma_devices
from reconciler.model import Facts
from reconciler.shell import join

LARGE_FRAMES: Final = 9000
LINK: Final = re.compile(r"^\d+:\s+([^:@\s]+)(?:@\S+)?:\s+<([^>]*)>\s+mtu\s+(\d+)", re.MULTILINE)
OWNER: Final = "sparkkeep.owner"
WORKLOAD: Final = "sparkkeep.workload"


def judge(case: Case) -> Iterator[Finding]:
    """Both."""
    yield _fabric(case)
    yield _ports(case)


def _fabric(case: Case) -> Finding:
    if not case.wanted.groups:
        return ok("fabric", "no group is declared here, so none is needed")
    group = ", ".join(case.wanted.groups)
    text, links = case.text("interfaces"), case.text("links")
    if text is None or links is None:
        return unknown("fabric", f"could not be asked: {case.said('interfaces') or 'no answer'}")
    interfaces, rdma = addresses(text), rdma_devices(case.text("rdma") or "")
    known = {name: (set(flags.split(",")), int(mtu)) for name, flags, mtu in LINK.findall(links)}
    facts = Facts(
        boot_id="", memory_total=0, memory_available=0, listeners=frozenset(), interfaces=interfaces, rdma=rdma
    )
    if case.spark.interface and case.spark.interface not in known:
        there = ", ".join(sorted(known))
        return warn(
            "fabric", f"there is no interface {case.spark.interface}, which is declared (there are: {there})", "ip link"
        )
    name = case.spark.interface or alone(case.spark, facts).interface
    if not name:
        what = f"{group} needs a network between Sparks, and no interface but the usual ones has an address"
        return warn("fabric", what, "ip -br addr", "ibdev2netdev")
    flags, mtu = known.get(name, (set[str](), 0))
    if "LOWER_UP" not in flags or "UP" not in flags:
        what = f"{name} is down: the cable is out, or the interface is switched off"
        return warn("fabric", what, join(("sudo", "ip", "link", "set", name, "up")))
    if not interfaces.get(name):
        what = f"{name} is up and has no address"
        return warn("fabric", what, join(("sudo", "nmcli", "device", "modify", name, "ipv4.method", "link-local")))
    if not any(each.interface == name for each in rdma):
        what = f"{name} ({interfaces[name][0]}) has no RDMA: {group} will be slow over it"
        return warn("fabric", what, "ibdev2netdev")
    if mtu < LARGE_FRAMES:
        what = f"{name} ({interfaces[name][0]}) sends frames of {mtu} bytes; {LARGE_FRAMES} are faster"
        return warn("fabric", what, join(("sudo", "ip", "link", "set", name, "mtu", str(LARGE_FRAMES))))
    return ok("fabric", f"{name} is up with {interfaces[name][0]}, RDMA and frames of {mtu} bytes")


def containers(case: Case) -> list[dict[str, Any]] | None:
    """What `docker inspect` says of every container; None if nobody knows."""
    text = case.text("containers")
    try:
        found = json.loads(text) if text is not None else None
    except ValueError:
        return None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else None


def name_of(container: dict[str, Any]) -> str:
    """A container's name."""
    return str(container.get("Name") or container.get("Id") or "?").removeprefix("/")


def labels_of(container: dict[str, Any]) -> dict[str, str]:
    """A container's labels."""
    return (container.get("Config") or {}).get("Labels") or {}


def runs(container: dict[str, Any]) -> bool:
    """It runs now."""
    return bool((container.get("State") or {}).get("Running"))


def _ports(case: Case) -> Finding:
    if not case.wanted.ports:
        return ok("ports", "none is declared for it")
    text = case.text("listeners")
    if text is None:
        return unknown("ports", f"could not be asked: {case.said('listeners') or 'no answer'}")
    taken = case.wanted.ports.keys() & set(listening_ports(text))
    there = [each for each in containers(case) or [] if runs(each)]
    ours = {labels_of(each).get(WORKLOAD) for each in there if labels_of(each).get(OWNER) == case.wanted.owner}
    foreign = sorted(port for port in taken if case.wanted.ports[port] not in ours)
    if not foreign:
        return ok("ports", f"{', '.join(map(str, sorted(case.wanted.ports)))}: free, or ours")
    told = [f"port {port}, declared for {case.wanted.ports[port]}, is taken{_by(there, port)}" for port in foreign]
    return fail("ports", "; ".join(told), *(join(("sudo", "ss", "-ltnp", f"sport = :{port}")) for port in foreign))


def _by(there: list[dict[str, Any]], port: int) -> str:
    """Who has it, where Docker knows: a container that publishes it."""
    for each in there:
        bound = ((each.get("NetworkSettings") or {}).get("Ports") or {}).values()
        if any(str(port) == binding.get("HostPort") for bindings in bound for binding in bindings or []):
            return f" by the container {name_of(each)}"
    return " by another program"
