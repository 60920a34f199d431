"""Why a workload is as it is: everything known about it in one place, and the story in sentences.

`facts` is pure: what is wanted, what was seen, what is in the way and what would help. `why` adds what the journal
knows. `because` are the sentences for people who want no more than that; `sparkkeep describe` and `why` print the
rest as well (`api.told`), and `-o json` has it as data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from api.context import Context
from api.routes.actions import action_json
from reconciler.diagnosis import Case, advice_of, flag_warnings, remedies, said_by_image
from reconciler.model import Failure, Held, Instance, Plan, World
from reconciler.shell import join
from reconciler.status import held_json, instance_json, plan_json
from reconciler.target import Target
from reconciler.verdict import Verdicts
from state.load import Declaration

EVENTS: Final = 10
ACTIONS: Final = 5
Json = dict[str, Any]


async def why(context: Context, name: str) -> Json:
    """The whole answer for a workload that exists."""
    loop = context.loop
    status = context.status.build()["workloads"].get(name, {})
    found = facts(name, loop.store.current.loaded.resolved.get(name), loop.target(), loop.world(), loop.plan())
    events = await context.journal.events(workload=name, limit=EVENTS)
    actions = await context.journal.actions(workload=name, limit=ACTIONS)
    answer: Json = {
        "workload": name,
        "declared": found.pop("declared"),
        **{key: status.get(key) for key in ("kind", "run", "generation", "sync", "health", "message", "conditions")},
        **found,
        "events": [event.as_dict() for event in events],
        "actions": [action_json(action) for action in actions],
    }
    return {**answer, "because": list(_story(answer))}


def facts(name: str, declaration: Declaration | None, target: Target, world: World, plan: Plan) -> Json:
    """What the loop knows about a workload now; `declaration` is None if it is declared no more."""
    verdicts = Verdicts(target, world, plan)
    case = Case(target=target, world=world, plan=plan, recipe=declaration.recipe if declaration else None)
    planned = plan_json(plan)
    mine = [i for found in target.instances.values() for i in found if i.workload == name]
    mine.sort(key=lambda instance: (instance.rank, instance.spark))
    return {
        "declared": target.declared.get(name, "not declared any more"),
        "recipe": _recipe(declaration),
        "instances": [{**instance_json(i, verdicts.on(i)), **_launch(i, case)} for i in mine],
        "steps": [step for step in planned["steps"] if step["workload"] == name],
        "withheld": [step for step in planned["withheld"] if step["workload"] == name],
        "held": [_held(held, case) for held in plan.held if held.workload == name],
        "failures": [
            {"spark": spark, **_failure(failure)}
            for (workload, spark), failure in sorted(world.failures.items())
            if workload == name
        ],
    }


def _recipe(declaration: Declaration | None) -> Json | None:
    if declaration is None:
        return None
    recipe = declaration.recipe
    return {"engine": recipe.engine, "model": recipe.model, "revision": recipe.revision, "image": recipe.image}


def _launch(instance: Instance, case: Case) -> Json:
    """How the instance is started, and what the shipped tables of flags say about that."""
    recipe = case.recipe
    program = (*(instance.spec.entrypoint or ()), *instance.spec.command)
    return {
        "program": join(program) if program else "",  # else the image's own
        "command": case.target.creations[instance.spark, instance.name].command,
        "warnings": list(flag_warnings(recipe, said_by_image(instance, case))) if recipe is not None else [],
    }


def _held(held: Held, case: Case) -> Json:
    return {**held_json(held), "helps": list(remedies(held, case))}


def _failure(failure: Failure) -> Json:
    return {
        "reason": failure.reason,
        "message": failure.message,
        "advice": advice_of(failure),
        "count": failure.count,
        "at": failure.at,
        "retryAt": None if failure.terminal else failure.retry_at,
        "terminal": failure.terminal,
        "log": list(failure.log),
    }


def _story(answer: Json) -> Iterator[str]:
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
        yield from (f"What would help: {help_}." for help_ in held["helps"])
    for step in answer["steps"]:
        yield f"Next on {step['spark']}: {step['verb']}, because {step['cause']}."
    for step in answer["withheld"]:
        yield f"Waits for your approval on {step['spark']}: {step['verb']}, because {step['cause']}."
    if not (answer["held"] or answer["steps"] or answer["withheld"]):
        yield "There is nothing to do about it."
