"""A group by Ray: the cluster that our own commands make of two Sparks. vLLM's CPU build itself refuses Ray."""

from __future__ import annotations

import re
from typing import Any

from reconciler.engines import scripts
from tests.hosts import group
from tests.hosts.host import Host
from tests.hosts.shell import HostError
from tests.real.stage import MODEL, Room, recipe

HEAD, WORKER = "sparkkeep-big_0", "sparkkeep-big_1"
PORT = "29501"
OWN = (
    '["GLOO_SOCKET_IFNAME","MN_IF_NAME","NCCL_IB_DISABLE","NCCL_IGNORE_CPU_AFFINITY","NCCL_SOCKET_IFNAME",'
    '"OMPI_MCA_btl_tcp_if_include","TP_SOCKET_IFNAME","UCX_NET_DEVICES"]'
)


def status(head: Host) -> str:
    """What Ray's own command says inside the head's container."""
    try:
        return head.docker("exec", HEAD, "ray", "status")
    except HostError as error:
        return str(error)


def of_ray(host: Host) -> list[str]:
    """Ray's processes on a host, in whatever container."""
    found = host.run(["ps", "-eo", "args"]).splitlines()
    return [line for line in found if re.search(r"raylet|gcs_server|ray::|ray/dashboard|ray start", line)]


def argv(container: dict[str, Any]) -> list[str]:
    return [*container["Config"]["Entrypoint"], *container["Config"]["Cmd"]]


def environment(container: dict[str, Any], name: str) -> str | None:
    return dict(entry.split("=", 1) for entry in container["Config"]["Env"]).get(name)


async def test_two_sparks_become_one_ray_cluster_and_leave_nothing(room: Room) -> None:
    head, worker = room.hosts
    room.declare(big={"recipe": recipe(distributed="ray"), "across": [head.name, worker.name]})
    said: list[str] = []

    def formed() -> bool:
        said.append(status(head))
        return len(re.findall(r"^ 1 node_[0-9a-f]+$", said[-1], re.MULTILINE)) == 2

    await room.eventually("two Sparks declared, to two nodes in `ray status`", formed, 600.0)
    assert "0.0/4.0 CPU" in said[-1]
    one, two = head.inspect(HEAD), worker.inspect(WORKER)
    assert argv(one) == [
        *("sh", "-c", scripts.RAY_HEAD, "sparkkeep-ray-head", OWN, "2", "900", PORT, head.address),
        *("vllm", "serve", MODEL, "--distributed-executor-backend", "ray", "--dtype", "bfloat16", "--enforce-eager"),
        *("--host", "0.0.0.0", "--max-model-len", "512", "--port", "8000", "--served-model-name", "big"),
        *("--tensor-parallel-size", "2"),
    ]
    at = f"{head.address}:{PORT}"
    assert argv(two) == [
        *("sh", "-c", scripts.RAY_WORKER, "sparkkeep-ray-worker", "900", head.address, PORT, at, worker.address)
    ]
    assert [environment(c, "RAY_NODE_IP_ADDRESS") for c in (one, two)] == [head.address, worker.address]
    assert [environment(c, "GLOO_SOCKET_IFNAME") for c in (one, two)] == ["eth0", "eth0"]
    carried = "cat $VLLM_CONFIG_ROOT/ray_non_carry_over_env_vars.json"
    assert head.docker("exec", HEAD, "sh", "-c", carried).strip() == OWN
    assert of_ray(head)
    assert of_ray(worker)

    refused = "current platform cpu does not support ray"
    await room.until("... to vLLM's own words", lambda: refused in str(room.keeper.workload("big")), 600.0)
    await room.gone()
    assert of_ray(head) == of_ray(worker) == []
    assert all(len(group.members(f"{room.fleet.name}/{host.name}", deep=True)) > 0 for host in room.hosts)
