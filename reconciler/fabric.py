"""The network that Sparks use among themselves: which interface, address and RDMA devices each rank of a group gets.

Pure. A Spark has several: management, the fast ports (two twins each), Docker's bridges. What the operator wrote
(`interface:`) is taken as it is. Otherwise the network is chosen that has RDMA, reaches the most Sparks and comes first
by name; all Sparks choose by the same rule, so that they meet on the same one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from reconciler.engines import Fabric
from reconciler.model import Facts, Rdma, Sight
from state.desired import Spark

# Bridges and tunnels: they carry addresses, and no other Spark is to be found there.
NOT_FABRIC: Final = ("lo", "docker", "br-", "veth", "virbr", "cni", "flannel", "tailscale", "wg", "tun", "tap", "zt")
USUAL_PREFIX, LINK_LOCAL_PREFIX, V6_PREFIX = 24, 16, 64  # a scan does not tell prefixes: these are what people use

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Port:
    """One address of one Spark that others may reach it by."""

    interface: str
    address: str
    network: str
    rdma: tuple[Rdma, ...]


def fabrics(sparks: Mapping[str, Spark], sights: Mapping[str, Sight]) -> dict[str, Fabric]:
    """What is known of each Spark's GPU and network. From the last scan, even if the Spark is silent just now."""
    known = {name: sight.scan.facts for name in sparks if (sight := sights.get(name)) is not None and sight.scan}
    ports = {name: tuple(_ports(sparks[name], facts)) for name, facts in known.items()}
    reach = Counter(network for own in ports.values() for network in {port.network for port in own})
    return {name: _fabric(known[name], own, reach) for name, own in ports.items()}


def alone(spark: Spark, facts: Facts) -> Fabric:
    """The same of one Spark, where nothing is known of the others."""
    return _fabric(facts, tuple(_ports(spark, facts)), Counter())


def _fabric(facts: Facts, ports: Iterable[Port], reach: Mapping[str, int]) -> Fabric:
    """The best of a Spark's ports; ties go to the first name, so that equal Sparks choose equally."""
    gpus = facts.gpu is not False
    best = min(ports, key=lambda p: (not p.rdma, -reach[p.network], ":" in p.address, p.interface), default=None)
    if best is None:
        return Fabric(gpus=gpus, memory=facts.memory_total)
    gid = next((r.gid_index for r in best.rdma if r.gid_index is not None), None)
    devices = tuple(dict.fromkeys(r.device for r in best.rdma))
    return Fabric(
        address=best.address,
        interface=best.interface,
        rdma=devices,
        gid_index=gid,
        gpus=gpus,
        memory=facts.memory_total,
    )


def _ports(spark: Spark, facts: Facts) -> Iterator[Port]:
    for interface, addresses in sorted(facts.interfaces.items()):
        wanted = interface == spark.interface if spark.interface else not interface.startswith(NOT_FABRIC)
        for text in addresses if wanted else ():
            address = _parsed(text)
            if address is not None and not (isinstance(address, IPv6Address) and address.is_link_local):
                rdma = tuple(r for r in facts.rdma if r.interface == interface)
                yield Port(interface, text, _network(address), rdma)


def _parsed(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _network(address: Address) -> str:
    v4_prefix = LINK_LOCAL_PREFIX if address.is_link_local else USUAL_PREFIX
    prefix = V6_PREFIX if isinstance(address, IPv6Address) else v4_prefix
    return str(ip_network(f"{address}/{prefix}", strict=False))
