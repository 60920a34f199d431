"""`get`, `describe`, `why`, `actions`, `version`: what the server knows, as tables or as data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from api.client import Client
from api.commands.names import one_of
from api.commands.watching import Rows, View, watching
from api.output import SERVER, Format, Output, ServerOption, age, dump, server, show, size, table, word
from api.told import told
from api.version import VERSION

app = typer.Typer()
Json = dict[str, Any]
TIMES = frozenset({"since", "scannedAt", "startedAt", "lastTransitionTime", "takenAt", "renewedAt"})

KINDS = frozenset({None, "sparks", "workloads"})

What = Annotated[str | None, typer.Argument(metavar="[sparks|workloads|NAME]", help="what to show; default both")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="and again whenever it changes, until Ctrl-C")]


@app.command()
def get(what: What = None, watch: Watch = False, output: Output = Format.TABLE, address: ServerOption = SERVER) -> None:
    """How the Sparks and workloads are.

    \b
    sparkkeep get                  both
    sparkkeep get workloads -w     the workloads, and again whenever they change, until Ctrl-C
    sparkkeep get qwen3-8b -o json one of them, for programs
    """  # noqa: D301  # \b is typer's
    with server(address) as client:
        if watch:
            if what not in KINDS:
                one_of(client.get("/api/status"), str(what))  # a slip of the keyboard is not waited for
            watching(client, _view(what), output)
        else:
            _get_once(client, what, output)


def _get_once(client: Client, what: str | None, output: Format) -> None:
    status = client.get("/api/status")
    if output is Format.TABLE:
        show(_tables(status, what))
    else:
        dump(_part(status, what), output)


def _view(what: str | None) -> View:
    """What of the status is watched. A name may go, and come back."""

    def gone(status: Json) -> bool:
        return what not in {*KINDS, *status["sparks"], *status["workloads"]}

    return View(
        part=lambda status: {what: None} if gone(status) else _part(status, what),
        rows=lambda status: _rows(status, what),
        tables=lambda status: Text(f"{what} is declared no more.") if gone(status) else _tables(status, what),
    )


def _rows(status: Json, what: str | None) -> Rows:
    """Of each the words of its line, without what is measured: that is another number each time."""
    rows = dict[str, tuple[str, ...]]()
    if what is None:
        rows["desired"] = tuple(problem["text"] for problem in status["problems"]) or ("valid",)
        rows["plan"] = (f"{status['plan']['withheld']} steps wait for your approval",)
    for name, workload in status["workloads"].items():
        if what in {None, "workloads", name}:
            rows[f"workload/{name}"] = tuple(str(cell) for cell in _workload_row(name, workload)[2:])
    for name, spark in status["sparks"].items():
        if what in {None, "sparks", name}:
            host, state, *_, message = _spark_row(name, spark)[1:]
            rows[f"spark/{name}"] = (str(host), str(state), str(message))
    return rows


def _part(status: Json, what: str | None) -> Any:
    if what is None:
        return status
    if what in {"sparks", "workloads"}:
        return status[what]
    kind = one_of(status, what)
    return {what: status[kind][what]}


def _tables(status: Json, what: str | None) -> RenderableType:
    shown: list[RenderableType] = []
    if status["problems"]:
        shown.append(Text("the desired state in its file is not valid; the last good one stays in force:", "red"))
        shown += [Text(f"  {problem['text']}", "red") for problem in status["problems"]]
    kind = what if what in KINDS else one_of(status, str(what))
    if kind in {None, "workloads"}:
        chosen = {k: v for k, v in status["workloads"].items() if what in {None, "workloads", k}}
        shown.append(_workloads(chosen))
    if kind is None:
        shown.append(Text())
    if kind in {None, "sparks"}:
        chosen = {k: v for k, v in status["sparks"].items() if what in {None, "sparks", k}}
        shown.append(_sparks(chosen))
    if status["plan"]["withheld"]:
        shown.append(Text(f"{status['plan']['withheld']} steps wait for your approval: sparkkeep apply", "yellow"))
    return Group(*shown)


def _workloads(workloads: Json) -> RenderableType:
    columns = ("WORKLOAD", "KIND", "RUN", "WHERE", "SYNC", "HEALTH", "MESSAGE")
    rows = (_workload_row(name, workload) for name, workload in workloads.items())
    return table(columns, rows, empty="Nothing is declared. examples/desired.yaml shows how.")


def _workload_row(name: str, workload: Json) -> tuple[str | Text, ...]:
    verdicts = word(workload["sync"]), word(workload["health"])
    return name, workload["kind"], workload["run"], _where(workload), *verdicts, workload["message"]


def _where(workload: Json) -> str:
    spots = (f"{i['spark']}:{i['port']}" if i["port"] else str(i["spark"]) for i in workload["instances"])
    return ", ".join(spots) or "-"


def _sparks(sparks: Json) -> RenderableType:
    columns = ("SPARK", "HOST", "STATE", "MEMORY LEFT", "DISK LEFT", "GPU", "SCANNED", "MESSAGE")
    return table(columns, (_spark_row(name, spark) for name, spark in sparks.items()), empty="No Spark is declared.")


def _spark_row(name: str, spark: Json) -> tuple[str | Text, ...]:
    facts = spark["facts"] or {}
    states = [spark["reason"] if spark["reachable"] else "Unknown"]
    states += ["Drained"] if spark["drained"] else ["Cordoned"] if spark["cordoned"] else []
    elsewhere = _kept_elsewhere(spark)
    states += [elsewhere["reason"]] if elsewhere else []
    memory = f"{size(facts['memoryAvailable'])} of {size(facts['memoryTotal'])}" if facts else "-"
    scanned = f"{age(time.time() - spark['scannedAt'])} ago" if spark["scannedAt"] else "never"
    message = spark["message"] or elsewhere.get("message") or _foreign(spark["foreign"])
    state = Text(", ").join(word(text) for text in states)
    return name, spark["host"] or "-", state, memory, size(facts.get("diskFree")), _gpus(facts), scanned, message


def _kept_elsewhere(spark: Json) -> Json:
    """Its lease, if that is why nothing is done there."""
    lease = spark.get("lease") or {}
    return {} if not spark["reachable"] or lease.get("ours", True) else lease


def _foreign(containers: list[Json]) -> str:
    count = len(containers)
    return f"{count} container{'s'[: count != 1]} not ours" if count else ""


def _gpus(facts: Json) -> str:
    found = [g for g in facts.get("gpus", ()) if g["utilization"] is not None]
    return ", ".join(f"{gpu['utilization']:.0f}%" for gpu in found) or "-"


@app.command()
def describe(
    name: Annotated[str, typer.Argument(help="a workload or a Spark")],
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """Everything about one workload or Spark: verdicts, conditions, instances, the latest events."""
    with server(address) as client:
        status = client.get("/api/status")
        kind = one_of(status, name)
        subject = status[kind][name]
        if kind == "workloads":
            answer = client.get(f"/api/workloads/{name}/why")
            found, events = {**subject, **answer}, answer["events"]
            lines: Iterable[RenderableType] = _workload(name, found, whole=True)
        else:
            events = client.get("/api/events", follow=False, limit=10, spark=name)["events"]
            found, lines = subject, _described(name, subject)
        if output is not Format.TABLE:
            dump({"name": name, **found, "events": events}, output)
            return
        show(Group(*lines, Text(), _latest(events)))


def _latest(events: list[Json]) -> RenderableType:
    now = time.time()
    rows = ((age(now - e["lastAt"]), word(e["type"]), e["reason"], e["message"]) for e in events)
    return table(("AGE", "TYPE", "REASON", "MESSAGE"), rows, empty="No events.")


def _described(name: str, subject: Json) -> Iterator[RenderableType]:
    yield Text(name, style="bold")
    plain = {key: value for key, value in subject.items() if not isinstance(value, list | dict) and value is not None}
    yield table((), ((f"  {key}", _shown(key, value)) for key, value in plain.items()))
    parts = {key: value for key, value in subject.items() if isinstance(value, list) and value}
    for key, entries in {**parts, **{key: [subject[key]] for key in ("lease", "facts") if subject.get(key)}}.items():
        yield Text(f"\n{key}", style="bold")
        for number, entry in enumerate(entries):
            if number:
                yield Text()
            yield table((), _lines(entry)) if isinstance(entry, dict) else Text(f"  {entry}")


def _lines(entry: Json, before: str = "") -> Iterable[tuple[str, str | Text]]:
    for key, value in entry.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{before}{key}.")
        elif value is not None and value != "":
            yield f"  {before}{key}", _shown(key, value)


def _shown(key: str, value: Any) -> str | Text:
    if key in TIMES and isinstance(value, int | float):
        return f"{age(time.time() - value)} ago"
    if key in {"memoryTotal", "memoryAvailable", "diskFree", "diskTotal"}:
        return size(value)
    if isinstance(value, str):
        return word(value)
    return "yes" if value is True else "no" if value is False else str(value)


@app.command()
def why(
    name: Annotated[str, typer.Argument(help="a workload")],
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """Why a workload is as it is, and what happens next."""
    with server(address) as client:
        answer = client.get(f"/api/workloads/{name}/why")
        if output is not Format.TABLE:
            dump(answer, output)
            return
        show(Group(*_workload(name, answer, whole=False), Text(), _latest(answer["events"])))


def _workload(name: str, answer: Json, *, whole: bool) -> Iterator[RenderableType]:
    verdicts = (word(answer[verdict] or "Unknown") for verdict in ("sync", "health"))
    yield Text(f"{name}: ", style="bold") + Text(" and ").join(verdicts)
    yield from (Text(line) for line in told(name, answer, time.time(), whole=whole))
    if whole:
        for condition in answer["conditions"] or ():
            since = condition["lastTransitionTime"]
            yield Text(f"condition {condition['type']} is {condition['status']} since {since} ({condition['reason']})")


@app.command()
def actions(
    workload: Annotated[str | None, typer.Option(help="only about this workload")] = None,
    spark: Annotated[str | None, typer.Option(help="only on this Spark")] = None,
    limit: Annotated[int, typer.Option(min=1, max=5000, help="how many")] = 30,
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """Every command that changed something on a Spark, and what came of it."""
    with server(address) as client:
        found = client.get("/api/actions", workload=workload, spark=spark, limit=limit)
        if output is not Format.TABLE:
            dump(found, output)
            return
        now = time.time()
        rows = (
            (
                age(now - a["startedAt"]),
                a["spark"],
                a["workload"],
                a["verb"],
                a["outcome"] or "running",
                "-" if a["exitStatus"] is None else str(a["exitStatus"]),
                a["cause"],
            )
            for a in found["actions"]
        )
        columns = ("AGE", "SPARK", "WORKLOAD", "VERB", "OUTCOME", "STATUS", "CAUSE")
        show(table(columns, rows, empty="No command was needed yet."))


@app.command()
def version(output: Output = Format.TABLE) -> None:
    """Which sparkkeep this is."""
    if output is Format.TABLE:
        print(f"sparkkeep {VERSION}")  # noqa: T201  # the data
    else:
        dump({"version": VERSION}, output)
