"""What is known of one workload, told as lines of text: the answer of `GET /api/workloads/{name}/why` for people.

Pure: `now` is an argument. What is in the way comes first, then what would help, then what it is made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from api.output import age, size

Json = dict[str, Any]
QUIET: Final = frozenset({"OnDemand"})  # held, and nothing is wrong


def told(name: str, answer: Json, now: float, *, whole: bool = True) -> Iterator[str]:
    """The lines. `whole` adds how it would be run: memory of what runs, the exact command."""
    yield f"{name} is {answer['declared']}."
    if (recipe := answer["recipe"]) is not None:
        yield f"  {_made_of(recipe)}"
    told_of: dict[tuple[str, str], str] = {}
    for instance in answer["instances"]:
        yield ""
        yield from _instance(instance, answer, now, told_of, whole=whole)
    seen = {(i["spark"], i["rank"]) for i in answer["instances"]}
    for held in _like(h for h in answer["held"] if (h["spark"], h["rank"]) not in seen):
        yield ""
        yield from _held(held, now)
    here = {i["spark"] for i in answer["instances"]}
    for failure in (f for f in answer["failures"] if f["spark"] not in here):
        yield ""
        yield f"It failed on {failure['spark']}"
        yield from _failure(failure, now)
    for title, part in (("Next", "steps"), ("Waits for your approval (`sparkkeep apply`)", "withheld")):
        if answer[part]:
            yield ""
            yield title
            yield from (f"  {s['verb']} on {s['spark']}, because {s['cause']}" for s in answer[part])
    if not (answer["held"] or answer["steps"] or answer["withheld"]):
        yield ""
        yield "There is nothing to do about it."


def _made_of(recipe: Json) -> str:
    revision = f" at {recipe['revision']}" if recipe["revision"] else ""
    model = f"{recipe['model']}{revision}, by " if recipe["model"] else ""
    return f"{model}engine {recipe['engine']} from {recipe['image']}"


def _like(held: Iterable[Json]) -> Iterator[Json]:
    """The same thing for several Sparks is told once."""
    found: dict[tuple[str, str], Json] = {}
    for each in held:
        same = found.setdefault((each["reason"], each["message"]), {**each, "sparks": []})
        same["sparks"].append(each["spark"])
    for each in found.values():
        yield {**each, "spark": ", ".join(spark for spark in each["sparks"] if spark)}


def _instance(
    instance: Json, answer: Json, now: float, told_of: dict[tuple[str, str], str], *, whole: bool
) -> Iterator[str]:
    """One Spark's part. `told_of` has what was told already, as (reason, message), and of which Spark."""
    spark, rank = instance["spark"], instance["rank"]
    container = instance["container"]
    grouped = len(answer["instances"]) > 1 and any(i["rank"] for i in answer["instances"])
    place = f"On {spark} as rank {rank}" if grouped else f"On {spark}"
    seen = f"its container is {container['state']}" if container else "there is no container"
    port = f", port {instance['port']}" if instance["port"] else ""
    yield f"{place}{port}: {instance['sync']} and {instance['health']}; {seen}"
    found = [held for held in answer["held"] if (held["spark"], held["rank"]) == (spark, rank)]
    if not any(instance["message"] in held["message"] for held in found):
        yield f"  {instance['message']}"
    for held in found:
        first = told_of.setdefault((held["reason"], held["message"]), spark)
        if first != spark:
            yield f"  In the way: the same as on {first} ({held['reason']})"
            continue
        yield from (f"  {line}" for line in _held({**held, "spark": ""}, now))
    for failure in (f for f in answer["failures"] if f["spark"] == spark):
        yield "  Its last failure"
        yield from (f"  {line}" for line in _failure(failure, now, told={h["message"] for h in found}))
    yield from _memory(instance["memory"], whole=whole or any("Memory" in h["reason"] for h in found))
    if instance["warnings"]:
        yield "  Its flags"
        yield from (f"    {warning}" for warning in instance["warnings"])
    if whole:
        if instance["program"]:
            yield "  The program inside the container"
            yield from (f"    {line}" for line in instance["program"].splitlines())
        yield "  The command that creates it"
        yield from (f"    {line}" for line in instance["command"].splitlines())


def _held(held: Json, now: float) -> Iterator[str]:
    where = f" on {held['spark']}" if held["spark"] else ""
    if held["reason"] in QUIET:
        yield f"As declared{where} ({held['reason']})"
    else:
        yield f"In the way{where} ({held['reason']})"
    yield from (f"  {line}" for line in _sentences(held["message"]))
    if held["until"] is not None and held["until"] > now:
        yield f"  It is tried again in {age(held['until'] - now)}."
    if held["helps"]:
        yield "What would help"
        yield from (f"  - {line}" for line in held["helps"])


def _sentences(message: str) -> list[str]:
    """The arithmetic of a refusal, a sentence a line."""
    return message.split(". ")


def _failure(failure: Json, now: float, told: Iterable[str] = ()) -> Iterator[str]:
    times = f", {failure['count']} times in a row" if failure["count"] > 1 else ""
    yield f"  {failure['reason']}, {age(now - failure['at'])} ago{times}"
    if not any(failure["message"] in message for message in told):
        yield f"  {failure['message']}"
    if failure["advice"] and failure["advice"] not in failure["message"]:
        yield f"  {failure['advice']}"
    if failure["log"]:
        yield "  its last words"
        yield from (f"    {line}" for line in failure["log"])


def _memory(memory: Json, *, whole: bool) -> Iterator[str]:
    if not memory["bytes"] and not memory["lines"]:
        return
    amount = "not known" if memory["bytes"] is None else f"{size(memory['bytes'])} ({memory['source']})"
    yield f"  Its memory: {amount}"
    if whole:
        yield from (f"    {line}" for line in memory["lines"])
