"""Who waits is told by the API and the command line, with what for, the position and the seconds."""

from __future__ import annotations

import time
from typing import Any, cast

import httpx2
import pytest

from api.cli import main
from api.proxies.calls import Call, Refused
from api.proxies.queue.holds import Held, Holds, Known
from api.proxies.queue.rules import Rules
from api.proxies.queue.sight import ordinal, retry_after, spoken, told
from api.proxies.records import Record
from api.proxies.routing.fleet import Fleet
from reconciler.demand import Demand, Outlook, State
from tests.unit.api.conftest import Stage

LOADS = Outlook(state=State.STARTING, reason="Loading", message="twice loads its weights (40 %)", eta=40.0)


class Waited(Fleet):
    """Only what is asked of it here."""

    def __init__(self, holds: Holds) -> None:
        self.holds = holds


def waited_for(stage: Stage, count: int) -> list[tuple[Record, Held]]:
    holds = Holds(
        demand=Demand(time.monotonic),
        outlook=lambda _: LOADS,
        known=lambda _: Known(on_demand=True, places=frozenset({"s1"}), load=60.0),
        rules=Rules,
    )
    stage.context.fleet = Waited(holds)
    found = []
    for number in range(count):
        call = Call(method="POST", path="/v1/chat/completions", model="twice", who=f"app-{number}")
        record = stage.context.records.begin(call, f"r{number}")
        record.held()
        found.append((record, holds.hold(call, "twice", lambda: None)))
    return found


async def test_the_api_tells_what_each_waits_for(stage: Stage, http: httpx2.AsyncClient) -> None:
    waiting = waited_for(stage, 3)
    found: dict[str, Any] = {}
    while not found.get("queues") or found["queues"][0]["state"] != "starting":
        found = (await http.get("/api/requests")).json()
    (queue,) = found["queues"]
    assert (queue["workload"], queue["waiting"], queue["clients"], queue["underWay"]) == ("twice", 3, 3, 0)
    assert queue["message"] == "twice loads its weights (40 %)"
    assert 30 < queue["eta"] <= 40
    rows = [row["waiting"] for row in found["inFlight"]]
    assert [(row["position"], row["of"]) for row in rows] == [(1, 3), (2, 3), (3, 3)]
    assert rows[2]["message"].startswith("twice loads its weights (40 %): about ")
    assert rows[2]["message"].endswith(" s; you are 3rd of 3")
    for _, held in waiting:
        held.leave()
    found = (await http.get("/api/requests")).json()
    assert (found["queues"], [row["waiting"] for row in found["inFlight"]]) == ([], [None] * 3)


def test_the_command_line_tells_it(served: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    async def wait() -> None:
        waited_for(served, 1)

    served.call(wait())
    with pytest.raises(SystemExit) as ended:
        main(["requests", "-o", "json", "--server", served.url])
    assert ended.value.code == 0
    assert '"position": 1' in capsys.readouterr().out

    async def close() -> None:
        cast("Fleet", served.context.fleet).holds.close()  # type: ignore[union-attr]

    served.call(close())


def test_words() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 102, 111)] == [
        *("1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"),
    ]
    assert [spoken(s) for s in (0.2, 39.2, 99, 100, 601)] == ["1 s", "40 s", "99 s", "2 min", "11 min"]
    assert told("a starts", None, 1, 1) == "a starts; you are 1st of 1"
    assert [retry_after(eta) for eta in (None, 0.0, 42.0, 1e6)] == [30.0, 1.0, 42.0, 600.0]
    assert Refused(429, "QueueFull", "full", retry_after=retry_after(42.0)).retry_after == 42.0
