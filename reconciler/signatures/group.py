"""What the ranks of a group say when they do not find each other: NCCL, Gloo, PyTorch's store, Ray."""

from __future__ import annotations

from typing import Final

from reconciler.signatures.known import Weight, known

GROUP: Final = (
    known(
        r"no (?:\S+ )?socket interface found|no \S+ interface found|unable to find address for:"
        r"|is neither AF_INET\(2\) nor AF_INET6",
        "NoNetworkInterface",
        "the network interface that it was told to use does not exist on this Spark, or has no address",
        "Correct NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME, or leave them to sparkkeep; check the cable.",
        terminal=True,
        example="Bootstrap : no socket interface found",
    ),
    known(
        r"world size \(\d+\) is larger than the number of available gpus"
        r"|exceeds the total number of available gpus",
        "TooFewGpus",
        "it wants more GPUs than there are: a Spark has one",
        "Let tensor-parallel-size be the number of Sparks in `across:`.",
        terminal=True,
        example="ValueError: World size (2) is larger than the number of available GPUs (1) in this node.",
    ),
    known(
        r"client socket has (?:timed out|failed)|rendezvous\S*timeout|timed out after \d+ seconds waiting for clients"
        r"|TCPStore.*(?:recvValue failed|wait timeout)|failed to recv, got 0 bytes",
        "RanksDidNotMeet",
        "it did not reach the head of its group in time",
        "Does the head run, and is its address reachable over the fast network? All ranks are started again.",
        example="torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to "
        "connect to (172.17.0.9, 46229).",
    ),
    known(
        r"watchdog caught collective operation timeout|nccl communicator was aborted|timeout at nccl work",
        "GroupStalled",
        "a step that all ranks take together did not end: one of them is gone, or the network between them",
        "Look at the other ranks' logs. All ranks are started again.",
        weight=Weight.HINT,
        example="[rank0]:[E ProcessGroupNCCL.cpp:616] [Rank 0] Watchdog caught collective operation timeout: "
        "WorkNCCL(SeqNum=5, OpType=ALLREDUCE) ran for 600000 milliseconds before timing out.",
    ),
    known(
        r"unhandled system error|unhandled cuda error|nccl(?:System|Internal|Remote|UnhandledCuda)Error",
        "NcclFailed",
        "the ranks could not set up their fast network (NCCL)",
        "Set NCCL_DEBUG=INFO in the recipe's env: its log then names the cause.",
        weight=Weight.HINT,
        example="RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)",
    ),
    known(
        r"failed to connect to gcs|waiting for gcs to become available|could not find any running ray instance"
        r"|current node timed out during startup|failed to get cluster id from gcs",
        "RayUnreachable",
        "it does not reach the head of its Ray cluster",
        "Does the head run, with the address and port that the workers use? All ranks are started again.",
        weight=Weight.HINT,
        example="[2025-06-13 01:49:41,730 E 1 1] gcs_rpc_client.h:179: Failed to connect to GCS at address "
        "10.108.0.184:6379 within 5 seconds.",
    ),
)
