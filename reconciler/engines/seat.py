"""Where one instance sits: alone on a Spark, or as one rank of a group over several.

A seat holds the facts of its Spark that a command line depends on. They come from the scan and from the desired
state; engines only read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.model import Value

FIRST_PORT, SPAN, SHIFT = 20_000, 12_000, 1_501  # below the ports that Linux hands out by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabric(Value):
    """What is known of one Spark's part of the network that Sparks use among themselves."""

    address: str = ""  # of the interface; empty if not known
    interface: str = ""
    rdma: tuple[str, ...] = ()  # RDMA devices of that interface, such as rocep1s0f0
    gid_index: int | None = None  # of RoCE v2 over IPv4; None leaves it to NCCL
    gpus: bool = True  # True if not known
    memory: int = 0  # MemTotal of the Spark in bytes; 0 if not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat(Value):
    """One instance's place. `rank` and what follows matter in groups only, that is with a `size` above 1."""

    workload: str
    gpus: bool = True
    rank: int = 0
    size: int = 1
    address: str = ""
    head: str = ""  # address of rank 0
    interface: str = ""
    rdma: tuple[str, ...] = ()
    gid_index: int | None = None
    master_port: int = 29_501

    @property
    def grouped(self) -> bool:
        """It is one of several ranks."""
        return self.size > 1


NOTHING_KNOWN: Final = Fabric()


def master_port(listening: int | None) -> int:
    """Where a group's ranks find its head: 29501 for one that serves on 8000, another for each other port."""
    return FIRST_PORT + ((listening or 0) + SHIFT) % SPAN


def solo(workload: str, fabric: Fabric = NOTHING_KNOWN) -> Seat:
    """The seat of an instance that is its workload's only one on its Spark and knows no other."""
    return Seat(workload=workload, gpus=fabric.gpus)


def seats(
    workload: str, sparks: Sequence[str], fabric: Mapping[str, Fabric], *, grouped: bool, listening: int | None
) -> list[Seat]:
    """A seat on each Spark, in their order: ranks of one group (the first is its head), or replicas that are alone.

    `listening` is the port that the group serves on. A Spark that `fabric` lacks is one nothing is known of.
    """
    known = [fabric.get(spark, NOTHING_KNOWN) for spark in sparks]
    if not grouped:
        return [solo(workload, each) for each in known]
    return [
        Seat(
            workload=workload,
            gpus=each.gpus,
            rank=rank,
            size=len(known),
            address=each.address,
            head=known[0].address,
            interface=each.interface,
            rdma=each.rdma,
            gid_index=each.gid_index,
            master_port=master_port(listening),
        )
        for rank, each in enumerate(known)
    ]
