"""The hosts' wire: one bridge, and a network namespace with one veth pair for each host.

Everything is named after the fleet, so that it can be found and removed after a killed run. Hosts have
no default route: they reach each other and the bridge, and nothing else.
"""

import json
from pathlib import Path

from tests.hosts.shell import call

NAMESPACES = Path("/run/netns")
_RULES = """
add table inet keep_cut
delete table inet keep_cut
"""
_CUT = """
table inet keep_cut {
  chain arriving { type filter hook input priority -300; iifname != "lo" drop; }
  chain leaving { type filter hook output priority -300; oifname != "lo" drop; }
}
"""


def bridge_name(fleet: str) -> str:
    """Return the name of a fleet's bridge."""
    return f"{fleet}-br"


def address_of(network: str, number: int) -> str:
    """Return the address of host `number` (1, 2, ...) in `network` (two octets, such as 10.78)."""
    return f"{network}.{number // 200}.{number % 200 + 10}"


def gateway_of(network: str) -> str:
    """Return the bridge's own address, where this machine serves the hosts."""
    return f"{network}.255.254"


def add_bridge(fleet: str, network: str) -> None:
    """Make the bridge, with the gateway's address."""
    bridge = bridge_name(fleet)
    _ip(f"link add {bridge} type bridge\naddr add {gateway_of(network)}/16 dev {bridge}\nlink set {bridge} up\n")


def add_namespace(fleet: str, number: int, network: str) -> str:
    """Plug host `number` in: its namespace, its veth, its address. Return the namespace's name.

    The hardware address follows from the number, so neighbours' caches stay true over a crash.
    """
    space, address = f"{fleet}-{number}", address_of(network, number)
    octets = ":".join(f"{int(part):02x}" for part in address.split("."))
    _ip(
        f"netns add {space}\n"
        f"link add {space} type veth peer name eth0 netns {space} address 02:4b:{octets}\n"
        f"link set {space} master {bridge_name(fleet)} up\n",
    )
    _ip(f"addr add {address}/16 dev eth0\nlink set eth0 up\nlink set lo up\n", space)
    return space


def unplug(fleet: str, number: int) -> None:
    """Take the veth away, at once and without a word to peers."""
    call(["ip", "link", "delete", f"{fleet}-{number}"], check=False)


def remove_namespace(fleet: str, number: int) -> None:
    """Forget the namespace of a host that was unplugged; its open connections go with it."""
    call(["ip", "netns", "delete", f"{fleet}-{number}"], check=False)


def cut(space: str) -> None:
    """Drop every packet in and out of the namespace, but loopback's."""
    call(["ip", "netns", "exec", space, "nft", "-f", "-"], text=_RULES + _CUT)


def heal(space: str) -> None:
    """Undo `cut`; changes nothing on a namespace that is not cut."""
    call(["ip", "netns", "exec", space, "nft", "-f", "-"], text=_RULES)


def sweep(fleet: str) -> None:
    """Remove the fleet's bridge, links and namespaces, whoever left them."""
    bridge = bridge_name(fleet)
    ports = call(["ip", "-json", "link", "show", "master", bridge], check=False)
    links = [port["ifname"] for port in json.loads(ports)] if ports.startswith("[") else []
    spaces = [entry.name for entry in NAMESPACES.glob(f"{fleet}-*") if entry.name[len(fleet) + 1 :].isdigit()]
    lines = [f"link delete {link}" for link in links] + [f"netns delete {space}" for space in spaces]
    if Path("/sys/class/net", bridge).exists():
        lines.append(f"link delete {bridge}")
    if lines:
        call(["ip", "-force", "-batch", "-"], text="\n".join(lines) + "\n", check=False)


def _ip(lines: str, space: str | None = None) -> None:
    call(["ip", *(["-n", space] if space else []), "-batch", "-"], text=lines)
