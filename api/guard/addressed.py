"""Under which names and addresses this machine may be addressed, and which addresses the whole internet can reach.

A web page anywhere can make its own name resolve to this machine's address (DNS rebinding) and then talk to it as
"same origin". It can't choose the Host header: only private addresses, this machine's own names and names given with
`--allow-host` are answered.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
SHARED: Final = ipaddress.ip_network("100.64.0.0/10")  # what Tailscale and other overlays hand out
LOCAL_V4: Final = re.compile(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL")
SOMEWHERE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # for examples, nobody's
KERNEL: Final = Path("/proc/net")


def split_host(text: str) -> tuple[str, str]:
    """Host and port of `name`, `name:port` or `[v6]:port`; the port is empty where none was given."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host.lower(), rest.removeprefix(":")
    host, _, port = text.partition(":")
    return host.lower().rstrip("."), port


def is_near(address: Address) -> bool:
    """Whether only this machine, its network or an overlay can have this address."""
    shared = address.version == 4 and address in SHARED  # noqa: PLR2004  # IPv4
    return address.is_private or address.is_loopback or address.is_link_local or shared


class Hosts:
    """The names and addresses under which this machine may be addressed."""

    def __init__(self, extra: Iterable[str] = ()) -> None:
        own = socket.gethostname().lower()
        self._names = {"localhost", own, own.partition(".")[0], *(split_host(name)[0] for name in extra)}

    def allow(self, header: str) -> bool:
        """Whether this Host header is one of ours."""
        host, port = split_host(header.strip())
        if port and not port.isdigit():
            return False
        if host in self._names or host.endswith((".localhost", ".local")):
            return True
        try:
            return is_near(ipaddress.ip_address(host))
        except ValueError:
            return False


def public(bound: str, kernel: Path = KERNEL) -> tuple[str, ...]:
    """The addresses of the internet at which something that listens on `bound` can be reached.

    `0.0.0.0` and `::` stand for all that this machine has, as far as it knows: a router or a container's published
    port can lead here from others.
    """
    listens = ipaddress.ip_address(bound)
    every = own_addresses(kernel) if listens.is_unspecified else [listens]
    found = {a for a in every if listens.version >= a.version and not is_near(a) and not a.is_unspecified}
    return tuple(str(address) for address in sorted(found, key=lambda a: (a.version, a)))


def own_addresses(kernel: Path = KERNEL) -> list[Address]:
    """This machine's addresses: what Linux lists, elsewhere those from which it would reach the internet."""
    try:
        v4 = LOCAL_V4.findall((kernel / "fib_trie").read_text())
    except OSError:
        return list(_outward())
    v6: list[int] = []
    with suppress(OSError):  # not there without IPv6
        v6 = [int(line[:32], 16) for line in (kernel / "if_inet6").read_text().splitlines()]
    return [*(ipaddress.IPv4Address(text) for text in v4), *map(ipaddress.IPv6Address, v6)]


def _outward() -> Iterator[Address]:
    """Connecting a datagram socket sends nothing; it only chooses the way, and with it the address."""
    for family, there in SOMEWHERE:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((there, 9))
            yield ipaddress.ip_address(probe.getsockname()[0])
