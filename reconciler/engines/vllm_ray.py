"""vLLM over several Sparks by Ray: `distributed: ray`.

The head's container starts Ray, waits for all Sparks to join, and then serves; the others' only join. Ray carries the
head's variables to the workers, which would hand them the head's network interface: those are named in a file that
vLLM reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from reconciler.engines import network, scripts
from reconciler.engines.seat import Seat
from state.recipes import Recipe

CONFIG: Final = "/tmp/sparkkeep-vllm"  # noqa: S108  # inside the container, which holds nobody else
STORE: Final = 2**30  # bytes; vLLM passes no large objects through Ray


def flags(sizes: Mapping[str, int]) -> dict[str, JsonValue]:
    """The flags of the server on the head."""
    replicas = {"data-parallel-backend": "ray"} if sizes.get("data-parallel-size", 1) > 1 else {}
    return {**sizes, "distributed-executor-backend": "ray", **replicas}


def environment(seat: Seat) -> dict[str, str]:
    """Ray's own address, and limits that suit a machine whose memory the model needs."""
    return {
        "RAY_NODE_IP_ADDRESS": seat.address,
        "RAY_OVERRIDE_NODE_IP_ADDRESS": seat.address,
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_num_prestart_python_workers": "0",
        "RAY_object_store_memory": str(STORE),
        **({} if seat.rank else {"VLLM_CONFIG_ROOT": CONFIG}),
    }


def script(recipe: Recipe, seat: Seat, serve: tuple[str, ...]) -> tuple[str, ...]:
    """What the container of this rank runs; `serve` is the server's argv."""
    patience = str(max(1, round(recipe.start_timeout)))
    port = str(seat.master_port)
    if seat.rank:
        head = (seat.head, port, network.place(seat.head, seat.master_port))
        return scripts.run(scripts.RAY_WORKER, "ray-worker", patience, *head, seat.address)
    own = json.dumps(sorted(network.environment(seat)), separators=(",", ":"))
    return scripts.run(scripts.RAY_HEAD, "ray-head", own, str(seat.size), patience, port, seat.address, *serve)
