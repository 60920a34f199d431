"""What a rank of a group has to know of its Spark's network.

Cables go into different ports on different Sparks, so every rank is told its own interface and its own RDMA devices.
"""

from __future__ import annotations

from typing import Final

from reconciler.engines.seat import Seat
from reconciler.engines.start import NotLaunchable
from state.recipes import Recipe

INFINIBAND: Final = "/dev/infiniband"
SOCKETS: Final = (
    "NCCL_SOCKET_IFNAME",
    "GLOO_SOCKET_IFNAME",
    "TP_SOCKET_IFNAME",
    "UCX_NET_DEVICES",
    "OMPI_MCA_btl_tcp_if_include",
    "MN_IF_NAME",
)


def environment(seat: Seat) -> dict[str, str]:
    """The variables of NCCL, Gloo and their like. Whatever differs between the Sparks of a group is in here."""
    env = {"NCCL_IGNORE_CPU_AFFINITY": "1"}
    if seat.interface:
        env |= dict.fromkeys(SOCKETS, seat.interface)
    if not seat.rdma:
        return {**env, "NCCL_IB_DISABLE": "1"}
    env |= {"NCCL_IB_DISABLE": "0", "NCCL_IB_HCA": ",".join(seat.rdma)}
    return env if seat.gid_index is None else {**env, "NCCL_IB_GID_INDEX": str(seat.gid_index)}


def place(address: str, port: int) -> str:
    """`address:port`, with the brackets that IPv6 needs."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def devices(recipe: Recipe, seat: Seat) -> list[str]:
    """The recipe's devices, and the RDMA devices for a rank whose Spark has some."""
    wanted = [INFINIBAND] if seat.grouped and seat.rdma and INFINIBAND not in recipe.devices else []
    return [*recipe.devices, *wanted]


def check(recipe: Recipe, seat: Seat) -> None:
    """Raises NotLaunchable if the ranks of a group could not find each other."""
    if recipe.network != "host":
        raise NotLaunchable(f"network: {recipe.network}: the ranks of a group find each other with network: host only")
    if not seat.address or not seat.head:
        which = f"rank {seat.rank}" if not seat.address else "rank 0, the head"
        raise NotLaunchable(
            f"across: the fabric address of {which} is not known; it comes with the scan, "
            "or give the Spark its `interface`"
        )


def refuse(recipe: Recipe, seat: Seat, why: str) -> None:
    """Raises NotLaunchable for a group of an engine that has none."""
    if seat.grouped:
        raise NotLaunchable(f"across: engine {recipe.engine} runs on one Spark only here: {why}")
