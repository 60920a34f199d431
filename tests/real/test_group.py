"""One vLLM over two Sparks, half of every tensor on each: it starts, answers, loses a rank and answers again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hosts.host import Host
from tests.hosts.shell import HostError
from tests.real.stage import Room, recipe
from tests.scenarios.stage import changing

START = 800.0  # on two cores that others use as well; alone it takes 90
QUESTION = {"model": "big", "messages": [{"role": "user", "content": "ping"}], "max_tokens": 16, "temperature": 0}
Containers = list[dict[str, Any]]


def ranks(room: Room) -> Containers:
    """The containers as they are, by rank."""
    return [host.inspect(f"sparkkeep-big_{rank}") for rank, host in enumerate(room.hosts)]


def after(flag: str, container: dict[str, Any]) -> str:
    command: list[str] = container["Config"]["Cmd"]
    return command[command.index(flag) + 1]


def replaced(room: Room, before: Containers) -> bool:
    """Every rank is another container, and runs."""
    try:
        now = ranks(room)
    except HostError:
        return False
    return {c["Id"] for c in now}.isdisjoint(c["Id"] for c in before) and all(c["State"]["Running"] for c in now)


def did(host: Host) -> list[str]:
    """The verbs of the commands that changed something there; asking an image for its flags does not."""
    return [argv[1] for argv in changing(host.commands()) if "sparkkeep.preflight=flags" not in argv]


@pytest.mark.parametrize("lost", [1, 0], ids=["its worker", "its head"])
async def test_two_sparks_answer_as_one_and_again_after_one_lost_its_rank(lost: int, room: Room) -> None:
    head, worker = room.hosts
    room.declare(big={"recipe": recipe(), "across": [head.name, worker.name]})
    await room.until("a group of two, declared to Healthy", lambda: room.keeper.settled("big"), START)
    before = ranks(room)
    assert before[1]["State"]["StartedAt"] < before[0]["State"]["StartedAt"]  # the worker first
    assert [after("--node-rank", c) for c in before] == ["0", "1"]
    assert {after("--master-addr", c) for c in before} == {head.address}
    assert {after("--tensor-parallel-size", c) for c in before} == {after("--nnodes", c) for c in before} == {"2"}
    assert ["--headless" in c["Config"]["Cmd"] for c in before] == [False, True]
    assert did(head) == did(worker) == ["run"]
    first = await room.asked(head, "/v1/chat/completions", QUESTION)
    assert first["usage"]["completion_tokens"] == 16

    room.hosts[lost].docker("kill", f"sparkkeep-big_{lost}")
    await room.eventually("killed, to another group running", lambda: replaced(room, before), 120.0)
    await room.until("... to Healthy", lambda: room.keeper.settled("big"), START)
    now = ranks(room)
    assert now[1]["State"]["StartedAt"] < now[0]["State"]["StartedAt"]
    again = await room.asked(head, "/v1/chat/completions", QUESTION)
    assert again["choices"][0]["message"] == first["choices"][0]["message"]  # greedy, with the same weights
    assert did(room.hosts[lost])[:3] == ["run", "rm", "run"]
    # A rank that loses the other may end by itself before it is stopped.
    assert [verb for verb in did(room.hosts[1 - lost]) if verb != "stop"][:3] == ["run", "rm", "run"]
    await room.gone()
