"""Why a workload is as it is: everything known about it in one place, and the story in sentences.

The sentences are what `sparkkeep why` prints; the rest is for programs and for `-o json`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from api.context import Context
from api.routes.actions import action_json
from reconciler.model import Failure
from reconciler.status import plan_json

EVENTS: Final = 10
ACTIONS: Final = 5


async def why(context: Context, name: str) -> dict[str, Any]:
    """The whole answer for a workload that exists."""
    loop = context.loop
    status = context.status.build()["workloads"].get(name, {})
    plan = plan_json(loop.plan())
    about = {
        part: [entry for entry in plan[part] if entry["workload"] == name] for part in ("steps", "withheld", "held")
    }
    failures = [
        {"spark": spark, **_failure(failure)}
        for (workload, spark), failure in sorted(loop.world().failures.items())
        if workload == name
    ]
    events = await context.journal.events(workload=name, limit=EVENTS)
    actions = await context.journal.actions(workload=name, limit=ACTIONS)
    declared = loop.target().declared.get(name, "not declared any more")
    answer: dict[str, Any] = {
        "workload": name,
        "declared": declared,
        **{key: status.get(key) for key in ("kind", "run", "generation", "sync", "health", "message", "conditions")},
        "instances": status.get("instances", []),
        **about,
        "failures": failures,
        "events": [event.as_dict() for event in events],
        "actions": [action_json(action) for action in actions],
    }
    return {**answer, "because": list(_story(answer))}


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "reason": failure.reason,
        "message": failure.message,
        "count": failure.count,
        "at": failure.at,
        "retryAt": None if failure.terminal else failure.retry_at,
        "terminal": failure.terminal,
        "log": list(failure.log),
    }


def _story(answer: dict[str, Any]) -> Iterator[str]:
    """One sentence for each thing that matters, in the order in which one leads to the next."""
    yield f"{answer['workload']} is {answer['declared']}."
    for instance in answer["instances"]:
        container = instance["container"]
        seen = f"its container is {container['state']}" if container else "there is no container"
        yield f"On {instance['spark']} {seen}; {instance['message']}."
    for failure in answer["failures"]:
        times = f" ({failure['count']} times in a row)" if failure["count"] > 1 else ""
        yield f"It failed on {failure['spark']}{times}: {failure['message']}."
    for held in answer["held"]:
        where = f" on {held['spark']}" if held["spark"] else ""
        yield f"Left alone{where} ({held['reason']}): {held['message']}."
    for step in answer["steps"]:
        yield f"Next on {step['spark']}: {step['verb']}, because {step['cause']}."
    for step in answer["withheld"]:
        yield f"Waits for your approval on {step['spark']}: {step['verb']}, because {step['cause']}."
    if not (answer["held"] or answer["steps"] or answer["withheld"]):
        yield "There is nothing to do about it."
