"""`plan` and `apply`: look before anything is done, then let exactly that be done."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from api.client import Client, ServerRefused
from api.folder import DEFAULT
from api.output import SERVER, Format, Output, ServerOption, dump, fail, note, sentences, server
from api.settle import Outcome, Settling, covers, outcome
from api.show_plan import show
from state.problems import Invalid
from state.sources import read_desired

app = typer.Typer()
Json = dict[str, Any]

Offline = Annotated[bool, typer.Option("--offline", help="no server: look at the Sparks from here")]
Desired = Annotated[Path, typer.Option(envvar="SPARKKEEP_DESIRED", help="with --offline: the desired state")]
Data = Annotated[Path, typer.Option(envvar="SPARKKEEP_DATA", help="with --offline: folder for known hosts and secrets")]
Commands = Annotated[bool, typer.Option("--commands", help="print the exact commands whole")]
HERE = Path("desired.yaml")


@app.command()
def plan(
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="a desired state to try, against the server's Sparks")
    ] = None,
    offline: Offline = False,
    desired: Desired = HERE,
    data: Data = DEFAULT,
    commands: Commands = False,
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """What would be done, in which order, why, and with which commands. Nothing is done by this.

    \b
    sparkkeep plan                           of the desired state in force
    sparkkeep plan --file new.yaml           of a file, before you save it as the desired state
    sparkkeep plan --offline --desired d.yaml     without a server

    Exit status: 0 nothing to do, 2 there are changes, 1 an error, or nothing to do as far as can be seen
    while some Spark does not answer.
    """  # noqa: D301  # \b is typer's
    if offline:
        from api.offline import plan_offline  # noqa: PLC0415  # loads SSH, which takes a second

        with sentences():
            made = asyncio.run(plan_offline(file or desired, data, os.environ, note))
    else:
        with server(address) as client:
            made = client.post("/api/plan", _candidate(file))
    if output is Format.TABLE:
        show(made, commands=commands)
    else:
        dump(made, output)
    if made["steps"] or made["withheld"]:
        raise typer.Exit(2)
    raise typer.Exit(1 if made["unknown"] else 0)


def _candidate(file: Path | None) -> Json | None:
    if file is None:
        return None
    try:
        found = read_desired(file)
    except Invalid as invalid:
        fail(str(invalid))
    if len(found) != 1:
        fail(f"{file} is a folder of {len(found)} files; --file takes one, --offline --desired a folder")
    return {"desired": found[0].data.decode("utf-8", "replace"), "file": str(file)}


@app.command()
def apply(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="don't ask")] = False,
    offline: Offline = False,
    desired: Desired = HERE,
    data: Data = DEFAULT,
    commands: Commands = False,
    timeout: Annotated[int, typer.Option(min=1, help="seconds to wait for the end")] = 3600,
    address: ServerOption = SERVER,
) -> None:
    """Show the plan, ask, release what the guards withhold in it, and wait until everything is as declared or held.

    What no guard withholds is done by the loop without being asked for. With --offline there is no loop yet: this
    process does it, and ends.

    Exit status: 0 everything is as declared, 1 not (or you said no).
    """
    if offline:
        with sentences():
            _apply_offline(desired, data, yes=yes, commands=commands, limit=timeout)
        return
    with server(address) as client:
        made = client.post("/api/plan")
        show(made, commands=commands)
        if made["steps"] or made["withheld"]:
            _agree(f"Apply this plan to {_places(made)}?", yes=yes)
            after = client.get("/api/events", follow=False, limit=1)["latestSeq"]
            _approve(client, made, yes=yes, commands=commands)
            _end(_wait(client, after, limit=timeout))
        else:
            _end(_wait(client, None, limit=timeout))


def _places(made: Json) -> str:
    return ", ".join(sorted({str(step["spark"]) for step in (*made["steps"], *made["withheld"])}))


def _agree(question: str, *, yes: bool) -> None:
    """Ask, unless told not to; without anybody to ask, refuse."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail("nobody is there to ask: use --yes to apply without asking. Nothing was changed by this.")
    if not typer.confirm(question, err=True):
        fail("Nothing was approved.")


def _approve(client: Client, made: Json, *, yes: bool, commands: bool) -> None:
    """Approve this plan. If the world moved meanwhile, the new one is asked about only if it withholds more."""
    agreed = made
    for _ in range(20):
        try:
            client.post(f"/api/plans/{made['id']}/apply")
        except ServerRefused as refused:
            if refused.body.get("reason") != "PlanMoved":
                raise
            made = refused.body["plan"]
        else:
            return
        if not covers(agreed, made):
            note("The world moved; this is the plan now:")
            show(made, commands=commands)
            if yes:
                fail("It would take down more than you agreed to, so nothing was approved. Run it again.")
            _agree(f"Apply this plan to {_places(made)}?", yes=False)
            agreed = made
    fail("the plan changes faster than it can be approved; try again in a moment")


def _wait(client: Client, after: int | None, *, limit: float) -> Outcome:
    """Tell events until it ends."""
    settling, end = Settling(), time.monotonic() + limit
    while time.monotonic() < end:
        if after is not None:
            found = client.get("/api/events", since=after, follow=False)
            for event in found["events"]:
                about = event["object"]
                where = f" on {about['spark']}" if about["spark"] not in {"", about["name"]} else ""
                note(f"{event['reason']}  {about['name']}{where}  {event['message']}")
            after = max([after, *(event["seq"] for event in found["events"])])
        result = settling.look(client.get("/api/status"), client.post("/api/plan"), time.monotonic())
        if result is not None:
            return result
        time.sleep(0.5)
    note(f"not at its end after {limit:g} s")
    return outcome(client.get("/api/status"))


def _end(result: Outcome) -> None:
    if result.good:
        note("Everything is as declared.")
        return
    fail("\n".join(["Not everything is as declared:", *(f"  {line}" for line in result.lines)]))


def _apply_offline(desired: Path, data: Path, *, yes: bool, commands: bool, limit: float) -> None:
    from api.offline import apply_offline, plan_offline  # noqa: PLC0415  # loads SSH, which takes a second

    made = asyncio.run(plan_offline(desired, data, os.environ, note))
    show(made, commands=commands)
    if made["steps"] or made["withheld"]:
        _agree(f"Apply this plan to {_places(made)}?", yes=yes)
    _end(asyncio.run(apply_offline(desired, data, os.environ, made, note, limit=limit)))
